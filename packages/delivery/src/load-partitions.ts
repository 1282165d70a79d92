// packages/delivery/src/load-partitions.ts
// Brings acquired partitions into memory: heads, directory, tail, unfinished rows, in few reads.
//   LP1  Heads are read first: what is committed later is a gap above them, and is read as one.
//   LP3  Who held the thread of an earlier owner is in quarantine before anything is handed (P16).
//   LP2  A partition is ready when its unfinished rows are at the pacer (`targeted AND NOT
//        terminal`), or fill the memory they may take.
//   LP4  Of many partitions the first serve while the others load, and one that cannot be loaded
//        keeps back its group only.
//   LP5  Of each recipient at most so many open rows of his own are read as he may have (SH1); what is
//        above them is on the shelf from the start.
import { backoffDelayMs, type Clock, Fault, type Random } from "@carillon/kernel";
import type { DeliveryLimits } from "./delivery-limits.ts";
import type { Intake } from "./intake.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition, PartitionOptions } from "./partition.ts";
import type { HeldPartition, LedgerStore } from "./ports.ts";
import { ownerOf } from "./shelf.ts";

export interface LoadDeps {
  readonly home: string;
  readonly store: LedgerStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly intake: Intake;
  readonly limits: DeliveryLimits;
  /** Before anything is handed its tenant's policy is known (TR4). */
  refreshRules(): Promise<void>;
  /** What the policy counts of earlier owners' deliveries (PD1), and what senders have done since (CB1). */
  loadRecent(partitions: readonly Partition[]): Promise<void>;
  create(options: PartitionOptions): Partition;
  isHeld(held: HeldPartition): boolean;
  onReady(partition: Partition): void;
  onFault(cause: unknown): void;
  onCrash(cause: unknown): void;
}

type Acquired = HeldPartition & { readonly isFirst: boolean };

/** Two: while the rows of one group travel, those of another are put in their places. */
const LANES_COUNT = 2;

interface Group {
  readonly acquired: readonly Acquired[];
  readonly attempt: number;
}

/** Never rejects: tries again, with back-off, those that are still held. */
export async function loadPartitions(acquired: readonly Acquired[], deps: LoadDeps): Promise<void> {
  const { loadGroupMax } = deps.limits;
  const groups: Group[] = [];
  for (let first = 0; first < acquired.length; first += loadGroupMax)
    groups.push({ acquired: acquired.slice(first, first + loadGroupMax), attempt: 1 }); // LP4
  await Promise.all(Array.from({ length: LANES_COUNT }, () => loadGroups(groups, deps)));
}

async function loadGroups(groups: Group[], deps: LoadDeps): Promise<void> {
  for (let group = groups.shift(); group !== undefined; group = groups.shift()) {
    const held = group.acquired.filter((one) => deps.isHeld(one));
    if (held.length === 0) continue;
    try {
      await loadOnce(held, deps);
    } catch (cause) {
      if (!(cause instanceof Fault)) {
        deps.onCrash(cause); // a bug: as IN5
        continue;
      }
      deps.onFault(cause);
      await deps.clock.sleep(backoffDelayMs(deps.limits.retry, group.attempt, deps.random));
      groups.push({ acquired: held, attempt: group.attempt + 1 });
    }
  }
}

