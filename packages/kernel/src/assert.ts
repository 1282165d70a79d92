// packages/kernel/src/assert.ts
// A broken invariant is a bug: it throws, the supervisor restarts the process and counts it.

export class BugError extends Error {
  override readonly name = "BugError";
}

/** Throws BugError. `message` begins with the id of the invariant: "PR2 …". */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new BugError(message);
}

/** For the default branch of an exhaustive `switch`. */
export function assertNever(value: never): never {
  throw new BugError(`unexpected variant: ${JSON.stringify(value)}`);
}
