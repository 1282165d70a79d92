// Goal: DP1–DP4, CB1–CB3, C2, C4, C5. Method: sources that say what the test wants, a fake clock,
// a real folder.
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createSeededRandom, type Random } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CandidatesBook } from "./candidates-book.ts";
import { readCandidatesFile } from "./candidates-file.ts";
import { createPoller, pollDelayMs, type PollReport } from "./poller.ts";
import type { DiscoverySource, FindOutcome } from "./source.ts";
import { newFolder } from "./test-folder.ts";

const middle: Random = { next: () => 0.5, bytes: () => new Uint8Array() }; // no jitter
const REGIONS = ["fra", "lon"];
const found = (...ids: string[]): FindOutcome => ({
  kind: "found",
  candidates: ids.map((id) => ({ id, address: `10.0.0.${id.codePointAt(0)}` })),
  skipped: [],
  pagesCount: 1,
});
const throttled: FindOutcome = { kind: "failed", reason: "throttled", detail: "too often" };

function bookAt(path: string, clock: FakeClock, faults: string[] = []) {
  const onFault = (what: string, detail: string): void => void faults.push(`${what}: ${detail}`);
  return new CandidatesBook({ path, cluster: "acme", regions: REGIONS, clock, onFault });
}

function polling(random: Random = middle) {
  const clock = new FakeClock();
  const path = join(newFolder(), "state", "candidates.json");
  const book = bookAt(path, clock);
  const asked: string[] = [];
  const reports: PollReport[] = [];
  const answers = new Map<string, FindOutcome | Promise<FindOutcome>>();
  const pollers = REGIONS.map((region) => {
    const source: DiscoverySource = {
      kind: "static",
      region,
      async find() {
        asked.push(`${region}@${clock.monotonicMs()}`);
        return answers.get(region) ?? found();
      },
    };
    const onPoll = (report: PollReport): void => void reports.push(report);
    return createPoller({
      source,
      book,
      clock,
      random,
      onPoll,
      onCrash: (cause) => {
        throw cause;
      },
    });
  });
  const idsOf = (region: string): string[] => book.get(region).peers.map(({ id }) => id);
  return { clock, path, book, asked, reports, answers, pollers, idsOf };
}

test("DP1 — C2 errors keep the last good answer for ever, and say how old it is", async () => {
  const { clock, book, answers, pollers, idsOf } = polling();
  answers.set("fra", found("a", "b"));
  pollers[0]!.start();
  await clock.advance(0);
  answers.set("fra", throttled);
  await clock.advance(30 * 24 * 3_600_000);
  expect(idsOf("fra")).toEqual(["a", "b"]);
  expect(book.ageMs("fra")).toBe(30 * 24 * 3_600_000);
  expect(book.get("fra")).toMatchObject({
    equalCount: 1,
    failing: {
      reason: "throttled",
      detail: "too often",
      sinceMs: clock.wallClockMs() - 30 * 24 * 3_600_000 + 30_000,
    },
  });
  answers.set("fra", found("b"));
  while (book.get("fra").failing !== null) await clock.advance(1_000);
  expect(book.get("fra").peers.map((peer) => [peer.id, peer.missedCount])).toEqual([
    ["a", 1],
    ["b", 0],
  ]);
});

test("DP2 — C4 every 30 s; after failures 60, 120, 240 s, then 5 min, and back", async () => {
  const { clock, asked, answers, pollers } = polling();
  answers.set("fra", found("a"));
  pollers[0]!.start();
  await clock.advance(30_000);
  answers.set("fra", throttled);
  await clock.advance(30_000 + 60_000 + 120_000 + 240_000 + 300_000);
  answers.set("fra", found("a"));
  await clock.advance(300_000 + 30_000);
  const atSeconds = asked.map((one) => Number(one.slice("fra@".length)) / 1_000);
  expect(atSeconds).toEqual([0, 30, 60, 120, 240, 480, 780, 1_080, 1_110]);
});

test("DP2 — C4 a delay is 30 s ± 50 %, doubles with each failure, and is never above 5 min", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 0, max: 1_000 }), (seed, failuresCount) => {
      const delayMs = pollDelayMs({ pollEveryMs: 30_000, failuresCount }, createSeededRandom(seed));
      const plainMs = Math.min(300_000, 30_000 * 2 ** failuresCount);
      expect(delayMs).toBeGreaterThanOrEqual(plainMs / 2);
      expect(delayMs).toBeLessThanOrEqual(Math.min(300_000, plainMs * 1.5));
    }),
  );
  const random = createSeededRandom(7);
  const spread = Array.from({ length: 1_000 }, () =>
    pollDelayMs({ pollEveryMs: 30_000, failuresCount: 0 }, random),
  );
  expect(Math.min(...spread)).toBeLessThan(16_000);
  expect(Math.max(...spread)).toBeGreaterThan(44_000);
});

test("DP2 — C4 one poll at a time: while one hangs, none is begun, until its deadline", async () => {
  const { clock, asked, reports, answers, pollers } = polling();
  answers.set("fra", new Promise<never>(() => {}));
  pollers[0]!.start();
  await clock.advance(15_000);
  expect([
    asked,
    reports.map(({ outcome }) => outcome.kind === "failed" && outcome.reason),
  ]).toEqual([["fra@0"], ["timeout"]]);
  await clock.advance(60_000);
  expect(asked).toEqual(["fra@0", "fra@75000"]);
});

