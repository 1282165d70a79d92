// packages/delivery/src/verdict.ts
// May a notification be handed to a recipient now? Asked when it would be sent for the first time, or given
// up; what is on a socket already is never taken back.
import type { DeferReason } from "@carillon/contracts";
import type { LedgerEntry, Suppression } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";

export type Verdict =
  | { readonly kind: "allow" }
  /** It goes on in another row then, at a new offset. `untilMs`: wall clock. */
  | { readonly kind: "defer"; readonly untilMs: number; readonly reason: DeferReason }
  | { readonly kind: "suppress"; readonly outcome: Suppression };

export const ALLOW: Verdict = { kind: "allow" };

/** `before`: what he is handed with it, before it, and not counted yet (PD1); absent: nothing. */
export type VerdictOf = (
  partition: Partition,
  index: number,
  entry: LedgerEntry,
  before?: readonly LedgerEntry[],
) => Verdict;
