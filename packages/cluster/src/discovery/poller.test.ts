// Goal: DP1–DP5, CA1, CB1–CB4, C2, C4, C5. Method: sources that say what the test wants, a fake clock,
// a real folder.
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createSeededRandom, type Random } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CandidatesBook } from "./candidates-book.ts";
import { NO_RECORD, readCandidatesFile } from "./candidates-file.ts";
import { createPoller, pollDelayMs, type PollReport, recordAfter } from "./poller.ts";
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

test("DP2 — C4 every 30 s; after failures 60, 120 s, then 200 s, and back", async () => {
  const { clock, asked, answers, pollers } = polling();
  answers.set("fra", found("a"));
  pollers[0]!.start();
  await clock.advance(30_000);
  answers.set("fra", throttled);
  await clock.advance(30_000 + 60_000 + 120_000 + 200_000 + 200_000);
  answers.set("fra", found("a"));
  await clock.advance(200_000 + 30_000);
  const atSeconds = asked.map((one) => Number(one.slice("fra@".length)) / 1_000);
  expect(atSeconds).toEqual([0, 30, 60, 120, 240, 440, 640, 840, 870]);
});

test("DP2 — C4 a delay is 30 s ± 50 %, doubles with each failure, and is never above 5 min", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 0, max: 1_000 }), (seed, failuresCount) => {
      const delayMs = pollDelayMs({ pollEveryMs: 30_000, failuresCount }, createSeededRandom(seed));
      const plainMs = Math.min(200_000, 30_000 * 2 ** failuresCount);
      expect(delayMs).toBeGreaterThanOrEqual(plainMs / 2);
      expect(delayMs).toBeLessThanOrEqual(plainMs * 1.5);
    }),
  );
  const random = createSeededRandom(7);
  const spread = Array.from({ length: 1_000 }, () =>
    pollDelayMs({ pollEveryMs: 30_000, failuresCount: 0 }, random),
  );
  expect(Math.min(...spread)).toBeLessThan(16_000);
  expect(Math.max(...spread)).toBeGreaterThan(44_000);
  const slow = Array.from({ length: 1_000 }, () =>
    pollDelayMs({ pollEveryMs: 30_000, failuresCount: 9 }, random),
  );
  expect(Math.max(...slow)).toBeLessThanOrEqual(300_000);
  expect(new Set(slow).size).toBeGreaterThan(900); // none is clipped to one and the same
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

test("DP2 — an observer that throws stops no poll: the next one is armed by then", async () => {
  const clock = new FakeClock();
  const askedAtMs: number[] = [];
  const crashes: unknown[] = [];
  const poller = createPoller({
    source: {
      kind: "static",
      region: "fra",
      async find() {
        askedAtMs.push(clock.monotonicMs());
        return found("a");
      },
    },
    book: bookAt(join(newFolder(), "state", "candidates.json"), clock),
    clock,
    random: middle,
    onPoll: () => {
      throw new Error("planted");
    },
    onCrash: (cause) => void crashes.push(String(cause)),
  });
  poller.start();
  await clock.advance(60_000);
  poller.stop();
  expect(askedAtMs).toEqual([0, 30_000, 60_000]);
  expect(crashes).toEqual(Array(3).fill("Error: planted"));
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

  const before = new FakeClock(); // the wall clock was set back between two runs
  before.jumpWallClock(-86_400_000);
  const early = bookAt(path, before);
  await early.load();
  expect(early.ageMs("fra")).toBe(0);
});

test("CB2 — a region that is not there any more is not taken over from an earlier run", async () => {
  const { clock, path, book, answers, pollers } = polling();
  answers.set("fra", found("a"));
  answers.set("lon", found("x"));
  for (const poller of pollers) poller.start();
  await clock.advance(0);
  await book.flushed();
  const onFault = (): void => undefined;
  const next = new CandidatesBook({ path, cluster: "acme", regions: ["lon"], clock, onFault });
  await next.load();
  expect([...next.records.keys()]).toEqual(["lon"]);
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
  expect(read).toEqual({ kind: "read", records: book.records, unusable: new Set() });
});

