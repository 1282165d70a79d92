// test/sim/mutants.ts
// Faults to plant in the product, one at a time, to see that the simulation bites: each replaces one
// exact text of one file when it is loaded (mutant-hook.ts). `seed`: one that caught it when it was
// last looked for; tried first. A patch that no longer matches is an error: mend it or drop it.

import { CAP_MUTANTS } from "./mutants-caps.ts";
import { CONTROL_MUTANTS } from "./mutants-control.ts";
import { DEFERRED_MUTANTS } from "./mutants-deferred.ts";

export interface Mutant {
  readonly id: string;
  /** What is wrong with it, in a few words. */
  readonly what: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** How often the file holds `from`, each of which is replaced; default 1. */
  readonly timesCount?: number;
  /** `sql`: in a statement, which the simulation does not run; the comparison with Postgres does. */
  readonly by: "simulation" | "sql";
  readonly seed: number;
  /** Where it is looked for; default: chaos. */
  readonly scenario?: string;
}

/** Caught by one of the first seeds: quick enough for every run of the tests. */
export const QUICK_SEED_MAX = 12;

const simulated = (
  id: string,
  what: string,
  patch: {
    file: string;
    from: string;
    to: string;
    seed: number;
    scenario?: string;
    timesCount?: number;
  },
): Mutant => ({ id, what, by: "simulation", ...patch });

/** Looked for with seeds 1 to 3 of the comparison, whatever `seed` says. */
const inSql = (
  id: string,
  what: string,
  patch: { file: string; from: string; to: string },
): Mutant => ({ id, what, by: "sql", seed: 1, ...patch });

const INTAKE = "packages/delivery/src/intake.ts";
const NODE = "packages/delivery/src/delivery-node.ts";
const DESK = "packages/delivery/src/session-desk.ts";
const SHELF = "packages/delivery/src/shelf.ts";
const DEFERRED = "packages/delivery/src/deferred-rows.ts";
const SHELF_READER = "packages/delivery/src/shelf-reader.ts";
const RECIPIENT = "packages/delivery/src/recipient.ts";
const OUTCOMES = "packages/delivery/src/outcomes.ts";
const LINKS = "apps/gateway/src/partition-links.ts";
const OWNERSHIP = "packages/cluster/src/ownership.ts";
const LATE = "packages/delivery/src/late-receipts.ts";
const LEASES = "packages/store/src/leases.ts";
const OUTBOX = "packages/store/src/outbox.ts";

