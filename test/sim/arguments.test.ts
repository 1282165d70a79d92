// Goal: what cannot be meant is refused, so that green means that something ran (arguments.ts).
// Method: both commands as they are called.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

function run(script: string, args: readonly string[]): Promise<[exitCode: unknown, lines: number]> {
  return new Promise((resolve) => {
    const all = [join(import.meta.dirname, script), ...args];
    execFile(process.execPath, all, (error, stdout, stderr) =>
      resolve([error?.code ?? 0, `${stdout}${stderr}`.trim().split("\n").length]),
    );
  });
}

test.each([
  ["main.ts", "--seeds abc"],
  ["main.ts", "--seeds 0"],
  ["main.ts", "--seeds 1.5"],
  ["main.ts", "--from abc"],
  ["main.ts", "--seed abc"],
  ["main.ts", "--seed -1"],
  ["main.ts", "--seed 1 --seeds 5"],
  ["main.ts", "--seed 1 --threads 2"],
  ["main.ts", "--seeds 5 --threads 0"],
  ["main.ts", "--scenario typo"],
  ["main.ts", "--mutant typo"],
  ["main.ts", "--seeds 2 --trace"],
  ["main.ts", "--trace"],
  ["main.ts", "--seed 1 --keep-going"],
  ["main.ts", "--from 999999999 --seeds 2"],
  ["main.ts", "--typo"],
  ["main.ts", "17"],
  ["mutants-main.ts", "--only typo"],
  ["mutants-main.ts", "--only early-202 --at-once 0"],
  ["mutants-main.ts", "--seeds abc"],
  ["compare-main.ts", "--seeds 0"],
])(
  "%s %s is refused: exit 64, one line",
  async (script, args) => {
    expect(await run(script, args.split(" "))).toEqual([64, 1]);
  },
  60_000,
);

test.each(["main.ts", "mutants-main.ts"])(
  "%s --help says how, exit 0",
  async (script) => {
    expect(await run(script, ["--help"])).toEqual([0, 1]);
  },
  60_000,
);

/** Of `main.ts` with `--json`: every line, read. */
function runJson(args: string): Promise<unknown[]> {
  return new Promise((resolve) => {
    const all = [join(import.meta.dirname, "main.ts"), ...args.split(" "), "--json"];
    execFile(process.execPath, all, (_, stdout) => {
      const lines = stdout.trim().split("\n");
      resolve(lines.map((line): unknown => JSON.parse(line)));
    });
  });
}

const summary = (seedsCount: number, brokenCount: number): unknown =>
  expect.objectContaining({ seedsCount, brokenCount, seconds: expect.any(Number) });
const broken = (seed: number): unknown => ({ seed, violations: [expect.stringMatching(/^BUG: /)] });

test("main.ts --seeds 2 --json says how many held", async () => {
  expect(await runJson("--seeds 2")).toEqual([summary(2, 0)]);
}, 60_000);

test("main.ts --json stops at the first that breaks, with --keep-going it tells all", async () => {
  const mutant = "--mutant loose-rejection --seeds 3";
  expect(await runJson(mutant)).toEqual([broken(1), summary(1, 1)]);
  expect(await runJson(`${mutant} --keep-going`)).toEqual([
    broken(1),
    broken(2),
    broken(3),
    summary(3, 3),
  ]);
}, 120_000);
