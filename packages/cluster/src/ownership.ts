// packages/cluster/src/ownership.ts
// Holds the leases of the partitions this member should own (DESIGN §6).
//   CL7  Time to live of a lease is the database's; the time to stop by itself is this node's own
//        monotonic clock, and shorter (8 s of 10 s): it stops before another may begin.
//   CL8  A partition is handed over only after `onRelease` has flushed it (planned handover).
//   CL10 A lease that this member has, but does not serve, is given back with the next refresh.
//   CL11 After `abandon` no statement of this ownership is under way: one that begins anew under the
//        same member id cannot lose its leases to it.
//   CL9  A node that slept (SIGSTOP) notices before it does anything: `mayServe` is asked first.
// What it takes and gives: placement.ts (CL14–CL17).
import { assert, type Clock, type Timer } from "@carillon/kernel";
import type { PlaceableWorker } from "./membership.ts";
import { Placement, PLACEMENT_DEFAULTS, type PlacementLimits } from "./placement.ts";
import type { LeaseRow, LeaseStore } from "./ports.ts";

export interface AcquiredPartition {
  readonly partition: number;
  readonly epoch: number;
  /** Nobody's sessions can be under way: never owned before. */
  readonly isFirst: boolean;
}

export type LossReason = "fenced" | "unrefreshed" | "stopped";

export interface OwnershipOptions {
  readonly home: string;
  readonly memberId: string;
  readonly partitionCount: number;
  readonly leaseMs: number; // 10,000
  readonly refreshEveryMs: number; // 3,000
  readonly selfStopMs: number; // 8,000, below leaseMs
  readonly checkEveryMs: number; // 1,000: how often free partitions are looked for
  readonly placement?: Partial<PlacementLimits>;
}

export interface OwnershipDeps {
  readonly leases: LeaseStore;
  /** Workers that may be given partitions, itself included unless it drains. */
  readonly placeable: () => readonly PlaceableWorker[];
  /** Without NATS for longer than a moment (CL17). */
  readonly isIsolated: () => boolean;
  readonly clock: Clock;
  onAcquired(partitions: readonly AcquiredPartition[]): void;
  /** Work on these must end at once; nothing may be written for them any more. */
  onLost(partitions: readonly number[], reason: LossReason): void;
  /** Flushes; the lease is given back when this resolves. Bounded by the caller. */
  onRelease(partitions: readonly number[]): Promise<void>;
  onFault(cause: unknown): void;
  /** Another member took a partition that this one gave, so long after it was unserved here. */
  onHandedOver?(partition: number, afterMs: number): void;
}

/** While something is about to move: a partition given is taken within this (C20). */
const CHECK_SOON_MS = 250;
/** A drain that takes longer gives the rest at once, taken or not. */
const DRAIN_PACED_MAX_MS = 6_000;

export interface Ownership {
  start(): void;
  /** Hands everything over: flush, then release. Safe to call twice. */
  drain(): Promise<void>;
  /** Ends without release; leases run out by themselves. */
  stop(): void;
  /**
   * Ends at once, then gives the leases back without a flush: what is in memory is not trusted any
   * more, what is committed is (CL11). Rejects when the store does; then they run out.
   */
  abandon(): Promise<void>;
  /** False once leases may have run out; then everything is given up before it returns (CL9). */
  mayServe(): boolean;
  /** Since the leases were refreshed; 0 while none is held. From 8 s on they are given up. */
  leaseAgeMs(): number;
  epochOf(partition: number): number | undefined;
  owned(): readonly [partition: number, epoch: number][];
  /** Looks at members and leases now instead of at the next check. */
  check(): void;
}

