// Goal: D6: what each structure of a node holds is told, and what it has refused or forgotten. Method: a whole node
// on a fake clock, filled until it is at the limit; for queues of statements the parts alone, on a store that does not
// answer.
import { policyRequestSchema } from "@carillon/contracts";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import type { ControlStore } from "./control-book.ts";
import { DeferredRows } from "./deferred-rows.ts";
import { DELIVERY_DEFAULTS } from "./delivery-limits.ts";
import { ExpansionWriter } from "./expansion-writer.ts";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { ClaimedTimer } from "./ports.ts";
import type { PolicyStore } from "./tenant-rules-book.ts";
import { GATEWAY, idOf, start } from "./test-delivery.ts";
import { TimerStatements } from "./timer-statements.ts";
import { ALLOW } from "./verdict.ts";

const NOTHING = {
  ...{ expansions: 0, releases: 0, timer_changes: 0, gateway_sends: 0, openings: 0, slices: 0 },
  ...{
    unwritten_reports: 0,
    settling: 0,
    recent_deliveries: 0,
    controls: 0,
    rates: 0,
    tail: 0,
    envelopes: 0,
  },
};
const NONE_REFUSED = {
  ...{ expansions: 0, releases: 0, timer_changes: 0, openings: 0 },
  ...{ unwritten_reports: 0, recent_deliveries: 0 },
};

const CAP = { maxCount: 100, perSeconds: 3_600 };
const policies: PolicyStore = {
  async findChanged(known) {
    const policy = policyRequestSchema.parse({ frequencyCap: CAP });
    const record = { policy, changedAtMs: 1, changedIn: "fra" };
    return known.length > 0 ? [] : [{ tenantId: "acme", record }];
  },
  readRecent: async () => [],
};
const paused: ControlStore = {
  readChanged: async () => [{ notificationId: idOf(99), state: "paused" }],
  wake: async () => undefined,
};

test("D6 — what a node remembers for caps, of controls, of reports and of closed rows is told, and what it forgot", async () => {
  const store = new FakeLedgerStore();
  const limits = { recentMax: 2, unwrittenReportsMax: 2 };
  const { node, clock, open, ack, poke } = start({ store, policies, controls: paused, limits });
  const bounded = () => node.stats().bounded;
  store.addRecipient(0, "ada");
  expect(bounded()).toEqual({ held: NOTHING, refused: NONE_REFUSED });
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 1 });
  for (const n of [1, 2, 3]) poke(store.plan(0, notificationOf({ id: idOf(n) }), { members: [0] }));
  await clock.advance(0);
  const handed = { ...NOTHING, controls: 1, recent_deliveries: 2, envelopes: 3 };
  expect(bounded().held).toEqual(handed);
  expect(bounded().refused).toEqual({ ...NONE_REFUSED, recent_deliveries: 1 });
  await ack(1, 0, 3);
  const told = { kind: "report" as const, gatewayId: GATEWAY, acks: [], closed: [] };
  for (const offset of [1, 2, 3])
    node.report(0, { ...told, reads: [[1, 0, offset]], acknowledges: [] });
  expect(bounded().held).toEqual({ ...handed, unwritten_reports: 2, tail: 3 });
  expect(bounded().refused).toEqual({
    ...{ ...NONE_REFUSED, recent_deliveries: 1, unwritten_reports: 1 },
  });
  await clock.advance(200);
  expect(bounded().held).toEqual({ ...handed, tail: 3 });
  node.lose([0]);
  expect(bounded().held).toEqual({ ...NOTHING, controls: 1, envelopes: 3 });
  expect(bounded().refused).toMatchObject({ recent_deliveries: 1, unwritten_reports: 1 }); // counters
});

test("D6 — who waits until it is written that he is not handed something, and sessions that wait for it, are told", async () => {
  const store = new FakeLedgerStore();
  const { node, clock, open, poke } = start({
    store,
    verdictOf: (_, __, { offset }) =>
      offset === 1 ? { kind: "suppress", outcome: "cancelled" } : ALLOW,
  });
  const held = () => node.stats().bounded.held;
  store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 1 });
  for (const n of [1, 2]) poke(store.plan(0, notificationOf({ id: idOf(n) }), { members: [0] }));
  await clock.advance(0);
  store.failuresLeft = 2; // of flushes
  expect(held()).toMatchObject({ settling: 1, openings: 0 });
  const position = { epoch: "e1", offset: 0 };
  const opening = open({ recipientId: "ada", sid: 2, position });
  expect(held()).toMatchObject({ settling: 1, openings: 1 });
  await clock.advance(5_000);
  await opening;
  expect(held()).toMatchObject({ settling: 0, openings: 0 });
});

const here = {
  ...{ home: "fra", clock: new FakeClock(), rowsMax: 1 },
  isHeld: () => true,
  onFenced: () => undefined,
  onFault: () => undefined,
};
const never = () => new Promise<never>(() => undefined);
const held = { partition: 0, epoch: 1 };

test("D6 — statements that wait for the store are counted up to their limit, and those that are refused", () => {
  const expansions = new ExpansionWriter({ ...here, store: { writeRows: never } });
  const entry = { toUpdate: () => held } as unknown as LedgerEntry;
  const deferred = new DeferredRows({
    ...{ ...here, store: { releaseRows: never } },
    intake: { onRows: () => undefined },
    partitionOf: () => undefined,
  });
  const payload = { notificationId: idOf(1), reason: "sendAt", count: 0 };
  const timer = { id: 1, payload } as unknown as ClaimedTimer;
  const changes = new TimerStatements({
    ...{ ...here, limits: { ...DELIVERY_DEFAULTS.timers, claimMax: 1 } },
    store: { claim: never, write: never },
  });
  const change = { ...held, kind: "k", key: "1", change: "cancel" } as const;
  for (const [queue, add, queueMax, runningMax] of [
    [expansions, () => expansions.commit(held as Partition, entry), 65_536, 2],
    [deferred, async () => await deferred.handler.fire(timer, held as never), 65_536, 1],
    [changes, () => changes.add(change), 16_384, 1],
  ] as const) {
    const refused: Promise<unknown>[] = [];
    for (let count = 0; count < queueMax + runningMax + 3; count++)
      refused.push(add().catch((cause: unknown) => cause));
    expect([queue.waitingCount, queue.refusedCount]).toEqual([queueMax, 3]);
  }
});
