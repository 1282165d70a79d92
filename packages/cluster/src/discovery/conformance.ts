// packages/cluster/src/discovery/conformance.ts
// What every DiscoverySource keeps, run on all three of them.
import { describe, expect, test } from "vitest";
import type { Candidate, DiscoverySource } from "./source.ts";

export interface SourceHarness {
  /** A source that has exactly these, in whatever order. */
  readonly having: (candidates: readonly Candidate[]) => Promise<DiscoverySource>;
  /** Id of a candidate that has this address; static ones are their addresses. */
  readonly idOf: (address: string) => string;
}

/** Of a source that reads: it can fail, and ids are not addresses. */
export interface ReadingHarness extends SourceHarness {
  /** A source that cannot answer. */
  readonly broken: () => Promise<DiscoverySource>;
}

const open = (): AbortSignal => new AbortController().signal;

async function seen(source: DiscoverySource): Promise<unknown> {
  const outcome = await source.find(open());
  return outcome.kind === "found"
    ? outcome.candidates.map(({ id, address }) => ({ id, address }))
    : outcome;
}

export function sourceConformance(name: string, harness: SourceHarness): void {
  const named = (numbers: readonly number[]): Candidate[] =>
    numbers
      .map((number) => `10.40.0.${number}`)
      .map((address) => ({ id: harness.idOf(address), address }));

  describe(`${name}, as every source`, () => {
    test("DS2 — sorted by id, each once, and the same again", async () => {
      const source = await harness.having(named([130, 9, 120, 11]));
      const first = await seen(source);
      expect(first).toEqual(named([11, 120, 130, 9])); // by text
      expect(await seen(source)).toEqual(first);
    });

    test("DS1 — an answer is complete, an empty one too", async () => {
      const source = await harness.having([]);
      expect(await source.find(open())).toEqual({
        kind: "found",
        candidates: [],
        skipped: [],
        pagesCount: 1,
      });
    });

    test("DS3 — ended before it began: failed, not rejected", async () => {
      const source = await harness.having(named([1]));
      const outcome = await source.find(AbortSignal.abort());
      expect(outcome).toMatchObject({ kind: "failed", reason: "timeout" });
    });
  });
}

export function readingConformance(name: string, harness: ReadingHarness): void {
  sourceConformance(name, harness);

  describe(`${name}, as every source that reads`, () => {
    test("DS1 — what cannot answer fails, and is never empty", async () => {
      const outcome = await (await harness.broken()).find(open());
      expect(outcome).toEqual({
        kind: "failed",
        reason: expect.stringMatching(/./) as string,
        detail: expect.stringMatching(/./) as string,
      });
    });

    test("DS2 — C7 two with one address are two", async () => {
      const two = [
        { id: "i-a", address: "10.40.0.1" },
        { id: "i-b", address: "10.40.0.1" },
      ];
      expect(await seen(await harness.having(two))).toEqual(two);
    });
  });
}
