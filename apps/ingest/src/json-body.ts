// apps/ingest/src/json-body.ts
// Bytes → JSON value, or the problem that says why not (A13). Checked here, before any schema:
// valid UTF-8, valid JSON, depth.
import { problem, type ProblemAnswer } from "./answer.ts";

/** A filter 8 deep takes 2 levels each; whatever is deeper is not one of ours. */
export const JSON_DEPTH_MAX = 32;

export type ParsedBody =
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "problem"; readonly problem: ProblemAnswer };

const decoder = new TextDecoder("utf-8", { fatal: true });

export function parseJsonBody(bytes: Uint8Array): ParsedBody {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    return failed(problem("bad_json", { detail: "The body is not UTF-8." }));
  }
  if (isDeeperThan(text, JSON_DEPTH_MAX))
    return failed(
      problem("bad_request", { detail: `The body is nested more than ${JSON_DEPTH_MAX} deep.` }),
    );
  try {
    return { kind: "value", value: JSON.parse(text) as unknown };
  } catch {
    return failed(problem("bad_json"));
  }
}

function failed(answer: ProblemAnswer): ParsedBody {
  return { kind: "problem", problem: answer };
}

/** Brackets outside strings, in one pass: JSON.parse itself has no depth limit. */
function isDeeperThan(text: string, depthMax: number): boolean {
  let depth = 0;
  let isInString = false;
  for (let position = 0; position < text.length; position++) {
    const code = text.charCodeAt(position);
    if (isInString) {
      if (code === 0x5c) position++;
      else if (code === 0x22) isInString = false;
    } else if (code === 0x22) isInString = true;
    else if (code === 0x5b || code === 0x7b) {
      depth++;
      if (depth > depthMax) return true;
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
  return false;
}
