// packages/process/bench/fanout.bench.ts
// The runtime's budget (README, Cost): messages per second, bytes per idle process, crash rate.
// `npm run bench -w packages/process` prints the table; with `-- --save` it becomes RESULTS.md.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import {
  createRuntime,
  type Behaviour,
  type ProcessRuntime,
  type ProcessTable,
} from "../src/index.ts";

const TABLES = 64; // partitions of one worker
const SLOTS = 15_625; // recipients of a partition: 4 million over 256
const PROCESSES = TABLES * SLOTS; // 1,000,000
const ROUNDS = 7;

interface Notify {
  readonly kind: "notify";
  readonly offset: number;
}
/** What a recipient with an open socket keeps. */
interface Recipient {
  lastOffset: number;
  pendingCount: number;
}
type Tables = ProcessTable<Recipient, Notify>[];

const sweepSlots = {
  forEach(visit: (slot: number) => void): void {
    for (let slot = 0; slot < SLOTS; slot++) visit(slot);
  },
};
const stateless: Behaviour<Recipient, Notify> = {
  init: () => undefined,
  onCast: (context, message) => {
    output += message.offset + context.slot;
  },
};
const resident: Behaviour<Recipient, Notify> = {
  init: () => ({ lastOffset: 0, pendingCount: 0 }),
  onCast: (context, message) => {
    const { state } = context;
    if (state === undefined) return;
    state.lastOffset = message.offset;
    state.pendingCount++;
    output += state.pendingCount;
  },
};
const waiting: Behaviour<Recipient, Notify> = {
  ...resident,
  onCast: (context, message) => {
    void resident.onCast?.(context, message);
    context.setTimer(60_000);
  },
};
const asynchronous: Behaviour<Recipient, Notify> = {
  ...resident,
  onCast: async (context, message) => {
    await Promise.resolve();
    void resident.onCast?.(context, message);
  },
};
let output = 0; // what the handlers compute must be used

function start(behaviour: Behaviour<Recipient, Notify>, limits = {}) {
  const runtime = createRuntime({
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
    limits,
  });
  const tables: Tables = Array.from({ length: TABLES }, (_, n) =>
    runtime.createTable({ name: `p${n}`, behaviour, capacityCount: SLOTS }),
  );
  return { runtime, tables };
}

const nextLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
async function untilIdle(runtime: ProcessRuntime): Promise<void> {
  for (;;) {
    const { waitingCount, busyCount } = runtime.stats();
    if (waitingCount === 0 && busyCount === 0) return;
    await nextLoop();
  }
}
const median = (values: number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
function rssBytes(): number {
  for (let count = 0; count < 3; count++) globalThis.gc?.();
  return process.memoryUsage().rss;
}

/** Median processes or messages per second, and the longest wait of I/O for the thread. */
async function measureRate(
  behaviour: Behaviour<Recipient, Notify>,
  count: number,
  send: (tables: Tables, round: number) => void,
): Promise<{ perSecond: number; stallMs: number }> {
  const { runtime, tables } = start(behaviour);
  const rates: number[] = [];
  const stalls: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startMs = performance.now();
    send(tables, round);
    let loopMs = performance.now();
    let stallMs = 0;
    while (runtime.stats().waitingCount > 0 || runtime.stats().busyCount > 0) {
      await nextLoop();
      stallMs = Math.max(stallMs, performance.now() - loopMs);
      loopMs = performance.now();
    }
    rates.push(count / ((performance.now() - startMs) / 1_000));
    stalls.push(stallMs);
  }
  runtime.stop();
  return { perSecond: median(rates), stallMs: median(stalls) };
}

function sendBySlot(tables: Tables, round: number): void {
  for (const table of tables)
    for (let slot = 0; slot < SLOTS; slot++) table.cast(slot, { kind: "notify", offset: round });
}

function sendToAll(tables: Tables, round: number): void {
  const message: Notify = { kind: "notify", offset: round };
  for (const table of tables) table.castEach(sweepSlots, message);
}

function sendBursts(tables: Tables, round: number): void {
  for (const table of tables.slice(0, 8))
    for (let slot = 0; slot < SLOTS; slot++)
      for (let n = 0; n < 8; n++) table.cast(slot, { kind: "notify", offset: round });
}

