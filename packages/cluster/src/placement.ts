// packages/cluster/src/placement.ts
// What one member takes and gives now, from what it sees of members and lease rows. No I/O; time is
// passed in. It remembers only what it has seen free and what it has given.
//   CL14 A held partition is given only when this member has held it for 10 s, and to one that has
//        been alive for 10 s: a flapping member, or one whose link flaps, moves no partition twice in
//        10 s (C21). Leases that run out and a drain do not wait.
//   CL15 Partitions are given in groups; the next group when the last one was taken, and when nothing
//        else waits for an owner (C20). What nobody took in 2 s is taken back, and kept for 5 min.
//   CL16 Members that see each other differently leave nothing unowned: what nobody takes for 5 s is
//        taken by whoever sees it. And they move nothing: who holds leases is there, suspect or not,
//        with the weight that it told last; while a holder never told any, nothing is given. What
//        does not change for 30 s is looked at slowly, however differently they see it.
//   CL19 A member that has just begun listens before it takes anything, so that the first of a region
//        does not load what it gives to the others 10 s later. Not where somebody holds leases: what
//        is free then waits for an owner.
//   CL17 Isolated from NATS, a member takes nothing that others may take, and offers one of its
//        partitions: when somebody takes it, it gives them all and is relieved; when nobody does, it
//        takes it back and goes on serving (C14, ADR 0014). It is relieved no more when it has NATS,
//        is alone, or takes anything: of what it gave then, too, if nobody has it for 8 s.
import { assert } from "@carillon/kernel";
import { AgreedTables } from "./agreed-tables.ts";
import type { PlaceableWorker } from "./membership.ts";
import type { PlacementLimits } from "./placement-limits.ts";
import type { LeaseRow } from "./ports.ts";
import type { Tables, TableVersions, WeightedMember } from "./rendezvous.ts";

export interface PlacementView {
  readonly nowMs: number;
  readonly partitionCount: number;
  /** Of all partitions of the home, in any order. */
  readonly rows: readonly LeaseRow[];
  readonly placeable: readonly PlaceableWorker[];
  readonly isIsolated: boolean;
  /** Partitions that this member serves, with the time since which it does. */
  readonly held: ReadonlyMap<number, { readonly sinceMs: number }>;
}

export interface PlacementDecision {
  readonly take: readonly number[];
  /** To be flushed and released together; tell `given` when it is done. */
  readonly give: readonly number[];
  /** Of `give`: nobody may be there to take it (CL17). */
  readonly isOffer: boolean;
  /** Something is about to move: look again soon. */
  readonly isWaiting: boolean;
}

interface Given {
  readonly atMs: number;
  readonly isOffer: boolean;
}

export interface PlacementOptions {
  readonly memberId: string;
  readonly limits: PlacementLimits;
  /** Default: this build's. */
  readonly tables?: TableVersions;
  /** Another member has a partition that this one gave. */
  readonly onTaken?: (partition: number, afterMs: number) => void;
}

const NOTHING: PlacementDecision = { take: [], give: [], isOffer: false, isWaiting: false };

export class Placement {
  readonly #memberId: string;
  readonly #limits: PlacementLimits;
  readonly #onTaken: (partition: number, afterMs: number) => void;
  readonly #agreed: AgreedTables;
  readonly #freeSinceMs = new Map<number, number>();
  readonly #given = new Map<number, Given>(); // not taken by anybody yet
  readonly #keptUntilMs = new Map<number, number>();
  #wanted = { partitions: "", sinceMs: Number.NEGATIVE_INFINITY };
  #isRelieved = false; // somebody took what was offered
  #nextOfferAtMs = Number.NEGATIVE_INFINITY;

  constructor({ memberId, limits, tables, onTaken }: PlacementOptions) {
    assert(limits.groupMax > 0, "CL15 a group has a size");
    this.#memberId = memberId;
    this.#limits = limits;
    this.#agreed = new AgreedTables(tables);
    this.#onTaken = onTaken ?? (() => undefined);
  }

  /** Isolated, it has given what it had to somebody who took it (CL17). */
  get isRelieved(): boolean {
    return this.#isRelieved;
  }

