// apps/cli/src/process-metrics.test.ts
// Goal: PM1. Method: real runtimes on a fake clock; what a scrape shows.
import { createSeededRandom } from "@carillon/kernel";
import { createRuntime, type ProcessRuntime } from "@carillon/process";
import { createMetrics } from "@carillon/telemetry";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { publishProcessStats, type RoleRuntimes } from "./process-metrics.ts";

test("PM1 — each role's processes are told apart; a role that begins anew, and a late start, count once", async () => {
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
  const valueOf = async (name: string, role = "worker"): Promise<number> => {
    const { text } = await metrics.render();
    const begin = `carillon_process_${name}{runtime="${role}",`;
    const line = text.split("\n").find((one) => one.startsWith(begin));
    return Number(line?.split(" ").at(-1));
  };
  const worker = start();
  const gateway = start();
  const crashesOf = ({ runtime }: { runtime: ProcessRuntime }) => runtime.stats().crashesTotal;
  let runtimes: RoleRuntimes = { worker: worker.runtime, gateway: gateway.runtime };
  await worker.cast(true); // before anybody counts
  const toldCount = crashesOf(worker);
  const stop = publishProcessStats({ runtimes: () => runtimes, metrics, clock });
  await gateway.cast(true);
  await gateway.cast(false);
  await clock.advance(1_000);
  expect([toldCount, crashesOf(worker) > toldCount, crashesOf(gateway) > 0]).toEqual([
    1,
    true,
    true,
  ]);
  expect(await valueOf("crashes_total")).toBe(crashesOf(worker) - toldCount);
  expect(await valueOf("crashes_total", "gateway")).toBe(crashesOf(gateway));
  expect(await valueOf("resident_count", "gateway")).toBe(1);
  const again = start();
  runtimes = { worker: again.runtime, gateway: gateway.runtime };
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