async function loadOnce(held: readonly Acquired[], deps: LoadDeps): Promise<void> {
  const { store, home, intake, limits, clock } = deps;
  const numbers = held.map(({ partition }) => partition);
  const heads = new Map(
    (await store.readHeads(home, numbers)).map((head) => [head.partition, head]), // LP1
  );
  const tails = byPartition(
    await intake.entriesOf(await store.readTails(home, numbers, limits.tailMax)),
  );
  const { ownRowsMax } = limits;
  const unclosed = byPartition(
    await intake.entriesOf(await store.readUnclosedRows(home, numbers, ownRowsMax + 1)), // LP5
  );
  const quarantined = await store.readQuarantined(home, numbers);
  await deps.refreshRules();
  const graceEndsAtMs = clock.monotonicMs() + limits.graceMs;
  const loaded = new Map<number, Partition>();
  for (const one of held) {
    const head = heads.get(one.partition);
    if (head === undefined || !deps.isHeld(one)) continue;
    const partition = deps.create({
      partition: one.partition,
      epoch: one.epoch,
      ledgerEpoch: head.ledgerEpoch,
      knownOffset: head.nextOffset - 1,
      graceEndsAtMs: one.isFirst ? 0 : graceEndsAtMs,
      tailMax: limits.tailMax,
      tailMaxBytes: limits.tailMaxBytes,
      ownRowsMax,
    });
    partition.wantedDirectoryVersion = head.directoryVersion;
    loaded.set(one.partition, partition);
  }
  await store.streamDirectory(home, [...loaded.keys()], (rows) => {
    for (const { partition, row } of rows) loaded.get(partition)?.directory.put(row);
  });
  await deps.loadRecent([...loaded.values()]); // last: it takes no time by then, a directory may
  // LP3: before anything is handed out, and when the directory knows what they are called.
  for (const { partition, index, reason, remainingMs } of quarantined)
    loaded.get(partition)?.table.quarantine(index, new Error(reason), remainingMs);
  for (const [number, partition] of loaded) {
    const head = heads.get(number);
    if (head !== undefined) partition.directory.completeUpTo(head.directoryVersion);
    resume(partition, tails.get(number) ?? [], unclosed.get(number) ?? [], deps);
  }
}

/** Rows from the first unfinished one on are handed again, in order; older ones are the tail. */
function resume(
  partition: Partition,
  tail: readonly LedgerEntry[],
  unclosed: readonly LedgerEntry[],
  deps: LoadDeps,
): void {
  const known = (entry: LedgerEntry): boolean => entry.offset <= partition.knownOffset;
  const waiting = withoutShelved(partition, unclosed.filter(known), deps.limits.ownRowsMax);
  const firstOffset = waiting[0]?.offset ?? partition.knownOffset + 1;
  partition.handedOffset = firstOffset - 1;
  partition.adoptTail(tail.filter((entry) => known(entry) && entry.offset < firstOffset));
  const again = tail.filter(
    (entry) => known(entry) && entry.offset > firstOffset && entry.state === "closed",
  );
  const rows = [...waiting, ...again].toSorted((a, b) => a.offset - b.offset);
  deps.intake.begin(partition, rows, () => {
    partition.handedOffset = Math.max(partition.handedOffset, handedAtLeast(partition));
    deps.onReady(partition);
  });
}

/** One more than he may have was read: it, and all that is above it, is on the shelf (LP5). */
function withoutShelved(
  partition: Partition,
  unclosed: readonly LedgerEntry[],
  ownRowsMax: number,
): LedgerEntry[] {
  const { shelf, knownOffset } = partition;
  const counts = new Map<number, number>();
  return unclosed.filter((entry) => {
    const index = ownerOf(entry);
    if (index === undefined) return true;
    const count = (counts.get(index) ?? 0) + 1;
    counts.set(index, count);
    if (count <= ownRowsMax) return true;
    if (!shelf.has(index))
      shelf.put(index, { firstOffset: entry.offset, lastOffset: knownOffset, expiryAtMs: 0 });
    return false;
  });
}

/** Closed rows below the tail were not read again: nothing of them is left to hand. */
function handedAtLeast(partition: Partition): number {
  const next = partition.incoming[0];
  return next === undefined ? partition.knownOffset : next.offset - 1;
}

function byPartition(entries: readonly LedgerEntry[]): Map<number, LedgerEntry[]> {
  const found = new Map<number, LedgerEntry[]>();
  for (const entry of entries) {
    const entriesOfOne = found.get(entry.partition);
    if (entriesOfOne === undefined) found.set(entry.partition, [entry]);
    else entriesOfOne.push(entry);
  }
  return found;
}
