// packages/delivery/src/late-receipts.test.ts
// Goal: SD4. Method: one delivery node, or one after another over the same store; sessions go on
// above rows whose acks their owner never heard, and above rows that nobody was sent.
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import type { LedgerRow } from "./ports.ts";
import { GATEWAY, idOf, start } from "./test-delivery.ts";

const LIFE_MS = 1_000;

/** Plans one row for ada for each life; 0: it lives for ever. */
function plan(store: FakeLedgerStore, livesMs: readonly number[]): LedgerRow[] {
  const nowMs = new FakeClock().wallClockMs();
  return livesMs.map((lifeMs, n) => {
    const expiresAtMs = lifeMs > 0 ? nowMs + lifeMs : 1e13;
    return store.plan(0, notificationOf({ id: idOf(n + 1), expiresAtMs }), { members: [0] });
  });
}

function storeWith(...livesMs: readonly number[]): FakeLedgerStore {
  const store = new FakeLedgerStore();
  store.addRecipient(0, "ada");
  plan(store, livesMs);
  return store;
}

const at = (offset: number) => ({ offset, epoch: "e1" });
const late = (store: FakeLedgerStore): number[] =>
  [...store.rows.values()]
    .filter(({ offset }) => store.setOf(0, offset, "receivedLate").length > 0)
    .map(({ offset }) => offset);

test("SD4 — the report of an ack was lost and the row expired: who comes back above it has received it", async () => {
  const { clock, node, open, poke, store, taken } = start({ store: storeWith() });
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  poke(...plan(store, [0, LIFE_MS, LIFE_MS, 0]));
  await clock.advance(LIFE_MS + 200); // all four were shown; what she acked is lost on its way
  expect([2, 3].map((offset) => store.setOf(0, offset, "expired"))).toEqual([[0], [0]]);
  expect(taken()).toEqual(["1→7", "2→7", "3→7", "4→7"]);
  node.closeGateway(GATEWAY);
  await open({ recipientId: "ada", sid: 8, position: at(4), ackedOffset: 4 });
  await clock.advance(200);
  expect(late(store)).toEqual([2, 3]);
  expect([1, 4].map((offset) => store.setOf(0, offset, "deliveredSocket"))).toEqual([[0], [0]]);
  expect(taken()).toEqual([]);
});

test("SD4 — the owner was gone before it wrote the ack, the next one finds the row expired", async () => {
  const store = storeWith(LIFE_MS);
  const { clock, open, events } = start({ store, epoch: 2, isFirst: false });
  await clock.advance(LIFE_MS + 200);
  expect(store.setOf(0, 1, "expired")).toEqual([0]);
  await open({ recipientId: "ada", sid: 7, position: at(1), ackedOffset: 1 });
  await open({ recipientId: "ada", sid: 7, position: at(1), ackedOffset: 1 }); // asked again
  await clock.advance(200);
  expect(late(store)).toEqual([1]);
  expect(events).toEqual(["serves 0", "expired 1", "receivedLate"]);
});

test("SD4 — put on the socket under the owner before, and acked under this one", async () => {
  const store = storeWith(LIFE_MS);
  const { ack, clock, open } = start({ store, epoch: 2, isFirst: false });
  await clock.advance(LIFE_MS + 200);
  await open({ recipientId: "ada", sid: 7, position: at(1), ackedOffset: 0 });
  await clock.advance(200);
  expect(late(store)).toEqual([]);
  await ack(7, 0, 1);
  await clock.advance(200);
  expect(late(store)).toEqual([1]);
});

test("SD4 — nobody came within the grace of a new owner, and then above what the earlier one had sent", async () => {
  const store = storeWith(0, 0);
  const { clock, open } = start({ store, epoch: 2, isFirst: false });
  await clock.advance(5_200);
  expect([1, 2].map((offset) => store.setOf(0, offset, "noDevice"))).toEqual([[0], [0]]);
  await open({ recipientId: "ada", sid: 7, position: at(2), ackedOffset: 2 });
  await clock.advance(200);
  expect(late(store)).toEqual([1, 2]);
});

test("SD4 — not certain: what expired under another owner may have been passed unsent by the next row", async () => {
  const store = storeWith(LIFE_MS, LIFE_MS);
  const { clock, open } = start({ store, epoch: 2, isFirst: false });
  await clock.advance(LIFE_MS + 200);
  await open({ recipientId: "ada", sid: 7, position: at(2), ackedOffset: 2 });
  await clock.advance(200);
  expect(late(store)).toEqual([2]); // which the place names itself
});

test("SD4 — not proven: a device that joined anew above a row was never sent it", async () => {
  const { clock, node, open, poke, store, taken } = start({ store: storeWith() });
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 }); // this one is sent it, and does not ack
  poke(...plan(store, [LIFE_MS]));
  await clock.advance(LIFE_MS + 200);
  expect(await open({ recipientId: "ada", sid: 8 })).toMatchObject({ offset: 1, missed: 0 });
  node.closeGateway(GATEWAY);
  await open({ recipientId: "ada", sid: 9, position: at(1), ackedOffset: 1 });
  await clock.advance(200);
  expect(taken()).toEqual(["1→7"]);
  expect(late(store)).toEqual([]);
});

test("SD4 — not proven: what was decided before this owner had the row", async () => {
  const store = storeWith(LIFE_MS);
  const first = start({ store });
  await first.clock.advance(LIFE_MS + 200);
  expect(store.setOf(0, 1, "noDevice")).toEqual([0]);
  const { clock, open } = start({ store, epoch: 2, isFirst: false });
  await clock.advance(10);
  await open({ recipientId: "ada", sid: 7, position: at(1), ackedOffset: 1 });
  await clock.advance(200);
  expect(late(store)).toEqual([]);
});

test("SD4 — another ledger's place proves nothing, and no lost one does", async () => {
  const { clock, open, store } = start({ store: storeWith(LIFE_MS), epoch: 2, isFirst: false });
  await clock.advance(LIFE_MS + 200);
  const position = { offset: 1, epoch: "other" };
  await open({ recipientId: "ada", sid: 7, position, ackedOffset: 1 });
  await clock.advance(200);
  expect(late(store)).toEqual([]);
});
