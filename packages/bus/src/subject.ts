// packages/bus/src/subject.ts
// NATS subjects: tokens between dots; `*` stands for one token, a last `>` for one or more.
import { assert } from "@carillon/kernel";

const SPACE = 0x20; // and everything below it ends a field of the protocol, or a line
const DELETE = 0x7f;

/** BU7: a subject with a space or a line end would be another command to the server. */
export function assertSubject(subject: string): void {
  let isToken = false;
  for (let index = 0; index < subject.length; index++) {
    const code = subject.charCodeAt(index);
    assert(code > SPACE && code !== DELETE, "BU7 a subject holds no spaces or control characters");
    const isDot = code === 0x2e;
    assert(!isDot || isToken, "BU7 a subject has no empty token");
    isToken = !isDot;
  }
  assert(isToken, "BU7 a subject is not empty and does not end in a dot");
}

/** Where answers go, of whatever region and role: `_INBOX.<region>.<role>.<bus>.<request>`. */
export const INBOXES = "_INBOX.";

/** BU10: anything else that a request names for its answer is somebody's subject. */
export function isInbox(replySubject: string): boolean {
  return replySubject.startsWith(INBOXES);
}

export function isPattern(subject: string): boolean {
  return subject.includes("*") || subject.includes(">");
}

/** Whether a message to `subject` is for a subscriber of `pattern`. */
export function matchesSubject(pattern: string, subject: string): boolean {
  if (pattern === subject) return true;
  if (!isPattern(pattern)) return false;
  const wanted = pattern.split(".");
  const tokens = subject.split(".");
  for (const [index, token] of wanted.entries()) {
    if (token === ">") return tokens.length > index;
    if (index >= tokens.length || (token !== "*" && token !== tokens[index])) return false;
  }
  return wanted.length === tokens.length;
}
