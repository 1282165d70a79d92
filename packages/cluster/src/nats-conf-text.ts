// packages/cluster/src/nats-conf-text.ts
// The few forms of text that nats.conf is made of.
//   NC1  Nothing given can end a string or a line, and so become an option of its own.
import { assert } from "@carillon/kernel";

/** The file's strings know JSON's escapes for quotes and backslashes, and no others. */
export function quote(text: string): string {
  assert(/^[^\p{C}]*$/u.test(text), "NC1 no control characters in nats.conf");
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

export function list(texts: readonly string[]): string {
  return `[${texts.map(quote).join(", ")}]`;
}

/** Whether `version` ("2.9.10") is at least `least` ("2.11"). */
export function isVersionAtLeast(version: string, least: string): boolean {
  const numbersOf = (text: string): number[] => text.split(".").map(Number);
  const [major = 0, minor = 0] = numbersOf(version);
  const [leastMajor = 0, leastMinor = 0] = numbersOf(least);
  assert(major > 0 && Number.isInteger(minor), "NC4 a version of nats-server such as 2.9.10");
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}
