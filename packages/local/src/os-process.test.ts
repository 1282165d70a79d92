// Goal: a process is known by its pid and start. Method: real processes, one of them a zombie.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { isRunning, markOf, parseMark } from "./index.ts";
import { commandLineOf } from "./os-process.ts";

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

function run(shellText: string): ChildProcess {
  const child = spawn("/bin/sh", ["-c", shellText], { stdio: ["ignore", "pipe", "ignore"] });
  children.push(child);
  return child;
}

test("LO2 — a mark is of one process: not of another with its pid, nor of one that has ended", async () => {
  const child = run("exec sleep 600");
  const mark = markOf(child.pid!)!;
  expect(isRunning(mark)).toBe(true);
  expect(parseMark(JSON.stringify(mark))).toEqual(mark);
  expect(isRunning({ ...mark, startedAt: "1" })).toBe(false);
  child.kill("SIGSTOP");
  expect(isRunning(mark)).toBe(true);
  child.kill("SIGKILL");
  await once(child, "exit");
  expect([isRunning(mark), markOf(mark.pid), commandLineOf(mark.pid)]).toEqual([
    false,
    undefined,
    undefined,
  ]);
});

test("LO2 — a zombie is not running", async () => {
  // Its parent becomes another program, which never asks how it ended.
  const parent = run("sleep 0.2 & echo $!; exec sleep 600");
  const [line] = (await once(parent.stdout!, "data")) as [Buffer];
  const pid = Number(line.toString());
  // Not by its command line, which is empty for a moment when it begins, too.
  const isZombie = (): boolean =>
    process.platform === "linux"
      ? readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ")
      : spawnSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).stdout.startsWith(
          "Z",
        );
  while (!isZombie()) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(commandLineOf(pid)).toBeUndefined();
  expect(() => process.kill(pid, 0)).not.toThrow(); // its number is still taken
  expect(markOf(pid)).toBeUndefined();
});

test("LO2 — a record that was cut short is no mark", () => {
  const bad = ["", '{"pid":', "null", "1", '{"pid":0,"startedAt":"1"}', '{"pid":1}'];
  expect(bad.map(parseMark)).toEqual(bad.map(() => undefined));
});
