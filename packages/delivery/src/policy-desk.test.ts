// packages/delivery/src/policy-desk.test.ts
// Goal: PD1 and what the policy decides in a whole node: quiet hours put off, opt-outs and caps hold back, critical
// ones are let through. Method: a register in memory, one person with a session, a fake clock.
import { type Policy, policyRequestSchema, preferencesRequestSchema } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { expect, test } from "vitest";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import type { PolicyStore } from "./tenant-rules-book.ts";
import { GATEWAY, idOf, start } from "./test-delivery.ts";

const HOUR_MS = 3_600_000;
const FLUSHED_MS = 150;

function storeWith(policy: Policy, recent: Awaited<ReturnType<PolicyStore["readRecent"]>> = []) {
  const asked: unknown[] = [];
  const record = { policy, changedAtMs: 1, changedIn: "fra" };
  const policies: PolicyStore = {
    findChanged: async (known) => (known.length > 0 ? [] : [{ tenantId: "acme", record }]),
    async readRecent(_, partitions, question) {
      asked.push([partitions, question]);
      return recent;
    },
  };
  return { policies, asked };
}

async function started(
  input: object,
  options: {
    preferences?: object;
    recent?: number;
    recentAheadMs?: number;
    isAway?: boolean;
    unwritten?: number;
  } = {},
) {
  const delivered = Bitset.of([0]).toBytes();
  const row = {
    partition: 0,
    members: [0],
    deliveredSocket: delivered,
    receivedLate: new Uint8Array(),
  };
  const now = Date.parse("2027-01-12T21:00:00Z");
  const recent = Array.from({ length: options.recent ?? 0 }, () => ({ ...row, acceptedAtMs: now }));
  if (options.recentAheadMs !== undefined)
    recent.push({ ...row, acceptedAtMs: now + options.recentAheadMs });
  const { policies, asked } = storeWith(policyRequestSchema.parse(input), recent);
  const store = new FakeLedgerStore();
  const preferences =
    options.preferences === undefined ? null : preferencesRequestSchema.parse(options.preferences);
  const index = store.addRecipient(0, "ada", { timeZone: "UTC", preferences });
  const lasting = { acceptedAtMs: now, expiresAtMs: now + 48 * HOUR_MS };
  for (let n = 1; n <= (options.unwritten ?? 0); n++)
    store.plan(0, notificationOf({ id: idOf(n), ...lasting }), { members: [index] });
  const node = start({ store, policies, isFirst: options.unwritten === undefined });
  node.clock.jumpWallClock(now - node.clock.wallClockMs());
  await node.clock.advance(0);
  if (options.isAway !== true) await node.open({ recipientId: "ada", sid: 1 });
  const post = async (n: number, more: Parameters<typeof notificationOf>[0] = {}) => {
    const acceptedAtMs = node.clock.wallClockMs();
    const times = { acceptedAtMs, expiresAtMs: acceptedAtMs + 48 * HOUR_MS };
    node.poke(
      store.plan(0, notificationOf({ id: idOf(n), ...times, ...more }), { members: [index] }),
    );
    await node.clock.advance(FLUSHED_MS);
  };
  return { ...node, store, index, post, asked };
}

const night = [{ from: "20:00", until: "07:00" }];
const nights = {
  mon: night,
  tue: night,
  wed: night,
  thu: night,
  fri: night,
  sat: night,
  sun: night,
};

test("PV2 — posted at night it is shown in the morning, a critical one at once", async () => {
  const { post, taken, clock, store, ack, index } = await started({
    quietHours: { forAll: { days: nights } },
  });
  await post(1);
  expect(taken()).toEqual([]);
  expect(store.setOf(0, 1, "moved")).toEqual([0]);
  await post(2, { priority: "critical" });
  expect(taken()).toEqual(["2→1"]);
  await ack(1, index, 2);
  await clock.advance(10 * HOUR_MS - 2 * FLUSHED_MS - 1);
  expect(taken()).toEqual([]);
  await clock.advance(600);
  expect(taken()).toEqual(["3→1"]); // its new offset
});

test("PV2 — who has opted out is not sent it, and has that outcome", async () => {
  const preferences = { categories: { news: { socket: false } } };
  const { post, taken, store, events } = await started({}, { preferences });
  await post(1, { category: "news" });
  await post(2, { category: "shifts" });
  expect(taken()).toEqual(["2→1"]);
  expect(store.setOf(0, 1, "optedOut")).toEqual([0]);
  expect(events.filter((event) => event.startsWith("optedOut"))).toEqual(["optedOut 1"]);
});

