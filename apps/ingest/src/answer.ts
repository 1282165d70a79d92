// apps/ingest/src/answer.ts
// What a handler gives back: a value, never a throw. The HTTP layer alone turns it into bytes.
import type { ErrorCodeName, FieldError } from "@carillon/contracts";

export interface OkAnswer {
  readonly kind: "ok";
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ProblemAnswer {
  readonly kind: "problem";
  readonly code: ErrorCodeName;
  readonly detail?: string;
  readonly errors?: readonly FieldError[];
  readonly headers?: Readonly<Record<string, string>>;
}

export type Answer = OkAnswer | ProblemAnswer;

export function ok(status: number, body: unknown, headers: Record<string, string> = {}): OkAnswer {
  return { kind: "ok", status, body, headers };
}

export function problem(
  code: ErrorCodeName,
  more: Omit<ProblemAnswer, "kind" | "code"> = {},
): ProblemAnswer {
  return { kind: "problem", code, ...more };
}

/** 422 that names one field (A13). */
export function invalidField(field: string, message: string): ProblemAnswer {
  return problem("invalid_field", { errors: [{ field, message }] });
}
