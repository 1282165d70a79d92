// apps/cli/src/refusal.ts
// What a command says when it does not do what was asked. One shape for all of them.
//   UE2  With --json a refusal is one document on stdout, {"error":{code,message,field?,valid?}}; for
//        people it is one line on stderr, "carillon <command>: …".
import type { Terminal } from "./terminal.ts";

export interface Refusal {
  /** `usage`, the admin API's code of the error, or the command's own (README). */
  readonly code: string;
  /** Whole: it names the field and what would be valid, too. */
  readonly message: string;
  /** The option, argument, variable or field of the API that it is about. */
  readonly field?: string;
  /** What would be valid: each one value, or a rule in words. */
  readonly valid?: readonly string[];
}

/** The command is not to be run so: exit code 64 (UE1). */
export class UsageError extends Error implements Refusal {
  readonly code = "usage";
  readonly field: string;
  readonly valid: readonly string[];

  /** `problem`: what is wrong with the field, in words that follow its name. */
  constructor(field: string, problem: string, valid: readonly string[]) {
    super(`${field} ${problem}; valid: ${valid.join(", ")}`);
    this.field = field;
    this.valid = valid;
  }
}

export const USAGE_EXIT_CODE = 64;

/** `command`: the word after `carillon`; none: `carillon` itself. */
export function refuse(
  { terminal, isJson, command = "" }: { terminal: Terminal; isJson: boolean; command?: string },
  refusal: Refusal,
): void {
  if (isJson) terminal.line(JSON.stringify({ error: bodyOf(refusal) }));
  else terminal.error(`carillon${command && ` ${command}`}: ${refusal.message}`);
}

/** As JSON has it, alone or inside an answer. */
export function bodyOf({ code, message, field, valid }: Refusal): Refusal {
  return { code, message, ...(field !== undefined && { field }), ...(valid && { valid }) };
}
