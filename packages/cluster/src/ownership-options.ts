// packages/cluster/src/ownership-options.ts
// What an ownership is built from, and whom it tells (ownership.ts).
import type { Clock } from "@carillon/kernel";
import type { PlaceableWorker } from "./membership.ts";
import type { PlacementLimits } from "./placement-limits.ts";
import type { LeaseStore } from "./ports.ts";
import type { TableVersions } from "./rendezvous.ts";

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
  /** Of the refresh's statement, 2,000; the store has answered in twice that. */
  readonly refreshLimitMs?: number;
  readonly placement?: Partial<PlacementLimits>;
  /** Default: this build's (CL21). */
  readonly tables?: TableVersions;
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
