// packages/delivery/src/ports.ts
// What delivery needs of the outside. `packages/store`, `packages/bus` and `packages/cluster`
// have these shapes; only an app's main.ts joins them (DESIGN §3).
import type {
  DeferredMembers,
  DeferredRow,
  Deliver,
  Notification,
  PokeEntry,
  Preferences,
  RegionAudience,
} from "@carillon/contracts";

/** One recipient in a partition's index. `version`: the partition's directory version it got. */
export interface DirectoryRow {
  readonly index: number;
  readonly tenantId: string;
  readonly recipientId: string;
  readonly locale: string | null;
  readonly timeZone: string | null;
  readonly preferences: Preferences | null; // null: none, as most have
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Tags of the static groups that it is in (ADR 0021). */
  readonly groups: readonly string[];
  readonly version: number;
}

/** `planned`: targeted not committed yet. `open`: somebody is not terminal. `closed`: all are. */
export type LedgerRowState = "planned" | "open" | "closed";

/**
 * Bytes of one row's sets. With `members` (a small audience) bit i stands for members[i];
 * otherwise for index i. Empty bytes: the empty set. Bit order: kernel's Bitset.toBytes.
 */
export interface LedgerSets {
  readonly targeted: Uint8Array; // with `members`: always empty, everybody in it is targeted
  readonly deliveredSocket: Uint8Array;
  readonly noDevice: Uint8Array;
  readonly unacked: Uint8Array;
  readonly expired: Uint8Array;
  readonly failed: Uint8Array;
  readonly cancelled: Uint8Array;
  readonly optedOut: Uint8Array;
  readonly capped: Uint8Array;
  readonly collapsed: Uint8Array;
  readonly moved: Uint8Array; // put off: it goes on in another row
  readonly receivedLate: Uint8Array;
  readonly read: Uint8Array;
  readonly acknowledged: Uint8Array;
}
export type LedgerSetName = keyof LedgerSets;

export interface LedgerRow extends PokeEntry {
  readonly notificationId: string;
  readonly state: LedgerRowState;
  readonly sets: LedgerSets;
  readonly movesCount: number; // writes that put somebody off
}

/** A notification as a home region keeps it, with whom it is meant for there. */
export interface StoredNotification {
  readonly notification: Notification;
  readonly audience: RegionAudience;
}

/** A recipient's place in the ledger; each once in a call. */
export interface OwnRowsWanted {
  readonly partition: number;
  readonly index: number;
  readonly fromOffset: number;
}

export interface PartitionHead {
  readonly partition: number;
  readonly nextOffset: number; // the next row's offset; the first is 1
  readonly directoryVersion: number; // 0: no recipient yet
  readonly ledgerEpoch: string; // changes when history was lost or reset
}

export interface HeldPartition {
  readonly partition: number;
  readonly epoch: number; // of the ownership; the fence of every write
}

export interface LedgerUpdate extends HeldPartition {
  readonly offset: number;
  readonly state: LedgerRowState;
  readonly sets: LedgerSets;
  /** Those whom it puts off. `count`: of such writes of this row, this one included. */
  readonly moves?: { readonly count: number; readonly rows: readonly DeferredRow[] };
}

export interface Release extends HeldPartition {
  readonly timerId: number; // of the timer that stands for the row
  readonly notificationId: string;
  readonly members: DeferredMembers;
  /** So long the row waits for acknowledgements first; absent: nothing follows from there being none. */
  readonly ackSeconds?: number;
}

export interface Released extends WriteOutcome {
  /** What was released or cancelled before is not among them. */
  readonly entries: readonly (PokeEntry & { readonly timerId: number })[];
}

/** Partitions whose rows were refused because another owner has a higher epoch (D4). */
export interface WriteOutcome {
  readonly fencedPartitions: readonly number[];
}

/** All reads and writes throw Fault when the store is down; nothing is half-written. */
export interface LedgerStore {
  readHeads(home: string, partitions: readonly number[]): Promise<PartitionHead[]>;
  /** Rows above `afterOffset`, ascending, at most `limitCount`. */
  readRows(
    home: string,
    partition: number,
    options: { afterOffset: number; limitCount: number },
  ): Promise<LedgerRow[]>;
  /**
   * Rows of many partitions that are not closed, ascending by partition and offset; of each recipient at
   * most the first `ownRowsMax` that are for him alone, or all.
   */
  readUnclosedRows(
    home: string,
    partitions: readonly number[],
    ownRowsMax?: number,
  ): Promise<LedgerRow[]>;
  /**
   * Rows that are for one recipient alone and not closed, of each from an offset on at most `limitCount`,
   * ascending by partition, recipient and offset; with `expiredByMs` only what has expired by then.
   */
  readOwnRows(
    home: string,
    wanted: readonly OwnRowsWanted[],
    options: { readonly limitCount: number; readonly expiredByMs: number | null },
  ): Promise<LedgerRow[]>;
  /** All rows of one notification in these partitions, ascending by partition and offset. */
  readRowsOf(
    home: string,
    partitions: readonly number[],
    notificationId: string,
  ): Promise<LedgerRow[]>;
  /** The newest `limitCount` rows of each partition, ascending by partition and offset. */
  readTails(home: string, partitions: readonly number[], limitCount: number): Promise<LedgerRow[]>;
  /**
   * Rows above `afterOffset` that target `index`, ascending, at most `limitCount`; looks at no
   * more than `scanMax` rows. `tooFar`: there are more rows than that.
   */
  readTailOf(
    home: string,
    partition: number,
    options: { index: number; afterOffset: number; limitCount: number; scanMax: number },
  ): Promise<{ kind: "rows"; rows: LedgerRow[] } | { kind: "tooFar" }>;
  readNotifications(ids: readonly string[]): Promise<StoredNotification[]>;
  /**
   * Recipients with version > afterVersion, ascending by version. About `limitCount` of them: a
   * page never ends inside a version, and a shorter one is the last.
   */
  readDirectory(
    home: string,
    partition: number,
    options: { afterVersion: number; limitCount: number },
  ): Promise<DirectoryRow[]>;
  /** Recipients that no owner may run for a while: they held the thread of one (P16). */
  readQuarantined(
    home: string,
    partitions: readonly number[],
  ): Promise<{ readonly partition: number; index: number; reason: string; remainingMs: number }[]>;
  /** Whole directory of many partitions, in pages of any order; for a new owner. */
  streamDirectory(
    home: string,
    partitions: readonly number[],
    onPage: (rows: { partition: number; row: DirectoryRow }[]) => void,
  ): Promise<void>;
  /** Sets and state of rows, replaced; refused per partition by the fence, in one statement. */
  writeRows(home: string, updates: readonly LedgerUpdate[]): Promise<WriteOutcome>;
  /** Gives rows that waited the next offsets of their partitions, once; one epoch per partition. */
  releaseRows(home: string, releases: readonly Release[]): Promise<Released>;
}

