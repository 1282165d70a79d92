// packages/delivery/src/pacer.ts
// In what order, and how many at a time, committed rows are handed to their recipients' processes: an
// all-hands waits in its rows, as bitsets, and not as a million turns before everybody else's.
//   PC1  At most `turnsMax` turns are to come when more is handed; for critical rows twice as many.
//   PC2  critical before high before normal before low.
//   PC3  Tenants of one priority take turns, `quantumCount` recipients each.
//   PC4  Whoever is handed a row is handed all earlier ones first that are for him (D3): what
//        overtakes, overtakes other people's.
// What has a rate is in its lane only while somebody may be handed it (RA2 to RA7): it holds up nobody.
import { PRIORITIES, type Priority } from "@carillon/contracts";
import { assert, Bitset, type Clock, Ring, type Scheduler } from "@carillon/kernel";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import { type HeldPlace, type Pace, RateGroup } from "./rate-group.ts";
import { RatedRows } from "./rated-rows.ts";

export interface PacerLimits {
  readonly turnsMax: number;
  readonly quantumCount: number;
  readonly ratedRowsMax: number;
}

export interface PacerDeps {
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly home: string;
  readonly limits: PacerLimits;
  /** Turns of processes that are to come now (`ProcessRuntime.runnableCount`). */
  runnableCount(): number;
  /** Undefined: it has no rate, or nobody is to be sent it any more. Asked for each quantum. */
  paceOf(entry: LedgerEntry): Pace | undefined;
}

type Waiting = HeldPlace | RateGroup;

/** By tenant, in the order of their turns. A row is in memory anyway (`openMax`, IN4). */
type Lane = Map<string, Ring<Waiting>>;

/** After so many quanta the loop gets the thread, should nobody accept anything. */
const QUANTA_PER_PUMP = 64;
const NORMAL = PRIORITIES.indexOf("normal");
const CRITICAL = PRIORITIES.indexOf("critical");

export class Pacer {
  readonly #deps: PacerDeps;
  /** By rank in PRIORITIES: the last is served first. */
  readonly #lanes: readonly Lane[] = PRIORITIES.map(() => new Map<string, Ring<Waiting>>());
  readonly #rated: RatedRows;
  #rowsCount = 0;
  /** Upper bound of the turns to come: as counted last, and what was handed since. */
  #toComeCount = 0;
  #isPumping = false;
  #isDeferred = false;

