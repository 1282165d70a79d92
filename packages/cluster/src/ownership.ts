// packages/cluster/src/ownership.ts
// Holds the leases of the partitions this member should own (DESIGN §6).
//   CL7  Time to live of a lease is the database's; the time to stop by itself is this node's own
//        monotonic clock, and shorter (8 s of 10 s): it stops before another may begin.
//   CL8  A partition is handed over only after `onRelease` has flushed it (planned handover).
//   CL10 A lease that this member has, but does not serve, is given back with the next refresh.
//   CL11 After `abandon` no statement of this ownership is under way: one that begins anew under the
//        same member id cannot lose its leases to it.
//   CL9  A node that slept (SIGSTOP) notices before it does anything: `mayServe` is asked first.
//   CL20 The refresh has a timer and a flight of its own: no slow handover, take or look at the leases
//        delays it, and it has two tries before this member has to stop.
// What it takes and gives: placement.ts (CL14–CL17).
import { assert, type Timer } from "@carillon/kernel";
import type { LossReason, OwnershipDeps, OwnershipOptions } from "./ownership-options.ts";
import { PLACEMENT_DEFAULTS } from "./placement-limits.ts";
import { Placement } from "./placement.ts";
import type { LeaseRow } from "./ports.ts";

/** While something is about to move: a partition given is taken within this (C20). */
const CHECK_SOON_MS = 250;
const REFRESH_LIMIT_MS = 2_000; // CL20: for two tries between refreshEveryMs and selfStopMs
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
  /**
   * Isolated, and somebody who has NATS took what was offered: its people are served better elsewhere
   * (CL17). False while it serves on, since nobody takes anything or nobody else is there (D5).
   */
  isRelieved(): boolean;
  /** Looks at members and leases now instead of at the next check. */
  check(): void;
}

