// packages/delivery/src/verdict.ts
// May a notification be handed to a recipient now? Asked when it would be sent for the first time, or given
// up; what is on a socket already is never taken back.
import type { DeferReason } from "@carillon/contracts";
import type { Suppression } from "./ledger-entry.ts";

export type Verdict =
  | { readonly kind: "allow" }
  /** It goes on in another row then, at a new offset. `untilMs`: wall clock. */
  | { readonly kind: "defer"; readonly untilMs: number; readonly reason: DeferReason }
  | { readonly kind: "suppress"; readonly outcome: Suppression };

export const ALLOW: Verdict = { kind: "allow" };
