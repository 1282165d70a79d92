// packages/contracts/src/text.ts
// Text that every part of the way can carry: JSON, Postgres text and jsonb, NATS, browsers.
import { z } from "zod";

/**
 * At most `maxCharacters` UTF-16 units. Refuses U+0000, which Postgres cannot store, and unpaired
 * surrogates, which UTF-8 cannot express: either would turn an accepted request into a failed one.
 */
export function textSchema(maxCharacters: number): z.ZodString {
  return z.string().max(maxCharacters).refine(isStorable, {
    message: "must not hold U+0000 or unpaired surrogates",
  });
}

export function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes("\u0000");
}
