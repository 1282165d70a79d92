// Goal: JO1–JO6. Method: a whole node on fake time for what it tells; the journal alone, with a store
// that fails as told, for what becomes of events.
import { createSeededRandom, Fault } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { DELIVERY_DEFAULTS } from "./delivery-limits.ts";
import { DeliveryJournal, type JournalLimits } from "./delivery-journal.ts";
import { Envelope } from "./envelope.ts";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import { isFailure, isSampled } from "./journal-rule.ts";
import { LedgerEntry, TERMINAL_SETS } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import { EMPTY_SETS, type JournalEvent } from "./ports.ts";
import { GATEWAY, idOf, start } from "./test-delivery.ts";

/** Everybody's story is too long to be kept, but for who is named or sampled. */
const MANY = 2_000;
const PARTITION = {
  partition: 7,
  epoch: 3,
  sessions: { of: () => [] },
} as unknown as Partition;

function broadcast(id = idOf(1)): LedgerEntry {
  const notification = notificationOf({ id });
  const row = {
    partition: 7,
    offset: 1,
    directoryVersion: 0,
    members: null,
    notificationId: id,
    state: "open" as const,
    movesCount: 0,
    sets: { ...EMPTY_SETS, targeted: new Uint8Array(MANY / 8).fill(255) },
  };
  return new LedgerEntry(row, new Envelope(notification, { kind: "broadcast" }));
}

function alone(limits: Partial<JournalLimits> = {}) {
  const clock = new FakeClock();
  const written: JournalEvent[] = [];
  const log: string[] = [];
  const plan = { failures: [] as unknown[], batches: [] as number[] };
  const journal = new DeliveryJournal({
    home: "fra",
    node: "w-1",
    store: {
      async append(_home, _node, events) {
        plan.batches.push(events.length);
        const failure = plan.failures.shift();
        if (failure !== undefined) throw failure;
        written.push(...events);
      },
    },
    clock,
    random: createSeededRandom(1),
    limits: { ...DELIVERY_DEFAULTS.journal, ...limits },
    retry: { baseMs: 100, factor: 2, maxMs: 1_000, jitterShare: 0 },
    onFault: (cause) => log.push(String(cause)),
    onCrash: (cause) => log.push(`crash ${String(cause)}`),
  });
  return { clock, written, log, plan, journal };
}
const away = (): Fault => new Fault("away", { code: "store_unavailable", isRetryable: true });
/** When, since the start; what; code; detail. */
const STARTED_AT_MS = new FakeClock().wallClockMs();
const told = (events: readonly JournalEvent[], index: number): string[] =>
  events
    .filter(([, , , of]) => of === index)
    .map(([, , , , atMs, , kind, code, detail]) =>
      [`${atMs - STARTED_AT_MS}`, kind, code, detail].filter((part) => part !== null).join(" "),
    );

test("JO1 — of an explicit recipient everything is told, in order: handed, sent, resent, outcome, receipts", async () => {
  const { store, clock, journal, poke, open, ack, node } = start();
  const ada = store.addRecipient(0, "ada");
  const ben = store.addRecipient(0, "ben");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  poke(store.plan(0, notificationOf({ id: idOf(1) }), { members: [ada, ben] }));
  await clock.advance(30_000); // no ack in time
  await ack(7, ada, 1);
  node.report(0, {
    kind: "report",
    gatewayId: GATEWAY,
    acks: [],
    reads: [[7, ada, 1]],
    acknowledges: [],
    closed: [],
  });
  await clock.advance(1_000);
  const session = '{"session":7}';
  expect(told(journal, ada)).toEqual([
    "0 handed",
    `0 sent ${GATEWAY} ${session}`,
    `30000 resent ${GATEWAY} ${session}`,
    `30000 outcome deliveredSocket {"gateway":"${GATEWAY}"}`,
    "30000 receipt read",
  ]);
  expect(told(journal, ben)).toEqual(["0 handed", "0 outcome noDevice"]);
  expect(new Set(journal.map(([partition, epoch, id]) => [partition, epoch, id].join()))).toEqual(
    new Set([`0,1,${idOf(1)}`]),
  );
  const seqs = journal.map(([, , , , , seq]) => seq);
  expect(seqs).toEqual(seqs.map((_, at) => at + 1));
});

test("JO1 — what a session is sent when it opens is told, and what a new owner goes on with", async () => {
  const store = new FakeLedgerStore();
  const first = start({ store });
  const ada = store.addRecipient(0, "ada");
  await first.clock.advance(0);
  await first.open({ recipientId: "ada", sid: 1 });
  first.poke(store.plan(0, notificationOf({ id: idOf(1) }), { members: [ada] }));
  await first.clock.advance(1_000);
  first.node.stop();
  const second = start({ store, epoch: 2, isFirst: false });
  await second.clock.advance(1_000);
  await second.open({ recipientId: "ada", sid: 2 });
  await second.clock.advance(1_000);
  expect([first.journal[0]?.[1], told(first.journal, ada)]).toEqual([
    1,
    ["0 handed", `0 sent ${GATEWAY} {"session":1}`],
  ]);
  expect([second.journal[0]?.[1], told(second.journal, ada)]).toEqual([
    2,
    ["0 handed", `1000 sent ${GATEWAY} {"session":2}`],
  ]);
});

