// Goal: ST26. Method: a real Postgres that is killed under load, in a process of its own, so that what
// escapes is seen there and does not end the tests.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { KillsReport } from "./test-kills.ts";

test("ST26 — Postgres is killed under load, again and again: no exception escapes, and no connection stays dead", async () => {
  const script = join(import.meta.dirname, "test-kills.ts");
  const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: 280_000 });
  const report = JSON.parse(stdout) as KillsReport;
  expect(report.escaped).toEqual([]);
  expect(report.endedWith).toEqual(["store_unavailable"]);
  // A connection on which nothing is sent would be found by its time-out of 5 s.
  expect(report.backAfterMs.filter((ms) => ms >= 5_000)).toEqual([]);
  expect(report.backAfterMs.length).toBe(12);
}, 300_000);
