// packages/process/src/watchdog/watchdog.test.ts
// Goal: P16, WD1–WD5 and WD7 as a node lives them. Method: real nodes that really block, told by
// their exit and their lines; nothing is waited for but events. Limits of time hold on a machine that
// lets threads run: what a timer here finds it late by meanwhile is added, on an idle one nothing.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, expect, test } from "vitest";
import type { LastWordsData } from "./test-last-words.ts";
import type { Scenario } from "./test-node.ts";

type Line = { readonly event: string; readonly [field: string]: unknown };

const NODE_FILE = fileURLToPath(new URL("./test-node.ts", import.meta.url));
const MODULE_URL = new URL("./test-last-words.ts", import.meta.url).href;
const CULPRIT = { kind: "process", table: "fra/17", slot: 42 };
const IN_PID_NAMESPACE = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"];

const children: ChildProcess[] = [];
const folder = mkdtempSync(join(tmpdir(), "carillon-watchdog-"));
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** By how much a timer was late altogether. */
const TICK_MS = 20;
let lateMs = 0;
let tickedAtMs = performance.now();
const ticker = setInterval(() => {
  const nowMs = performance.now();
  lateMs += Math.max(0, nowMs - tickedAtMs - 2 * TICK_MS);
  tickedAtMs = nowMs;
}, TICK_MS);

interface Moment {
  readonly atMs: number;
  readonly lateMs: number;
}
function momentNow(): Moment {
  const atMs = performance.now();
  return { atMs, lateMs: lateMs + Math.max(0, atMs - tickedAtMs - 2 * TICK_MS) }; // the timer may be late now
}

afterAll(() => {
  clearInterval(ticker);
  rmSync(folder, { recursive: true });
});

function lastWords(data: LastWordsData): { moduleUrl: string; data: LastWordsData } {
  return { moduleUrl: MODULE_URL, data };
}

/** `lines` are what the node told so far; `next` waits for a line of that event. */
function startNode(scenario: Scenario, nodeArgs: string[] = [], before: string[] = []) {
  const args = [...before, process.execPath, ...nodeArgs, NODE_FILE, JSON.stringify(scenario)];
  const child = spawn(args[0]!, args.slice(1), {
    stdio: ["pipe", "pipe", "pipe"],
  });
  children.push(child);
  const lines: Line[] = [];
  const reader = createInterface({ input: child.stdout });
  const moments = new Map<string, Moment>();
  reader.on("line", (line) => {
    const told = JSON.parse(line) as Line;
    lines.push(told);
    moments.set(told.event, momentNow());
    reader.emit(`told:${told.event}`, told);
  });
  const next = async (event: string): Promise<Line> =>
    lines.find((line) => line.event === event) ??
    ((await once(reader, `told:${event}`)) as [Line])[0];
  const stderr = text(child.stderr);
  const ended = once(child, "exit").then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
    moment: momentNow(),
  }));
  /** From its blocking on; `lateMs`: of that the machine was late. */
  const blockedFor = async (): Promise<{ tookMs: number; lateMs: number }> => {
    const [from, to] = [moments.get("blocking")!, (await ended).moment];
    return { tookMs: to.atMs - from.atMs, lateMs: to.lateMs - from.lateMs };
  };
  const lateSince = (event: string): number => momentNow().lateMs - moments.get(event)!.lateMs;
  return { child, lines, next, ended, stderr, blockedFor, lateSince };
}

type Node = ReturnType<typeof startNode>;

/** P16's, and a short one where it is the way of the end that counts. */
const END_MS = 5_000;
const SOON_MS = 2_000;

/** The node was ended, by SIGKILL, after `endMs` and two seconds at most. Gives its last line. */
async function expectEnded(node: Node, endMs: number): Promise<unknown> {
  expect(await node.ended).toMatchObject({ code: null, signal: "SIGKILL" });
  const { tookMs, lateMs: late } = await node.blockedFor();
  expect(tookMs + late).toBeGreaterThan(endMs - 200); // its line may have been read late
  expect(tookMs - late).toBeLessThan(endMs + 2_000);
  expect(node.lines.map(({ event }) => event)).toEqual(["started", "blocking"]);
  const lines = (await node.stderr).trimEnd().split("\n");
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0]!);
}

const lastLine = (outcome: string, table = "fra/17"): object => ({
  level: "error",
  event: "node.stuck",
  culprit: "process",
  table,
  slot: 42,
  blockedMs: expect.any(Number) as number,
  lastWords: outcome,
});

test("P16, WD1 a handler that blocks for 1.2 s is told with its slot, and the node lives", async () => {
  const node = startNode({ block: "turn", blockMs: 1_200, after: "go_on" });
  const stall = await node.next("stall");
  expect(stall).toMatchObject({ culprit: CULPRIT });
  const { afterMs } = (await node.next("unblocked")) as unknown as { afterMs: number };
  expect(stall["blockedMs"]).toBeGreaterThanOrEqual(1_000);
  expect(stall["blockedMs"]).toBeLessThanOrEqual(afterMs + 200 + node.lateSince("blocking"));
  expect(node.child.exitCode ?? node.child.signalCode).toBeNull();
  expect(node.lines.map(({ event }) => event)).toEqual([
    "started",
    "blocking",
    "unblocked",
    "stall",
  ]);
});

test("WD1 a stall outside of any turn, and one of several processes, have no single culprit", async () => {
  const outside = startNode({ block: "outside", blockMs: 1_300, after: "go_on" });
  const several = startNode({ block: "several", blockMs: 1_500, after: "go_on" });
  expect(await outside.next("stall")).toMatchObject({ culprit: { kind: "outside" } });
  expect(await several.next("stall")).toMatchObject({ culprit: { kind: "several" } });
});