test.each([
  ["of another cluster", (text: string) => text.replace("acme", "other"), "is of another cluster"],
  ["of a newer version", (text: string) => text.replace("1", "2"), "is not of version 1"],
  ["cut off", (text: string) => text.slice(0, -9), "is not JSON"],
  ["not to be read", () => undefined, "cannot be read: EISDIR"],
])(
  "CA1, CB4 — a file that is %s is not used, told, and set aside by the first good answer",
  async (_, damage, problem) => {
    const { clock, path, book, answers, pollers } = polling();
    answers.set("fra", found("a"));
    pollers[0]!.start();
    await clock.advance(0);
    await book.flushed();
    const damaged = damage(readFileSync(path, "utf8"));
    rmSync(path);
    if (damaged === undefined) mkdirSync(path);
    else writeFileSync(path, damaged);
    const faults: string[] = [];
    const next = bookAt(path, clock, faults);
    expect(await next.load()).toEqual({ kind: "unusable" });
    expect(next.get("fra").peers).toEqual([]);
    expect(faults).toEqual([`unusable: ${path} ${problem}`]);
    const { failing } = {
      failing: { reason: "throttled", detail: "", failuresCount: 1, sinceMs: 0 },
    } as const;
    next.put("fra", { ...next.get("fra"), failing });
    await next.flushed();
    const names = (): string[] => readdirSync(join(path, "..")).toSorted();
    expect(names()).toEqual(["candidates.json"]);
    const textAt = (file: string): string | undefined =>
      statSync(file).isFile() ? readFileSync(file, "utf8") : undefined;
    expect(textAt(path)).toBe(damaged);
    next.put("lon", book.get("fra"));
    await next.flushed();
    expect(names()).toEqual(["candidates.json", "candidates.json.unusable-1"]);
    expect(textAt(`${path}.unusable-1`)).toBe(damaged);
    expect(await readCandidatesFile(path, "acme")).toMatchObject({ kind: "read" });
    expect(faults).toHaveLength(1);
  },
);

test.each([
  ["wrong in a peer", (text: string) => text.replace('"10.', '"10 ')],
  ["without a count", (text: string) => text.replace("equalCount", "e")],
])("CA1, CB4 — C5 a record that is %s costs no other region its own", async (_, damage) => {
  const { clock, path, book, answers, pollers } = polling();
  answers.set("fra", found("a"));
  answers.set("lon", found("x"));
  for (const poller of pollers) poller.start();
  await clock.advance(0);
  await book.flushed();
  const damaged = damage(readFileSync(path, "utf8"));
  writeFileSync(path, damaged);
  const faults: string[] = [];
  const next = bookAt(path, clock, faults);
  expect(await next.load()).toEqual({ kind: "read", unusable: new Set(["fra"]) });
  expect(faults).toEqual([`unusable: ${path} has no whole record of fra`]);
  expect([next.get("fra").peers, next.get("lon").peers.length]).toEqual([[], 1]);
  next.put("fra", book.get("fra"));
  await next.flushed();
  expect(readFileSync(`${path}.unusable-1`, "utf8")).toBe(damaged);
  const read = await readCandidatesFile(path, "acme");
  expect(read).toMatchObject({ kind: "read", unusable: new Set() });
});

test("CB4 — nine files are kept aside, then the last of them is replaced", async () => {
  const { clock, path, book, answers, pollers } = polling();
  answers.set("fra", found("a"));
  pollers[0]!.start();
  await clock.advance(0);
  await book.flushed();
  for (let n = 1; n <= 11; n++) {
    writeFileSync(path, `unusable ${n}`);
    const next = bookAt(path, clock);
    await next.load();
    next.put("fra", book.get("fra"));
    await next.flushed();
  }
  const names = readdirSync(join(path, "..")).toSorted();
  const aside = Array.from({ length: 9 }, (_, n) => `candidates.json.unusable-${n + 1}`);
  expect(names).toEqual(["candidates.json", ...aside]);
  const texts = aside.map((name) => readFileSync(join(path, "..", name), "utf8"));
  expect([texts[7], texts[8]]).toEqual(["unusable 8", "unusable 11"]);
});

test("DP5 — a first answer that is empty is believed when it came three times in a row", async () => {
  const { clock, book, pollers } = polling();
  pollers[0]!.start();
  const good: boolean[] = [];
  for (let n = 0; n < 4; n++) {
    await clock.advance(n === 0 ? 0 : 30_000);
    good.push(book.get("fra").goodAtMs !== null);
  }
  expect(good).toEqual([false, false, true, true]);
});

test("DP5 — a first answer without this machine is believed when it came three times, one with it at once", () => {
  const outcome = found("a", "b");
  const about = { nowMs: 7, ownAddress: "10.0.0.99" }; // of "c"
  let record = NO_RECORD;
  const goodAtMs = (next: FindOutcome) =>
    (record = recordAfter(record, next, about).record).goodAtMs;
  expect([outcome, outcome, outcome].map(goodAtMs)).toEqual([null, null, 7]);
  record = NO_RECORD;
  expect([outcome, found("a", "b", "c"), outcome].map(goodAtMs)).toEqual([null, 7, 7]);
  expect(recordAfter(NO_RECORD, outcome, { nowMs: 7 }).record.goodAtMs).toBe(7);
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