  constructor(deps: PacerDeps) {
    this.#deps = deps;
    const { clock, home, limits } = deps;
    this.#rated = new RatedRows({
      ...{ clock, home, ratedRowsMax: limits.ratedRowsMax },
      paceOf: deps.paceOf.bind(deps),
      onReady: (group) => {
        this.#enqueue(group.entry, group);
        this.#pump();
      },
      onFree: (rows) => {
        for (const place of rows) this.#enqueue(place.row.entry, place);
        this.#pump();
      },
    });
  }

  /** Rows that are not handed to everybody, though they might be; those of one rate are one. */
  get rowsCount(): number {
    return this.#rowsCount;
  }

  /** RA7 */
  get ratesRefusedCount(): number {
    return this.#rated.refusedCount;
  }

  /** Hands it now, as far as there is room and nobody comes before it; the rest soon. */
  offer(partition: Partition, entry: LedgerEntry): void {
    const place = { partition, row: partition.hold(entry) };
    if (this.#rated.takes(place)) return this.#hurryShelved(place);
    this.#enqueue(entry, place);
    this.#pump();
  }

  /** What its sender does with it has changed, or its rate. */
  changed(notificationId: string): void {
    this.#rated.changed(notificationId);
  }

  /** He is handed all that is held back for him, in order: more of his own waits than he may have (RA4). */
  hurry(partition: Partition, index: number): void {
    if (partition.ratedCount === 0) return; // lanes do not wait for long
    const slots = Bitset.of([index]);
    for (const row of partition.heldRows()) {
      const those = partition.takeThose(row, slots);
      if (those !== undefined) give(partition, row.entry, those);
    }
    partition.letGo();
  }

  stop(): void {
    this.#rated.stop();
  }

  #hurryShelved({ partition, row }: HeldPlace): void {
    if (partition.shelf.count === 0) return;
    for (const index of partition.shelf.indexes())
      if (row.isLeft(index)) this.hurry(partition, index);
  }

  #enqueue({ envelope: { notification } }: LedgerEntry, waiting: Waiting): void {
    const lane = this.#laneOf(notification.priority);
    let ofTenant = lane.get(notification.tenantId);
    if (ofTenant === undefined) lane.set(notification.tenantId, (ofTenant = new Ring(0)));
    ofTenant.pushBeyond(waiting);
    this.#rowsCount++;
  }

  /** A newer build may have accepted it with a priority that this one does not know. */
  #laneOf(priority: Priority): Lane {
    const lane = this.#lanes[PRIORITIES.indexOf(priority)] ?? this.#lanes[NORMAL];
    assert(lane, "PC2 every priority has a lane");
    return lane;
  }

  /** To be called after each slice of turns. */
  onSliceEnd(): void {
    if (this.#toComeCount === 0) return;
    this.#toComeCount = this.#deps.runnableCount();
    if (this.#rowsCount > 0) this.#pump();
  }

  #pump(): void {
    if (this.#isPumping) return; // a process that is handed something has offered
    this.#isPumping = true;
    try {
      let quantaCount = 0;
      for (let rank = CRITICAL; rank >= 0;) {
        const lane = this.#lanes[rank];
        if (lane === undefined || lane.size === 0) rank--;
        else if (!this.#hasRoom(rank)) return;
        else if (++quantaCount > QUANTA_PER_PUMP) return this.#defer();
        else {
          this.#serveNext(lane);
          rank = CRITICAL;
        }
      }
    } finally {
      this.#isPumping = false;
    }
  }

  /** False: turns are to come, so that a slice ends and calls again. */
  #hasRoom(rank: number): boolean {
    const countMax = this.#deps.limits.turnsMax * (rank === CRITICAL ? 2 : 1);
    if (this.#toComeCount < countMax) return true;
    this.#toComeCount = this.#deps.runnableCount(); // those who refused have no turn
    return this.#toComeCount < countMax;
  }

  /** PC3: the tenant whose turn it is, up to a quantum. */
  #serveNext(lane: Lane): void {
    for (const [tenantId, waiting] of lane) {
      let leftCount = this.#deps.limits.quantumCount;
      for (let next = waiting.peek(); next !== undefined && leftCount > 0; next = waiting.peek()) {
        if (next instanceof RateGroup) {
          leftCount -= this.#serveGroup(next, leftCount);
          if (leftCount <= 0) break; // it has its next turn, and then perhaps no token
        } else if (isWaiting(next) && !this.#rated.takes(next)) {
          leftCount -= this.#hand(next, leftCount);
          if (isWaiting(next)) break; // the quantum is used up
        }
        waiting.shift();
        this.#rowsCount--;
        if (next instanceof RateGroup) this.#rated.rest(next);
      }
      lane.delete(tenantId); // not before: what is ready meanwhile is put there
      if (waiting.length > 0) lane.set(tenantId, waiting);
      return;
    }
  }

  #serveGroup(group: RateGroup, countMax: number): number {
    const nowMs = this.#deps.clock.monotonicMs();
    return group.serve(nowMs, countMax, (place, partMax) => this.#hand(place, partMax));
  }

  #hand({ partition, row }: HeldPlace, countMax: number): number {
    const slots = row.take(countMax);
    const count = slots.count();
    this.#toComeCount += count;
    for (const earlier of partition.heldRows()) {
      if (earlier === row) break;
      const those = partition.takeThose(earlier, slots); // PC4
      if (those !== undefined) give(partition, earlier.entry, those);
    }
    give(partition, row.entry, slots);
    partition.letGo();
    return count;
  }

  #defer(): void {
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.#deps.scheduler.defer(() => {
      this.#isDeferred = false;
      this.#pump();
    });
  }
}

function isWaiting({ partition, row }: HeldPlace): boolean {
  return !partition.isLost && !row.isDone;
}

/** `slots` is the caller's no more. */
function give(partition: Partition, entry: LedgerEntry, slots: Bitset): void {
  const { spilled } = partition;
  if (!spilled.isEmpty) slots.andNot(spilled); // PA4
  partition.shelf.withhold(slots, entry.offset); // SH2
  partition.table.castEach(slots, { kind: "entry", entry }, (index) => void spilled.add(index));
}
