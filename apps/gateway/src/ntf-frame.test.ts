// Goal: GW5 on both sides of each length form. Method: frames taken apart by RFC 6455 §5.2.
import { expect, test } from "vitest";
import { encodeNtfFrame } from "./ntf-frame.ts";

function read(frame: Buffer): { first: number; text: string } {
  const short = frame.readUInt8(1);
  const [start, length] =
    short < 126
      ? [2, short]
      : short === 126
        ? [4, frame.readUInt16BE(2)]
        : [10, Number(frame.readBigUInt64BE(2))];
  expect(frame.length).toBe(start + length);
  return { first: frame.readUInt8(0), text: frame.toString("utf8", start) };
}

test.each([0, 1, 40, 60, 61, 62, 63, 64, 1_000, 65_400, 65_470, 65_474, 65_480, 70_000])(
  "GW5 — a final text frame with offset and epoch first, title of %d bytes",
  (length) => {
    const payload = { title: "é".repeat(length / 2), id: "n1" };
    const { first, text } = read(
      encodeNtfFrame(Buffer.from(JSON.stringify(payload)), { offset: 12, epoch: 'e"1' }),
    );
    expect(first).toBe(0x81);
    expect(JSON.parse(text)).toEqual([
      null,
      null,
      "inbox",
      "ntf",
      { offset: 12, epoch: 'e"1', ...payload },
    ]);
  },
);

test("GW5 — an empty payload leaves offset and epoch alone", () => {
  const { text } = read(encodeNtfFrame(Buffer.from("{}"), { offset: 1, epoch: "e" }));
  expect(text).toBe('[null,null,"inbox","ntf",{"offset":1,"epoch":"e"}]');
});
