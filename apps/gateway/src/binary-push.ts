// apps/gateway/src/binary-push.ts
// The head of a Phoenix V2 binary push; its payload is not looked at: no event takes binary yet.
// Source: phoenix/assets/js/phoenix/serializer.js, binaryEncode.

export interface BinaryPush {
  readonly joinRef: string;
  readonly ref: string;
  readonly topic: string;
  readonly event: string;
}

const PUSH = 0;
const HEADER_BYTES = 5; // kind, and the lengths of join_ref, ref, topic, event

export function parseBinaryPush(bytes: Buffer): BinaryPush | null {
  if (bytes.length < HEADER_BYTES || bytes[0] !== PUSH) return null;
  let position = HEADER_BYTES;
  const next = (field: number): string => {
    const start = position;
    position += bytes[field] ?? 0;
    return bytes.toString("utf8", start, position);
  };
  const push = { joinRef: next(1), ref: next(2), topic: next(3), event: next(4) };
  return position <= bytes.length && push.topic !== "" && push.event !== "" ? push : null;
}
