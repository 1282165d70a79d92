// test/sim/compare-draws.ts
// What the comparison of the two databases draws: items, audiences, owners, rows that are put off.
import {
  DEFER_REASONS,
  type DeferredRow,
  type Notification,
  type RegionAudience,
} from "@carillon/contracts";
import { Bitset, createUuidV7 } from "@carillon/kernel";
import type { AcceptItem, LedgerUpdate, Store } from "@carillon/store";
import type { Database } from "./database.ts";
import type { Machine } from "./machine.ts";
import type { Dice } from "./world.ts";

export const HOME = "fra";
export const OTHERS = ["lon", "par"];
export const TENANTS = ["acme", "bolt"];
const MEMBERS = ["w1", "w2", "w3"];
export const PARTITIONS = [0, 1, 2, 3, 4, 5, 6, 7];
const LEASES_MS = [0, 1e8]; // over at once, or not within the test

export interface Pair {
  readonly real: Store;
  readonly database: Database;
  readonly machine: Machine; // for ids
  readonly known: Notification[];
  readonly keys: string[];
}

/** One that is counted, or was before; some due long ago, some not within the test. */
export function movesOf(
  dice: Dice,
  database: Database,
  { partition, offset }: { partition: number; offset: number },
): NonNullable<LedgerUpdate["moves"]> {
  const known = database.partition(partition).ledger[offset - 1]?.movesCount ?? 0;
  const count = Math.max(1, known + dice.below(2));
  const members = Array.from({ length: 1 + dice.below(3) }, () => dice.below(9));
  const rows = Array.from({ length: 1 + dice.below(2) }, (_, place): DeferredRow => {
    const untilMs = dice.isHit(0.7) ? -1 - dice.below(1e9) : 9e12 + place;
    const reason = dice.pick(DEFER_REASONS);
    if (dice.isHit(0.7)) return { untilMs, reason, members: { kind: "members", members } };
    const set = Bitset.of(members);
    return { untilMs, reason, members: { kind: "set", set: set.toBytes(), count: set.count() } };
  });
  return { count, rows };
}

export function itemOf(dice: Dice, { machine, known, keys }: Pair): AcceptItem {
  const notification = notificationOf(dice, machine);
  known.push(notification);
  if (keys.length === 0 || dice.isHit(0.6)) keys.push(`key-${keys.length}`);
  const remotes = someOf(dice, OTHERS).map((region) => ({ region, audience: audienceOf(dice) }));
  const regions = remotes.map(({ region }) => region);
  return {
    notification,
    audience: dice.isHit(0.8) ? audienceOf(dice) : null,
    remotes,
    idempotency: dice.isHit(0.7)
      ? { key: dice.pick(keys), fingerprint: Buffer.from(dice.isHit(0.8) ? "same" : "other") }
      : null,
    answer: { id: notification.id, acceptedAt: "2026-01-05T09:00:00.000Z", regions },
  };
}

export function notificationOf(dice: Dice, machine: Machine): Notification {
  return {
    id: createUuidV7(machine, dice),
    tenantId: dice.pick(TENANTS),
    acceptedRegion: HOME,
    acceptedAtMs: 1_767_603_600_000 + dice.below(1_000),
    expiresAtMs: 1_768_208_400_000,
    priority: "normal",
    content: { de: { title: "Hallo" }, en: { title: "Hello" } },
    exclude: dice.isHit(0.2) ? [`r${dice.below(60)}`] : [],
    ...(dice.isHit(0.3) && { sendAtMs: dice.isHit(0.6) ? -1 - dice.below(1e9) : 9e12 }),
    ...(dice.isHit(0.3) && {
      requireAck: {
        deadlineSeconds: dice.isHit(0.7) ? -1 - dice.below(1e6) : 1e8, // due long ago, or not here
        ...(dice.isHit(0.8) && { escalation: [{ to: "recipient" }] }),
      },
    }),
    ...(dice.isHit(0.2) && { fallbacks: { "de-AT": ["en"] } }),
  };
}

/** Mostly few; sometimes more than fit an array, so that a bitset is stored. */
export function audienceOf(dice: Dice): RegionAudience {
  const kind = dice.below(10);
  if (kind === 0) return { kind: "broadcast" };
  if (kind === 1) return { kind: "filter", filter: { key: "team", cmp: "eq", val: "red" } };
  const count = kind === 2 ? 60 : 1 + dice.below(5);
  const recipientIds = Array.from({ length: count }, () => `r${dice.below(64)}`);
  const named = { kind: "recipients", recipientIds } as const;
  return dice.isHit(0.1) ? { kind: "except", of: named, tags: ["g"], filters: [] } : named;
}

export function heldOf(dice: Dice, database: Database, partition: number) {
  const { epoch } = database.partition(partition);
  return { partition, epoch: Math.max(0, epoch - (dice.isHit(0.2) ? 1 : 0)) };
}

/** A statement names one epoch per partition: that of the first. */
export function oneEpochEach<T extends { partition: number; epoch: number }>(
  changes: readonly T[],
): T[] {
  const epochs = new Map<number, number>();
  return changes.map((change) => {
    const epoch = epochs.get(change.partition) ?? change.epoch;
    epochs.set(change.partition, epoch);
    return { ...change, epoch };
  });
}

export function leaseOf(dice: Dice) {
  return { home: HOME, memberId: dice.pick(MEMBERS), leaseMs: dice.pick(LEASES_MS) };
}

export function someOf<T>(dice: Dice, all: readonly T[]): T[] {
  return all.filter(() => dice.isHit(0.5));
}

export function bits(dice: Dice): Uint8Array {
  return Bitset.of(Array.from({ length: dice.below(3) }, () => dice.below(20))).toBytes();
}
