// Goal: GW12, GW13, GW28, GW34 of reports.ts, limits included. Method: a bus that takes, or refuses,
// what it is given, and answers as told; time by FakeClock.
import type { RequestOutcome } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  partitionRequestSchema,
  type ReportReply,
  type SessionReport,
  UNKNOWN_INDEX,
} from "@carillon/contracts";
import { createSeededRandom } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { beforeEach, expect, test } from "vitest";
import { GATEWAY_LIMITS } from "./limits.ts";
import { type Reporter, Reports } from "./reports.ts";

const {
  reportClosedMax: closedMax,
  reportEntriesMax: entriesMax,
  reportReceiptsMax: receiptsMax,
  receiptEntriesMax,
} = GATEWAY_LIMITS;
const session = (sid: number, index = sid + 1_000): Reporter => ({
  ...{ sid, index },
  ...{ home: "fra", partition: 7 },
});

let clock: FakeClock;
let reports: Reports;
let hasOwner: boolean;
let takesMax: number; // messages that the bus still takes
let told: SessionReport[];
let sizes: number[];
let answerOf: () => Promise<RequestOutcome> | RequestOutcome; // to receipts
const REPLY: ReportReply = { ownerId: "owner-1" };
const isKept = (): RequestOutcome => ({ kind: "reply", data: encodeMessage(REPLY) });

beforeEach(() => {
  clock = new FakeClock();
  [hasOwner, takesMax, told, sizes, answerOf] = [true, Infinity, [], [], isKept];
  const bus = {
    publish(_: string, data: Uint8Array) {
      if (takesMax-- <= 0) return { kind: "disconnected" } as const;
      const decoded = decodeMessage(partitionRequestSchema, data);
      if (decoded.kind === "message" && decoded.message.kind === "report")
        told.push(decoded.message);
      sizes.push(data.length);
      return { kind: "sent" } as const;
    },
    async request(subject: string, data: Uint8Array, timeoutMs: number): Promise<RequestOutcome> {
      expect(timeoutMs).toBe(GATEWAY_LIMITS.receiptTimeoutMs);
      const outcome = bus.publish(subject, data);
      return outcome.kind === "sent" ? await answerOf() : outcome;
    },
  };
  const mayTell = (): boolean => hasOwner;
  const random = { ...createSeededRandom(1), next: () => 0.5 }; // no jitter
  const options = { gatewayId: "gateway-1", limits: GATEWAY_LIMITS, mayTell };
  reports = new Reports(options, { bus, clock, random });
});
const giveOwner = (): void => {
  hasOwner = true;
  reports.release("fra", 7);
};
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

test("GW12 — the first at once, those of the next 20 ms together", async () => {
  reports.ack(session(1), 5);
  expect(told.map(({ acks }) => acks)).toEqual([[[1, 1_001, 5]]]);
  reports.ack(session(1), 6);
  reports.receipt("reads", session(1), 6);
  reports.ack(session(1), 8);
  reports.ack(session(1), 7);
  reports.closed(session(1));
  await clock.advance(19);
  expect(told.length).toBe(1);
  await clock.advance(1);
  expect(told.slice(1)).toEqual([
    {
      kind: "report",
      gatewayId: "gateway-1",
      acks: [[1, 1_001, 8]],
      reads: [],
      acknowledges: [],
      closed: [[1, 1_001]],
    },
    {
      kind: "report",
      gatewayId: "gateway-1",
      acks: [],
      reads: [[1, 1_001, 6]],
      acknowledges: [],
      closed: [],
    },
  ]);
  expect([reports.waitingCount, reports.receiptsAskedCount, clock.timersCount]).toEqual([0, 0, 0]);
});

test("GW13 — sessions come, ack and go without an owner: the longest closed make room", () => {
  hasOwner = false;
  reports.ack(session(0), 3); // stays
  for (const sid of range(1, 3 * closedMax)) {
    reports.ack(session(sid), sid);
    reports.closed(session(sid));
  }
  expect([reports.waitingCount, reports.closedDroppedTotal]).toEqual([
    1 + 2 * closedMax,
    2 * closedMax,
  ]);
  giveOwner();
  const kept = range(2 * closedMax + 1, 3 * closedMax);
  expect(told.length).toBe(1);
  expect(told[0]?.acks.map(([sid]) => sid)).toEqual([0, ...kept]);
  expect(told[0]?.closed.map(([sid]) => sid)).toEqual(kept);
  expect([reports.waitingCount, reports.receiptsDroppedTotal]).toEqual([0, 0]);
});