/** In a process of its own, since memory that was given back stays in RSS and would be used again. */
async function measureIdleBytes(behaviour: Behaviour<Recipient, Notify>): Promise<number> {
  const fill = async (tables: Tables, runtime: ProcessRuntime): Promise<void> => {
    for (const table of tables) {
      table.castEach(sweepSlots, { kind: "notify", offset: 1 });
      await untilIdle(runtime); // partition by partition: no queue of a million is measured along
    }
  };
  const first = start(behaviour);
  await fill(first.tables, first.runtime); // code and buffers have their working size after it
  const beforeBytes = rssBytes();
  const { runtime, tables } = start(behaviour);
  await fill(tables, runtime);
  const bytes = (rssBytes() - beforeBytes) / PROCESSES;
  first.runtime.stop(); // not before: its memory would be used again
  return bytes;
}

function measureInChild(name: string): number {
  const script = fileURLToPath(import.meta.url);
  const flags = ["--expose-gc", script, "--memory", name];
  return Number(execFileSync(process.execPath, flags, { encoding: "utf8" }));
}

/** Every process crashes once and is restarted without delay: the cost of crash and rebuild. */
async function measureCrashes(count: number): Promise<number> {
  const limits = { backoffBaseMs: 0, systemicMax: count }; // a storm is what is measured
  const { runtime, tables } = start(
    {
      ...resident,
      onCast: (context) => {
        if (context.generation === 0) throw error;
      },
    },
    limits,
  );
  const error = new Error("crash"); // made once: a stack trace is the handler's cost, not ours
  const startMs = performance.now();
  for (let n = 0; n < count; n++)
    tables[n % TABLES]?.cast(Math.floor(n / TABLES), { kind: "notify", offset: n });
  await untilIdle(runtime);
  const perSecond = count / ((performance.now() - startMs) / 1_000);
  if (runtime.stats().restartsTotal !== count) throw new Error("not every process came back");
  runtime.stop();
  return perSecond;
}

const loadBefore = loadavg()[0] ?? 0;
const behaviours = { stateless, resident, waiting };
const measured = process.argv[process.argv.indexOf("--memory") + 1] ?? "";
if (process.argv.includes("--memory")) {
  console.log(await measureIdleBytes(behaviours[measured as keyof typeof behaviours]));
  process.exit(0);
}
const memory = [
  ["without a state (its row)", measureInChild("stateless")],
  ["resident, state of two numbers", measureInChild("resident")],
  ["resident, with an armed timer", measureInChild("waiting")],
] as const;
const rates = [
  ["`cast` to each, stateless handler", await measureRate(stateless, PROCESSES, sendBySlot)],
  ["`cast` to each, handler with state", await measureRate(resident, PROCESSES, sendBySlot)],
  ["`castEach`, stateless handler", await measureRate(stateless, PROCESSES, sendToAll)],
  ["`castEach`, handler with state", await measureRate(resident, PROCESSES, sendToAll)],
  ["`castEach`, state and timer re-armed", await measureRate(waiting, PROCESSES, sendToAll)],
  ["bursts of 8 to each of 125,000", await measureRate(resident, PROCESSES, sendBursts)],
  ["`castEach`, async handler", await measureRate(asynchronous, PROCESSES, sendToAll)],
] as const;
const crashesPerSecond = median([
  await measureCrashes(100_000),
  await measureCrashes(100_000),
  await measureCrashes(100_000),
]);

const lines = [
  "# Last accepted numbers of `bench/fanout.bench.ts`",
  "",
  `${new Date().toISOString().slice(0, 10)} · Node ${process.version} · V8 ${process.versions.v8} · ` +
    `${cpus().length} × ${cpus()[0]?.model ?? "?"} (shared) · ` +
    `${Math.round(totalmem() / 2 ** 30)} GB · one thread`,
  "",
  `${PROCESSES.toLocaleString("en")} processes in ${TABLES} tables; medians of ${ROUNDS} rounds, ` +
    "sending and handling together. " +
    `Load average before the run: ${loadBefore.toFixed(1)}; above 0.5 the rates are not to be compared.`,
  "",
  "| Messages | per second | longest stall of the loop |",
  "|---|---|---|",
  ...rates.map(
    ([name, { perSecond, stallMs }]) =>
      `| ${name} | ${(perSecond / 1e6).toFixed(2)} M | ${stallMs.toFixed(1)} ms |`,
  ),
  "",
  "| Idle process (growth of RSS after GC) | bytes |",
  "|---|---|",
  ...memory.map(([name, bytes]) => `| ${name} | ${bytes.toFixed(0)} |`),
  "",
  `Crash and restart without back-off: ${(crashesPerSecond / 1e3).toFixed(0)} K per second.`,
  "",
];
console.log(lines.join("\n"));
if (process.argv.includes("--save"))
  writeFileSync(new URL("RESULTS.md", import.meta.url), lines.join("\n"));
if (output === 0) throw new Error("nothing was handled");
