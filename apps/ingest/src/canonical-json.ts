// apps/ingest/src/canonical-json.ts
// One text per JSON value, whatever the order of its keys: the idempotency fingerprint (A2).
import { createHash } from "node:crypto";

/** Keys sorted by code unit at every depth. Source: RFC 8785, without its number rules. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(",")}}`;
}

/** SHA-256, 32 bytes. */
export function fingerprintOf(value: unknown): Uint8Array {
  return createHash("sha256").update(canonicalJson(value)).digest();
}
