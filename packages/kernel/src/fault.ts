// packages/kernel/src/fault.ts
// A fault: a dependency broke. Thrown at an adapter's edge only; the first caller that can decide
// turns it into an outcome (STYLE §4).

export interface FaultOptions {
  /** Closed set per adapter, usable as a metric label. */
  readonly code: string;
  readonly isRetryable: boolean;
  readonly cause?: unknown;
}

export class Fault extends Error {
  override readonly name = "Fault";
  readonly code: string;
  readonly isRetryable: boolean;
  constructor(message: string, options: FaultOptions) {
    super(message, { cause: options.cause });
    this.code = options.code;
    this.isRetryable = options.isRetryable;
  }
}
