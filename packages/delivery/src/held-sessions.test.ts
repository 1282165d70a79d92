// Goal: SD1, SD2 where rows are held back (ADR 0020): a session that opens while its owner has just begun, with
// more to hand than turns, is recovered from its own place. Method: a ledger with three open broadcasts to
// 4,000; the session opens in the very moment in which the partition serves.
import type { OpenReply } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { describe, expect, test } from "vitest";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import { GATEWAY, start } from "./test-delivery.ts";

const PEOPLE_COUNT = 4_000;
const idOf = (n: number) => `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`;

/** The last three rows are open for everybody, and the first for the first person; others are closed. */
function storeOf(rowsCount: number): FakeLedgerStore {
  const store = new FakeLedgerStore();
  const everybody = Array.from({ length: PEOPLE_COUNT }, (_, n) => store.addRecipient(0, `p${n}`));
  const targeted = Bitset.of(everybody).toBytes();
  for (let n = 1; n <= rowsCount; n++) {
    const row = store.plan(0, notificationOf({ id: idOf(n) }), { kind: "broadcast" });
    const isOpen = n > rowsCount - 3;
    const delivered = isOpen ? [] : everybody.slice(n === 1 ? 1 : 0);
    const sets = { ...row.sets, targeted, deliveredSocket: Bitset.of(delivered).toBytes() };
    store.rows.set(`0/${n}`, { ...row, state: isOpen || n === 1 ? "open" : "closed", sets });
  }
  return store;
}

/** Opens for the last person as soon as the partition serves; what was held back by then, and the answer. */
async function openAtOnce(rowsCount: number, offset: number) {
  const started = start({ store: storeOf(rowsCount), epoch: 2, isFirst: false });
  const { clock, events, node, taken } = started;
  const answers: (OpenReply["results"][number] | undefined)[] = [];
  let heldCount = 0;
  const push = events.push.bind(events);
  events.push = (...told: string[]) => {
    if (told.includes("serves 0")) {
      heldCount = node.stats().heldRowsCount;
      const session = { sid: 7, tenantId: "acme", recipientId: `p${PEOPLE_COUNT - 1}`, device: "" };
      const position = { epoch: "e1", offset };
      const sessions = [{ ...session, position, ackedOffset: offset }];
      void node.open(0, { gatewayId: GATEWAY, sessions }, ({ results }) =>
        answers.push(results[0]),
      );
    }
    return push(...told);
  };
  await clock.advance(1_000);
  return { heldCount, answers, sent: taken() };
}

describe.each([
  ["of a fresh home", 3],
  ["whose first open row lies below the closed ones in memory", 202],
])("a ledger %s", (_, rowsCount) => {
  test("SD1, D3 — a session goes on from its place, and is sent what is above it once", async () => {
    const { heldCount, answers, sent } = await openAtOnce(rowsCount, rowsCount - 1);
    expect(heldCount).toBeGreaterThan(0);
    expect(answers).toEqual([
      expect.objectContaining({ recovered: true, offset: rowsCount - 1, missed: 1 }),
    ]);
    expect(sent).toEqual([`${rowsCount}→7`]);
  });

  test("SD1, SD2, D3 — what it missed before the open rows comes first", async () => {
    const { answers, sent } = await openAtOnce(rowsCount, rowsCount - 3);
    expect(answers).toEqual([expect.objectContaining({ recovered: true, missed: 3 })]);
    expect(sent).toEqual([-2, -1, 0].map((step) => `${rowsCount + step}→7`));
  });
});
