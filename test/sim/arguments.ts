// test/sim/arguments.ts
// What was asked for on the command line, or exit 64 with one line that says what would be valid.
// Green must mean that something ran.
const USAGE_EXIT_CODE = 64; // sysexits.h, EX_USAGE

/** What a seed may be at most. */
export const SEED_MAX = 999_999_999;

/** Thrown for what cannot be meant; `reading` turns it into the exit. */
export class UsageError extends Error {}

/**
 * Does `read`; a UsageError, or one of parseArgs, is told with the usage and ends the process. So
 * does `--help`, with 0.
 */
export function reading<T>(usage: string, read: () => T): T {
  if (process.argv.includes("--help")) {
    console.log(usage);
    process.exit(0);
  }
  try {
    return read();
  } catch (cause) {
    const isOfParseArgs =
      cause instanceof TypeError &&
      "code" in cause &&
      String(cause.code).startsWith("ERR_PARSE_ARGS");
    if (!(cause instanceof UsageError) && !isOfParseArgs) throw cause;
    const [line] = cause.message.split("\n");
    console.error(`${line}; ${usage}`);
    process.exit(USAGE_EXIT_CODE);
  }
}

/** A whole number >= 1, at most what a seed may be. */
export function wholeNumber(option: string, text: string): number {
  const isWhole = /^[1-9][0-9]{0,8}$/.test(text);
  if (!isWhole) throw new UsageError(`--${option} ${text}: a whole number from 1 to ${SEED_MAX}`);
  return Number(text);
}

/** One of those; `what` says what they are. */
export function oneOf(what: string, text: string, known: readonly string[]): string {
  if (known.includes(text)) return text;
  throw new UsageError(`no ${what} ${JSON.stringify(text)}, there are ${known.join(" ")}`);
}
