// packages/process/src/exit.ts
// Why a process ended: OTP's exit reasons as values.

export type Exit =
  | { readonly kind: "normal" } // it was done
  | { readonly kind: "shutdown"; readonly detail?: string } // its owner ended it
  | { readonly kind: "killed" } // without being asked
  | { readonly kind: "noproc" } // there was none
  | { readonly kind: "noconnection" } // its node was lost: what became of it is not known
  | { readonly kind: "error"; readonly error: unknown }; // it crashed

export const NORMAL: Exit = { kind: "normal" };
export const SHUTDOWN: Exit = { kind: "shutdown" };
export const KILLED: Exit = { kind: "killed" };
export const NOPROC: Exit = { kind: "noproc" };
export const NOCONNECTION: Exit = { kind: "noconnection" };

/** `normal` and `shutdown` are quiet: no crash report (P10). */
export function isQuiet(exit: Exit): boolean {
  return exit.kind === "normal" || exit.kind === "shutdown";
}
