// test/sim/mutants-caps.ts
// Faults to plant in caps and collapse (A11, ADR 0024); as in mutants.ts.
import type { Mutant } from "./mutants.ts";

const DESK = "packages/delivery/src/policy-desk.ts";

const capped = (
  id: string,
  what: string,
  patch: { file: string; from: string; to: string; seed: number },
): Mutant => ({ id, what, by: "simulation", scenario: "capped", ...patch });

export const CAP_MUTANTS: readonly Mutant[] = [
  capped("cap-uncounted", "what a turn or an opening hands is not counted", {
    file: DESK,
    from: "this.#recentOf(partition, tenantId, rules)?.add(index, clock.wallClockMs());",
    to: "this.#recentOf(partition, tenantId, rules)?.countOf(index, clock.wallClockMs());",
    seed: 1,
  }),
  capped("cap-inherited", "what earlier owners delivered is not counted", {
    file: DESK,
    from: "sinceMs: clock.wallClockMs() - windowMs,",
    to: "sinceMs: clock.wallClockMs() + windowMs,",
    seed: 1,
  }),
  capped("cap-ahead", "what a clock that is ahead has accepted makes a new owner forget the rest", {
    file: DESK,
    from: "const acceptedAtMs = Math.min(row.acceptedAtMs, nowMs);",
    to: "const acceptedAtMs = Math.max(row.acceptedAtMs, nowMs - windowMs);",
    seed: 535,
  }),
  capped("cap-of-turn", "what one turn hands is not counted within it", {
    file: "packages/delivery/src/recipient-decision.ts",
    from: ": now.verdictOf(entry, handedBy(effects));",
    to: ": now.verdictOf(entry, []);",
    seed: 16,
  }),
  capped(
    "cap-against-itself",
    "what was counted is counted again when it is handed to another session",
    {
      file: DESK,
      from: "isCapped({ priority, category }, rules) && this.#counted.get(entry)?.has(index) !== true;",
      to: "isCapped({ priority, category }, rules);",
      seed: 29,
    },
  ),
  capped("collapse-ignored", "the older ones of a key are sent as well", {
    file: "packages/delivery/src/outcomes.ts",
    from: "if (partition.collapse.isSuperseded(index, entry, mayBeHanded)) return SUPERSEDED; // CO1",
    to: 'if (typeof mayBeHanded !== "function") return SUPERSEDED;',
    seed: 1,
  }),
  capped("collapse-waiting", "of two of a key that wait both are sent", {
    file: "packages/delivery/src/collapse.ts",
    from: '(other.has("deliveredSocket", index) || (other.isPending(index) && mayBeHanded(other)))',
    to: 'other.has("deliveredSocket", index)',
    seed: 28,
  }),
  capped("collapse-by-older", "an older one of its key takes the place of a newer", {
    file: "packages/delivery/src/collapse.ts",
    from: "        isNewer(other, entry) &&",
    to: "        isNewer(entry, other) &&",
    seed: 1,
  }),
  capped("capped-as-well", "who has an outcome is capped as well", {
    file: "packages/delivery/src/ledger-entry.ts",
    from: "    this.#sets[outcome].add(position);\n",
    to: "    this.#sets[outcome].add(position);\n    this.#sets.capped.add(position);\n",
    seed: 1,
  }),
  {
    id: "sql-recent-all",
    what: "a new owner's cap counts also what was accepted before its window",
    by: "sql",
    seed: 1,
    file: "packages/store/src/recent-deliveries.ts",
    from: "and n.accepted_at > to_timestamp(${sinceMs}::float8 / 1000)",
    to: "and n.accepted_at > to_timestamp(${sinceMs - 60_000}::float8 / 1000)",
  },
];
