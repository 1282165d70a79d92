// apps/cli/src/process-metrics.test.ts
// Goal: PM1. Method: real runtimes on a fake clock; what a scrape shows.
import { createSeededRandom } from "@carillon/kernel";
import { createRuntime, type ProcessRuntime } from "@carillon/process";
import { createMetrics } from "@carillon/telemetry";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { publishProcessStats } from "./process-metrics.ts";

test("PM1 — both roles' processes are summed; a role that begins anew, and a late start, count once", async () => {
  const clock = new FakeClock();
  const metrics = createMetrics({ region: "fra", hasDefaults: false });
  const start = () => {
    const runtime = createRuntime({ clock, scheduler: clock, random: createSeededRandom(1) });
    const table = runtime.createTable<{ n: number }, { kind: "x"; isPoison: boolean }>({
      name: "t",
      behaviour: {
        init: () => ({ n: 0 }),
        onCast: (_context, { isPoison }) => {
          if (isPoison) throw new Error("poison");
        },
      },
    });
    const cast = async (isPoison: boolean): Promise<void> => {
      table.cast(1, { kind: "x", isPoison });
      await clock.advance(10);
    };
    return { runtime, cast };
  };
  const valueOf = async (name: string): Promise<number> => {
    const { text } = await metrics.render();
    const line = text.split("\n").find((one) => one.startsWith(`carillon_process_${name}{`));
    return Number(line?.split(" ").at(-1));
  };
  const worker = start();
  const gateway = start();
  let runtimes: ProcessRuntime[] = [worker.runtime, gateway.runtime];
  await worker.cast(true); // before anybody counts
  const stop = publishProcessStats({ runtimes: () => runtimes, metrics, clock });
  await gateway.cast(true);
  await gateway.cast(false);
  await clock.advance(1_000);
  const counted = await valueOf("crashes_total");
  expect(counted).toBeGreaterThanOrEqual(1);
  expect(await valueOf("resident_count")).toBeGreaterThanOrEqual(1);
  const again = start();
  runtimes = [again.runtime, gateway.runtime];
  worker.runtime.stop();
  await again.cast(false);
  await clock.advance(60_000);
  const before = await valueOf("crashes_total");
  await clock.advance(5_000);
  expect(await valueOf("crashes_total")).toBe(before); // nothing new, nothing twice
  await again.cast(true);
  await clock.advance(1_000);
  expect(await valueOf("crashes_total")).toBeGreaterThan(before);
  stop();
});
