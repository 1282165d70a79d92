// packages/delivery/src/deferred-rows.ts
// Ledger rows whose time has come: the timers that stand for them become rows, and go the way of all others.
//   DF1  A row that waited is taken into the ledger once, by the owner of its partition (ST34); when the
//        answer is lost it is found there as a gap.
//   DF2  What cannot be read of such a timer is an error of that one: it is tried again, and buried (DT3).
import { deferredMembersOf, deferredPayloadSchema, ROW_TIMER_KIND } from "@carillon/contracts";
import {
  assert,
  type Batcher,
  type Clock,
  createBatcher,
  Fault,
  ItemFailure,
} from "@carillon/kernel";
import type { RecipientProcesses } from "./delivery-node-api.ts";
import type { TimerHandler } from "./durable-timers.ts";
import type { Intake } from "./intake.ts";
import { refusedOf } from "./ledger-flusher.ts";
import type { Partition } from "./partition.ts";
import {
  type ClaimedTimer,
  EMPTY_SETS,
  type HeldPartition,
  type LedgerRow,
  type LedgerStore,
  type Release,
} from "./ports.ts";

export interface DeferredRowsDeps {
  readonly home: string;
  readonly store: Pick<LedgerStore, "releaseRows">;
  readonly clock: Clock;
  readonly intake: Pick<Intake, "onRows">;
  readonly rowsMax: number; // of one statement
  partitionOf(partition: number): Partition | undefined;
  isHeld(held: HeldPartition): boolean;
  onFenced(refused: readonly HeldPartition[]): void;
}

const WAITING_MAX = 65_536;

export class DeferredRows {
  readonly #deps: DeferredRowsDeps;
  readonly #batcher: Batcher<Release, void>;
  refusedCount = 0; // at WAITING_MAX

  constructor(deps: DeferredRowsDeps) {
    this.#deps = deps;
    this.#batcher = createBatcher(
      {
        run: (releases) => this.#releaseEach(releases),
        itemsMax: deps.rowsMax,
        waitMs: 1,
        concurrencyMax: 1, // rows of a partition in the order in which they are due
        queueMax: WAITING_MAX,
      },
      deps.clock,
    );
  }

  get waitingCount(): number {
    return this.#batcher.waitingCount;
  }

  readonly handler: TimerHandler<RecipientProcesses> = {
    kind: ROW_TIMER_KIND,
    fire: async (timer, { partition, epoch }) => {
      const answer = this.#batcher.add({ partition, epoch, ...releaseOf(timer) });
      if ("kind" in answer) {
        this.refusedCount++;
        throw new Fault("rows wait already", { code: "overloaded", isRetryable: true });
      }
      await answer;
    },
  };

  /** DF2: of many one may be what the store cannot take; it must not fail the others. */
  async #releaseEach(queued: readonly Release[]): Promise<(void | ItemFailure)[]> {
    try {
      return await this.#release(queued);
    } catch (cause) {
      if (!(cause instanceof Fault) || cause.isRetryable || queued.length === 1) throw cause;
      const results: (void | ItemFailure)[] = [];
      for (const release of queued)
        results.push(
          await this.#release([release]).then(
            () => undefined,
            (one: unknown) => new ItemFailure(one),
          ),
        );
      return results;
    }
  }

  async #release(queued: readonly Release[]): Promise<void[]> {
    const { home, store, intake } = this.#deps;
    const releases = queued.filter((release) => this.#deps.isHeld(release)); // one epoch each (D4)
    const { entries, fencedPartitions } = await store.releaseRows(home, releases);
    if (fencedPartitions.length > 0) this.#deps.onFenced(refusedOf(releases, fencedPartitions));
    const byTimer = new Map(releases.map((release) => [release.timerId, release]));
    const rows = entries.map(({ timerId, ...entry }): LedgerRow => {
      const release = byTimer.get(timerId);
      assert(release, "DF1 only what was asked for is released");
      const { notificationId, members } = release;
      const targeted = members.kind === "set" ? members.set : EMPTY_SETS.targeted;
      const { partition, offset, directoryVersion } = entry;
      return {
        partition,
        offset,
        directoryVersion,
        members: members.kind === "members" ? members.members.slice() : null,
        notificationId,
        state: members.kind === "all" ? "planned" : "open",
        movesCount: 0,
        sets: { ...EMPTY_SETS, targeted },
      };
    });
    intake.onRows(rows, (partition) => this.#deps.partitionOf(partition));
    return queued.map(() => undefined);
  }
}

/** DF2. Throws. */
function releaseOf({ id, payload }: ClaimedTimer): Omit<Release, keyof HeldPartition> {
  const parsed = deferredPayloadSchema.parse(payload);
  const members = deferredMembersOf(parsed);
  if (members === undefined) throw new Error("a row that waits names whom it is for");
  const { notificationId, ackSeconds } = parsed;
  return { timerId: id, notificationId, members, ...(ackSeconds !== undefined && { ackSeconds }) };
}
