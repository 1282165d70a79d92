// packages/contracts/src/places.ts
// Where a recipient lives: home region and partition (DESIGN §4).
import { fnv1a32, mix32 } from "./hash.ts";
import { z } from "zod";
import { LIMITS } from "./limits.ts";

/** A row in configuration, not an enum: adding a region needs no code. */
export const regionSchema = z
  .string()
  .regex(/^[a-z][a-z0-9]{1,15}$/, "must be 2 to 16 lower-case letters or digits");

/** Of a node; it is a token of subjects, a key and a label of logs. New at each start of the node. */
export const memberIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, '-' or '_'");

export const DEFAULT_REGIONS = ["fra", "lon", "par", "dub"] as const;

/** A tenant's own id of an employee: visible characters, no control characters, no "/". */
export const recipientIdSchema = z
  .string()
  .min(1)
  .max(LIMITS.recipientIdMaxCharacters)
  // Not \p{C}: it holds unassigned code points, so that a node's Unicode version would decide.
  .regex(/^[^\s/\p{Cc}\p{Cf}\p{Cs}]+$/u, "must not hold spaces, control characters or '/'");

/** A tenant's own id of a group: as a recipient's, but shorter, since it stands in members' rows. */
export const groupIdSchema = z
  .string()
  .min(1)
  .max(LIMITS.groupIdMaxCharacters)
  .regex(/^[^\s/\p{Cc}\p{Cf}\p{Cs}]+$/u, "must not hold spaces, control characters or '/'");

/** A tenant's own id of a kind of notification, such as `news`: what recipients may opt out of. */
export const categoryIdSchema = z
  .string()
  .max(LIMITS.categoryIdMaxCharacters)
  .regex(/^[a-z0-9][a-z0-9_.-]*$/, "must be lower-case letters, digits, _ . -");
/** A tenant's own id of a template. */
export const templateIdSchema = z
  .string()
  .min(1)
  .max(LIMITS.templateIdMaxCharacters)
  .regex(/^[^\s/\p{Cc}\p{Cf}\p{Cs}]+$/u, "must not hold spaces, control characters or '/'");

export const tenantIdSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be 1 to 63 lower-case letters, digits or -");

/** Partition of a recipient in its home region, 0 … 255. Stable for ever: golden vectors. */
export function partitionOf(tenantId: string, recipientId: string): number {
  return fnv1a32(`${tenantId}/${recipientId}`) % LIMITS.partitionCount;
}

/**
 * The region that settles where a new recipient lives, when several are told to create it at once
 * (ADR 0009). Rendezvous hashing: a region more moves only the ids that it wins. `regions` must not
 * be empty; their order does not matter.
 */
export function arbiterOf(
  regions: readonly string[],
  tenantId: string,
  recipientId: string,
): string {
  let arbiter = "";
  let highest = -1;
  for (const region of regions) {
    const score = mix32(fnv1a32(`${region}#${tenantId}/${recipientId}`));
    if (score < highest || (score === highest && region > arbiter)) continue;
    highest = score;
    arbiter = region;
  }
  return arbiter;
}
