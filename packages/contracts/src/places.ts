// packages/contracts/src/places.ts
// Where a recipient lives: home region and partition (DESIGN §4).
import { fnv1a32 } from "./hash.ts";
import { z } from "zod";
import { LIMITS } from "./limits.ts";

/** A row in configuration, not an enum: adding a region needs no code. */
export const regionSchema = z
  .string()
  .regex(/^[a-z][a-z0-9]{1,15}$/, "must be 2 to 16 lower-case letters or digits");

export const DEFAULT_REGIONS = ["fra", "lon", "par", "dub"] as const;

/** A tenant's own id of an employee: visible characters, no control characters, no "/". */
export const recipientIdSchema = z
  .string()
  .min(1)
  .max(LIMITS.recipientIdMaxCharacters)
  // Not \p{C}: it holds unassigned code points, so that a node's Unicode version would decide.
  .regex(/^[^\s/\p{Cc}\p{Cf}\p{Cs}]+$/u, "must not hold spaces, control characters or '/'");

export const tenantIdSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be 1 to 63 lower-case letters, digits or -");

/** Partition of a recipient in its home region, 0 … 255. Stable for ever: golden vectors. */
export function partitionOf(tenantId: string, recipientId: string): number {
  return fnv1a32(`${tenantId}/${recipientId}`) % LIMITS.partitionCount;
}
