// test/sim/mutants-control.ts
// Faults to plant in what pauses and cancels (ADR 0029); as in mutants.ts.
import type { Mutant } from "./mutants.ts";

const BOOK = "packages/delivery/src/control-book.ts";

const controlled = (
  id: string,
  what: string,
  patch: { file: string; from: string; to: string; seed: number },
): Mutant => ({ id, what, by: "simulation", scenario: "controlled", ...patch });

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
];
