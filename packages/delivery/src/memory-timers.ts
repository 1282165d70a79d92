// packages/delivery/src/memory-timers.ts
// What the statements on the table of timers do, in memory: for tests of this package, and as the
// simulation's database, which test/sim holds to packages/store on a real Postgres.
import { assert } from "@carillon/kernel";
import type { ClaimedTimer, TimerChange, TimerClaim, TimerStore, WriteOutcome } from "./ports.ts";

interface Row extends Omit<ClaimedTimer, "lateMs" | "attemptCount"> {
  dueAtMs: number;
  attemptCount: number;
  buriedReason: string | undefined;
}

export class MemoryTimers {
  readonly rows = new Map<string, Row>();
  readonly #nowMs: () => number;
  readonly #isOwner: (partition: number, epoch: number) => boolean;
  #lastId = 0;

  /** The fence: is `epoch` the one of the owner, now? */
  constructor(nowMs: () => number, isOwner: (partition: number, epoch: number) => boolean) {
    this.#nowMs = nowMs;
    this.#isOwner = isOwner;
  }

  claim({ held, kinds, exceptIds, limitCount }: Parameters<TimerStore["claim"]>[1]): TimerClaim {
    const nowMs = this.#nowMs();
    const epochs = new Map(held.map(({ partition, epoch }) => [partition, epoch]));
    const known = [...this.rows.values()]
      .filter(
        (row) =>
          epochs.has(row.partition) && kinds.includes(row.kind) && row.buriedReason === undefined,
      )
      .toSorted((a, b) => a.dueAtMs - b.dueAtMs || a.id - b.id);
    const found = known.filter(({ id, dueAtMs }) => dueAtMs <= nowMs && !exceptIds.includes(id));
    const due = found.slice(0, limitCount);
    const fenced = [...new Set(due.map(({ partition }) => partition))].filter(
      (partition) => !this.#isOwner(partition, epochs.get(partition) ?? -1),
    );
    const next = known.find(({ dueAtMs }) => dueAtMs > nowMs);
    return {
      timers: due
        .filter(({ partition }) => !fenced.includes(partition))
        .map((row) => {
          row.attemptCount++;
          const { dueAtMs, buriedReason: _, ...timer } = row;
          return { ...timer, lateMs: nowMs - dueAtMs };
        }),
      isMore:
        found.length > limitCount ||
        held.some(
          (one) => found.filter((row) => row.partition === one.partition).length >= limitCount,
        ),
      nextInMs: next === undefined ? null : next.dueAtMs - nowMs,
      fencedPartitions: fenced,
    };
  }

  write(changes: readonly TimerChange[]): WriteOutcome {
    const epochs = new Map(changes.map(({ partition, epoch }) => [partition, epoch]));
    assert(
      changes.every(({ partition, epoch }) => epochs.get(partition) === epoch),
      "D4 one epoch per partition in a write",
    );
    assertOnceEach(changes);
    const fenced = [...epochs].flatMap(([n, epoch]) => (this.#isOwner(n, epoch) ? [] : [n]));
    for (const change of changes) if (!fenced.includes(change.partition)) this.#apply(change);
    return { fencedPartitions: fenced };
  }

  #apply(change: TimerChange): void {
    const nowMs = this.#nowMs();
    const place = placeOf(change);
    if (change.change === "cancel") this.rows.delete(place);
    if (change.change === "set") {
      const { partition, kind, key, tenantId, due } = change;
      const payload: unknown = JSON.parse(JSON.stringify(change.payload));
      const id = ++this.#lastId;
      const dueAtMs = "atMs" in due ? due.atMs : nowMs + due.inMs;
      const fresh = { attemptCount: 0, buriedReason: undefined };
      this.rows.set(place, { partition, kind, key, id, tenantId, payload, dueAtMs, ...fresh });
    }
    const row = this.rows.get(place);
    if (!("id" in change) || row?.id !== change.id) return;
    if (change.change === "done") this.rows.delete(place);
    else if (change.change === "retry") row.dueAtMs = nowMs + change.inMs;
    else row.buriedReason = change.reason;
  }
}

function assertOnceEach(changes: readonly TimerChange[]): void {
  const ofPlaces = changes.filter((change) => !("id" in change)).map(placeOf);
  const places = new Set(ofPlaces);
  const ofIds = changes.flatMap((change) => ("id" in change ? [change] : []));
  const isOnce =
    places.size === ofPlaces.length && new Set(ofIds.map(({ id }) => id)).size === ofIds.length;
  assert(isOnce && !ofIds.some((one) => places.has(placeOf(one))), "a write changes a timer once");
}

function placeOf({ partition, kind, key }: TimerChange): string {
  return JSON.stringify([partition, kind, key]); // either may hold any separator
}
