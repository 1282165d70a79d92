// Goal: KC1. Method: files in a temporary folder; what is told is looked at for the seed.
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { natsPublicKeyOf } from "@carillon/bus";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runNatsKeyCommand } from "./nats-key-command.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "carillon-key-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function run(seedFile: string): { exitCode: number; told: string; failed: string } {
  let [told, failed] = ["", ""];
  const terminal = {
    out: (text: string) => (told += text),
    err: (text: string) => (failed += text),
  };
  return { exitCode: runNatsKeyCommand(seedFile, terminal), told, failed };
}

test("KC1 — a new seed in a file of its owner; the public key, again and again, and never the seed", () => {
  const seedFile = join(folder, "worker.seed");
  const first = run(seedFile);
  const seed = readFileSync(seedFile, "utf8").trim();
  expect(first).toEqual({ exitCode: 0, told: `${natsPublicKeyOf(seed)}\n`, failed: "" });
  expect(statSync(seedFile).mode & 0o777).toBe(0o600);
  expect(run(seedFile)).toEqual(first);
  expect(readFileSync(seedFile, "utf8").trim()).toBe(seed);
});

test("KC1 — a file of something else stays as it is; a place that is not there is told", () => {
  const other = join(folder, "notes.txt");
  writeFileSync(other, "geheim");
  const refused = `carillon nats-key: ${other} holds no seed of a NATS user (SU…); it was left as it is\n`;
  expect(run(other)).toEqual({ exitCode: 1, told: "", failed: refused });
  expect(readFileSync(other, "utf8")).toBe("geheim");
  const nowhere = join(folder, "no", "worker.seed");
  const failed =
    `carillon nats-key: --seed-file ${nowhere} cannot be written (ENOENT); valid: a new file in a ` +
    "folder that is there and that you may write to\n";
  expect(run(nowhere)).toEqual({ exitCode: 1, told: "", failed });
});

test("KC1 — a seed that others may read is refused, and what to do is told", () => {
  const seedFile = join(folder, "worker.seed");
  const first = run(seedFile);
  for (const mode of [0o644, 0o640, 0o604]) {
    chmodSync(seedFile, mode);
    const failed =
      `carillon nats-key: ${seedFile} is open to others than its owner; if nobody has read it: ` +
      `chmod 600 ${seedFile}; else remove it and make a new key\n`;
    expect(run(seedFile)).toEqual({ exitCode: 1, told: "", failed });
  }
  chmodSync(seedFile, 0o600);
  expect(run(seedFile)).toEqual(first);
});
