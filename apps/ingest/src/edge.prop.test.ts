// Goal: IN18 and the pure parts of the edge: NDJSON lines, canonical JSON, chunks, JSON bodies.
import { Readable } from "node:stream";
import { chunksOf } from "@carillon/cluster";
import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson, fingerprintOf } from "./canonical-json.ts";
import { homeChoiceOf } from "./directory-writer.ts";
import { JSON_DEPTH_MAX, parseJsonBody } from "./json-body.ts";
import { type Line, linesOf } from "./ndjson.ts";

const LINE_MAX_BYTES = 16;

test("IN18 — lines come out the same however the bytes are cut", async () => {
  const lineText = fc.string({ unit: fc.constantFrom("a", "é", " ", "\r", "x"), maxLength: 24 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(lineText),
      fc.array(fc.nat(20)),
      fc.boolean(),
      async (texts, cuts, ends) => {
        const whole = Buffer.from(texts.join("\n") + (ends ? "\n" : ""));
        const chunks: Buffer[] = [];
        let from = 0;
        for (const size of cuts) chunks.push(whole.subarray(from, (from += size)));
        chunks.push(whole.subarray(from));
        const found: Line[] = [];
        for await (const lines of linesOf(Readable.from(chunks), LINE_MAX_BYTES))
          found.push(...lines);
        const expected = texts.flatMap((text, at): [number, string | undefined][] => {
          const line = text.replace(/\r$/, "");
          if (Buffer.byteLength(line) > LINE_MAX_BYTES) return [[at + 1, undefined]];
          return /^[ \t]*$/.test(line) ? [] : [[at + 1, line]];
        });
        expect(found.map(({ number, bytes }) => [number, bytes?.toString()])).toEqual(expected);
      },
    ),
  );
});

test("canonical JSON is JSON of the same value, and one text whatever the order of keys", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const plain = JSON.parse(JSON.stringify(value)) as unknown;
      expect(JSON.parse(canonicalJson(plain))).toEqual(plain);
      expect(canonicalJson(reversed(plain))).toBe(canonicalJson(plain));
    }),
  );
  expect(fingerprintOf({ a: 1, b: [1, 2] })).toEqual(fingerprintOf({ b: [1, 2], a: 1 }));
  expect(fingerprintOf({ a: [1, 2] })).not.toEqual(fingerprintOf({ a: [2, 1] }));
});

test("IN7 — chunks keep the order, lose nothing, and are below the limit unless one item is not", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "grapheme", maxLength: 400 })), (items) => {
      const chunks = chunksOf(items, 1_024);
      expect(chunks.flat()).toEqual(items);
      for (const chunk of chunks)
        expect(chunk.length === 1 || Buffer.byteLength(chunk.join(",")) <= 1_024 - 100).toBe(true);
    }),
  );
});

test("A13 — depth counts brackets outside of strings only", () => {
  const nest = (depth: number, inner: string) => "[".repeat(depth) + inner + "]".repeat(depth);
  const kindOf = (text: string) => parseJsonBody(Buffer.from(text)).kind;
  expect(kindOf(nest(JSON_DEPTH_MAX, "1"))).toBe("value");
  expect(kindOf(nest(JSON_DEPTH_MAX + 1, "1"))).toBe("problem");
  expect(kindOf(JSON.stringify('[\\"[{'.repeat(100)))).toBe("value");
});

test("IN16 — where a recipient is written", () => {
  const regions = ["fra", "lon"];
  const choice = (known: string | undefined, wished: string | undefined) => {
    const outcome = homeChoiceOf({ known, wished, here: "fra", regions });
    return outcome.kind === "home" ? outcome.home : outcome.kind;
  };
  expect([choice(undefined, undefined), choice(undefined, "lon")]).toEqual(["fra", "lon"]);
  expect([choice("lon", undefined), choice("lon", "lon")]).toEqual(["lon", "lon"]);
  expect([choice("lon", "fra"), choice("lon", "mars")]).toEqual(["conflict", "unknown_region"]);
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).toReversed();
  return Object.fromEntries(members.map(([key, member]) => [key, reversed(member)]));
}
