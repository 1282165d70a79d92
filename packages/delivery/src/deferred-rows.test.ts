// packages/delivery/src/deferred-rows.test.ts
// Goal: DF1, DF2, DL4, SD7 in a whole node: who is put off comes back in a later row, once. Method: a store in
// memory with the statements' semantics, verdicts that the test decides about, a fake clock.
import { Fault } from "@carillon/kernel";
import { expect, test } from "vitest";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import { idOf, start } from "./test-delivery.ts";
import { ALLOW, type Verdict } from "./verdict.ts";

const FLUSHED_MS = 150;

/** For so long who is asked about is put off. */
function quietFor(quietMs: number, options: { isQuiet?: (index: number) => boolean } = {}) {
  const store = new FakeLedgerStore();
  const node = start({
    store,
    verdictOf: (_, index): Verdict => {
      if (options.isQuiet?.(index) === false) return ALLOW;
      if (node.clock.wallClockMs() >= openAtMs) return ALLOW;
      return { kind: "defer", untilMs: openAtMs, reason: "ownQuietHours" };
    },
  });
  const openAtMs = node.clock.wallClockMs() + quietMs;
  return { ...node, store, openAtMs };
}

test("DL4, DF1 — who is put off leaves his row, and gets it in a later one when his time has come", async () => {
  const { store, clock, open, ack, poke, taken, events, timers, openAtMs } = quietFor(60_000);
  const index = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 1 });
  poke(store.plan(0, notificationOf({ id: idOf(1) }), { members: [index] }));
  await clock.advance(FLUSHED_MS);
  expect(taken()).toEqual([]);
  expect(store.rows.get("0/1")?.state).toBe("closed");
  expect(store.setOf(0, 1, "moved")).toEqual([0]);
  expect([...timers.memory.rows.values()].map(({ dueAtMs }) => dueAtMs)).toEqual([openAtMs]);
  await clock.advance(60_000 - FLUSHED_MS - 1);
  expect(taken()).toEqual([]);
  await clock.advance(600);
  expect(taken()).toEqual(["2→1"]);
  await ack(1, index, 2);
  await clock.advance(FLUSHED_MS);
  expect(store.setOf(0, 2, "deliveredSocket")).toEqual([0]);
  expect(events.filter((event) => /delivered|noDevice/.test(event))).toEqual(["deliveredSocket 2"]);
  expect(timers.memory.rows.size).toBe(0);
});

test("DL4 — in a broadcast only those are put off who are asked to wait", async () => {
  const started = quietFor(60_000, { isQuiet: (index) => index % 2 === 0 });
  const { store, clock, poke, timers } = started;
  for (let n = 0; n < 100; n++) store.addRecipient(0, `p${n}`);
  await clock.advance(0);
  poke(store.plan(0, notificationOf({ id: idOf(1) }), { kind: "broadcast" }));
  await clock.advance(FLUSHED_MS);
  expect(store.setOf(0, 1, "noDevice").length).toBe(50);
  expect(store.setOf(0, 1, "moved")).toEqual(Array.from({ length: 50 }, (_, n) => 2 * n));
  expect(timers.memory.rows.size).toBe(1); // one for all of them
  await clock.advance(60_000);
  expect(store.rows.get("0/2")).toMatchObject({ members: null, state: "closed" });
  expect(store.setOf(0, 2, "noDevice").length).toBe(50);
});

test("RD4, D3 — what comes meanwhile waits until the row has been left, and then goes out", async () => {
  const first = quietFor(60_000);
  const { store, clock, open, poke, taken } = first;
  const index = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 1 });
  poke(store.plan(0, notificationOf({ id: idOf(1) }), { members: [index] }));
  await clock.advance(0);
  store.failuresLeft = 1; // the first flush
  await clock.advance(61_000); // by now nothing is quiet
  poke(store.plan(0, notificationOf({ id: idOf(2) }), { members: [index] }));
  await clock.advance(2_000);
  const offsets = taken().map((one) => Number.parseInt(one, 10));
  expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
  expect(offsets.length).toBe(2);
});

test("SD7 — a session that opens in quiet time is sent nothing that is put off, and is not late for it", async () => {
  const { store, clock, open, poke, taken } = quietFor(60_000);
  const index = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 1 });
  poke(store.plan(0, notificationOf({ id: idOf(1) }), { members: [index] }));
  const opening = open({ recipientId: "ada", sid: 2, position: { epoch: "e1", offset: 0 } });
  await clock.advance(FLUSHED_MS);
  expect(await opening).toMatchObject({ kind: "opened", recovered: true, offset: 0, missed: 0 });
  expect(store.setOf(0, 1, "moved")).toEqual([0]);
  await clock.advance(60_600);
  expect(taken()).toEqual(["2→1,2"]);
});