export function createOwnership(options: OwnershipOptions, deps: OwnershipDeps): Ownership {
  const { home, memberId, refreshEveryMs, checkEveryMs, selfStopMs } = options;
  assert(selfStopMs < options.leaseMs, "CL7 a node stops before its leases run out");
  const { refreshLimitMs = REFRESH_LIMIT_MS } = options;
  assert(
    refreshEveryMs + checkEveryMs + 2 * refreshLimitMs <= selfStopMs,
    "CL20 a refresh that ends at its limit ends before this node has to stop",
  );
  const { clock, leases } = deps;
  const held = new Map<number, { readonly epoch: number; readonly sinceMs: number }>();
  const limits = { ...PLACEMENT_DEFAULTS, ...options.placement };
  const unservedAtMs = new Map<number, number>(); // of those given and not taken yet
  const onTaken = (partition: number): void => {
    const sinceMs = unservedAtMs.get(partition);
    unservedAtMs.delete(partition);
    if (sinceMs !== undefined) deps.onHandedOver?.(partition, clock.monotonicMs() - sinceMs);
  };
  const { tables } = options;
  const placement = new Placement({ memberId, limits, onTaken, ...(tables && { tables }) });
  const releasing = new Set<number>();
  const acquiring = new Set<number>();
  let phase: "idle" | "running" | "draining" | "stopped" = "idle";
  let refreshedAtMs = clock.monotonicMs();
  let timer: Timer | undefined;
  let refreshTimer: Timer | undefined;
  let checking: Promise<void> | undefined;
  let refreshing: Promise<void> | undefined;
  let returning: Promise<void> | undefined;

  const lose = (partitions: number[], reason: LossReason): void => {
    if (partitions.length === 0) return;
    for (const partition of partitions) held.delete(partition);
    deps.onLost(partitions, reason);
  };

  const isStopped = (): boolean => phase === "stopped";
  const giveBack = (partitions: readonly number[]): Promise<void> =>
    leases.release({ home, memberId, partitions });

  const mayServe = (): boolean => {
    if (held.size === 0 || clock.monotonicMs() - refreshedAtMs < selfStopMs) return true;
    lose([...held.keys()], "unrefreshed");
    return false;
  };

  const refresh = async (): Promise<void> => {
    const askedAtMs = clock.monotonicMs(); // the lease cannot have begun later than this
    const before = new Map(held);
    const moving = new Set([...releasing, ...acquiring]);
    const refreshed = await leases.refresh({
      home,
      memberId,
      leaseMs: options.leaseMs,
      limitMs: refreshLimitMs,
    });
    const still = new Map(refreshed.map(({ partition, epoch }) => [partition, epoch]));
    const fenced = [...before].filter(
      ([partition, { epoch }]) =>
        held.get(partition)?.epoch === epoch && still.get(partition) !== epoch,
    );
    lose(
      fenced.map(([partition]) => partition),
      "fenced",
    );
    // One that was taken meanwhile is not in the answer: its lease may have begun before this.
    const isWhole = [...held].every(([partition, { epoch }]) => still.get(partition) === epoch);
    if (isWhole) refreshedAtMs = Math.max(refreshedAtMs, askedAtMs);
    if (isStopped()) return;
    for (const set of [releasing, acquiring]) for (const partition of set) moving.add(partition);
    giveBackStrays([...still.keys()].filter((n) => !held.has(n) && !moving.has(n)));
  };

  /**
   * Kept alive by the refresh and served by nobody: a release that failed, or an acquire whose answer
   * was lost. Given back, so that somebody takes them (CL10); nothing waits for it (CL20).
   */
  const giveBackStrays = (strays: readonly number[]): void => {
    if (strays.length === 0 || returning !== undefined) return;
    for (const partition of strays) releasing.add(partition);
    returning = giveBack(strays)
      .catch((cause: unknown) => deps.onFault(cause))
      .finally(() => {
        for (const partition of strays) releasing.delete(partition);
        returning = undefined;
      });
  };

  const acquire = async (wanted: readonly number[], rows: readonly LeaseRow[]): Promise<void> => {
    const partitions = wanted.filter((partition) => !releasing.has(partition));
    if (partitions.length === 0) return;
    const firstOwned = new Set(rows.flatMap((row) => (row.epoch === 0 ? [row.partition] : [])));
    const askedAtMs = clock.monotonicMs();
    for (const partition of partitions) acquiring.add(partition);
    try {
      const taken = await leases.acquire({ home, memberId, partitions, leaseMs: options.leaseMs });
      // So old a lease would count for all that is held (CL20).
      const isLate = held.size > 0 && clock.monotonicMs() - askedAtMs > refreshEveryMs;
      if (isStopped() || isLate) {
        await giveBack(taken.map(({ partition }) => partition)); // CL11
        return;
      }
      if (taken.length === 0) return;
      // The oldest lease counts: a refresh that came after this was asked may not have seen these.
      refreshedAtMs = held.size === 0 ? askedAtMs : Math.min(refreshedAtMs, askedAtMs);
      const sinceMs = clock.monotonicMs();
      for (const { partition, epoch } of taken) held.set(partition, { epoch, sinceMs });
      deps.onAcquired(
        taken.map((lease) => ({ ...lease, isFirst: firstOwned.has(lease.partition) })),
      );
    } finally {
      for (const partition of partitions) acquiring.delete(partition);
    }
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
    mayServe();
    checking ??= checkOnce()
      .catch((cause: unknown) => deps.onFault(cause))
      .finally(() => {
        checking = undefined;
      });
  };

  const keep = (): void => {
    refreshTimer = clock.setTimer(checkEveryMs, keep);
    if (!mayServe() || held.size === 0) return;
    if (clock.monotonicMs() - refreshedAtMs < refreshEveryMs) return;
    refreshing ??= refresh()
      .catch((cause: unknown) => deps.onFault(cause))
      .finally(() => {
        refreshing = undefined;
      });
  };

  const arm = (delayMs: number): void => {
    timer?.cancel();
    timer = clock.setTimer(delayMs, () => {
      if (phase !== "running") return;
      arm(checkEveryMs);
      check();
    });
  };

  const stop = (): void => {
    phase = "stopped";
    timer?.cancel();
    refreshTimer?.cancel();
    lose([...held.keys()], "stopped");
  };

  return {
    start() {
      if (phase !== "idle") return;
      phase = "running";
      arm(checkEveryMs);
      refreshTimer = clock.setTimer(checkEveryMs, keep);
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
      await Promise.all([refreshing, returning]);
    },
    stop,
    async abandon() {
      const partitions = [...held.keys()];
      try {
        stop();
      } finally {
        await Promise.all([giveBack(partitions), checking, refreshing, returning]);
      }
    },
    mayServe,
    leaseAgeMs: () => (held.size === 0 ? 0 : clock.monotonicMs() - refreshedAtMs),
    epochOf: (partition) => held.get(partition)?.epoch,
    owned: () => [...held].map(([partition, { epoch }]) => [partition, epoch]),
    // The link's return counts at once, not with the next look at the leases.
    isRelieved: () => phase === "running" && placement.isRelieved && deps.isIsolated(),
    check,
  };
}