/** By the database's clock: an instant, or so long from now. */
export type TimerDue = { readonly atMs: number } | { readonly inMs: number };

/** One timer per partition, kind and key; `id` stands for one setting of it. */
export type TimerChange = HeldPartition & { readonly kind: string; readonly key: string } & (
    | {
        readonly change: "set";
        readonly tenantId: string;
        readonly due: TimerDue;
        readonly payload: unknown; // JSON
      }
    | { readonly change: "cancel" }
    | { readonly change: "done"; readonly id: number }
    | { readonly change: "retry"; readonly id: number; readonly inMs: number } // it failed
    | { readonly change: "unclaim"; readonly id: number } // its owner goes, before the end of it
    | { readonly change: "bury"; readonly id: number; readonly reason: string }
  );

export interface ClaimedTimer {
  readonly partition: number;
  readonly kind: string;
  readonly key: string;
  readonly id: number;
  readonly tenantId: string;
  readonly payload: unknown;
  readonly attemptCount: number; // claims, this one included
  readonly failureCount: number;
  readonly lostCount: number; // claims before this one whose owner was gone before the end, in a row
  readonly lateMs: number; // by the database's clock, when it was claimed
}

export interface TimerClaim {
  readonly timers: readonly ClaimedTimer[]; // soonest due first
  readonly isMore: boolean; // others may be due already
  readonly nextInMs: number | null; // until the next one is due; null: there is none
  readonly fencedPartitions: readonly number[];
}

/** Throws Fault when the store is down. A claim or a write whose answer is lost may have been done. */
export interface TimerStore {
  /** Takes what is due by the database's clock and counts the attempt, where the fence allows it. */
  claim(
    home: string,
    options: {
      readonly held: readonly HeldPartition[];
      readonly kinds: readonly string[]; // others are left alone
      readonly exceptIds: readonly number[]; // are being fired already
      readonly limitCount: number;
      /** Those that lost claims come in small groups; false: one is being fired, and none is claimed. */
      readonly mayBeDoubtful: boolean;
    },
  ): Promise<TimerClaim>;
  /** One change per id, and one per place that is set or cancelled, which has no other; refused per
   *  partition by the fence, in one statement. */
  write(home: string, changes: readonly TimerChange[]): Promise<WriteOutcome>;
}

/**
 * One thing that happened to a recipient's notification, as one array. Under one epoch of a partition
 * `seq` only grows; `detail` is JSON, in the text form.
 */
export type JournalEvent = readonly [
  partition: number,
  epoch: number, // of the ownership under which it happened
  notificationId: string,
  index: number,
  atMs: number, // by the owner's wall clock
  seq: number,
  kind: string,
  code: string | null,
  detail: string | null,
];

/** Append-only. Throws Fault when the store is down; an event that is there already changes nothing. */
export interface JournalStore {
  append(home: string, node: string, events: readonly JournalEvent[]): Promise<void>;
}

/**
 * Posts an event to a sender's webhook. Whoever answers may have got it, whatever is told here: repeats
 * have the same `id`. Never rejects but with a bug.
 */
export interface WebhookPort {
  post(event: {
    readonly id: string; // of the event, not of the try
    readonly tenantId: string;
    readonly url: string;
    readonly timestampMs: number;
    readonly body: string;
  }): Promise<
    | { readonly kind: "accepted" }
    /** No other try will be taken. */
    | { readonly kind: "refused"; readonly code: string }
    | { readonly kind: "failed"; readonly code: string; readonly retryAfterMs?: number }
  >;
}

/** Sends to gateways; never waits. False: the message did not leave, the link repairs itself. */
export interface GatewayPort {
  deliver(gatewayId: string, message: Deliver): boolean;
}

const NOBODY = new Uint8Array();
/** Sets of a row that nobody has worked on. */
export const EMPTY_SETS: LedgerSets = {
  targeted: NOBODY,
  deliveredSocket: NOBODY,
  noDevice: NOBODY,
  unacked: NOBODY,
  expired: NOBODY,
  failed: NOBODY,
  cancelled: NOBODY,
  optedOut: NOBODY,
  capped: NOBODY,
  collapsed: NOBODY,
  moved: NOBODY,
  receivedLate: NOBODY,
  read: NOBODY,
  acknowledged: NOBODY,
};