test("PD3 — who has no zone of his own waits for the tenant's, and for another when the policy says so", async () => {
  const zoned = await started({ timeZone: "America/New_York" });
  const { clock, store, poke } = zoned;
  store.addRecipient(0, "tom", { timeZone: "Asia/Tokyo" });
  const nobody = store.addRecipient(0, "ned", { timeZone: null });
  const wallMs = Date.parse("2027-01-13T09:00:00Z");
  const times = { acceptedAtMs: clock.wallClockMs(), expiresAtMs: wallMs + 48 * HOUR_MS };
  const members = [nobody - 1, nobody];
  const sent = notificationOf({ id: idOf(1), sendAtLocalMs: wallMs, ...times });
  poke(store.plan(0, sent, { members }));
  await clock.advance(FLUSHED_MS);
  const dueAt = [...zoned.timers.memory.rows.values()].map(({ dueAtMs }) => dueAtMs);
  expect(dueAt.map((ms) => new Date(ms).toISOString())).toEqual([
    "2027-01-13T00:00:00.000Z", // Tokyo
    "2027-01-13T14:00:00.000Z", // New York, the tenant's
  ]);
});

test("PD3 — at nine of the clock that each one has, and nobody without a zone earlier than in UTC", async () => {
  const { post, taken, clock, store, poke } = await started({});
  const zones = ["Asia/Tokyo", "Europe/Berlin", "America/New_York", "Mars/Olympus"];
  for (const zone of zones) store.addRecipient(0, zone, { timeZone: zone });
  const wallMs = Date.parse("2027-01-13T09:00:00Z");
  const startMs = clock.wallClockMs();
  await post(1, { sendAtLocalMs: wallMs, priority: "critical" });
  const everybody = {
    sendAtLocalMs: wallMs,
    acceptedAtMs: startMs,
    expiresAtMs: wallMs + 48 * HOUR_MS,
  };
  poke(store.plan(0, notificationOf({ id: idOf(2), ...everybody }), { members: [0, 1, 2, 3, 4] }));
  const outcomesAt = async (text: string) => {
    await clock.advance(Date.parse(text) - clock.wallClockMs() + 1_000);
    const rows = [...store.rows.values()].filter(
      ({ notificationId }) => notificationId === idOf(2),
    );
    return rows
      .flatMap(({ offset, members }) =>
        store.setOf(0, offset, "noDevice").map((position) => members?.[position] ?? -1),
      )
      .toSorted((a, b) => a - b);
  };
  expect(await outcomesAt("2027-01-12T23:59:00Z")).toEqual([]);
  expect(await outcomesAt("2027-01-13T00:00:00Z")).toEqual([1]); // Tokyo
  expect(await outcomesAt("2027-01-13T08:00:00Z")).toEqual([1, 2]);
  expect(taken()).toEqual([]); // ada is in UTC
  expect(await outcomesAt("2027-01-13T09:00:00Z")).toEqual([1, 2, 4]);
  expect(taken().length).toBe(2);
  expect(await outcomesAt("2027-01-13T14:00:00Z")).toEqual([1, 2, 3, 4]);
});

const cap = { frequencyCap: { maxCount: 2, perSeconds: 3_600, priorities: ["normal" as const] } };

test("PD1 — beyond the cap nothing is sent, before its acks too; it counts off with time", async () => {
  const { post, taken, store, clock, ack, index } = await started(cap);
  await post(1);
  await post(2);
  await post(3);
  await post(4, { priority: "high" });
  expect(taken()).toEqual(["1→1", "2→1", "4→1"]);
  expect(store.setOf(0, 3, "capped")).toEqual([0]);
  await ack(1, index, 4);
  await clock.advance(HOUR_MS);
  await post(5);
  expect(taken()).toEqual(["5→1"]);
});

test("PD1 — a new owner counts what others delivered within the window", async () => {
  const { post, taken, store, asked } = await started(cap, { recent: 2 });
  await post(1);
  expect(taken()).toEqual([]);
  expect(store.setOf(0, 1, "capped")).toEqual([0]);
  expect(asked).toEqual([
    [[0], expect.objectContaining({ tenantId: "acme", priorities: ["normal"] })],
  ]);
});

