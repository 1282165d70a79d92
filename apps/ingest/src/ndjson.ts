// apps/ingest/src/ndjson.ts
// Bytes → numbered lines, however the bytes are cut. A line longer than the limit is not kept.
//   IN18 At most `lineMaxBytes` of an unfinished line are held.

export interface Line {
  readonly number: number; // from 1
  /** Null: longer than `lineMaxBytes`. */
  readonly bytes: Buffer | null;
}

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Yields the lines of each chunk together; blank lines are counted and left out. */
export async function* linesOf(
  chunks: AsyncIterable<Buffer>,
  lineMaxBytes: number,
): AsyncGenerator<Line[]> {
  let number = 0;
  let rest: Buffer[] = [];
  let restBytes = 0;
  let isTooLong = false;

  const add = (part: Buffer): void => {
    restBytes += part.length;
    // One byte more than allowed: the carriage return of a line that just fits.
    if (restBytes > lineMaxBytes + 1) isTooLong = true;
    if (isTooLong) rest = [];
    else if (part.length > 0) rest.push(part);
  };
  const finish = (): Line | undefined => {
    number++;
    const whole = Buffer.concat(rest);
    const bytes = whole.at(-1) === CARRIAGE_RETURN ? whole.subarray(0, -1) : whole;
    const isOver = isTooLong || bytes.length > lineMaxBytes;
    rest = [];
    restBytes = 0;
    isTooLong = false;
    if (isOver) return { number, bytes: null };
    return isBlank(bytes) ? undefined : { number, bytes };
  };

  for await (const chunk of chunks) {
    const lines: Line[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      add(chunk.subarray(start, end));
      start = end + 1;
      const line = finish();
      if (line !== undefined) lines.push(line);
    }
    add(chunk.subarray(start));
    if (lines.length > 0) yield lines;
  }
  const last = restBytes > 0 ? finish() : undefined;
  if (last !== undefined) yield [last];
}

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09);
}