test("GW13 — a session found closed a thousand times waits once, with its index if known", () => {
  hasOwner = false;
  for (let count = 0; count < 1_000; count++) {
    reports.closed(session(1, UNKNOWN_INDEX));
    reports.closed(session(2));
    reports.closed(session(2, UNKNOWN_INDEX));
  }
  reports.closed(session(1));
  expect(reports.waitingCount).toBe(2);
  giveOwner();
  expect(told.map(({ closed }) => closed)).toEqual([
    [
      [1, 1_001],
      [2, 1_002],
    ],
  ]);
  expect(reports.closedDroppedTotal).toBe(0);
});

test("GW13 — receipts beyond the limit: the oldest of their kind makes room", () => {
  hasOwner = false;
  for (const offset of range(1, receiptsMax + 2)) reports.receipt("reads", session(1), offset);
  reports.receipt("acknowledges", session(1), 1);
  expect([reports.waitingCount, reports.receiptsDroppedTotal]).toEqual([receiptsMax + 1, 2]);
  giveOwner();
  const offsets = told.flatMap(({ reads }) => reads.map(([, , offset]) => offset));
  expect(offsets).toEqual(range(3, receiptsMax + 2));
  expect(told.flatMap(({ acknowledges }) => acknowledges)).toEqual([[1, 1_001, 1]]);
});

test("GW13 — with an owner nothing is dropped, however much comes at once", async () => {
  const sids = range(1, 2 * closedMax + 2);
  for (const sid of sids) reports.closed(session(sid));
  for (const offset of range(1, receiptsMax + 2)) reports.receipt("reads", session(0), offset);
  await clock.advance(20);
  expect(told.flatMap(({ closed }) => closed.map(([sid]) => sid))).toEqual(sids);
  expect(told.flatMap(({ reads }) => reads).length).toBe(receiptsMax + 2);
  expect([reports.closedDroppedTotal, reports.receiptsDroppedTotal]).toEqual([0, 0]);
});

test("GW13 — a bus that is away is not asked each time", async () => {
  takesMax = 0;
  for (const sid of range(1, 3 * closedMax)) reports.closed(session(sid));
  expect(takesMax).toBe(-1); // asked once
  await clock.advance(20);
  expect([takesMax, reports.closedDroppedTotal]).toEqual([-2, 2 * closedMax]);
  takesMax = Infinity;
  reports.flush();
  expect(told.map(({ closed }) => closed.length)).toEqual([closedMax]);
});

test("GW28 — too much for one message: several, nothing twice, acks before ends, all below 1 MB", () => {
  hasOwner = false;
  const long = Number.MAX_SAFE_INTEGER - 100_000; // as many digits as there are
  const sids = range(long + 1, long + entriesMax + 1);
  for (const offset of range(long + 1, long + receiptsMax)) {
    reports.receipt("reads", session(long, long), offset);
    reports.receipt("acknowledges", session(long, long), offset);
  }
  for (const sid of sids) reports.ack(session(sid, long), long);
  for (const sid of sids.slice(-closedMax)) reports.closed(session(sid, long));
  giveOwner();
  expect(told.length).toBe(2 + (2 * receiptsMax) / receiptEntriesMax);
  expect(sizes.filter((bytes) => bytes > 540_000)).toEqual([]);
  expect(told.flatMap(({ acks }) => acks.map(([sid]) => sid))).toEqual(sids);
  expect(told.slice(0, 3).map(({ acks, closed }) => [acks.length, closed.length])).toEqual([
    [entriesMax, 0],
    [1, closedMax],
    [0, 0],
  ]);
  for (const kind of ["reads", "acknowledges"] as const) {
    const offsets = told.flatMap((report) => report[kind].map(([, , offset]) => offset));
    expect(offsets).toEqual(range(long + 1, long + receiptsMax));
  }
});

test("GW28 — the bus goes away between two of them: the rest is told when it is back", async () => {
  hasOwner = false;
  for (const offset of range(1, receiptsMax)) reports.receipt("reads", session(1), offset);
  reports.ack(session(1), 9);
  reports.closed(session(1));
  takesMax = 3;
  giveOwner();
  await clock.advance(0);
  const leftCount = receiptsMax - 2 * receiptEntriesMax;
  expect([told.length, reports.waitingCount, reports.receiptsAskedCount]).toEqual([
    3,
    leftCount,
    0,
  ]);
  reports.receipt("reads", session(2), 1);
  await clock.advance(20); // not asked each time
  expect(told.length).toBe(3);
  takesMax = Infinity;
  reports.flush();
  expect(told.map(({ acks, closed }) => [acks.length, closed.length]).slice(0, 2)).toEqual([
    [1, 1],
    [0, 0],
  ]);
  expect(told.flatMap(({ reads }) => reads)).toEqual([
    ...range(1, receiptsMax).map((offset) => [1, 1_001, offset]),
    [2, 1_002, 1],
  ]);
  await clock.advance(0);
  expect([reports.waitingCount, reports.receiptsAskedCount, clock.timersCount]).toEqual([0, 0, 0]);
});

