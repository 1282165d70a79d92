// packages/delivery/src/first-join.test.ts
// Goal: SD5. Method: one delivery node, and another after it over the same store, whose writes fail
// or hang as told; a device joins anew while an outcome is decided and not in the database.
import { Fault } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { entryOf, FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import type { LedgerUpdate, WriteOutcome } from "./ports.ts";
import { idOf, start } from "./test-delivery.ts";

const LIFE_MS = 1_000;
const AWAY = new Fault("away", { code: "store_unavailable", isRetryable: true });

/** Writes of rows that `mayWrite` says no to fail; those that `hold` has begun wait for `release`. */
class UnwillingStore extends FakeLedgerStore {
  mayWrite: (update: LedgerUpdate) => boolean = () => true;
  #held: PromiseWithResolvers<void> | undefined;

  hold(): PromiseWithResolvers<void> {
    return (this.#held = Promise.withResolvers<void>());
  }

  override async writeRows(home: string, updates: readonly LedgerUpdate[]): Promise<WriteOutcome> {
    await this.#held?.promise;
    if (!updates.every((update) => this.mayWrite(update))) throw AWAY;
    return super.writeRows(home, updates);
  }
}

function storeWith(...livesMs: readonly number[]): UnwillingStore {
  const store = new UnwillingStore();
  store.addRecipient(0, "ada");
  const nowMs = new FakeClock().wallClockMs();
  for (const [n, lifeMs] of livesMs.entries()) {
    const expiresAtMs = lifeMs > 0 ? nowMs + lifeMs : 1e13;
    store.plan(0, notificationOf({ id: idOf(n + 1), expiresAtMs }), { members: [0] });
  }
  return store;
}

test("SD5, D1 — an outcome that its owner could not write any more: the newcomer's place proves it, since it was sent", async () => {
  const store = storeWith(0);
  store.mayWrite = () => false;
  const before = start({ store });
  await before.clock.advance(200);
  expect(before.events).toContain("noDevice 1");
  expect(await before.open({ recipientId: "ada", sid: 7 })).toMatchObject({ offset: 0, missed: 1 });
  expect(before.taken()).toEqual(["1→7"]);
  before.node.lose([0]);
  store.mayWrite = () => true;

  const after = start({ store, epoch: 2, isFirst: false });
  await after.clock.advance(10);
  const position = { offset: 1, epoch: "e1" }; // she has shown it
  await after.open({ recipientId: "ada", sid: 8, position, ackedOffset: 1 });
  await after.clock.advance(200);
  expect(store.setOf(0, 1, "deliveredSocket")).toEqual([0]);
});

test("SD5 — the ack of who was sent a decided row is a late one", async () => {
  const store = storeWith(0);
  store.mayWrite = () => false;
  const { ack, clock, events, open } = start({ store });
  await clock.advance(200);
  await open({ recipientId: "ada", sid: 7 });
  await ack(7, 0, 1);
  store.mayWrite = () => true;
  await clock.advance(5_000);
  expect(events.filter((event) => !event.startsWith("fault"))).toEqual([
    "serves 0",
    "noDevice 1",
    "receivedLate",
  ]);
  expect(store.setOf(0, 1, "noDevice")).toEqual([0]);
  expect(store.setOf(0, 1, "receivedLate")).toEqual([0]);
});

test("SD5 — while the outcome is being written, and when that has failed, newcomers begin below it; then above", async () => {
  const store = storeWith(0);
  const held = store.hold();
  const { clock, open } = start({ store });
  await clock.advance(150); // its write has begun
  expect(await open({ recipientId: "ada", sid: 7 })).toMatchObject({ offset: 0, missed: 1 });
  held.reject(AWAY);
  await clock.advance(0);
  expect(await open({ recipientId: "ada", sid: 8 })).toMatchObject({ offset: 0, missed: 1 });
  store.hold().resolve();
  await clock.advance(1_000);
  expect(store.setOf(0, 1, "noDevice")).toEqual([0]);
  expect(await open({ recipientId: "ada", sid: 9 })).toMatchObject({ offset: 1, missed: 0 });
});

test("SD5, SD1 — so does who comes back with a place that cannot be continued", async () => {
  const store = storeWith(0);
  store.mayWrite = () => false;
  const { clock, open, taken } = start({ store });
  await clock.advance(200);
  const position = { offset: 1, epoch: "other" };
  expect(await open({ recipientId: "ada", sid: 7, position, ackedOffset: 1 })).toMatchObject({
    recovered: false,
    offset: 0,
    missed: 1,
  });
  expect(taken()).toEqual(["1→7"]);
});

test("SD5, D3 — what is above the first unwritten row is sent as to one who resumes: nothing is left out", async () => {
  const store = storeWith(0, LIFE_MS, 0);
  store.mayWrite = ({ offset }) => offset !== 1;
  const { clock, open, taken } = start({ store, limits: { flushRowsMax: 1 } });
  await clock.advance(2_000);
  expect([1, 2, 3].map((offset) => store.setOf(0, offset, "noDevice"))).toEqual([[], [0], [0]]);
  expect(await open({ recipientId: "ada", sid: 7 })).toMatchObject({ offset: 0, missed: 3 });
  expect(taken()).toEqual(["1→7", "2→7", "3→7"]);
});

test("SD5 — an outcome is unwritten until the very write that took it has succeeded", () => {
  const entry = entryOf({ offset: 1, members: [4, 5] });
  const unwritten = (): number[] => [4, 5].filter((index) => entry.isUnwritten(index));
  expect(unwritten()).toEqual([]);
  entry.record(4, "noDevice");
  entry.writeBegins();
  entry.record(5, "noDevice");
  expect(unwritten()).toEqual([4, 5]);
  entry.writeFailed();
  expect([unwritten(), entry.isDirty]).toEqual([[4, 5], true]);
  entry.writeBegins();
  entry.writeSucceeded();
  expect([unwritten(), entry.isDirty]).toEqual([[], false]);
  entry.receive(4, "read"); // a receipt is no outcome
  expect(unwritten()).toEqual([]);
});
