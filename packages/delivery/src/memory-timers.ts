// packages/delivery/src/memory-timers.ts
// What the statements on the table of timers do, in memory: for tests of this package, and as the
// simulation's database, which test/sim holds to packages/store on a real Postgres.
import { deferredPayloadOf, FLOW_TIMER_KIND, ROW_TIMER_KIND } from "@carillon/contracts";
import { assert } from "@carillon/kernel";
import type {
  ClaimedTimer,
  LedgerRow,
  LedgerUpdate,
  TimerChange,
  TimerClaim,
  TimerStore,
  WriteOutcome,
} from "./ports.ts";

interface Row extends Omit<ClaimedTimer, "lateMs" | "attemptCount" | "failureCount" | "lostCount"> {
  dueAtMs: number;
  attemptCount: number;
  failureCount: number;
  lostCount: number;
  claimedEpoch: number | undefined;
  buriedReason: string | undefined;
}

const DOUBTFUL_MAX = 16; // of packages/store

const FRESH = {
  attemptCount: 0,
  failureCount: 0,
  lostCount: 0,
  claimedEpoch: undefined,
  buriedReason: undefined,
};

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

  claim(options: Parameters<TimerStore["claim"]>[1]): TimerClaim {
    const { held, kinds, exceptIds, limitCount, mayBeDoubtful } = options;
    const nowMs = this.#nowMs();
    const epochs = new Map(held.map(({ partition, epoch }) => [partition, epoch]));
    const known = [...this.rows.values()]
      .filter(
        (row) =>
          epochs.has(row.partition) && kinds.includes(row.kind) && row.buriedReason === undefined,
      )
      .toSorted((a, b) => a.dueAtMs - b.dueAtMs || a.id - b.id);
    const found = known.filter(({ id, dueAtMs }) => dueAtMs <= nowMs && !exceptIds.includes(id));
    const fresh = found.filter(({ lostCount }) => lostCount === 0);
    const doubtful = found.filter(({ lostCount }) => lostCount > 0);
    const group = mayBeDoubtful ? groupOf(doubtful).slice(0, limitCount) : [];
    const room = limitCount - group.length;
    const due = [...group, ...fresh.slice(0, room)];
    const fenced = [...new Set(due.map(({ partition }) => partition))].filter(
      (partition) => !this.#isOwner(partition, epochs.get(partition) ?? -1),
    );
    const allowed = due.filter(({ partition }) => !fenced.includes(partition));
    const lost = allowed.filter(({ partition, claimedEpoch }) =>
      [undefined, epochs.get(partition)].every((epoch) => epoch !== claimedEpoch),
    );
    for (const row of lost) {
      row.lostCount++;
      row.claimedEpoch = undefined;
    }
    const next = known.find(({ dueAtMs }) => dueAtMs > nowMs);
    const ofEach = Map.groupBy(fresh, ({ partition, kind }) => JSON.stringify([partition, kind]));
    return {
      timers: allowed
        .filter((row) => !lost.includes(row))
        .toSorted((a, b) => a.dueAtMs - b.dueAtMs || a.id - b.id)
        .map((row) => {
          row.attemptCount++;
          row.claimedEpoch = epochs.get(row.partition);
          const { dueAtMs, buriedReason: _, claimedEpoch: __, ...timer } = row;
          return { ...timer, lateMs: nowMs - dueAtMs };
        }),
      isMore:
        fresh.length > room ||
        lost.length > 0 ||
        [...ofEach.values()].some((rows) => rows.length >= limitCount),
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

  /** As the statements that put rows off: one that is there already stays. */
  put(row: Omit<Row, "id" | keyof typeof FRESH>): void {
    const place = placeOf(row);
    if (!this.rows.has(place)) this.rows.set(place, { ...row, ...FRESH, id: ++this.#lastId });
  }

  /** As a flush does with those whom it puts off: once per count of them (ST33). */
  putMoves(
    update: LedgerUpdate,
    before: LedgerRow,
    of: { readonly tenantId: string; readonly ackSeconds: number | undefined },
  ): void {
    const { partition, offset, moves } = update;
    if (moves === undefined || before.movesCount >= moves.count) return;
    for (const [place, row] of moves.rows.entries())
      this.put({
        partition,
        kind: ROW_TIMER_KIND,
        key: `${before.notificationId}/${offset}.${moves.count}.${place}`,
        tenantId: of.tenantId,
        dueAtMs: row.untilMs,
        payload: {
          ...deferredPayloadOf(row),
          notificationId: before.notificationId,
          ...(of.ackSeconds !== undefined && { ackSeconds: of.ackSeconds }),
        },
      });
  }

  /** As the statement does that makes a row (ST37). */
  putChain(row: {
    readonly partition: number;
    readonly offset: number;
    readonly notificationId: string;
    readonly tenantId: string;
    readonly ackSeconds: number | undefined;
  }): void {
    const { partition, offset, notificationId, tenantId, ackSeconds } = row;
    if (ackSeconds === undefined) return;
    this.put({
      ...{ partition, tenantId, kind: FLOW_TIMER_KIND, key: `${notificationId}/${offset}` },
      dueAtMs: this.#nowMs() + ackSeconds * 1_000,
      payload: { notificationId, offset },
    });
  }

  /** As a release does (ST34); false: it is not there any more. */
  take(id: number): boolean {
    for (const [place, row] of this.rows) if (row.id === id) return this.rows.delete(place);
    return false;
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
      this.rows.set(place, { partition, kind, key, id, tenantId, payload, dueAtMs, ...FRESH });
    }
    const row = this.rows.get(place);
    if (!("id" in change) || row?.id !== change.id) return;
    if (change.change === "done") this.rows.delete(place);
    if (row.buriedReason !== undefined) return;
    row.claimedEpoch = undefined;
    if (change.change === "bury") row.buriedReason = change.reason;
    if (change.change !== "retry") return;
    row.dueAtMs = nowMs + change.inMs;
    row.failureCount++;
    row.lostCount = 0;
  }
}

/** Of those that lost claims, soonest due first: the first alone, or those that lost one. */
function groupOf(doubtful: readonly Row[]): Row[] {
  const [first, ...others] = doubtful.slice(0, DOUBTFUL_MAX);
  if (first === undefined) return [];
  if (first.lostCount > 1) return [first];
  return [first, ...others.filter(({ lostCount }) => lostCount === 1)];
}

function assertOnceEach(changes: readonly TimerChange[]): void {
  const ofPlaces = changes.filter((change) => !("id" in change)).map(placeOf);
  const places = new Set(ofPlaces);
  const ofIds = changes.flatMap((change) => ("id" in change ? [change] : []));
  const isOnce =
    places.size === ofPlaces.length && new Set(ofIds.map(({ id }) => id)).size === ofIds.length;
  assert(isOnce && !ofIds.some((one) => places.has(placeOf(one))), "a write changes a timer once");
}

function placeOf({ partition, kind, key }: Pick<Row, "partition" | "kind" | "key">): string {
  return JSON.stringify([partition, kind, key]); // either may hold any separator
}