test("JO1, JO2 — of a broadcast one in N is kept whole, on any owner the same, and every failure", async () => {
  const entry = broadcast();
  const owners = [alone({ oneIn: 50 }), alone({ oneIn: 50 })];
  for (const { journal, clock } of owners) {
    for (let index = 0; index < MANY; index++) {
      journal.handed(PARTITION, index, entry);
      journal.outcome(PARTITION, index, entry, index === 1_234 ? "failed" : "noDevice");
    }
    await clock.advance(500);
  }
  const sampled = Array.from({ length: MANY }, (_, index) => index).filter((index) =>
    isSampled({ notificationId: idOf(1), partition: 7, index }, 50),
  );
  expect(sampled.length).toBeGreaterThan(20); // 40 of 2,000 are meant
  expect(sampled.length).toBeLessThan(80);
  expect(sampled).not.toContain(1_234);
  const [first, second] = owners;
  expect(second?.written).toEqual(first?.written);
  for (const index of sampled)
    expect(told(first?.written ?? [], index)).toEqual(["0 handed", "0 outcome noDevice"]);
  expect(told(first?.written ?? [], 1_234)).toEqual(["0 outcome failed"]);
  expect(first?.written).toHaveLength(2 * sampled.length + 1);
});

test("JO2 — of who is not kept, exactly the failures among all outcomes are, and dead letters", async () => {
  const entry = broadcast();
  const { journal, written, clock } = alone({ oneIn: 0 });
  for (const outcome of TERMINAL_SETS) journal.outcome(PARTITION, 1, entry, outcome);
  journal.deadLettered(PARTITION, 2, entry);
  journal.receipt(PARTITION, 1, entry, "read");
  journal.note(PARTITION, 1, entry, { kind: "deferred", code: "quiet_hours" });
  await clock.advance(500);
  expect(told(written, 1)).toEqual(
    TERMINAL_SETS.filter(isFailure).map((one) => `0 outcome ${one}`),
  );
  expect(told(written, 2)).toEqual(["0 deadLettered"]);
  expect(isFailure("deliveredSocket") || isFailure("noDevice")).toBe(false); // a million of an all-hands
});

test("JO3 — at the limit the oldest goes and is counted; nobody waits", async () => {
  const { journal, written, clock } = alone({ oneIn: 1, eventsMax: 4 });
  for (let index = 0; index < 6; index++) journal.handed(PARTITION, index, broadcast());
  expect([journal.waitingCount, journal.droppedCount]).toEqual([4, 2]);
  await clock.advance(500);
  expect(written.map(([, , , index]) => index)).toEqual([2, 3, 4, 5]);
  expect([journal.waitingCount, journal.writtenCount]).toEqual([0, 4]);
});

test("JO4 — failures of a broadcast take half of the room, and push nobody out", async () => {
  const entry = broadcast();
  const { journal, written, clock } = alone({ oneIn: 0, eventsMax: 4 });
  for (let index = 0; index < 9; index++) journal.outcome(PARTITION, index, entry, "expired");
  expect([journal.waitingCount, journal.droppedCount]).toEqual([2, 7]);
  await clock.advance(500);
  expect(written.map(([, , , index]) => index)).toEqual([0, 1]);
});

test("JO5 — events are in the table within a second; while the store is away they wait, in order", async () => {
  const { journal, written, clock, plan, log } = alone({ oneIn: 1, batchMax: 2 });
  for (let index = 0; index < 3; index++) journal.handed(PARTITION, index, broadcast());
  plan.failures.push(away(), away());
  await clock.advance(500);
  journal.handed(PARTITION, 3, broadcast());
  await clock.advance(100); // second try
  expect([written, log]).toEqual([[], ["Fault: away", "Fault: away"]]);
  await clock.advance(200);
  expect(written.map(([, , , index]) => index)).toEqual([0, 1, 2, 3]);
  expect(plan.batches).toEqual([2, 2, 2, 2]);
  expect(clock.timersCount).toBe(0); // nothing waits, nothing looks
});

test("JO5 — what the store refuses for good is dropped and counted, not tried for ever", async () => {
  const { journal, written, clock, plan } = alone({ oneIn: 1, batchMax: 1 });
  for (let index = 0; index < 2; index++) journal.handed(PARTITION, index, broadcast());
  plan.failures.push(new Fault("no", { code: "store_rejected", isRetryable: false }));
  await clock.advance(500);
  expect([written.map(([, , , index]) => index), journal.droppedCount]).toEqual([[1], 1]);
});

test("JO5 — a bug in it is its node's crash, and an orderly end writes what waits", async () => {
  const { journal, clock, plan, log, written } = alone({ oneIn: 1 });
  journal.handed(PARTITION, 0, broadcast());
  plan.failures.push(new TypeError("bug"));
  await clock.advance(500);
  expect(log).toEqual(["crash TypeError: bug"]);
  journal.handed(PARTITION, 1, broadcast());
  journal.stop();
  await clock.advance(0);
  expect(written.map(([, , , index]) => index)).toEqual([1]);
});

test("JO6 — events of a partition that was lost are still written, under the epoch they happened in", async () => {
  const { store, clock, journal, poke, node } = start();
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  poke(store.plan(0, notificationOf({ id: idOf(1) }), { members: [ada] }));
  await clock.advance(0);
  node.lose([0]);
  await clock.advance(1_000);
  expect(journal.map(([, epoch, , , , , kind]) => [epoch, kind])).toEqual([
    [1, "handed"],
    [1, "outcome"],
  ]);
});

test("JO3 — a note's code and detail are small, and hold nothing that a table cannot keep", async () => {
  const { journal, written, clock } = alone({ oneIn: 1 });
  const note = (code: string, text: string): void =>
    journal.note(PARTITION, 1, broadcast(), { kind: "attempt", code, detail: { text } });
  note("429", "retry later");
  note(`a\0b${"x".repeat(100)}`, "a\0b");
  note("\ud800", "x".repeat(1_000));
  await clock.advance(500);
  expect(written.map(([, , , , , , , code, detail]) => [code, detail])).toEqual([
    ["429", '{"text":"retry later"}'],
    [`ab${"x".repeat(61)}`, null],
    ["\ufffd", null],
  ]);
});
