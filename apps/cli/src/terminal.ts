// apps/cli/src/terminal.ts
// What a command says to people. On a terminal one line may be rewritten; elsewhere each is printed.

export interface Terminal {
  readonly isTty: boolean;
  line(text: string): void;
  /** On a terminal it replaces the progress line before it; it ends with the next `line`. */
  progress(text: string): void;
  /** A line beside the answer: on stderr. */
  error(text: string): void;
}

export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const CLEAR_LINE = "\r\u001b[2K";

export function createTerminal(output: Output, errors: Output): Terminal {
  const isTty = output.isTTY === true;
  let isProgressShown = false;
  const endProgress = (): void => {
    if (isProgressShown) output.write(CLEAR_LINE);
    isProgressShown = false;
  };
  return {
    isTty,
    line(text) {
      endProgress();
      output.write(`${text}\n`);
    },
    progress(text) {
      if (!isTty) {
        output.write(`${text}\n`);
        return;
      }
      output.write(CLEAR_LINE + text.slice(0, Math.max(20, (output.columns ?? 80) - 1)));
      isProgressShown = true;
    },
    error(text) {
      endProgress();
      errors.write(`${text}\n`);
    },
  };
}
