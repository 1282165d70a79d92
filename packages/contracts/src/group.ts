// packages/contracts/src/group.ts
// Groups (A6, ADR 0021): what a group is, is known in every region; who is in it, only at home (D8).
// A definition is a register with a version of its own, so that regions may be told in any order.
import { z } from "zod";
import { type Filter, filterSchema, storedFilterSchema } from "./audience.ts";
import { LIMITS } from "./limits.ts";
import { groupIdSchema, recipientIdSchema } from "./places.ts";
import { textSchema } from "./text.ts";

/** Body of `PUT /v1/groups/:id`: replaces. With a filter the group is dynamic: whoever it matches. */
export const groupRequestSchema = z.strictObject({
  name: textSchema(LIMITS.groupNameMaxCharacters).min(1).optional(),
  filter: filterSchema.optional(),
});
export type GroupRequest = z.infer<typeof groupRequestSchema>;

/** Body of `PUT` and `DELETE /v1/groups/:id/members`. */
export const groupMembersRequestSchema = z.strictObject({
  recipients: z.array(recipientIdSchema).min(1).max(LIMITS.groupMembersPerRequestMax),
});

/** A group as answered. */
export interface GroupResource {
  readonly groupId: string;
  readonly kind: "static" | "dynamic";
  readonly name: string | null;
  readonly filter: Filter | null;
  readonly updatedAt: string; // ISO 8601
}

/** 200 of a change of members: everybody named is in exactly one of the four. */
export interface GroupMembersAnswer {
  readonly changed: number;
  readonly unchanged: number;
  readonly unknown: readonly string[];
  /** In `groupsPerRecipientMax` groups already. */
  readonly full: readonly string[];
}

/** A definition as regions tell it to each other, deleted ones too. */
export const groupRecordSchema = z.object({
  groupId: groupIdSchema,
  /** How often it was created again after it had been deleted. */
  generation: z.int().nonnegative(),
  name: z.string().nullable(),
  filter: storedFilterSchema.nullable(),
  isDeleted: z.boolean(),
  /** Grows with every change, whatever the clock of the region says that makes it. */
  changedAtMs: z.int(),
  changedIn: z.string(),
});
export type GroupRecord = z.infer<typeof groupRecordSchema>;

/** Which of two records of one group stays, everywhere: a later life, then a later change. */
export function isNewerGroup(record: GroupRecord, than: GroupRecord): boolean {
  if (record.generation !== than.generation) return record.generation > than.generation;
  if (record.changedAtMs !== than.changedAtMs) return record.changedAtMs > than.changedAtMs;
  return record.changedIn > than.changedIn;
}

/**
 * How a member's row and an audience name a group: its id and which of its lives. Who was in a group
 * that was deleted is not in the next one of that id.
 */
export function groupTagOf({ groupId, generation }: GroupRecord): string {
  return generation === 0 ? groupId : `${groupId}/${generation}`;
}

/** Nobody can ever be meant by it again. What is not known here may be new: it is not dead. */
export function isDeadTag(tag: string, known: GroupRecord | undefined): boolean {
  if (known === undefined) return false;
  const generation = Number(tag.split("/", 2)[1] ?? 0);
  if (generation !== known.generation) return generation < known.generation;
  return known.isDeleted;
}

/** The group's id in a tag. */
export function groupIdOfTag(tag: string): string {
  return tag.split("/", 1)[0] ?? tag;
}