export function createOwnership(options: OwnershipOptions, deps: OwnershipDeps): Ownership {
  assert(options.selfStopMs < options.leaseMs, "CL7 a node stops before its leases run out");
  const { home, memberId } = options;
  const { clock, leases } = deps;
  const held = new Map<number, { readonly epoch: number; readonly sinceMs: number }>();
  const limits = { ...PLACEMENT_DEFAULTS, ...options.placement };
  const unservedAtMs = new Map<number, number>(); // of those given and not taken yet
  const placement = new Placement(memberId, limits, (partition) => {
    const sinceMs = unservedAtMs.get(partition);
    unservedAtMs.delete(partition);
    if (sinceMs !== undefined) deps.onHandedOver?.(partition, clock.monotonicMs() - sinceMs);
  });
  const releasing = new Set<number>();
  let phase: "idle" | "running" | "draining" | "stopped" = "idle";
  let refreshedAtMs = clock.monotonicMs();
  let timer: Timer | undefined;
  let checking: Promise<void> | undefined;

  const lose = (partitions: number[], reason: LossReason): void => {
    if (partitions.length === 0) return;
    for (const partition of partitions) held.delete(partition);
    deps.onLost(partitions, reason);
  };

  const isStopped = (): boolean => phase === "stopped";
  const giveBack = (partitions: readonly number[]): Promise<void> =>
    leases.release({ home, memberId, partitions });

  const mayServe = (): boolean => {
    if (held.size === 0 || clock.monotonicMs() - refreshedAtMs < options.selfStopMs) return true;
    lose([...held.keys()], "unrefreshed");
    return false;
  };

  const refresh = async (): Promise<void> => {
    const askedAtMs = clock.monotonicMs(); // the lease cannot have begun later than this
    const before = new Map(held);
    const still = new Map(
      (await leases.refresh({ home, memberId, leaseMs: options.leaseMs })).map((lease) => [
        lease.partition,
        lease.epoch,
      ]),
    );
    const fenced = [...before].filter(
      ([partition, { epoch }]) =>
        held.get(partition)?.epoch === epoch && still.get(partition) !== epoch,
    );
    lose(
      fenced.map(([partition]) => partition),
      "fenced",
    );
    refreshedAtMs = Math.max(refreshedAtMs, askedAtMs);
    if (isStopped()) return;
    // Kept alive by the refresh and served by nobody: a release that failed, or an acquire whose
    // answer was lost. Given back, so that somebody takes them (CL10).
    const strays = [...still.keys()].filter((n) => !held.has(n) && !releasing.has(n));
    if (strays.length > 0) await giveBack(strays);
  };

  const acquire = async (
    partitions: readonly number[],
    rows: readonly LeaseRow[],
  ): Promise<void> => {
    if (partitions.length === 0) return;
    const firstOwned = new Set(rows.flatMap((row) => (row.epoch === 0 ? [row.partition] : [])));
    const askedAtMs = clock.monotonicMs();
    const taken = await leases.acquire({ home, memberId, partitions, leaseMs: options.leaseMs });
    if (isStopped()) {
      await giveBack(taken.map(({ partition }) => partition)); // CL11
      return;
    }
    if (held.size === 0) refreshedAtMs = askedAtMs;
    const sinceMs = clock.monotonicMs();
    for (const { partition, epoch } of taken) held.set(partition, { epoch, sinceMs });
    if (taken.length === 0) return;
    deps.onAcquired(taken.map((lease) => ({ ...lease, isFirst: firstOwned.has(lease.partition) })));
  };

  const handOver = async (partitions: readonly number[], isOffer = false): Promise<void> => {
    if (partitions.length === 0) return;
    const startedAtMs = clock.monotonicMs();
    for (const partition of partitions) {
      releasing.add(partition);
      unservedAtMs.set(partition, startedAtMs);
    }
    try {
      await deps.onRelease(partitions);
      const ours = partitions.filter((partition) => held.has(partition)); // CL8: not lost meanwhile
      for (const partition of ours) held.delete(partition);
      await giveBack(ours);
      placement.given(ours, clock.monotonicMs(), isOffer);
    } finally {
      for (const partition of partitions) releasing.delete(partition);
    }
  };

  const checkOnce = async (): Promise<void> => {
    mayServe();
    const isRefreshDue = clock.monotonicMs() - refreshedAtMs >= options.refreshEveryMs;
    if (held.size > 0 && isRefreshDue) await refresh();
    if (phase !== "running") return;
    const rows = await leases.list(home);
    if (isStopped()) return;
    const decision = placement.decide({
      nowMs: clock.monotonicMs(),
      partitionCount: options.partitionCount,
      rows,
      placeable: deps.placeable(),
      isIsolated: deps.isIsolated(),
      held,
    });
    await acquire(decision.take, rows);
    await handOver(
      decision.give.filter((partition) => held.has(partition)),
      decision.isOffer,
    );
    if (decision.isWaiting && phase === "running") arm(CHECK_SOON_MS);
  };

  /** Group by group, each when the one before was taken: no partition waits long for its next owner. */
  const handOverAll = async (): Promise<void> => {
    const startedAtMs = clock.monotonicMs();
    while (held.size > 0 && !isStopped()) {
      const isPaced = clock.monotonicMs() - startedAtMs < DRAIN_PACED_MAX_MS;
      const hasHeirs = deps.placeable().some((one) => one.memberId !== memberId && !one.isSuspect);
      const groupMax = isPaced && hasHeirs ? limits.groupMax : held.size;
      await handOver([...held.keys()].slice(0, groupMax));
      if (!hasHeirs) continue;
      while (placement.isPending(await leases.list(home), clock.monotonicMs()))
        await clock.sleep(CHECK_SOON_MS / 5);
    }
  };

  const check = (): void => {
    checking ??= checkOnce()
      .catch((cause: unknown) => {
        deps.onFault(cause);
        mayServe();
      })
      .finally(() => {
        checking = undefined;
      });
  };

  const arm = (delayMs: number): void => {
    timer?.cancel();
    timer = clock.setTimer(delayMs, () => {
      if (isStopped()) return;
      arm(options.checkEveryMs);
      mayServe();
      check();
    });
  };

  const stop = (): void => {
    phase = "stopped";
    timer?.cancel();
    lose([...held.keys()], "stopped");
  };

  return {
    start() {
      if (phase !== "idle") return;
      phase = "running";
      arm(options.checkEveryMs);
      check();
    },
    async drain() {
      if (phase !== "running") return;
      phase = "draining";
      await checking;
      try {
        await handOverAll();
      } catch (cause) {
        deps.onFault(cause); // the leases run out by themselves
      }
    },
    stop,
    async abandon() {
      const partitions = [...held.keys()];
      try {
        stop();
      } finally {
        await Promise.all([giveBack(partitions), checking]);
      }
    },
    mayServe,
    leaseAgeMs: () => (held.size === 0 ? 0 : clock.monotonicMs() - refreshedAtMs),
    epochOf: (partition) => held.get(partition)?.epoch,
    owned: () => [...held].map(([partition, { epoch }]) => [partition, epoch]),
    check,
  };
}
