// packages/delivery/src/delivery-limits.ts
// Every limit of the delivery engine, with the reason for the number.
import type { BackoffOptions } from "@carillon/kernel";

export interface DeliveryLimits {
  readonly ackMaxMs: number;
  readonly resendMax: number;
  readonly graceMs: number;
  readonly flushEveryMs: number;
  readonly flushRowsMax: number;
  readonly sweepEveryMs: number;
  readonly releaseMaxMs: number;
  readonly deliverMaxBytes: number;
  readonly envelopesMax: number;
  readonly tailMax: number;
  readonly tailMaxBytes: number;
  readonly openMax: number;
  readonly incomingMax: number;
  readonly rowsPerRead: number;
  readonly directoryRowsPerRead: number;
  readonly loadGroupMax: number;
  readonly reorderMaxMs: number;
  readonly recoveryScanMax: number;
  readonly countSliceMs: number;
  readonly retry: BackoffOptions;
}

export const DELIVERY_DEFAULTS: DeliveryLimits = {
  ackMaxMs: 30_000, // W3
  resendMax: 3, // W3
  graceMs: 20_000, // a client's longest back-off (W5)
  flushEveryMs: 100, // DESIGN §5 step 6 allows 200
  flushRowsMax: 1_024, // four broadcasts of 256 partitions
  sweepEveryMs: 2_000,
  releaseMaxMs: 1_500, // C20 allows 2 s of delay in a planned handover
  deliverMaxBytes: 524_288, // half of NATS' usual max_payload
  envelopesMax: 4_096,
  tailMax: 128, // closed entries kept per partition for recovery without the database
  tailMaxBytes: 262_144,
  openMax: 4_096,
  incomingMax: 1_024,
  rowsPerRead: 512,
  directoryRowsPerRead: 5_000,
  loadGroupMax: 32, // partitions; an eighth of a home serves while the rest loads
  reorderMaxMs: 25, // two commit groups finish within some milliseconds of each other
  recoveryScanMax: 10_000,
  countSliceMs: 4, // as a slice of processes: a plan delays nobody by more
  retry: { baseMs: 100, factor: 2, maxMs: 2_000, jitterShare: 0.5 },
};
