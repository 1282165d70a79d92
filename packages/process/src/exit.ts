// packages/process/src/exit.ts
// Why a process ended: OTP's exit reasons as values.

export type Exit =
  | { readonly kind: "normal" } // it was done
  | { readonly kind: "shutdown"; readonly detail?: string } // its owner ended it
  | { readonly kind: "killed" } // without being asked
  | { readonly kind: "noproc" } // there was none
  | { readonly kind: "noconnection" } // its node was lost: what became of it is not known
  | { readonly kind: "error"; readonly error: unknown }; // it crashed

/** No crash report (P10). */
export type QuietExit = Extract<Exit, { kind: "normal" | "shutdown" }>;

export const NORMAL: QuietExit = { kind: "normal" };
export const SHUTDOWN: QuietExit = { kind: "shutdown" };
/** It had nothing to do for a while, and is rebuilt when it has. */
export const PASSIVATED: QuietExit = { kind: "shutdown", detail: "passivated" };
export const KILLED: Exit = { kind: "killed" };
export const NOPROC: Exit = { kind: "noproc" };
export const NOCONNECTION: Exit = { kind: "noconnection" };

/** Of anything that was thrown: "TypeError: x is no function". Never throws itself. */
export function causeText(cause: unknown): string {
  try {
    return String(cause);
  } catch {
    return "an object without a text";
  }
}

export function isQuiet(exit: Exit): exit is QuietExit {
  return exit.kind === "normal" || exit.kind === "shutdown";
}
