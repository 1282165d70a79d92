// packages/store/src/idempotency.ts
// What an Idempotency-Key stands for, looked up without accepting anything.
//   ST50 A repeat gets the first answer however what it names has changed since: who refuses a request asks
//        here before.
import { isStorable, LIMITS, type NotificationAccepted } from "@carillon/contracts";
import type { Statements } from "./pool.ts";

export interface IdempotencyClaim {
  readonly key: string;
  readonly fingerprint: Uint8Array; // equal for equal requests
}

export type Repeat =
  | { readonly kind: "replayed"; readonly answer: NotificationAccepted }
  | { readonly kind: "mismatch" };

interface IdempotencyRecord {
  fingerprint: Uint8Array;
  answer: NotificationAccepted;
}

/** Undefined: the key stands for nothing, or for nothing any more. */
export async function readRepeat(
  sql: Statements,
  tenantId: string,
  claim: IdempotencyClaim,
): Promise<Repeat | undefined> {
  if (!isStorable(claim.key)) return undefined;
  const [record] = await sql<IdempotencyRecord[]>`
    select i.fingerprint, i.answer from idempotency i
    where i.tenant_id = ${tenantId} and i.key = ${claim.key}
      and i.created_at > now() - ${LIMITS.idempotencyTtlSeconds} * interval '1 s'`;
  return record && repeatOf(record, claim);
}

export function repeatOf(record: IdempotencyRecord, claim: IdempotencyClaim): Repeat {
  const isSame = Buffer.compare(record.fingerprint, claim.fingerprint) === 0;
  return isSame ? { kind: "replayed", answer: record.answer } : { kind: "mismatch" };
}
