// packages/delivery/src/timer-statements.ts
// An owner's statements on its durable timers: changes in groups, and one statement at a time. Of one
// that is refused the owner is told the epoch under which it was asked for (D4).
import { type Batcher, type Clock, createBatcher, Fault } from "@carillon/kernel";
import type { TimerLimits } from "./delivery-limits.ts";
import { refusedOf } from "./ledger-flusher.ts";
import type { HeldPartition, TimerChange, TimerClaim, TimerStore } from "./ports.ts";

export interface TimerStatementsDeps {
  readonly home: string;
  readonly store: TimerStore;
  readonly clock: Clock;
  readonly limits: TimerLimits;
  isHeld(held: HeldPartition): boolean;
  onFenced(refused: readonly HeldPartition[]): void;
  onFault(cause: unknown): void;
}

const WAITING_MAX = 16_384;
const WAIT_MS = 5; // for others that go in the same statement

export class TimerStatements {
  readonly #deps: TimerStatementsDeps;
  readonly #writes: Batcher<TimerChange, boolean>;
  refusedCount = 0; // at WAITING_MAX
  /** Ends when the last statement has. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(deps: TimerStatementsDeps) {
    this.#deps = deps;
    this.#writes = createBatcher(
      {
        run: (changes) => this.#write(changes),
        itemsMax: deps.limits.claimMax,
        waitMs: WAIT_MS,
        concurrencyMax: 1, // changes of one timer stay in order
        queueMax: WAITING_MAX,
      },
      deps.clock,
    );
  }

  get waitingCount(): number {
    return this.#writes.waitingCount;
  }

  /** Rejects with the store's Fault. */
  async claim(options: Parameters<TimerStore["claim"]>[1]): Promise<TimerClaim> {
    const { store, home } = this.#deps;
    const claim = await this.#inTurn(() => store.claim(home, options));
    if (claim.fencedPartitions.length > 0)
      this.#deps.onFenced(refusedOf(options.held, claim.fencedPartitions));
    return claim;
  }

  /** False: refused, or not held any more. Rejects with a Fault, which `onFault` was told, too. */
  async add(change: TimerChange): Promise<boolean> {
    const answer = this.#writes.add(change);
    if ("kind" in answer) {
      this.refusedCount++;
      throw new Fault("timers wait already", { code: "overloaded", isRetryable: true });
    }
    return await answer;
  }

  /** A claim and a write at once could lock two timers crosswise: one is due, and is set again (ST13). */
  #inTurn<Answer>(statement: () => Promise<Answer>): Promise<Answer> {
    const answer = this.#turn.then(statement);
    this.#turn = answer.catch(() => undefined); // whoever asked for it is told
    return answer;
  }

  async #write(changes: readonly TimerChange[]): Promise<boolean[]> {
    const held = changes.filter((change) => this.#deps.isHeld(change)); // one epoch a partition
    if (held.length === 0) return changes.map(() => false);
    try {
      const updates = lastOfEach(held);
      const { store, home } = this.#deps;
      const { fencedPartitions } = await this.#inTurn(() => store.write(home, updates));
      if (fencedPartitions.length > 0) this.#deps.onFenced(refusedOf(updates, fencedPartitions));
      const heldSet = new Set(held);
      return changes.map(
        (change) => heldSet.has(change) && !fencedPartitions.includes(change.partition),
      );
    } catch (cause) {
      if (cause instanceof Fault) this.#deps.onFault(cause);
      throw cause;
    }
  }
}

/**
 * The last of each place and of each id: those before it would be over at once. What is about an id
 * gives way to a setting or cancelling of its place, whichever came first, and to nothing of another
 * id: which of them stands in the table is not known here.
 */
function lastOfEach(changes: readonly TimerChange[]): TimerChange[] {
  const ofPlaces = new Map<string, TimerChange>();
  const ofIds = new Map<number, TimerChange>();
  for (const change of changes)
    if ("id" in change) ofIds.set(change.id, change);
    else ofPlaces.set(placeOf(change), change);
  for (const [id, change] of ofIds) if (ofPlaces.has(placeOf(change))) ofIds.delete(id);
  return [...ofPlaces.values(), ...ofIds.values()];
}

function placeOf({ partition, kind, key }: TimerChange): string {
  return JSON.stringify([partition, kind, key]); // either may hold any separator
}
