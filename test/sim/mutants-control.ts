// test/sim/mutants-control.ts
// Faults to plant in what pauses and cancels (ADR 0029); as in mutants.ts.
import type { Mutant } from "./mutants.ts";

const BOOK = "packages/delivery/src/control-book.ts";

const controlled = (
  id: string,
  what: string,
  patch: { file: string; from: string; to: string; seed: number },
): Mutant => ({ id, what, by: "simulation", scenario: "controlled", ...patch });

const CONTROLS = "packages/store/src/controls.ts";

const inSql = (
  id: string,
  what: string,
  patch: { file: string; from: string; to: string },
): Mutant => ({ id, what, by: "sql", seed: 1, ...patch });

export const CONTROL_MUTANTS: readonly Mutant[] = [
  controlled("cancel-unheard", "what is cancelled is sent all the same", {
    file: BOOK,
    from: 'return isStopped(this.stateOf(notificationId)) ? "cancelled" : undefined;',
    to: "return isStopped(this.stateOf(notificationId)) ? undefined : undefined;",
    seed: 1,
  }),
  controlled("pause-unheard", "what is paused is sent all the same", {
    file: BOOK,
    from: "if (!this.isPaused(notification.id)) return ALLOW;",
    to: "if (this.isPaused(notification.id)) return ALLOW;",
    seed: 5,
  }),
  controlled("resume-unwoken", "what was paused stays put off when it is resumed", {
    file: BOOK,
    from: 'if (state !== "paused") this.#toWake.add(notificationId);',
    to: 'if (state === "cancelled") this.#toWake.add(notificationId);',
    seed: 5,
  }),
  inSql("sql-control-older", "of two records of a notification the older stays", {
    file: CONTROLS,
    from: "and (excluded.changed_at_ms, excluded.changed_in) > (c.changed_at_ms, c.changed_in)",
    to: "and (excluded.changed_at_ms, excluded.changed_in) < (c.changed_at_ms, c.changed_in)",
  }),
  inSql("sql-wake-unheard", "what was cancelled is woken whether its owner has heard or not", {
    file: CONTROLS,
    from: "control_rank(state) > 0 and notification_id = any(${cancelled}::uuid[])",
    to: "control_rank(state) > 0 and notification_id <> any(${cancelled}::uuid[])",
  }),
  inSql("sql-wake-fence", "who was the owner wakes what waits", {
    file: CONTROLS,
    from: "and epoch = (${epochs}::bigint[])[array_position(${partitions}::int[], n::int)]",
    to: "and epoch >= (${epochs}::bigint[])[array_position(${partitions}::int[], n::int)]",
  }),
];
