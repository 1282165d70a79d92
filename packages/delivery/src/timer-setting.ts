// packages/delivery/src/timer-setting.ts
// A durable timer as a handler asks for it, and whether the table can keep it.
//   DT7  What cannot be kept is refused where it is asked for, and costs nobody else of its statement.
import { isStorable, LIMITS } from "@carillon/contracts";
import { assert } from "@carillon/kernel";
import type { TimerDue } from "./ports.ts";

export interface TimerSetting {
  readonly kind: string;
  /** One timer per partition, kind and key: setting it again replaces it. */
  readonly key: string;
  readonly tenantId: string;
  readonly due: TimerDue;
  /** JSON, at most `timerPayloadMaxCharacters` of it. */
  readonly payload: unknown;
}

/** It is ours, not a caller's, what a timer holds: anything else is a bug (assert). */
export function assertSetting({ kind, key, tenantId, due, payload }: TimerSetting): void {
  for (const text of [kind, key, tenantId])
    assert(isStorable(text), "DT7 kind, key and tenant of a timer can be stored");
  assert(kind.length + key.length <= NAMES_MAX_CHARACTERS, "DT7 kind and key of a timer are short");
  const dueAt = "atMs" in due ? due.atMs : due.inMs;
  assert(Number.isFinite(dueAt), "DT7 a timer is due at a time");
  const json = JSON.stringify(payload) as string | undefined;
  assert(json !== undefined, "DT7 a timer's payload is JSON");
  assert(json.length <= LIMITS.timerPayloadMaxCharacters, "DT7 a timer's payload is small");
  // JSON.stringify writes what cannot be stored as escapes: nearly always there is none.
  if (json.includes("\\u"))
    JSON.parse(json, (name, value: unknown) => {
      const isKept = isStorable(name) && (typeof value !== "string" || isStorable(value));
      assert(isKept, "DT7 a timer's payload can be stored");
      return value;
    });
}

/** Why it failed, as the table keeps it. */
export function reasonOf(cause: unknown): string {
  const text = String(cause).replaceAll("\u0000", "").slice(0, REASON_MAX_CHARACTERS);
  return text.toWellFormed(); // the cut may have halved a pair
}

/** An entry of an index has 2,700 bytes; a report asks for what comes after a key of 600 (FO4). */
const NAMES_MAX_CHARACTERS = 600;
const REASON_MAX_CHARACTERS = 200;
