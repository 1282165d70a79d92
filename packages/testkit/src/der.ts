// packages/testkit/src/der.ts
// As much of DER (ITU-T X.690) as a certificate for a test needs.

export const DER = {
  sequence: (...parts: Buffer[]) => element(0x30, ...parts),
  set: (...parts: Buffer[]) => element(0x31, ...parts),
  boolean: (isTrue: boolean) => element(0x01, Buffer.of(isTrue ? 0xff : 0)),
  /** Positive, its first byte below 0x80. */
  integer: (bytes: Buffer) => element(0x02, bytes),
  bits: (bytes: Buffer, unusedCount = 0) => element(0x03, Buffer.of(unusedCount), bytes),
  octets: (...parts: Buffer[]) => element(0x04, ...parts),
  text: (text: string) => element(0x0c, Buffer.from(text)),
  time: (atMs: number) => element(0x17, Buffer.from(utcTimeOf(atMs))),
  /** [tag], in place of the type's own; `isWhole`: around it. */
  tagged: (tag: number, content: Buffer, isWhole = false) =>
    element((isWhole ? 0xa0 : 0x80) | tag, content),
  oid(dotted: string): Buffer {
    const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
    return element(0x06, Buffer.of(first * 40 + second, ...rest.flatMap(base128)));
  },
} as const;

export function pemOf(label: string, der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

function element(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.of(tag), lengthOf(content.length), content]);
}

function lengthOf(count: number): Buffer {
  if (count < 0x80) return Buffer.of(count);
  const bytes = Buffer.from(count.toString(16).padStart(count > 0xff ? 4 : 2, "0"), "hex");
  return Buffer.concat([Buffer.of(0x80 | bytes.length), bytes]);
}

function base128(value: number): number[] {
  const bytes = [value & 0x7f];
  for (let rest = value >> 7; rest > 0; rest >>= 7) bytes.unshift(0x80 | (rest & 0x7f));
  return bytes;
}

/** YYMMDDhhmmssZ: until 2049. */
function utcTimeOf(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(2, 19).replaceAll(/[-:T]/g, "")}Z`;
}
