// packages/delivery/src/moves-repeated.test.ts
// Goal: RM1, SD7 where writes fail and where a place lies below the tail: nobody stays on his way for ever, and
// nobody is sent what he was put off from. Method: a store that fails when told, a fake clock.
import { Bitset } from "@carillon/kernel";
import { expect, test } from "vitest";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import { idOf, start } from "./test-delivery.ts";
import { ALLOW, type Verdict } from "./verdict.ts";

function quietNode(
  store: FakeLedgerStore,
  isQuiet: (index: number, offset: number) => boolean,
  more: { epoch?: number; isFirst?: boolean } = {},
) {
  const node = start({
    ...{ store, ...more },
    limits: { tailMax: 4 },
    verdictOf: (_, index, entry): Verdict =>
      isQuiet(index, entry.offset)
        ? { kind: "defer", untilMs: untilMs(), reason: "ownQuietHours" }
        : ALLOW,
  });
  const untilMs = () => node.clock.wallClockMs() + 3_600_000;
  return node;
}

test("RM1 — put off while an earlier write of the row is repeated: they leave with the next one", async () => {
  const store = new FakeLedgerStore();
  const { clock, node, poke, open, events, timers } = quietNode(store, () => true);
  const [ada, bob] = [store.addRecipient(0, "ada"), store.addRecipient(0, "bob")];
  await clock.advance(0);
  await open({ recipientId: "bob", sid: 1 });
  node.report(0, {
    ...{ kind: "report", gatewayId: "gw-1", acks: [], reads: [], acknowledges: [] },
    closed: [[1, bob]],
  });
  const notification = notificationOf({ id: idOf(1), expiresAtMs: clock.wallClockMs() + 1e8 });
  poke(store.plan(0, notification, { members: [ada, bob] }));
  await clock.advance(4_950); // ada is put off at once; bob may come back for 5 s
  expect(store.setOf(0, 1, "moved")).toEqual([0]);
  const [cleo, dora] = [store.addRecipient(0, "cleo"), store.addRecipient(0, "dora")];
  for (const [sid, recipientId] of [[2, "dora"]] as const) {
    await open({ recipientId, sid });
    node.report(0, {
      ...{ kind: "report", gatewayId: "gw-1", acks: [], reads: [], acknowledges: [] },
      closed: [[sid, dora]],
    });
  }
  const second = notificationOf({ id: idOf(2), expiresAtMs: clock.wallClockMs() + 1e8 });
  store.failuresLeft = 1_000;
  poke(store.plan(0, second, { members: [cleo, dora] }));
  await clock.advance(6_000); // cleo's write fails again and again, dora is put off meanwhile
  expect(events.some((event) => event.startsWith("fault"))).toBe(true);
  store.failuresLeft = 0;
  await clock.advance(10_000);
  expect(store.setOf(0, 2, "moved")).toEqual([0, 1]);
  expect(store.rows.get("0/2")?.state).toBe("closed");
  expect(timers.memory.rows.size).toBeGreaterThanOrEqual(3);
});

test("SD7 — a place below the tail: what is put off as the session opens is not sent from the database", async () => {
  const store = new FakeLedgerStore();
  const ada = store.addRecipient(0, "ada");
  for (let n = 1; n <= 8; n++) {
    const row = store.plan(0, notificationOf({ id: idOf(n), expiresAtMs: 1e13 }), {
      members: [ada],
    });
    const delivered = { ...row.sets, deliveredSocket: Bitset.of([0]).toBytes() };
    if (n !== 3) store.rows.set(`0/${n}`, { ...row, state: "closed", sets: delivered });
  }
  const { clock, open, taken } = quietNode(store, (_, offset) => offset === 3, {
    epoch: 2,
    isFirst: false,
  });
  await clock.advance(0);
  const opening = open({ recipientId: "ada", sid: 1, position: { epoch: "e1", offset: 1 } });
  await clock.advance(1_000);
  expect(await opening).toMatchObject({ kind: "opened" });
  expect(taken().filter((one) => one.startsWith("3→"))).toEqual([]);
  expect(store.setOf(0, 3, "moved")).toEqual([0]);
});
