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
