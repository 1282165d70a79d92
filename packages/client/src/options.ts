// packages/client/src/options.ts
// What an inbox is given, and what it offers.
import type { InboxJoined, NtfPayload, ReadPayload, WithdrawPayload } from "@carillon/contracts";
import type { Connect } from "./socket.ts";
import type { Timers } from "./timers.ts";

export interface Position {
  readonly offset: number;
  readonly epoch: string;
}

/** `waiting`: not connected, a retry is due. `stopped`: for good; a new inbox must be made. */
export type InboxState = "connecting" | "joining" | "live" | "waiting" | "stopped";

export interface InboxOptions {
  /** The gateway's endpoint, such as `wss://push.example/socket`. */
  readonly url: string;
  /** Asked before every connection, so that a fresh token is used. */
  readonly token: () => Promise<string> | string;
  readonly device?: string;
  /** Where the last session ended; without it only what is not yet delivered comes. */
  readonly position?: Position;
  readonly onNotification: (notification: NtfPayload) => void;
  /** That notification was taken back: to be removed wherever it is shown. It may never have been here. */
  readonly onWithdraw?: (withdrawn: WithdrawPayload) => void;
  /** Read on another device of the recipient. A hint: told once, and not for what was read while away. */
  readonly onRead?: (read: ReadPayload) => void;
  readonly onStateChange?: (state: InboxState) => void;
  /** The tail could not be served whole: load the inbox over HTTP; live ones follow (W2). */
  readonly onReset?: (joined: InboxJoined) => void;
  readonly random?: () => number;
  readonly timers?: Timers;
  readonly connect?: Connect | undefined;
}

export interface Inbox {
  readonly state: InboxState;
  /** To be stored, and given to the next inbox; null before the first join. */
  readonly position: Position | null;
  /** Code of the last close, for people; null: none yet. */
  readonly closeCode: number | null;
  /** For one notification; kept and repeated until the server has answered (CN4). */
  read(offset: number): void;
  acknowledge(offset: number): void;
  /** Acks what was received, then ends. Safe to call twice. */
  close(): void;
}
