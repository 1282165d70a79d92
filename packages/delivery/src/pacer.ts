// packages/delivery/src/pacer.ts
// In what order, and how many at a time, committed rows are handed to their recipients' processes: an
// all-hands waits in its rows, as bitsets, and not as a million turns before everybody else's.
//   PC1  At most `turnsMax` turns are to come when more is handed; for critical rows twice as many.
//   PC2  critical before high before normal before low.
//   PC3  Tenants of one priority take turns, `quantumCount` recipients each.
//   PC4  Whoever is handed a row is handed all earlier ones first that are for him (D3): what
//        overtakes, overtakes other people's.
import { PRIORITIES, type Priority } from "@carillon/contracts";
import { assert, type Bitset, Ring, type Scheduler } from "@carillon/kernel";
import type { HeldRow } from "./held-row.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";

export interface PacerLimits {
  readonly turnsMax: number;
  readonly quantumCount: number;
}

export interface PacerDeps {
  readonly scheduler: Scheduler;
  readonly limits: PacerLimits;
  /** Turns of processes that are to come now (`ProcessRuntime.runnableCount`). */
  runnableCount(): number;
}

interface Waiting {
  readonly partition: Partition;
  readonly row: HeldRow;
}

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
  #rowsCount = 0;
  /** Upper bound of the turns to come: as counted last, and what was handed since. */
  #toComeCount = 0;
  #isPumping = false;
  #isDeferred = false;

  constructor(deps: PacerDeps) {
    this.#deps = deps;
  }

  /** Rows that are not handed to everybody. */
  get rowsCount(): number {
    return this.#rowsCount;
  }

  /** Hands it now, as far as there is room and nobody comes before it; the rest soon. */
  offer(partition: Partition, entry: LedgerEntry): void {
    const { priority, tenantId } = entry.envelope.notification;
    const lane = this.#laneOf(priority);
    const row = partition.hold(entry);
    let ofTenant = lane.get(tenantId);
    if (ofTenant === undefined) lane.set(tenantId, (ofTenant = new Ring(0)));
    ofTenant.pushBeyond({ partition, row });
    this.#rowsCount++;
    this.#pump();
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
      lane.delete(tenantId);
      let leftCount = this.#deps.limits.quantumCount;
      for (let next = waiting.peek(); next !== undefined && leftCount > 0; next = waiting.peek()) {
        const { partition, row } = next;
        if (!partition.isLost && !row.isDone) leftCount -= this.#hand(partition, row, leftCount);
        if (!partition.isLost && !row.isDone) break; // the quantum is used up
        waiting.shift();
        this.#rowsCount--;
      }
      if (waiting.length > 0) lane.set(tenantId, waiting);
      return;
    }
  }

  #hand(partition: Partition, row: HeldRow, countMax: number): number {
    const slots = row.take(countMax);
    const count = slots.count();
    this.#toComeCount += count;
    for (const earlier of partition.heldRows()) {
      if (earlier === row) break;
      const those = earlier.takeThose(slots); // PC4
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

/** `slots` is the caller's no more. */
function give(partition: Partition, entry: LedgerEntry, slots: Bitset): void {
  const { spilled } = partition;
  if (!spilled.isEmpty) slots.andNot(spilled); // PA4
  partition.shelf.withhold(slots, entry.offset); // SH2
  partition.table.castEach(slots, { kind: "entry", entry }, (index) => void spilled.add(index));
}
