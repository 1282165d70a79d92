// packages/store/src/ledger-rows.ts
// A ledger row as the owner of a partition sees it, and as its table keeps it. The shapes are equal
// to the ports of @carillon/delivery by structure only: the arrows of DESIGN §3 point down.
import type { PokeEntry } from "@carillon/contracts";
import { assert, Bitset } from "@carillon/kernel";

/** `planned`: targeted not committed yet. `open`: somebody is not terminal. `closed`: all are. */
export type LedgerRowState = "planned" | "open" | "closed";
export const LEDGER_STATES = ["planned", "open", "closed"] as const satisfies LedgerRowState[];

/** With `members`, bit i stands for members[i]; otherwise for index i (Bitset.toBytes). */
export interface LedgerSets {
  readonly targeted: Uint8Array; // with `members`: empty, everybody in it is targeted
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

export interface LedgerRow extends PokeEntry {
  readonly notificationId: string;
  readonly state: LedgerRowState;
  readonly sets: LedgerSets;
  readonly movesCount: number; // writes that put somebody off
}

/** One row of table `ledger`, as the driver reads it. */
export interface LedgerRecord {
  partition: number;
  offset: number;
  notification_id: string;
  directory_version: number;
  state: number;
  members: number[] | null;
  targeted: Uint8Array;
  delivered_socket: Uint8Array;
  no_device: Uint8Array;
  unacked: Uint8Array;
  expired: Uint8Array;
  failed: Uint8Array;
  cancelled: Uint8Array;
  opted_out: Uint8Array;
  capped: Uint8Array;
  collapsed: Uint8Array;
  moved: Uint8Array;
  moves_count: number;
  received_late: Uint8Array;
  read: Uint8Array;
  acknowledged: Uint8Array;
}

export function ledgerRowOf(record: LedgerRecord): LedgerRow {
  const state = LEDGER_STATES[record.state];
  assert(state !== undefined, "ST a ledger row's state is 0, 1 or 2");
  return {
    partition: record.partition,
    offset: record.offset,
    directoryVersion: record.directory_version,
    members: record.members,
    notificationId: record.notification_id,
    state,
    movesCount: record.moves_count,
    sets: {
      targeted: record.targeted,
      deliveredSocket: record.delivered_socket,
      noDevice: record.no_device,
      unacked: record.unacked,
      expired: record.expired,
      failed: record.failed,
      cancelled: record.cancelled,
      optedOut: record.opted_out,
      capped: record.capped,
      collapsed: record.collapsed,
      moved: record.moved,
      receivedLate: record.received_late,
      read: record.read,
      acknowledged: record.acknowledged,
    },
  };
}

/** With members, a bit stands for a place among them, and all of them are targeted. */
export function setByIndex({ members, sets }: LedgerRow, name: keyof LedgerSets): Bitset {
  const set = Bitset.fromBytes(sets[name]);
  if (members === null) return set;
  if (name === "targeted") return Bitset.of(members);
  return Bitset.of(members.filter((_, position) => set.has(position)));
}