export const MUTANTS: readonly Mutant[] = [
  simulated("early-202", "202 is answered before the commit", {
    file: "apps/ingest/src/accept.ts",
    from: "const result = await batcher.add(pending);",
    to: `void Promise.resolve(batcher.add(pending)).catch(() => undefined);
      const result = { kind: "accepted" as const, answer: pending.item.answer } as never as AcceptResult;`,
    seed: 1,
  }),
  simulated("early-committed", "a relayed batch is confirmed before it is committed", {
    file: "apps/ingest/src/region-services.ts",
    from: "taken.length === 0 ? [] : await store.notifications.acceptRelayed(region, taken);",
    to: `((store.notifications.acceptRelayed(region, taken).catch(() => undefined), []) as RelayResult[]);`,
    seed: 1,
  }),
  simulated("early-outbox", "an outbox row is deleted before the target has confirmed it", {
    file: "apps/ingest/src/relay-sender.ts",
    from: "const result = await this.#request(batch);",
    to: `await this.#options.outbox.markDone(batch.map((entry) => entry.outboxId)).catch(() => undefined);
    const result = await this.#request(batch);`,
    seed: 3,
  }),
  simulated("no-take-over", "what a dead node left in the outbox is not taken over", {
    file: "apps/ingest/src/relay-outbox.ts",
    from: 'return { kind: "rows", rows: taken.rows.map(entryOfRow) };',
    to: 'return { kind: "rows", rows: taken.rows.map(entryOfRow).slice(0, 0) };',
    seed: 6,
  }),
  simulated("backlog-ignored", "a node posts past the backlog of its region", {
    file: "apps/ingest/src/accept.ts",
    from: 'backlogs.includes(target) ? "backlog" : "direct"',
    to: 'backlogs.includes(`${target}?`) ? "backlog" : "direct"',
    seed: 32,
    scenario: "cut",
  }),
  simulated("wall-clock-lease", "a lease's age is measured by the wall clock", {
    file: OWNERSHIP,
    from: "clock.monotonicMs()",
    to: "clock.wallClockMs()",
    timesCount: 15,
    seed: 1,
    scenario: "clocks",
  }),
  simulated("no-self-stop", "an owner goes on when its lease was not refreshed", {
    file: OWNERSHIP,
    from: `lose([...held.keys()], "unrefreshed");
    return false;`,
    to: "return true;",
    seed: 42,
  }),
  simulated("strays-kept", "a lease whose acquisition was not heard of is kept, unserved", {
    file: OWNERSHIP,
    from: "if (strays.length === 0 || returning !== undefined) return;",
    to: "if (strays.length >= 0) return;",
    seed: 1,
    scenario: "unheard",
  }),
  simulated("late-fence", "a late refusal of a write ends the ownership of now", {
    file: NODE,
    from: ".filter(({ partition, epoch }) => this.#held.get(partition) === epoch)",
    to: ".filter(() => true)",
    seed: 28,
  }),
  simulated("no-sweep", "a lost poke is not found by the sweep", {
    file: "packages/delivery/src/node-sweep.ts",
    from: "if (partition?.isLoading === false) intake.onHead(partition, head);",
    to: "void partition;",
    seed: 184,
  }),
  simulated("no-hand-over", "a new owner does not go on with unfinished rows", {
    file: "packages/delivery/src/load-partitions.ts",
    from: "withoutShelved(partition, unclosed.filter(known), deps.limits.ownRowsMax)",
    to: "withoutShelved(partition, unclosed.filter(known).slice(0, 0), deps.limits.ownRowsMax)",
    seed: 3,
  }),
  simulated("poke-order", "a poke that came too early is taken at once", {
    file: INTAKE,
    from: "if (entry.offset === partition.knownOffset + 1 && !isFull && !lane.isReading) {",
    to: "if (entry.offset > partition.knownOffset && !isFull && !lane.isReading) {",
    seed: 3,
  }),
  simulated("short-recovery", "a session that resumes gets only what is not terminal", {
    file: DESK,
    from: "const entries = [...standing, ...partition.entriesOf(index, range)];",
    to: "const entries = [...standing, ...partition.entriesOf(index, range)].filter((entry) => entry.isPending(index));",
    seed: 328,
  }),
  simulated("gap-ignored", "a gap in an owner's numbers is not noticed", {
    file: LINKS,
    from: "return isInOrder ? [] : this.#unsyncOwner(ownerId);",
    to: "return [];",
    seed: 12,
  }),
  simulated("overtaken-ignored", "an overtaken delivery moves the count back", {
    file: LINKS,
    from: "if (lastSeq !== null && seq <= lastSeq) {",
    to: "if (Number.isNaN(seq)) {",
    seed: 8,
    scenario: "reordered",
  }),
  simulated("stale-answer", "an answer from before a loss is used", {
    file: LINKS,
    from: "if (batch.generation !== link.generation || !this.#isUnbroken(answer)) {",
    to: "if (!this.#isUnbroken(answer) && Number.isNaN(answer.seq)) {",
    seed: 6,
    scenario: "reordered",
  }),
  simulated("no-idempotency", "a repeated post is another notification", {
    file: "apps/ingest/src/accept.ts",
    from: "    idempotency,\n    answer: {",
    to: "    idempotency: null,\n    answer: {",
    seed: 5,
  }),
  simulated("ack-of-more", "an ack counts for everything that was handed", {
    file: DESK,
    from: "session.ackedOffset = Math.min(offset, session.sentOffset);",
    to: "session.ackedOffset = partition.handedOffset;",
    seed: 65,
  }),
  simulated("goes-on-when-lost", "the processes of a lost partition go on", {
    file: NODE,
    from: "partition.isLost = true;\n    partition.table.stop();",
    to: "void partition.table.stop;",
    seed: 11,
  }),
  simulated("loose-rejection", "a promise that nobody waits for rejects", {
    file: OUTCOMES,
    from: "if (!entry.record(index, outcome)) return;",
    to: `if (!entry.record(index, outcome)) return;
    void Promise.reject(new Error("boom"));`,
    seed: 1,
  }),
  simulated("all-delivered", "every outcome is recorded as delivered", {
    file: OUTCOMES,
    from: "if (!entry.record(index, outcome)) return;",
    to: 'if (!entry.record(index, "deliveredSocket")) return;',
    seed: 1,
  }),
  simulated("all-failed", "every outcome is recorded as failed", {
    file: OUTCOMES,
    from: "if (!entry.record(index, outcome)) return;",
    to: 'if (!entry.record(index, "failed")) return;',
    seed: 1,
  }),
  simulated("absent-expired", "who has no device is recorded as expired", {
    file: RECIPIENT,
    from: 'isExpired ? "expired" : "noDevice"',
    to: 'isExpired ? "expired" : "expired"',
    seed: 1,
  }),
  simulated("no-grace", "a session that is gone for a moment is gone", {
    file: RECIPIENT,
    from: "return Math.max(own, partition.graceEndsAtMs);",
    to: "return Math.min(own, partition.graceEndsAtMs);",
    seed: 3,
  }),
  simulated("acks-ignored", "an owner ignores acks", {
    file: DESK,
    from: "if (offset <= session.ackedOffset) return;",
    to: "if (offset <= Number.MAX_SAFE_INTEGER) return;",
    seed: 1,
  }),
  simulated("receipts-ignored", "an owner ignores receipts", {
    file: "packages/delivery/src/receipt-desk.ts",
    from: "if (!entry.receive(index, receipt)) return;",
    to: "if (!Number.isNaN(index) || !entry.receive(index, receipt)) return;",
    seed: 1,
  }),
  simulated("refusal-ignored", "an owner goes on though its write was refused", {
    file: "packages/delivery/src/ledger-flusher.ts",
    from: "if (fencedPartitions.length > 0) this.#deps.onFenced(",
    to: "if (fencedPartitions.length < 0) this.#deps.onFenced(",
    seed: 2,
    scenario: "revoked",
  }),
  simulated("refused-commit", "what was refused to be committed is handed all the same", {
    file: "packages/delivery/src/expansion-writer.ts",
    from: `this.#deps.onFenced(refusedOf(updates, fencedPartitions));
    const fenced = new Set(fencedPartitions);`,
    to: "const fenced = new Set<number>();",
    seed: 1,
    scenario: "revoked",
  }),
  simulated("early-hand", "a broadcast is handed before its audience is committed", {
    file: INTAKE,
    from: "const committed = await Promise.all(",
    to: "const committed: boolean[] = []; void Promise.all(",
    seed: 1,
  }),
  simulated("place-ignored", "a session that goes on above a row says nothing about it", {
    file: LATE,
    from: "if (!entry.isLateHere(index) || !place.mayShow(entry)) return false;",
    to: "if (!entry.isLateHere(index + 1e6)) return false;",
    seed: 31,
  }),
  simulated("place-of-newcomer", "who joined anew above a row counts as having received it", {
    file: LATE,
    from: "afterOffset: partition.sessions.beganOffset(index)",
    to: "afterOffset: 0 * partition.sessions.beganOffset(index)",
    seed: 1,
  }),
  simulated("above-unwritten", "who joins anew begins above an outcome that is not written", {
    file: DESK,
    from: "entry.isPending(index) || entry.isUnwritten(index)",
    to: "entry.isPending(index)",
    seed: 571,
  }),
  simulated("accept-room", "more wait to be accepted than may", {
    file: "apps/ingest/src/accept.ts",
    from: "queueMax: options.limits.queueMax,",
    to: "queueMax: options.limits.queueMax * 100,",
    seed: 1,
    scenario: "crowded",
  }),
  simulated("relay-room", "more wait for another region than may", {
    file: "apps/ingest/src/relay-link.ts",
    from: "this.#queue.length + entries.length <= limits.queueItemsMax &&",
    to: "this.#queue.length + entries.length <= limits.queueItemsMax * 100 &&",
    seed: 2,
    scenario: "crowded",
  }),
  simulated("intake-room", "more requests of other regions wait than may", {
    file: "apps/ingest/src/intake.ts",
    from: "else if (waiting.length < options.queueMax) waiting.push(job);",
    to: "else if (waiting.length < options.queueMax * 100) waiting.push(job);",
    seed: 1,
    scenario: "crowded",
  }),
  simulated("reports-room", "more receipts wait for an owner than may", {
    file: "apps/gateway/src/receipt-queue.ts",
    from: "const tooMany = this.#waiting[kind].length - this.#receiptsMax;",
    to: "const tooMany = this.#waiting[kind].length - this.#receiptsMax * 100;",
    seed: 1,
    scenario: "crowded",
  }),
  simulated("own-overtaken", "a critical row overtakes an earlier one of the same recipient", {
    file: "packages/delivery/src/pacer.ts",
    from: "if (those !== undefined) give(partition, earlier.entry, those);",
    to: "if (those !== undefined && partition.isLost) give(partition, earlier.entry, those);",
    seed: 1,
  }),
  simulated("receipts-once", "a receipt that nobody has confirmed is not told again", {
    file: "apps/gateway/src/reports.ts",
    from: "receipts.putBack(batch);",
    to: "receipts.kept(batch);",
    seed: 6,
  }),
  simulated("early-kept", "receipts are confirmed before they are in the ledger", {
    file: "packages/delivery/src/receipt-desk.ts",
    from: "const rows = [...all].filter(([entry, changesCount]) => !entry.isWrittenUpTo(changesCount));",
    to: "const rows = [...all].filter(() => false);",
    seed: 55,
  }),
  simulated("late-again", "a backlog whose region was away is tried again after half a minute", {
    file: "apps/ingest/src/relay-link.ts",
    from: "baseMs: limits.retryBaseMs, maxMs: limits.retryMaxMs",
    to: "baseMs: 30_000, maxMs: 30_000",
    seed: 3,
  }),
  simulated("others-first", "own people wait while a region is away", {
    file: "apps/ingest/src/accept.ts",
    from: "const results = await store.notifications.accept(region, items);",
    to: `const behind = options as { isBehind?: boolean };
    if (behind.isBehind === true) await clock.sleep(3_000);
    const results = await store.notifications.accept(region, items);
    behind.isBehind = results.some((one) => one.kind === "accepted" && one.backlogs.length > 0);`,
    seed: 26,
  }),
  simulated("refused-all", "who refuses a message keeps it from the others of its partition", {
    file: "packages/delivery/src/pacer.ts",
    from: "if (!spilled.isEmpty) slots.andNot(spilled); // PA4",
    to: "if (!spilled.isEmpty) return slots.forEach((index) => void spilled.add(index));",
    seed: 1,
    scenario: "neighbours",
  }),
  simulated("open-room", "one recipient's open rows take the room of its partition", {
    file: SHELF,
    from: 'if (index === undefined || entry.state !== "open") return false;',
    to: 'if (index === undefined || entry.state === "open") return false;',
    seed: 1,
    scenario: "neighbours",
  }),
  simulated("shelf-passed", "what others got, too, is handed before what is on the shelf", {
    file: "packages/delivery/src/pacer.ts",
    from: "partition.shelf.withhold(slots, entry.offset); // SH2",
    to: "",
    seed: 1,
    scenario: "shelved",
  }),
  simulated("released-nowhere", "what waited is done with, and is no row", {
    file: DEFERRED,
    from: "queued.filter((release) => this.#deps.isHeld(release)); // one epoch each (D4)",
    to: "queued.slice(0, 0);",
    seed: 1,
    scenario: "deferred",
  }),
  simulated("shelf-backwards", "the newest rows of a page come back first", {
    file: SHELF_READER,
    from: "for (const entry of place.openEntriesOf(index)) {",
    to: "for (const entry of place.openEntriesOf(index).toReversed()) {",
    seed: 1,
    scenario: "shelved",
  }),
  simulated("shelf-forgotten", "what is put on the shelf while a page is read is forgotten", {
    file: SHELF,
    from: "if (shelved.firstOffset > shelved.lastOffset) {",
    to: "if (nextOffset > 0) {",
    seed: 9,
    scenario: "shelved",
  }),
  simulated("shelf-unfound", "a new owner does not know that there are more than it has read", {
    file: "packages/delivery/src/load-partitions.ts",
    from: "if (!shelf.has(index))",
    to: "if (knownOffset < 0)",
    seed: 1,
    scenario: "shelved",
  }),
  simulated("shelf-recovered", "a session's place is put above what is on the shelf", {
    file: DESK,
    from: "const readyOffset = partition.readyUpTo(index);",
    to: "const readyOffset = handedOffset;",
    seed: 1,
    scenario: "shelved",
  }),
  inSql("sql-fence", "the flush writes whatever the epoch is", {
    file: "packages/store/src/ledger-flush.ts",
    from: "where home = ${home} and n = any(${intsOf(partitions)}::int[]) and owner_id is not null",
    to: "where home = ${home} and n = any(${intsOf(partitions)}::int[]) or owner_id is not null",
  }),
  inSql("sql-offset", "an offset is given twice when a batch has two rows of a partition", {
    file: "packages/store/src/accept-statement.ts",
    from: "update partition p set next_offset = p.next_offset + dealt.count",
    to: "update partition p set next_offset = p.next_offset + least(dealt.count, 1)",
  }),
  inSql("sql-expired-refresh", "an expired lease is refreshed", {
    file: LEASES,
    from: `and owner_id = \${options.memberId}
            and lease_until > clock_timestamp()`,
    to: "and owner_id = ${options.memberId}",
  }),
  inSql("sql-held-acquired", "a lease that another member holds is taken", {
    file: LEASES,
    from: `
            and (owner_id is null or lease_until <= clock_timestamp())`,
    to: "",
  }),
  inSql("sql-not-released", "what was given back looks as if its owner had died", {
    file: LEASES,
    from: "owner_id = null, is_released = true,",
    to: "owner_id = null,",
  }),
  inSql("sql-release-untaken", "withheld rows are released though the probe was not taken", {
    file: "packages/store/src/outbox-withheld.ts",
    from: "where not exists (select from outbox where outbox.id = p.id)",
    to: "where true",
  }),
  inSql("sql-claim-in-turn", "what waits in turn is claimed out of turn", {
    file: OUTBOX,
    from: `
            and (kind = 'homes' or attempt_count > 0)`,
    to: "",
  }),
  inSql("sql-held-backlog", "a backlog that another node holds is taken over", {
    file: OUTBOX,
    from: "where b.holder = excluded.holder or b.held_until <= clock_timestamp()",
    to: "where b.holder = excluded.holder or b.held_until > clock_timestamp()",
  }),
  inSql("sql-end-backlog", "a backlog is ended by a node that does not hold it", {
    file: OUTBOX,
    from: "where target_region = ${targetRegion} and holder = ${holder} and not exists (",
    to: "where target_region = ${targetRegion} and not exists (",
  }),
  inSql("sql-timer-fence", "timers are claimed whatever the epoch is", {
    file: "packages/store/src/timers.ts",
    from: "where due.partition = any(array(select n from held)) and t.id = due.id",
    to: "where t.id = due.id",
  }),
  inSql("sql-timer-lost", "a claim whose owner is gone is nobody's loss", {
    file: "packages/store/src/timers.ts",
    from: "lost_count = t.lost_count + (coalesce(t.claimed_epoch, due.epoch) <> due.epoch)::int",
    to: "lost_count = t.lost_count",
  }),
  ...CAP_MUTANTS,
  ...CONTROL_MUTANTS,
  ...DEFERRED_MUTANTS,
];
