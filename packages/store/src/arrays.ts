// packages/store/src/arrays.ts
// Postgres array literals for `unnest`. The driver can build them as well, but guesses the type of
// byte and boolean arrays wrongly and escapes each number.

export function intsOf(numbers: readonly number[]): string {
  return `{${numbers.join(",")}}`;
}

export function booleansOf(values: readonly boolean[]): string {
  return `{${values.join(",")}}`;
}

/** Null stays null. */
export function bytesOf(values: readonly (Uint8Array | null)[]): string {
  return `{${values.map((bytes) => (bytes === null ? "null" : `"\\\\x${hexOf(bytes)}"`)).join(",")}}`;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
