// apps/ingest/src/notification-routes.ts
// POST /v1/notifications (A2, A3): header and body checked, then accepted, or only planned.
import {
  fieldErrorsOf,
  LIMITS,
  notificationRequestSchema,
  planRequestSchema,
} from "@carillon/contracts";
import type { Acceptor } from "./accept.ts";
import { type Answer, invalidField, problem, type ProblemAnswer } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import { fingerprintOf } from "./canonical-json.ts";
import type { Call } from "./http-server.ts";
import type { Plans } from "./plan.ts";

const VISIBLE_ASCII = /^[\x21-\x7e]+$/;

export async function postNotification(
  { caller, body, header }: Call<KeyCaller>,
  { acceptor, plans }: { readonly acceptor: Acceptor; readonly plans: Plans },
): Promise<Answer> {
  const key = idempotencyKeyOf(header);
  if (key !== null && typeof key !== "string") return key;
  const parsed = notificationRequestSchema.safeParse(body);
  if (!parsed.success)
    return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
  const request = parsed.data;
  if (request.dryRun === true) return await plans.answer(caller.tenantId, request);
  const idempotency = key === null ? null : { key, fingerprint: fingerprintOf(request) };
  return await acceptor.accept({ tenantId: caller.tenantId, request, idempotency });
}

/** POST /v1/notifications/plan (A3): whom it would come to. */
export async function planNotification(
  { caller, body }: Call<KeyCaller>,
  plans: Plans,
): Promise<Answer> {
  const parsed = planRequestSchema.safeParse(body);
  if (!parsed.success)
    return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
  return await plans.answer(caller.tenantId, parsed.data);
}

/** Null: there is none. */
export function idempotencyKeyOf(header: Call<unknown>["header"]): string | null | ProblemAnswer {
  const key = header("idempotency-key") ?? null;
  if (key === null || isIdempotencyKey(key)) return key;
  return invalidField(
    "Idempotency-Key",
    `must be 1 to ${LIMITS.idempotencyKeyMaxCharacters} visible ASCII characters`,
  );
}

function isIdempotencyKey(text: string): boolean {
  return text.length <= LIMITS.idempotencyKeyMaxCharacters && VISIBLE_ASCII.test(text);
}
