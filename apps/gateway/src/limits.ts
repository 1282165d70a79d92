// apps/gateway/src/limits.ts
// Every limit of this app, with the reason for the number. Durations in milliseconds.
import { LIMITS } from "@carillon/contracts";
import type { OpenLimits } from "./opener.ts";
import type { ProcessLimits } from "./processes.ts";
import type { RefusedLimits } from "./refused-tokens.ts";
import type { ReportLimits } from "./reports.ts";

export interface ConnectionLimits {
  readonly authenticationMaxMs: number;
  readonly joinMaxMs: number;
  readonly pingEveryMs: number;
  readonly halfOpenMaxMs: number; // neither frame nor pong
  readonly silenceMaxMs: number; // no frame
  readonly inboundPerSecond: number;
  readonly inboundBurst: number;
  readonly outboundMaxBytes: number;
  readonly outboundMaxMs: number; // bytes wait and none leaves
  readonly closeMaxMs: number; // from our close frame to the end of the socket
}

export interface GatewayLimits
  extends ConnectionLimits, OpenLimits, ProcessLimits, RefusedLimits, ReportLimits {
  readonly inboundFrameMaxBytes: number;
  readonly socketsMax: number;
  readonly acceptsPerSecond: number;
  readonly sweepEveryMs: number;
  readonly drainMs: number;
  readonly drainStepMs: number;
  readonly reconnectMaxMs: number; // of a drained client, at random below it
}

export const GATEWAY_LIMITS: GatewayLimits = {
  authenticationMaxMs: LIMITS.authenticationMaxMs,
  /** A little less than phoenix.js waits, so that it hears a reason instead of timing out. */
  joinMaxMs: LIMITS.joinMaxMs - 500,
  pingEveryMs: 25_000, // W4
  halfOpenMaxMs: 38_000, // W4: noticed within 40 s, sweep included
  silenceMaxMs: LIMITS.silenceMaxMs,
  inboundPerSecond: LIMITS.inboundMessagesPerSecond,
  inboundBurst: 100, // acks cost a tenth: a whole recovered tail acked one by one passes
  /** What the burst lets through at once, if it is all acks; more is too many messages (4030). */
  inboundWaitingMax: 1_024,
  inboundWaitingMaxBytes: 1_048_576, // half of what libuv reads from a socket in one turn
  /** The answers to one burst leave as one write; 16 cost a seventh of the acks/s (2026-11). */
  inboundTurnMax: 64,
  outboundMaxBytes: LIMITS.outboundMaxBytes,
  outboundMaxMs: 10_000, // W6
  closeMaxMs: 5_000,
  inboundFrameMaxBytes: LIMITS.inboundFrameMaxBytes,
  socketsMax: 130_000, // DESIGN: 120,000 on one node
  acceptsPerSecond: 3_000, // half of what one core was measured to accept (DESIGN §11)
  refusedHoldMinMs: 1_000, // a client whose token is refused comes once a second at most
  refusedHoldMaxMs: 5_000,
  /** At 130,000 sockets 10,400: what the accept limit lets in during a mean hold is 9,000. */
  refusedSocketsShare: 0.08,
  sweepEveryMs: 1_000,
  inFlightMax: 32,
  batchMax: 500, // about 125 KB, far below NATS' 1 MB
  timeoutMs: 2_000,
  retryMinMs: 250,
  retryMaxMs: 500,
  reportEveryMs: 20,
  reportReceiptsMax: 10_000, // only an owner that is long away fills it
  /** Twice what a full gateway has open in a partition: new sessions wait, and never were open. */
  reportClosedMax: 1_000,
  reportEntriesMax: 10_000, // 530 KB with the longest numbers, far below NATS' 1 MB
  /** Their owner reads rows that have left its memory one after another, within the time-out. */
  receiptEntriesMax: 1_000,
  receiptTimeoutMs: 5_000, // answered after the first write that begins with them: 100 ms, and a statement or two
  receiptRetry: { baseMs: 250, factor: 2, maxMs: 10_000, jitterShare: 0.5 },
  drainMs: 60_000,
  drainStepMs: 100,
  reconnectMaxMs: 2_000,
};
