// packages/store/src/text.ts
// What Postgres can keep as text and jsonb: all of Unicode but NUL, and no half of a surrogate pair.
//   ST5  Text comes back exactly as it was given, or is refused before anything is written; nothing
//        is altered silently.
import { isStorable } from "@carillon/contracts";

/** What `JSON.stringify` writes as an escape: control characters and lone surrogates. */
const ESCAPE = "\\u";

/** Path of the first text in `value` that cannot be stored, such as `content.en.title`. */
export function unstorableFieldOf(value: unknown, path: string): string | undefined {
  if (typeof value === "string") return isStorable(value) ? undefined : path;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    const innerPath = Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`;
    const found = isStorable(key) ? unstorableFieldOf(inner, innerPath) : path;
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The same for a value whose JSON is there already: nearly always a single search. */
export function unstorableFieldOfJson(
  json: string,
  value: unknown,
  path: string,
): string | undefined {
  return json.includes(ESCAPE) ? unstorableFieldOf(value, path) : undefined;
}
