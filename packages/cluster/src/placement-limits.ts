// packages/cluster/src/placement-limits.ts
// The times and sizes by which a member places partitions (placement.ts), and why each.
export interface PlacementLimits {
  readonly settleMs: number;
  /** 0: it takes at once. */
  readonly listenMs: number;
  readonly holdMs: number;
  readonly groupMax: number;
  readonly takenMaxMs: number;
  readonly orphanAfterMs: number;
  readonly orphanAfterIsolatedMs: number;
  readonly offerMs: number;
  readonly offerEveryMs: number;
  readonly spurnedMs: number;
  readonly soonMaxMs: number;
}

export const PLACEMENT_DEFAULTS: PlacementLimits = {
  settleMs: 10_000, // CL14, C21
  listenMs: 0, // CL19: a node sets 2.5 s, two beats of those that begin with it
  holdMs: 10_000, // CL14, C21
  groupMax: 32, // an eighth: their flush and load take some 100 ms
  takenMaxMs: 2_000, // CL15
  spurnedMs: 300_000, // CL15: others see the members differently, and may for long
  soonMaxMs: 30_000, // CL16: longer than a joiner waits for its first group: settleMs and holdMs
  orphanAfterMs: 5_000, // CL16: longer than members need to agree
  orphanAfterIsolatedMs: 8_000, // CL17: those with NATS need orphanAfterMs and a look
  offerMs: 3_000, // CL17: those with NATS look four times a second
  offerEveryMs: 30_000, // CL17: one of 256 is unserved for 3 s in 30 s
};
