// packages/contracts/src/close-codes.ts
// WebSocket close codes (W5). 4000–4499: reconnect; 4500–4999: stop.

export const CLOSE_CODES = {
  done: 1000,
  /** The node drains, or others serve its people better; the reason is JSON `{retryMs, region}`. */
  drain: 1012,
  token_expired: 4001,
  slow_consumer: 4008,
  insufficient_state: 4010,
  /** Sent nothing for 60 s (W4). */
  silent: 4011,
  /** No token within 10 s, or a token that is not valid. */
  unauthenticated: 4501,
  too_many_connections: 4029,
  too_many_messages: 4030,
  forbidden: 4503,
  replaced: 4509,
} as const;
export type CloseCodeName = keyof typeof CLOSE_CODES;

/** Whether a client may try again after this code. */
export function isReconnectable(code: number): boolean {
  return code !== CLOSE_CODES.done && (code < 4500 || code > 4999);
}