test("P16, WD2, WD7 a handler that blocks for ever ends the node within 7 s; its last words name it", async () => {
  const path = join(folder, "words");
  const words = lastWords({ kind: "file", path });
  const node = startNode({ block: "turn", blockMs: null, lastWords: words, after: "go_on" });
  expect(await expectEnded(node, END_MS)).toEqual(lastLine("done"));
  expect(readFileSync(path, "utf8")).toBe(`${JSON.stringify(CULPRIT)}\n`);
});

test("WD7 last words may open a connection while the main thread is stuck in native code", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const connection = once(server, "connection");
  const words = lastWords({ kind: "tcp", port });
  const node = startNode({
    block: "native",
    blockMs: null,
    endMs: SOON_MS,
    lastWords: words,
    after: "go_on",
  });
  const [socket] = (await connection) as [NodeJS.ReadableStream];
  expect(JSON.parse(await text(socket))).toEqual({ ...CULPRIT, table: "fra/1" });
  expect(await expectEnded(node, SOON_MS)).toEqual(lastLine("done", "fra/1"));
  server.close();
});

test("WD7 last words that had nothing to write are told apart from those that have", async () => {
  const words = lastWords({ kind: "nothing" });
  const node = startNode({
    block: "turn",
    blockMs: null,
    endMs: SOON_MS,
    lastWords: words,
    after: "go_on",
  });
  expect(await expectEnded(node, SOON_MS)).toEqual(lastLine("nothing"));
});

test("WD2 last words that hang, block or throw do not keep the node from its end", async () => {
  const start = (kind: "hang" | "block" | "throw"): Node =>
    startNode({
      block: "turn",
      blockMs: null,
      endMs: SOON_MS,
      lastWords: lastWords({ kind }),
      after: "go_on",
    });
  const [hang, block, failed] = [start("hang"), start("block"), start("throw")];
  expect(await expectEnded(hang, SOON_MS)).toEqual(lastLine("timeout"));
  expect(await expectEnded(block, SOON_MS)).toEqual(lastLine("timeout"));
  expect(await expectEnded(failed, SOON_MS)).toEqual(lastLine("failed"));
});

test("WD2, WD6 without last words, or when their module is missing, the node is ended all the same", async () => {
  const none = startNode({ block: "outside", blockMs: null, endMs: SOON_MS, after: "go_on" });
  const moduleUrl = new URL("./missing.ts", import.meta.url).href;
  const words = { moduleUrl, data: null };
  const missing = startNode({ block: "none", blockMs: 0, lastWords: words, after: "go_on" });
  expect(await missing.next("error")).toMatchObject({ thread: "last-words", fate: "restart" });
  expect(missing.child.exitCode ?? missing.child.signalCode).toBeNull();
  const { culprit, lastWords: outcome } = (await expectEnded(none, SOON_MS)) as Record<
    string,
    unknown
  >;
  expect([culprit, outcome]).toEqual(["outside", "none"]);
});

test("WD3 a node that is suspended for 8 s is not ended and has nothing to tell", async () => {
  const node = startNode({ block: "none", blockMs: 0, after: "go_on" });
  await node.next("unblocked");
  node.child.kill("SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, 8_000));
  node.child.kill("SIGCONT");
  await new Promise((resolve) => setTimeout(resolve, 1_500)); // its stall would be told by now
  expect(node.child.exitCode ?? node.child.signalCode).toBeNull();
  expect(node.lines.map(({ event }) => event)).toEqual(["started", "blocking", "unblocked"]);
});

test("WD4 a node with a debugger open is not ended; its stall is told", async () => {
  const node = startNode({ block: "turn", blockMs: 3_500, endMs: SOON_MS, after: "go_on" }, [
    "--inspect=127.0.0.1:0",
  ]);
  expect(await node.next("stall")).toMatchObject({ culprit: CULPRIT });
  expect(node.child.exitCode ?? node.child.signalCode).toBeNull();
});

test("WD5 the watchdog keeps no node alive, and stop is prompt", async () => {
  const words = lastWords({ kind: "hang" });
  const scenario = { block: "none", blockMs: 0, lastWords: words } as const;
  const left = startNode({ ...scenario, after: "nothing" });
  const stopped = startNode({ ...scenario, after: "stop" });
  expect(await left.ended).toMatchObject({ code: 0, signal: null });
  const { tookMs, lateMs: late } = await left.blockedFor();
  expect(tookMs - late).toBeLessThan(1_000);
  expect(await stopped.ended).toMatchObject({ code: 0, signal: null });
  expect((await stopped.next("stopped"))["afterMs"]).toBeLessThan(500);
});

const mayUnshare = spawnSync(IN_PID_NAMESPACE[0]!, [...IN_PID_NAMESPACE.slice(1), "true"]).status;

test.runIf(mayUnshare === 0)(
  "WD2 a node that is process 1 of its container, where SIGKILL from within does nothing, is ended",
  async () => {
    const start = (block: "turn" | "native"): Node =>
      startNode({ block, blockMs: null, endMs: SOON_MS, after: "go_on" }, [], IN_PID_NAMESPACE);
    const [loops, native] = [start("turn"), start("native")];
    for (const [node, table] of [
      [loops, "fra/17"],
      [native, "fra/1"],
    ] as const) {
      expect((await node.ended).code).not.toBe(0);
      const { tookMs, lateMs: late } = await node.blockedFor();
      expect(tookMs - late).toBeLessThan(SOON_MS + 2_000);
      const line = (await node.stderr).split("\n")[0]!;
      expect(JSON.parse(line)).toEqual(lastLine("none", table));
    }
  },
);
