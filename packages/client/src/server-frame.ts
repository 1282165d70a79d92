// packages/client/src/server-frame.ts
// Reads what the server sends, without a schema: it is our own server, and pages stay small.
import type { InboxJoined, NtfPayload } from "@carillon/contracts";

export interface ReplyPayload {
  readonly status: "ok" | "error";
  readonly response: InboxJoined; // for a join that is ok; otherwise nothing here is read
}
/** The event says which of the two the payload is. */
export type ServerFrame = [
  joinRef: string | null,
  ref: string | null,
  topic: string,
  event: string,
  payload: NtfPayload & ReplyPayload,
];

/** Undefined: not a frame of five. */
export function parseServerFrame(text: string): ServerFrame | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.length === 5 ? (value as ServerFrame) : undefined;
  } catch {
    return undefined;
  }
}
