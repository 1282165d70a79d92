// packages/delivery/src/delivery-limits.ts
// Every limit of the delivery engine, with the reason for the number.
import type { BackoffOptions } from "@carillon/kernel";
import type { JournalLimits } from "./delivery-journal.ts";

export interface DeliveryLimits {
  readonly ackMaxMs: number;
  readonly resendMax: number;
  readonly graceMs: number;
  readonly flushEveryMs: number;
  readonly flushRowsMax: number;
  readonly sweepEveryMs: number;
  readonly releaseMaxMs: number;
  readonly releaseFlushMs: number;
  readonly deliverMaxBytes: number;
  readonly envelopesMax: number;
  readonly tailMax: number;
  readonly tailMaxBytes: number;
  readonly openMax: number;
  readonly ownRowsMax: number;
  readonly ratedRowsMax: number;
  readonly lapseLookEveryMs: number;
  readonly incomingMax: number;
  readonly rowsPerRead: number;
  readonly directoryRowsPerRead: number;
  readonly loadGroupMax: number;
  readonly reorderMaxMs: number;
  readonly turnsMax: number;
  readonly quantumCount: number;
  readonly recoveryScanMax: number;
  readonly unwrittenReportsMax: number;
  readonly recentMax: number;
  readonly controlEveryMs: number;
  readonly countSliceMs: number;
  readonly retry: BackoffOptions;
  readonly timers: TimerLimits;
  readonly journal: JournalLimits;
  readonly flows: FlowLimits;
}

/** Of chains that follow from no acknowledgement (ADR 0030). */
export interface FlowLimits {
  readonly firingMax: number;
  readonly waitingMax: number;
  readonly waitMaxMs: number;
  readonly peopleMax: number;
  readonly webhookPeopleMax: number;
  readonly webhooksAtOnceMax: number;
  readonly postMaxMs: number;
  readonly unheardMax: number;
  readonly webhookTriesMax: number;
  readonly retry: BackoffOptions;
  readonly lookAgainMs: number;
  readonly lateReceiptsMs: number;
  readonly actMaxMs: number;
}

export interface TimerLimits {
  readonly lookMaxMs: number;
  readonly lookMinMs: number;
  readonly claimMax: number;
  readonly firingMax: number;
  readonly fireMaxMs: number;
  readonly failuresMax: number;
  readonly lostClaimsMax: number;
  readonly retry: BackoffOptions;
}

export const DELIVERY_DEFAULTS: DeliveryLimits = {
  ackMaxMs: 30_000, // W3
  resendMax: 3, // W3
  graceMs: 20_000, // a client's longest back-off (W5)
  flushEveryMs: 100, // DESIGN §5 step 6 allows 200
  flushRowsMax: 1_024, // four broadcasts of 256 partitions
  sweepEveryMs: 2_000,
  /** Of processes, timers and the flush together: C20 allows 2 s of delay in a planned handover, in
   *  which the next owner has to load, too. */
  releaseMaxMs: 1_500,
  releaseFlushMs: 300, // of it; processes and timers that do not end leave it
  deliverMaxBytes: 524_288, // half of NATS' usual max_payload
  envelopesMax: 4_096,
  tailMax: 128, // closed entries kept per partition for recovery without the database
  tailMaxBytes: 262_144,
  openMax: 4_096,
  /** Of one recipient alone: 64 such fill a partition, and a mailbox has room for four times as many. */
  ownRowsMax: 64,
  ratedRowsMax: 1_024, // beside openMax: a quarter more memory at most, for rows that stay open for long
  lapseLookEveryMs: 10_000, // a look through 100,000 rows takes the database 0.14 s (packages/store/bench/RESULTS.md)
  incomingMax: 1_024,
  rowsPerRead: 512,
  directoryRowsPerRead: 5_000,
  loadGroupMax: 32, // partitions; an eighth of a home serves while the rest loads
  reorderMaxMs: 25, // two commit groups finish within some milliseconds of each other
  recoveryScanMax: 10_000,
  turnsMax: 1_024, // at 5 to 20 µs each a critical row waits up to 40 ms for twice as many (PC1)
  quantumCount: 256, // a fan-out of fewer costs more a head (bench/RESULTS.md)
  /** Per partition. A gateway tells one each 20 ms: seven under way when a write takes 30 ms, and 250
   *  within its time-out of 5 s when the store is away. */
  unwrittenReportsMax: 1_024,
  controlEveryMs: 1_000, // with the relay and a look at the timers within the two seconds of A5
  recentMax: 262_144, // 2 MiB: 64 for each of 4,000 people within the window of a cap
  countSliceMs: 4, // as a slice of processes, for audiences that are counted or expanded (AC3, TS1)
  retry: { baseMs: 100, factor: 2, maxMs: 2_000, jitterShare: 0.5 },
  timers: {
    lookMaxMs: 500, // a timer that somebody else sets is seen after it: half of the second it may be late
    lookMinMs: 25, // 40 looks a second at most while few are due at a time
    claimMax: 256, // of one statement
    firingMax: 1_024, // per node, claimed and not done; the rest stays in the table
    fireMaxMs: 30_000, // a handler that has not ended by then has failed
    failuresMax: 10, // with the delays below: given up after some 80 minutes
    /** In a row: the first among many, the second among 16, the others alone. So a timer costs five
     *  nodes at most, and one that ends none is buried only when three nodes die while it is alone. */
    lostClaimsMax: 5,
    retry: { baseMs: 1_000, factor: 3, maxMs: 1_800_000, jitterShare: 0.5 },
  },
  journal: {
    oneIn: 1_000, // of an all-hands to a million: a thousand whole stories, some thousand rows
    flushEveryMs: 500, // half of the second that a crash may cost (JO5)
    eventsMax: 65_536, // 234 bytes each, 15 MiB (measured 2026-12-01)
    batchMax: 2_048, // of one statement
  },
  flows: {
    firingMax: 8, // at a time, of the store's connections: deliveries have them, too
    waitingMax: 64, // the next one comes again later, and keeps no place among the timers
    waitMaxMs: 3_000, // and who waits longer: others' webhooks may be slow, which is no failure of this one
    peopleMax: 256, // of one firing: two group commits
    webhookPeopleMax: 32, // of one firing, where webhooks are called
    webhooksAtOnceMax: 8,
    postMaxMs: 8_000, // of one call; and so long the next ones are begun: with both within `actMaxMs`
    unheardMax: 4, // a region that is silent holds a chain up for some 75 s, then it goes on without it
    webhookTriesMax: 6, // some three minutes; the others of the row wait for it
    retry: { baseMs: 5_000, factor: 2, maxMs: 60_000, jitterShare: 0.25 },
    lookAgainMs: 5_000, // what is paused, or not worked out yet
    /** After another owner: gateways and clients tell again what was not confirmed to them. Within 5 s a client whose
     *  node had died did not on a loaded machine; its back-off is 20 s at the longest (W5). */
    lateReceiptsMs: 10_000,
    actMaxMs: 20_000, // of `fireMaxMs`: what takes longer sets nothing any more, since it may be fired again
  },
};
