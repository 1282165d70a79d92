// Goal: DE2, DE3, and that `carillon load` measures what happened (LD2–LD4). Method: the real
// commands on two small regions; their numbers are counted to the digit.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DevRun, newDataFolder, runCli } from "../dev/dev-run.ts";
import type { LoadResult } from "../load/load-report.ts";

const TEST_MAX_MS = 180_000;
const EMPLOYEES = ["--employees", "300", "--regions", "fra,lon", "--no-durable"];
const latencies = { p50Ms: expect.any(Number), p99Ms: expect.any(Number) };

describe("demonstration and load", { timeout: TEST_MAX_MS }, () => {
  const folder = newDataFolder();
  let dev: DevRun;

  const start = async (): Promise<void> => {
    dev = runCli(["dev", "--data", folder.path, ...EMPLOYEES]);
    await dev.printed("Ctrl-C stops everything.");
  };
  const stop = async (): Promise<void> => {
    process.kill(dev.pid, "SIGTERM");
    await dev.exited;
  };
  beforeAll(start, TEST_MAX_MS);
  afterAll(async () => {
    await stop();
    folder.remove();
  }, TEST_MAX_MS);

  test("DE2, DE3 — counts by region to the digit; again after a restart", async () => {
    expect(tableOf(dev.output())).toEqual([
      ["fra", "200", "40", "10", "160", "n", "n"],
      ["lon", "100", "20", "5", "80", "n", "n"],
      ["total", "300", "60", "15", "240", "n", "n"],
    ]);
    expect(dev.output()).toContain("300 employees registered (fra 200, lon 100)");
    await stop();
    await start();
    expect(dev.output()).toContain(
      "300 employees registered, 300 of them known from before (fra 200, lon 100)",
    );
    expect(tableOf(dev.output())).toHaveLength(3);
    expect(tableOf(dev.output()).at(-1)).toEqual(["total", "300", "60", "15", "240", "n", "n"]);
  });

  test("LD2, LD3, LD4 — load: every notification is accounted for", async () => {
    const sizes = ["--rate", "50", "--seconds", "2", "--sockets", "40", "--connections", "4"];
    const load = runCli(["load", "--dev", "--data", folder.path, "--json", ...sizes]);
    const exitCode = await load.exited;
    const [single, broadcast, ingest] = JSON.parse(load.output()) as LoadResult[];
    expect(single).toMatchObject({
      scenario: "single",
      postedCount: 100,
      refusedCount: 0,
      unackedCount: 0,
      http: { count: 100, ...latencies },
      sameRegion: { count: 50, ...latencies },
      crossRegion: { count: 50, ...latencies },
    });
    expect(broadcast).toMatchObject({
      scenario: "broadcast",
      socketsCount: 40,
      ackedCount: 40,
      targetedCount: 300 + 40 + 40, // the demonstration's people, and those of both scenarios
      acks: { count: 40, ...latencies },
      finishedMs: expect.any(Number),
    });
    expect(ingest).toMatchObject({ scenario: "ingest", refusedCount: 0, notFinishedCount: 0 });
    expect(ingest?.scenario === "ingest" && ingest.finishedCount).toBeGreaterThan(0);
    expect(exitCode).toBe(0);
  });

  test("LD4 — refuses sizes beyond its limits, and a cluster that is not there", async () => {
    const tooMuch = runCli(["load", "--dev", "--data", folder.path, "--rate", "5001"]);
    expect(await tooMuch.exited).toBe(64);
    expect(tooMuch.output()).toContain("--rate is not valid; valid: a whole number from 1 to 5000");
    const nowhere = runCli(["load", "--dev", "--data", "/nonexistent"]);
    expect(await nowhere.exited).toBe(64);
    expect(nowhere.output()).toContain("names /nonexistent, where no carillon dev is up");
  });
});

/** The table's rows; latencies as "n". */
function tableOf(output: string): string[][] {
  const rows = output.split("\n").filter((line) => /^(fra|lon|total) {2,}[\d,]+ /.test(line));
  return rows.map((row) =>
    row
      .trim()
      .split(/ {2,}/)
      .map((cell, column) => (column >= 5 && /^[\d,.]+$/.test(cell) ? "n" : cell)),
  );
}