test("DP3 — asked at once without peers, spread over the interval with some from before", async () => {
  const first = polling();
  first.answers.set("fra", found("a"));
  first.pollers[0]!.start();
  await first.clock.advance(0);
  await first.book.flushed();
  const second = polling({ ...middle, next: () => 0.25 });
  mkdirSync(join(second.path, ".."), { recursive: true });
  writeFileSync(second.path, readFileSync(first.path));
  await second.book.load();
  for (const poller of second.pollers) poller.start();
  await second.clock.advance(7_500);
  expect(second.asked).toEqual(["lon@0", "fra@7500"]);
});

test("DP4 — after stop nothing is asked and nothing is put, also when an answer comes then", async () => {
  const { clock, asked, answers, pollers, idsOf } = polling();
  const late = Promise.withResolvers<FindOutcome>();
  answers.set("fra", late.promise);
  pollers[0]!.start();
  await clock.advance(0);
  pollers[0]!.stop();
  late.resolve(found("a"));
  await clock.advance(600_000);
  pollers[0]!.start();
  await clock.advance(600_000);
  expect([asked, idsOf("fra"), clock.timersCount]).toEqual([["fra@0"], [], 0]);
});

test("CB1 — C5 one region's failure touches no other", async () => {
  const { clock, answers, pollers, idsOf, book } = polling();
  answers.set("fra", new Promise<never>(() => {}));
  answers.set("lon", found("x"));
  for (const poller of pollers) poller.start();
  await clock.advance(0);
  const lon = book.get("lon");
  expect(idsOf("lon")).toEqual(["x"]);
  await clock.advance(15_000);
  expect(book.get("fra").failing).toMatchObject({ reason: "timeout", failuresCount: 1 });
  expect(book.get("lon")).toBe(lon);
});

test("CB2 — C2 a start reads what an earlier run left, with its age, and waits for nobody", async () => {
  const { clock, path, book, answers, pollers } = polling();
  answers.set("fra", found("a", "b"));
  pollers[0]!.start();
  await clock.advance(1_000);
  answers.set("fra", throttled);
  await clock.advance(60_000);
  await book.flushed();
  expect(statSync(path).mode & 0o777).toBe(0o600);

  const later = new FakeClock(); // its wall clock begins as the first one's did
  later.jumpWallClock(3_600_000);
  const next = bookAt(path, later);
  await next.load();
  expect(next.get("fra").peers.map(({ id }) => id)).toEqual(["a", "b"]);
  expect(next.ageMs("fra")).toBe(3_600_000);
  expect(next.get("fra").failing).toMatchObject({ reason: "throttled" });
  expect([next.ageMs("lon"), next.get("lon").goodAtMs]).toEqual([undefined, null]);
  later.jumpWallClock(-86_400_000); // durations do not follow the wall clock
  expect(next.ageMs("fra")).toBe(3_600_000);
});

test("CB2 — what was counted before a start counts no more; who was held stays", async () => {
  const { clock, path, book, answers, pollers } = polling();
  answers.set("fra", found("a", "b"));
  pollers[0]!.start();
  await clock.advance(0);
  answers.set("fra", found("a"));
  await clock.advance(60_000);
  await book.flushed();
  expect(book.get("fra")).toMatchObject({
    equalCount: 2,
    peers: [{}, { id: "b", missedCount: 2 }],
  });
  const next = bookAt(path, clock);
  await next.load();
  expect(next.get("fra")).toMatchObject({
    equalCount: 0,
    peers: [{}, { id: "b", missedCount: 0 }],
  });
});

test("CA1 — what was written is read back as it was", async () => {
  const { clock, path, book, answers, pollers } = polling();
  answers.set("fra", found("a", "b"));
  answers.set("lon", throttled);
  for (const poller of pollers) poller.start();
  await clock.advance(0);
  await book.flushed();
  const read = await readCandidatesFile(path, "acme");
  expect(read).toEqual({ kind: "read", records: book.records });
});

test.each([
  ["of another cluster", (text: string) => text.replace("acme", "other"), "is of another cluster"],
  ["of a newer version", (text: string) => text.replace("1", "2"), "is not of version 1"],
  ["cut off", (text: string) => text.slice(0, -9), "is not JSON"],
  ["wrong in a peer", (text: string) => text.replace('"10.', '"10 '), "has no whole record of fra"],
  [
    "without a count",
    (text: string) => text.replace("equalCount", "e"),
    "has no whole record of fra",
  ],
])("CA1 — a file that is %s is not used, and told", async (_, damage, problem) => {
  const { clock, path, book, answers, pollers } = polling();
  answers.set("fra", found("a"));
  pollers[0]!.start();
  await clock.advance(0);
  await book.flushed();
  writeFileSync(path, damage(readFileSync(path, "utf8")));
  const faults: string[] = [];
  const next = bookAt(path, clock, faults);
  await next.load();
  expect(next.get("fra").peers).toEqual([]);
  expect(faults).toEqual([`unusable: ${path} ${problem}`]);
});

test("CB3 — a disk that refuses is told, and the next put writes again", async () => {
  const { clock, path, book, pollers, answers } = polling();
  const faults: string[] = [];
  const own = bookAt(path, clock, faults);
  mkdirSync(path, { recursive: true }); // a folder is in the way
  own.put("fra", { ...book.get("fra"), goodAtMs: 1 });
  await own.flushed();
  expect(faults).toEqual([expect.stringContaining("not_written: Error: EISDIR")]);
  answers.set("fra", found("a"));
  pollers[0]!.start();
  await clock.advance(0);
  expect(book.get("fra").peers).toHaveLength(1); // memory goes on
});