  /** Decides nothing (and says so) for a member that is not placeable itself: it drains. */
  decide(view: PlacementView): PlacementDecision {
    this.#see(view);
    const alive = view.placeable.filter(({ isSuspect }) => !isSuspect);
    const self = alive.find(({ memberId }) => memberId === this.#memberId);
    if (self === undefined) return NOTHING;
    if (this.#isListening(self, view)) return { ...NOTHING, isWaiting: true };
    if (view.isIsolated && !this.#isAlone(view)) return this.#decideIsolated(view);
    this.#isRelieved = false; // it has NATS, or is alone
    const tables = this.#tablesOf(view);
    const table = tables.ownersOf(alive);
    const stableTable = tables.ownersOf(this.#stable(view));
    const mine = new Set<number>();
    for (const owners of this.#isSettled(self) ? [table, stableTable] : [table])
      owners.forEach((owner, partition) => owner === this.#memberId && mine.add(partition));
    const spurned = this.#takeSpurned(view.nowMs);
    const free = this.#free(view);
    const take = free.filter(
      (partition) =>
        mine.has(partition) ||
        spurned.includes(partition) || // CL15
        this.#isFreeFor(partition, this.#limits.orphanAfterMs, view), // CL16
    );
    const mayGive = free.length === 0 && !this.#isPending(view.nowMs) && this.#knowsHolders(view);
    const give = mayGive ? this.#surplus(view, alive, stableTable) : [];
    const isWaiting = this.#isExpecting(mine, view) || give.length > 0 || this.#given.size > 0;
    return { take, give, isOffer: false, isWaiting };
  }

  /** They were flushed and released just now. */
  given(partitions: readonly number[], nowMs: number, isOffer: boolean): void {
    for (const partition of partitions) this.#given.set(partition, { atMs: nowMs, isOffer });
  }

  /** Of a group given before, some are still nobody's, and for not too long (CL15). */
  isPending(rows: readonly LeaseRow[], nowMs: number): boolean {
    this.#settleGiven(rows, nowMs);
    return this.#isPending(nowMs);
  }

  #decideIsolated(view: PlacementView): PlacementDecision {
    const { offerMs, offerEveryMs, orphanAfterIsolatedMs, groupMax } = this.#limits;
    const { nowMs } = view;
    const refused = [...this.#given].flatMap(([partition, { atMs, isOffer }]) =>
      nowMs - atMs >= (isOffer ? offerMs : orphanAfterIsolatedMs) ? [partition] : [],
    );
    for (const partition of refused) this.#given.delete(partition); // CL17: it goes on serving
    const orphans = this.#free(view).filter((partition) =>
      this.#isFreeFor(partition, orphanAfterIsolatedMs, view),
    );
    const take = [...new Set([...refused, ...orphans])];
    if (take.length > 0) {
      this.#isRelieved = false; // whoever took them is gone, or there is nobody
      this.#nextOfferAtMs = nowMs + offerEveryMs;
    }
    const isDue = this.#isRelieved || nowMs >= this.#nextOfferAtMs;
    const ripe = this.#heldLong(view);
    if (take.length > 0 || ripe.length === 0 || this.#given.size > 0 || !isDue)
      return { ...NOTHING, take, isWaiting: this.#given.size > 0 };
    this.#nextOfferAtMs = nowMs + offerEveryMs;
    const give = ripe.slice(0, this.#isRelieved ? groupMax : 1);
    return { take, give, isOffer: !this.#isRelieved, isWaiting: true };
  }

  /** Of those who may take anything or hold leases (CL21). */
  #tablesOf({ partitionCount, placeable, rows }: PlacementView): Tables {
    const members = holdersOf(rows);
    for (const { memberId, isSuspect } of placeable) if (!isSuspect) members.add(memberId);
    return this.#agreed.of(members, partitionCount);
  }

  #isListening({ aliveForMs }: PlaceableWorker, { rows }: PlacementView): boolean {
    return aliveForMs < this.#limits.listenMs && rows.every(({ isExpired }) => isExpired);
  }

  /** No other worker is known, by beats or by leases. */
  #isAlone({ placeable, rows }: PlacementView): boolean {
    return (
      placeable.every(({ memberId, isSuspect }) => memberId === this.#memberId || isSuspect) &&
      rows.every(({ ownerId, isExpired }) => isExpired || ownerId === this.#memberId)
    );
  }

  #isSettled({ aliveForMs }: PlaceableWorker): boolean {
    return aliveForMs >= this.#limits.settleMs;
  }

  /** Who has been there for a while, and who holds leases, heard by this member or not (CL16). */
  #stable({ placeable, rows }: PlacementView): WeightedMember[] {
    const owners = holdersOf(rows);
    const known = placeable.filter(
      (one) =>
        one.memberId === this.#memberId ||
        owners.has(one.memberId) ||
        (!one.isSuspect && this.#isSettled(one)),
    );
    for (const { memberId } of placeable) owners.delete(memberId);
    const unheard = [...owners].map((memberId) => {
      return { memberId, weight: this.#agreed.weightOf(memberId) ?? 1 };
    });
    return [...known, ...unheard];
  }

  /** Without the weight of one, this member's table is not the others' (CL16). */
  #knowsHolders({ rows }: PlacementView): boolean {
    return [...holdersOf(rows)].every((memberId) => this.#agreed.weightOf(memberId) !== undefined);
  }

  /** It lacks some of what is its own by its table, and what it lacks has changed of late (CL16). */
  #isExpecting(mine: ReadonlySet<number>, { held, nowMs }: PlacementView): boolean {
    const partitions = [...mine].filter((partition) => !held.has(partition)).join();
    if (partitions !== this.#wanted.partitions) this.#wanted = { partitions, sinceMs: nowMs };
    return partitions !== "" && nowMs - this.#wanted.sinceMs < this.#limits.soonMaxMs;
  }

  #surplus(
    view: PlacementView,
    alive: readonly PlaceableWorker[],
    stableTable: readonly string[],
  ): number[] {
    const heirs = new Set(
      alive.filter((one) => this.#isSettled(one)).map(({ memberId }) => memberId),
    );
    heirs.delete(this.#memberId);
    return this.#heldLong(view)
      .filter((partition) => heirs.has(stableTable[partition] ?? ""))
      .filter((partition) => view.nowMs >= (this.#keptUntilMs.get(partition) ?? 0)) // CL15
      .slice(0, this.#limits.groupMax);
  }

  /** What may be given at all: for long enough in this hand, also when its link flaps (CL14). */
  #heldLong({ held, nowMs }: PlacementView): number[] {
    return [...held].flatMap(([partition, { sinceMs }]) =>
      nowMs - sinceMs >= this.#limits.holdMs ? [partition] : [],
    );
  }

  /** What this member gave and nobody took (CL15). */
  #takeSpurned(nowMs: number): number[] {
    const spurned = [...this.#given].flatMap(([partition, { atMs }]) =>
      nowMs - atMs >= this.#limits.takenMaxMs ? [partition] : [],
    );
    for (const partition of spurned) {
      this.#given.delete(partition);
      this.#keptUntilMs.set(partition, nowMs + this.#limits.spurnedMs);
    }
    return spurned;
  }

  #see({ rows, nowMs, isIsolated, placeable }: PlacementView): void {
    this.#agreed.see(placeable, holdersOf(rows));
    if (!isIsolated) {
      this.#isRelieved = false;
      this.#nextOfferAtMs = Number.NEGATIVE_INFINITY;
    }
    for (const { partition, isExpired } of rows) {
      if (!isExpired) this.#freeSinceMs.delete(partition);
      else if (!this.#freeSinceMs.has(partition)) this.#freeSinceMs.set(partition, nowMs);
    }
    this.#settleGiven(rows, nowMs);
  }

  #settleGiven(rows: readonly LeaseRow[], nowMs: number): void {
    if (this.#given.size === 0) return;
    for (const { partition, ownerId, isExpired } of rows) {
      const given = this.#given.get(partition);
      if (given === undefined) continue;
      if (!isExpired) {
        this.#given.delete(partition);
        if (ownerId === this.#memberId) continue;
        this.#onTaken(partition, nowMs - given.atMs);
        if (given.isOffer) this.#isRelieved = true; // CL17
      }
    }
  }

  #isPending(nowMs: number): boolean {
    return [...this.#given.values()].some(({ atMs }) => nowMs - atMs < this.#limits.takenMaxMs);
  }

  #free({ rows, held }: PlacementView): number[] {
    return rows
      .filter(({ partition, isExpired }) => isExpired && !held.has(partition))
      .map(({ partition }) => partition)
      .filter((partition) => !this.#given.has(partition));
  }

  #isFreeFor(partition: number, ms: number, { nowMs }: PlacementView): boolean {
    const sinceMs = this.#freeSinceMs.get(partition);
    return sinceMs !== undefined && nowMs - sinceMs >= ms;
  }
}

function holdersOf(rows: readonly LeaseRow[]): Set<string> {
  return new Set(rows.flatMap((row) => (row.isExpired ? [] : [row.ownerId ?? ""])));
}