/** Posted while he is in his grace; so nothing has an outcome when his next session opens. */
async function awayWith(postsCount: number, outside: Parameters<typeof started>[1] = {}) {
  const node = await started(cap, outside);
  const nothing = { acks: [], reads: [], acknowledges: [] };
  node.node.report(0, {
    ...{ kind: "report", gatewayId: GATEWAY, ...nothing },
    closed: [[1, node.index]],
  });
  for (let n = 1; n <= postsCount; n++) await node.post(n);
  return node;
}

test("PD1 — what a region accepted whose clock is ahead makes a new owner forget nothing", async () => {
  const { post, taken, store } = await started(cap, { recent: 2, recentAheadMs: 2 * HOUR_MS });
  await post(1);
  expect(taken()).toEqual([]);
  expect(store.setOf(0, 1, "capped")).toEqual([0]);
});

test("PD1 — what one opening sends counts within it: of ten held rows the cap lets two through", async () => {
  const { open, clock, taken, store } = await awayWith(5);
  const opening = open({ recipientId: "ada", sid: 2, position: { epoch: "e1", offset: 0 } });
  await clock.advance(FLUSHED_MS * 3);
  expect(await opening).toMatchObject({ kind: "opened", recovered: true, missed: 2 });
  expect(taken()).toEqual(["1→2", "2→2"]);
  expect([3, 4, 5].map((offset) => store.setOf(0, offset, "capped"))).toEqual([[0], [0], [0]]);
});

test("PD1 — what an opening has sent counts once, for what comes after it", async () => {
  const { open, clock, taken, store, post, ack, index } = await awayWith(1);
  const opening = open({ recipientId: "ada", sid: 2, position: { epoch: "e1", offset: 0 } });
  await clock.advance(FLUSHED_MS);
  await opening;
  await post(2);
  await post(3);
  expect(taken()).toEqual(["1→2", "2→2"]);
  await ack(2, index, 2);
  expect(store.setOf(0, 3, "capped")).toEqual([0]);
});

test("PD1 — what one turn hands counts within it: of three that waited for a write two are let through", async () => {
  const preferences = { categories: { news: { socket: false } } };
  const { store, clock, post, taken } = await started(cap, { preferences });
  store.failuresLeft = 1_000; // of every flush: what follows the first waits until that is written
  await post(1, { category: "news" });
  for (const n of [2, 3, 4]) await post(n);
  expect(taken()).toEqual([]);
  store.failuresLeft = 0;
  await clock.advance(5_000);
  expect(taken()).toEqual(["2→1", "3→1"]);
  expect(store.setOf(0, 4, "capped")).toEqual([0]);
});

test("PD1 — what was on a socket that broke counts once: it is sent to the next session, and no more than it", async () => {
  const { store, clock, node, index, open, post, taken } = await started(cap);
  await post(1);
  await post(2);
  expect(taken()).toEqual(["1→1", "2→1"]);
  const nothing = { acks: [], reads: [], acknowledges: [] };
  node.report(0, { ...{ kind: "report", gatewayId: GATEWAY, ...nothing }, closed: [[1, index]] });
  await post(3);
  const opening = open({ recipientId: "ada", sid: 2, position: { epoch: "e1", offset: 0 } });
  await clock.advance(2 * FLUSHED_MS);
  await opening;
  expect(taken()).toEqual(["1→2", "2→2"]);
  expect(store.setOf(0, 3, "capped")).toEqual([0]);
});

test("PD1 — what an earlier owner has sent, and no outcome says so, counts for the new one", async () => {
  const { store, open, post, taken, clock, ack, index } = await started(cap, {
    ...{ isAway: true, unwritten: 3 },
  });
  await clock.advance(FLUSHED_MS);
  const place = { position: { epoch: "e1", offset: 2 }, ackedOffset: 1 };
  const opening = open({ recipientId: "ada", sid: 1, ...place });
  await clock.advance(2 * FLUSHED_MS);
  expect(await opening).toMatchObject({ recovered: true, missed: 0 });
  expect(store.setOf(0, 3, "capped")).toEqual([0]);
  await ack(1, index, 2);
  await post(4);
  expect(taken()).toEqual([]);
  expect(store.setOf(0, 4, "capped")).toEqual([0]);
  await clock.advance(HOUR_MS + 1_000); // FC1
  await post(5);
  await post(6);
  expect(taken()).toEqual(["5→1", "6→1"]); // each of the first two was counted once
});
