// packages/process/src/supervisor/supervisor.prop.test.ts
// Goal: for any children, ends, requests and times: windows, order, and nothing left behind.
// Method: random steps; what must hold is read from the reports and from what the children logged.
import fc from "fast-check";
import { expect, test } from "vitest";
import { NORMAL } from "../exit.ts";
import { CRASH, never, Nursery, type Script } from "./harness.ts";
import type { SupervisorReport } from "./report.ts";
import { RestartWindow } from "./restart-window.ts";

const IDS = ["a", "b", "c", "d"];
const LONG_MS = 100_000;

const script = fc.record({
  restart: fc.constantFrom("permanent" as const, "permanent" as const, "transient", "temporary"),
  shutdown: fc.constantFrom("kill" as const, 0, 30, 200),
  /** Starts that fail, by number; the first one does not. */
  failing: fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 6 }),
  startMs: fc.constantFrom(0, 0, 0, 20),
  /** -1: never stops. */
  stopMs: fc.constantFrom(0, 0, 10, 60, -1),
});
const id = fc.constantFrom(...IDS);
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom("crash", "end"), id }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("terminate", "restart"), id }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("wait"), ms: fc.integer({ min: 0, max: 400 }) }),
  },
);
const options = fc.record({
  strategy: fc.constantFrom(
    "one_for_one" as const,
    "one_for_all" as const,
    "rest_for_one" as const,
  ),
  intensity: fc.integer({ min: 0, max: 4 }),
  periodMs: fc.integer({ min: 1, max: 1_000 }),
  delayMs: fc.constantFrom(0, 0, 15),
});

type Timed = SupervisorReport & { readonly atMs: number };

test("SV1, SV5, SV6, SV8, SV9, SV18 — windows are kept, stops reverse starts, nothing is left", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(script, { minLength: IDS.length, maxLength: IDS.length }),
      options,
      fc.array(step, { maxLength: 60 }),
      async (scripts, { delayMs, ...given }, steps) => {
        const nursery = new Nursery();
        const { clock, log } = nursery;
        const broken: string[] = [];
        const reports: Timed[] = [];
        const scriptOf = (name: string, index: number): Script => {
          const { failing, startMs, stopMs, ...traits } = scripts[index]!;
          return {
            ...traits,
            canKill: true,
            onStart: (count) => {
              if (nursery.running.has(name)) broken.push(`two runs of ${name}`);
              if (failing.includes(count)) throw new Error("no");
              return startMs > 0 ? clock.sleep(startMs) : undefined;
            },
            ...(stopMs !== 0 && { onStop: () => (stopMs < 0 ? never : clock.sleep(stopMs)) }),
          };
        };
        const top = nursery.create({
          ...given,
          restartDelayMs: () => delayMs,
          children: IDS.map((name, index) => nursery.child(name, scriptOf(name, index))),
          onReport: (report) => {
            reports.push({ ...report, atMs: clock.monotonicMs() });
            if (report.kind === "escalated") log.push("end");
          },
        });
        const started = top.start();
        await clock.advance(1_000);
        expect(await started).toEqual({ kind: "started" });
        const answers: Promise<unknown>[] = [];
        for (const one of steps) {
          if (!("id" in one)) await clock.advance(one.ms);
          else if (one.kind === "terminate") answers.push(top.terminateChild(one.id));
          else if (one.kind === "restart") answers.push(top.restartChild(one.id));
          else if (nursery.running.has(one.id))
            await nursery.exit(one.id, one.kind === "crash" ? CRASH : NORMAL);
        }
        const isEscalated = log.includes("end");
        if (!isEscalated) log.push("end");
        const stopped = top.stop();
        await clock.advance(LONG_MS);
        await stopped;
        await Promise.all(answers);

        expect(broken).toEqual([]);
        expect(nursery.exits).toHaveLength(1);
        expect([...nursery.running]).toEqual([]);
        expect(clock.timersCount).toBe(0);
        expect(top.countChildren().active).toBe(0);
        expect(top.stats().callbackErrorsTotal).toBe(0);
        expectWindows(reports, given.intensity, given.periodMs);
        // Out of order: the kill of one that was asked in its order and did not stop, and of one
        // that was given up while it started and starts after all.
        const late = new Set(reports.flatMap((one) => (one.kind === "late_start" ? one.id : [])));
        const endAt = log.indexOf("end");
        const stops = log.filter((entry, index) => {
          if (index < endAt || "+e".includes(entry[0] ?? "")) return false;
          const name = entry[1] ?? "";
          const before = log.slice(0, index).findLast((other) => other[1] === name);
          return entry.startsWith("-") || !(late.has(name) || before === `-${name}`);
        });
        const ids = stops.map((entry) => entry[1] ?? "");
        expect(ids).toEqual(ids.toSorted().toReversed());
      },
    ),
    { numRuns: 300 },
  );
});

function expectWindows(reports: readonly Timed[], intensity: number, periodMs: number): void {
  const endAt = reports.findIndex(({ kind }) => kind === "escalated");
  // Each of these makes one attempt; every attempt has one of these causes.
  const ends = reports.filter(({ kind, ...more }) => {
    return kind === "child_exited" && "next" in more && more.next === "restart";
  });
  const last = reports[endAt];
  const lastEnd = last === undefined ? undefined : ends.at(-1);
  const tooMany = ends.filter(({ atMs }, index) => {
    const later = ends[index + intensity];
    return later !== undefined && later !== lastEnd && later.atMs - atMs <= periodMs;
  });
  expect(tooMany, "more restarts than the window allows").toEqual([]);
  if (last === undefined) return;
  const causes = reports
    .slice(0, endAt)
    .filter(
      (one) => ends.includes(one) || (one.kind === "start_failed" && one.during === "restart"),
    );
  const recent = causes.filter(({ atMs }) => last.atMs - atMs <= periodMs + 15);
  expect(recent.length, "escalated without a reason").toBeGreaterThan(intensity);
}

test("SV5 — the window allows what a list of all restarts allows", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 5 }),
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.nat(40), { maxLength: 60 }),
      (intensity, periodMs, gapsMs) => {
        const window = new RestartWindow(intensity, periodMs);
        const allowedAtMs: number[] = [];
        let nowMs = 0;
        for (const gapMs of gapsMs) {
          nowMs += gapMs;
          const recent = allowedAtMs.filter((atMs) => nowMs - atMs <= periodMs);
          expect(window.add(nowMs)).toBe(recent.length < intensity);
          if (recent.length < intensity) allowedAtMs.push(nowMs);
        }
      },
    ),
  );
});
