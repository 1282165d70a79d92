// apps/gateway/src/ntf-frame.ts
// The bytes of one event of the inbox, built once and written to every socket of a group (W7).
//   GW5  A frame is a whole, final, unmasked WebSocket text frame (RFC 6455 §5.2).
// Hot path: bench/fanout.bench.ts.

import type { InboxEvent } from "@carillon/contracts";

const FINAL_TEXT = 0x81;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const TAIL = Buffer.from("]");

/**
 * `payload` is the UTF-8 text of a JSON object; offset and epoch are put first into it, so that
 * the owner encodes the rest once for all partitions.
 */
export function encodeNtfFrame(
  payload: Buffer,
  { event = "ntf", offset, epoch }: { event?: InboxEvent; offset: number; epoch: string },
): Buffer {
  const separator = payload.length > 2 ? "," : ""; // "{}" has nothing to separate
  const start = `{"offset":${offset},"epoch":${JSON.stringify(epoch)}${separator}`;
  const head = Buffer.from(`[null,null,"inbox","${event}",${start}`);
  const rest = payload.subarray(1);
  const length = head.length + rest.length + TAIL.length;
  return Buffer.concat([frameHeader(length), head, rest, TAIL]);
}

function frameHeader(length: number): Buffer {
  if (length < LENGTH_16) return Buffer.of(FINAL_TEXT, length);
  if (length < 65_536) return Buffer.of(FINAL_TEXT, LENGTH_16, length >> 8, length & 0xff);
  const header = Buffer.alloc(10);
  header[0] = FINAL_TEXT;
  header[1] = LENGTH_64;
  header.writeUInt32BE(length, 6); // a NATS message is far below 4 GiB
  return header;
}
