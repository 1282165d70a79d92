// Goal: DV2 and DV6. Method: real files, and real other processes that live, die and are stopped.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@carillon/kernel";
import { isRunning, markOf } from "@carillon/local";
import { afterEach, expect, test } from "vitest";
import { lockHolder, takeLock } from "./dev-lock.ts";
import { reapNodes, recordNode } from "./node-records.ts";

const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) cleanUp();
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "carillon-cli-"));
  cleanUps.push(() => rmSync(folder, { recursive: true }));
  return folder;
}

function otherProcess(): { child: ChildProcess; pid: number; exited: Promise<unknown> } {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
  cleanUps.push(() => void child.kill("SIGKILL"));
  return { child, pid: child.pid!, exited: new Promise((resolve) => child.once("exit", resolve)) };
}

test("DV2 — held by a live process: refused with its pid; free again after its end", async () => {
  const lockFile = join(newFolder(), "dev.lock");
  const other = otherProcess();
  writeFileSync(lockFile, JSON.stringify(markOf(other.pid)));
  expect(takeLock(lockFile)).toEqual({ kind: "in_use", pid: other.pid });
  other.child.kill("SIGKILL");
  await other.exited;
  const lock = takeLock(lockFile);
  expect(lock.kind).toBe("held");
  expect(lockHolder(lockFile)).toBe(process.pid);
  expect(takeLock(lockFile)).toEqual({ kind: "in_use", pid: process.pid });
  if (lock.kind === "held") lock.release();
  expect(readdirSync(join(lockFile, ".."))).toEqual([]);
});

test("DV2 — a lock cut short by a crash, or of a pid that was used again, is nobody's", () => {
  const lockFile = join(newFolder(), "dev.lock");
  for (const left of [
    "",
    '{"pid":',
    "null",
    JSON.stringify({ pid: process.pid, startedAt: "1" }),
  ]) {
    writeFileSync(lockFile, left);
    expect(lockHolder(lockFile)).toBeUndefined();
    const lock = takeLock(lockFile);
    expect(lock.kind).toBe("held");
    if (lock.kind === "held") lock.release();
  }
  expect(readdirSync(join(lockFile, ".."))).toEqual([]);
});

test("DV6 — kills recorded nodes, stopped ones too, and nothing whose pid was used again", async () => {
  const folder = newFolder();
  const recorded = otherProcess();
  const stranger = otherProcess();
  recordNode(folder, recorded.pid);
  recordNode(folder, stranger.pid);
  writeFileSync(
    join(folder, "pids", `${stranger.pid}.json`),
    JSON.stringify({ pid: stranger.pid, startedAt: "1" }),
  );
  const mark = markOf(recorded.pid)!;
  recorded.child.kill("SIGSTOP");
  expect(await reapNodes(folder, systemClock)).toEqual([recorded.pid]);
  expect(isRunning(mark)).toBe(false);
  expect(isRunning(markOf(stranger.pid)!)).toBe(true);
  expect(readdirSync(join(folder, "pids"))).toEqual([]);
  expect(await reapNodes(folder, systemClock)).toEqual([]);
});
