// packages/contracts/src/locale.ts
// Names of languages, and what is taken where content in one of them is missing (A12).
import { z } from "zod";
import { LIMITS } from "./limits.ts";

/** BCP 47, the part in use: language, optional script, optional region. */
export const localeSchema = z
  .string()
  .regex(
    /^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|\d{3}))?$/,
    "must be a locale such as en or de-AT",
  );

/** Locale of a recipient → what to take instead, the best first. What is not there is passed over. */
export const localeFallbacksSchema = z
  .record(localeSchema, z.array(localeSchema).min(1).max(LIMITS.fallbacksPerLocaleMax))
  .refine((fallbacks) => Object.keys(fallbacks).length <= LIMITS.localesMax, {
    message: `must hold at most ${LIMITS.localesMax} locales`,
  });
export type LocaleFallbacks = z.infer<typeof localeFallbacksSchema>;