test("D1 — an owner that dies with people on their way: the next one puts off who had not left", async () => {
  const { store, clock, poke, node, openAtMs } = quietFor(60_000);
  for (let n = 0; n < 3; n++) store.addRecipient(0, `p${n}`);
  await clock.advance(0);
  poke(store.plan(0, notificationOf({ id: idOf(1) }), { members: [0, 1, 2] }));
  await clock.advance(0);
  node.stop(); // nothing was written
  expect(store.setOf(0, 1, "moved")).toEqual([]);
  const next = start({
    store,
    epoch: 2,
    isFirst: true,
    verdictOf: () => ({ kind: "defer", untilMs: openAtMs, reason: "ownQuietHours" }),
  });
  await next.clock.advance(FLUSHED_MS);
  expect(store.setOf(0, 1, "moved")).toEqual([0, 1, 2]);
  expect(next.timers.memory.rows.size).toBe(1);
});

test("RD4 — it expires before its time comes: that is its outcome", async () => {
  const { store, clock, poke } = quietFor(60_000);
  const index = store.addRecipient(0, "ada");
  await clock.advance(0);
  const short = notificationOf({ id: idOf(1), expiresAtMs: clock.wallClockMs() + 5_000 });
  poke(store.plan(0, short, { members: [index] }));
  await clock.advance(6_000);
  expect(store.setOf(0, 1, "moved")).toEqual([0]);
  expect(store.setOf(0, 2, "expired")).toEqual([0]);
});

test("DF2 — a timer that says nothing is tried again and buried, and holds up no other", async () => {
  const { store, clock, poke, timers, events } = quietFor(60_000);
  const index = store.addRecipient(0, "ada");
  await clock.advance(0);
  timers.memory.put({
    partition: 0,
    kind: "row",
    key: "broken",
    tenantId: "acme",
    dueAtMs: 0,
    payload: { notificationId: idOf(9), reason: "ownQuietHours", count: 3 },
  });
  poke(store.plan(0, notificationOf({ id: idOf(1) }), { members: [index] }));
  await clock.advance(61_000);
  expect(store.setOf(0, 2, "noDevice")).toEqual([0]);
  expect(events.some((event) => event.startsWith("timer failed: Error: a row that waits"))).toBe(
    true,
  );
});

test("DF2 — one row that the store cannot take fails by itself, and not those that are due with it", async () => {
  const { store, clock, timers, events } = quietFor(0);
  store.addRecipient(0, "ada");
  const release = store.releaseRows.bind(store);
  store.releaseRows = async (home, releases) => {
    if (releases.some(({ members }) => members.kind === "members" && members.members.includes(9)))
      throw new Fault("no such number", { code: "store_rejected", isRetryable: false });
    return release(home, releases);
  };
  await clock.advance(0);
  for (const [n, member] of [0, 9, 0].entries()) {
    const notification = notificationOf({ id: idOf(n + 1), expiresAtMs: 1e13 });
    store.notifications.set(notification.id, { notification, audience: { kind: "broadcast" } });
    const payload = {
      notificationId: notification.id,
      reason: "holiday",
      count: 1,
      members: [member],
    };
    const place = { partition: 0, kind: "row", key: `${n}`, tenantId: "acme", dueAtMs: 0 };
    timers.memory.put({ ...place, payload });
  }
  await clock.advance(1_000);
  expect([...store.rows.values()].map(({ notificationId }) => notificationId).toSorted()).toEqual([
    idOf(1),
    idOf(3),
  ]);
  expect(events.filter((event) => event.startsWith("timer failed")).length).toBe(1);
});

test("RD4 — put off to an instant that has passed by the database's clock, he comes back a second later at the soonest", async () => {
  const store = new FakeLedgerStore();
  const started = start({
    store,
    verdictOf: (): Verdict => ({
      kind: "defer",
      untilMs: started.clock.wallClockMs(),
      reason: "holiday",
    }),
  });
  const { clock, poke } = started;
  const index = store.addRecipient(0, "ada");
  await clock.advance(0);
  poke(store.plan(0, notificationOf({ id: idOf(1), expiresAtMs: 1e13 }), { members: [index] }));
  await clock.advance(10_000);
  expect(store.rows.size).toBeLessThanOrEqual(11); // not one for each flush
  expect(store.rows.size).toBeGreaterThan(5);
});
