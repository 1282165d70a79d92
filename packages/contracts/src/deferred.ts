// packages/contracts/src/deferred.ts
// A ledger row that comes later (ADR 0022), as the timer that stands for it carries it in a region's database.
import { z } from "zod";

/** Kind of the durable timers that stand for ledger rows. */
export const ROW_TIMER_KIND = "row";

/** Why it waits. */
export const DEFER_REASONS = [
  "sendAt",
  "localTime",
  "paused",
  "ownQuietHours",
  "tenantQuietHours",
  "holiday",
] as const;
export type DeferReason = (typeof DEFER_REASONS)[number];

/** Whom it is for: of a small audience the index numbers, otherwise a set of them (Bitset.toBytes). */
export type DeferredMembers =
  | { readonly kind: "all" } // whom the audience comes to by then
  | { readonly kind: "members"; readonly members: readonly number[] }
  | { readonly kind: "set"; readonly set: Uint8Array; readonly count: number };

export interface DeferredRow {
  readonly untilMs: number; // by the database's clock
  readonly reason: DeferReason;
  readonly members: DeferredMembers;
}

export const deferredPayloadSchema = z.object({
  notificationId: z.uuid(),
  reason: z.string(), // of a newer build, maybe
  count: z.int().min(0), // of members; 0: the audience decides
  members: z.array(z.int().min(0)).optional(),
  set: z.base64().optional(),
  /** Its row waits for acknowledgements then (ADR 0030). */
  ackSeconds: z.number().optional(),
});
export type DeferredPayload = z.infer<typeof deferredPayloadSchema>;

/** Without what is the notification's, which the statement that writes it adds. */
export function deferredPayloadOf({
  reason,
  members,
}: Pick<DeferredRow, "reason" | "members">): Omit<
  DeferredPayload,
  "notificationId" | "ackSeconds"
> {
  if (members.kind === "all") return { reason, count: 0 };
  if (members.kind === "members")
    return { reason, count: members.members.length, members: [...members.members] };
  const text = Array.from(members.set, (byte) => String.fromCharCode(byte)).join("");
  return { reason, count: members.count, set: btoa(text) };
}

/** Undefined: it says nothing that this build understands. */
export function deferredMembersOf({
  count,
  members,
  set,
}: DeferredPayload): DeferredMembers | undefined {
  if (count === 0) return { kind: "all" };
  if (members !== undefined) return { kind: "members", members };
  if (set === undefined) return undefined;
  return { kind: "set", set: Uint8Array.from(atob(set), (char) => char.charCodeAt(0)), count };
}
