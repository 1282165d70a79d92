// packages/client/src/receipts.test.ts
// Goal: CN4. Method: examples; over real sockets it is in apps/gateway.
import { expect, test } from "vitest";
import { Receipts } from "./receipts.ts";

test("CN4 — a receipt is kept until it is answered, also over a reconnect that loses the answer", () => {
  const receipts = new Receipts();
  receipts.add({ event: "read", offset: 1 });
  receipts.add({ event: "acknowledge", offset: 1 });
  receipts.add({ event: "read", offset: 1 }); // once
  receipts.sent({ event: "read", offset: 1 }, "5");
  receipts.sent({ event: "acknowledge", offset: 1 }, "6");
  receipts.answered("5");
  receipts.answered("99");
  expect(receipts.unanswered()).toEqual([{ event: "acknowledge", offset: 1 }]);
  receipts.answered("6"); // an answer over the old connection's reference counts for nothing
  expect(receipts.unanswered()).toEqual([{ event: "acknowledge", offset: 1 }]);
});

test("CN4 — of more than 1,000 unanswered the oldest goes", () => {
  const receipts = new Receipts();
  for (let offset = 1; offset <= 1_002; offset++) receipts.add({ event: "read", offset });
  const kept = receipts.unanswered();
  expect([kept.length, kept[0]?.offset, kept.at(-1)?.offset]).toEqual([1_000, 3, 1_002]);
});