test("GW34 — nobody there, no answer, or one that says nothing: told again, ever more seldom, until it is kept", async () => {
  const answers: RequestOutcome[] = [
    { kind: "no_responders" },
    { kind: "timeout" },
    { kind: "disconnected" },
    { kind: "reply", data: encodeMessage({ no: "owner" }) },
  ];
  const toldAtMs: number[] = [];
  answerOf = () => {
    toldAtMs.push(clock.monotonicMs());
    return answers.shift() ?? isKept();
  };
  reports.receipt("reads", session(1), 5);
  reports.ack(session(1), 5); // goes out once
  await clock.advance(600_000);
  expect(toldAtMs).toEqual([0, 250, 750, 1_750, 3_750]);
  expect(told.filter(({ reads }) => reads.length > 0).map(({ reads }) => reads)).toEqual(
    Array.from({ length: 5 }, () => [[1, 1_001, 5]]),
  );
  expect(told.flatMap(({ acks }) => acks)).toEqual([[1, 1_001, 5]]);
  expect([reports.waitingCount, reports.receiptsAskedCount, clock.timersCount]).toEqual([0, 0, 0]);
});

test("GW34 — the owner is gone before it has kept them: told to the next one as soon as it is known", async () => {
  const asked = Promise.withResolvers<RequestOutcome>();
  answerOf = () => asked.promise;
  reports.receipt("reads", session(1), 5);
  reports.receipt("acknowledges", session(2), 6);
  await clock.advance(100);
  expect(reports.receiptsAskedCount).toBe(2);
  hasOwner = false; // its beat says so
  asked.resolve({ kind: "timeout" });
  answerOf = isKept;
  await clock.advance(60_000);
  expect([told.length, reports.waitingCount, reports.receiptsAskedCount]).toEqual([2, 2, 0]);
  giveOwner();
  expect(told.slice(2).map(({ reads, acknowledges }) => [reads, acknowledges])).toEqual([
    [[[1, 1_001, 5]], [[2, 1_002, 6]]],
  ]);
  await clock.advance(0);
  expect([reports.waitingCount, reports.receiptsAskedCount, clock.timersCount]).toEqual([0, 0, 0]);
});

test("GW34, GW13 — an owner that never answers: what is asked for and what waits are bounded", async () => {
  let endAsked = (): void => undefined;
  const outcome = new Promise<RequestOutcome>((resolve) => {
    endAsked = () => resolve({ kind: "timeout" });
  });
  answerOf = () => outcome;
  for (const offset of range(1, 2 * receiptsMax)) reports.receipt("reads", session(1), offset);
  await clock.advance(20);
  expect([reports.receiptsAskedCount, reports.waitingCount, reports.receiptsDroppedTotal]).toEqual([
    receiptsMax,
    receiptsMax,
    0,
  ]);
  reports.receipt("reads", session(1), 2 * receiptsMax + 1);
  expect([reports.waitingCount, reports.receiptsDroppedTotal]).toEqual([receiptsMax, 1]);
  endAsked();
  await clock.advance(0);
  expect([reports.receiptsAskedCount, reports.waitingCount, reports.receiptsDroppedTotal]).toEqual([
    0,
    receiptsMax,
    receiptsMax + 1,
  ]);
  told = [];
  answerOf = () => ({ kind: "no_responders" });
  await clock.advance(250);
  expect(told.length).toBe(receiptsMax / receiptEntriesMax);
  told = [];
  answerOf = isKept;
  await clock.advance(500); // many fail at once: that is one failure
  expect(told.flatMap(({ reads }) => reads.map(([, , offset]) => offset))).toEqual(
    range(receiptsMax + 2, 2 * receiptsMax + 1),
  );
});

test("GW34 — after the stop nothing is told any more", async () => {
  answerOf = () => ({ kind: "timeout" });
  reports.receipt("reads", session(1), 5);
  await clock.advance(0);
  expect(clock.timersCount).toBe(1);
  reports.receipt("reads", session(2), 5);
  reports.stop();
  await clock.advance(60_000);
  expect(told.map(({ reads }) => reads.length)).toEqual([1, 2]);
  expect(clock.timersCount).toBe(0);
});
