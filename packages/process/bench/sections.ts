// packages/process/bench/sections.ts
// What is measured of our runtime, one section a process: `node --expose-gc sections.ts <name>` prints
// one JSON line. Freed memory stays in RSS and code keeps its optimizations, so sections do not share.
// Long: all sections measure the same tables and behaviours, which stand here once.
import { PerformanceObserver } from "node:perf_hooks";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import {
  type Behaviour,
  createRuntime,
  type ProcessRuntime,
  type ProcessTable,
  Registry,
  type RuntimeLimits,
} from "../src/index.ts";

const MILLION = 1_000_000;
const TABLES = 64; // partitions of one worker
const SLOTS = MILLION / TABLES;
const ROUNDS = 5;

interface Notify {
  readonly kind: "notify";
  readonly offset: number;
}

/** As the rival's: two counts, and one small object. */
interface State {
  last: number;
  count: number;
  readonly place: { readonly home: string; readonly partition: number };
}

const PLACE = { home: "fra", partition: 1 };
let output = 0; // what handlers compute is used

const resident: Behaviour<State, Notify, number> = {
  init: () => ({ last: 0, count: 0, place: PLACE }),
  onCast: (context, message) => {
    const { state } = context;
    if (state === undefined) return;
    state.last = message.offset;
    state.count++;
    output += state.count;
  },
  onCall: (context) => {
    const { state } = context;
    if (state === undefined) return 0;
    state.count++;
    return state.count;
  },
};

/**
 * A recipient as delivery keeps it: between two notifications its process has no object at all; what
 * it remembers is two numbers in columns by its slot (RE2).
 */
function columnar(): Behaviour<typeof IN_COLUMNS, Notify, number> {
  const last = new Float64Array(SLOTS);
  const counts = new Uint32Array(SLOTS);
  return {
    init: (slot) => {
      last[slot] = 0;
      counts[slot] = 0;
      return IN_COLUMNS;
    },
    onCast: ({ slot }, message) => {
      last[slot] = message.offset;
      counts[slot] = (counts[slot] ?? 0) + 1;
      output += counts[slot] ?? 0;
    },
  };
}
const IN_COLUMNS = Object.freeze({ isInColumns: true });

type Tables<S = State> = ProcessTable<S, Notify, number>[];
const everySlot = {
  forEach(visit: (slot: number) => void): void {
    for (let slot = 0; slot < SLOTS; slot++) visit(slot);
  },
};

function newRuntime(limits: Partial<RuntimeLimits> = {}): ProcessRuntime {
  const real = { clock: systemClock, scheduler: systemScheduler, random: systemRandom };
  return createRuntime({ ...real, limits });
}

function start<S>(createBehaviour: () => Behaviour<S, Notify, number>, limits = {}) {
  const runtime = newRuntime(limits);
  const tables = Array.from({ length: TABLES }, (_, n) =>
    runtime.createTable<S, Notify, number>({
      name: `fra/${n}`,
      behaviour: createBehaviour(),
      capacityCount: SLOTS,
    }),
  );
  return { runtime, tables };
}

const nextLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function untilIdle(runtime: ProcessRuntime): Promise<void> {
  for (;;) {
    const { waitingCount, busyCount, queuedCount } = runtime.stats();
    if (waitingCount === 0 && busyCount === 0 && queuedCount === 0) return;
    await nextLoop();
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

async function rateOf(count: number, work: (round: number) => Promise<void>): Promise<number> {
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startMs = performance.now();
    await work(round);
    rates.push(count / ((performance.now() - startMs) / 1_000));
  }
  return median(rates);
}

async function fill<S>({ runtime, tables }: { runtime: ProcessRuntime; tables: Tables<S> }) {
  for (const table of tables) {
    table.castEach(everySlot, { kind: "notify", offset: 1 });
    await untilIdle(runtime); // partition by partition: no queue of a million is measured along
  }
}

function rssBytes(): number {
  for (let count = 0; count < 3; count++) globalThis.gc?.();
  return process.memoryUsage().rss;
}

async function bytesOf<S>(createBehaviour: () => Behaviour<S, Notify, number>): Promise<number> {
  const first = start(createBehaviour);
  await fill(first); // code and buffers have their working size after it
  const beforeBytes = rssBytes();
  const second = start(createBehaviour);
  await fill(second);
  const bytes = (rssBytes() - beforeBytes) / MILLION;
  first.runtime.stop(); // not before: its memory would be used again
  second.runtime.stop();
  return bytes;
}

const keys = (count: number): string[] =>
  Array.from({ length: count }, (_, n) => `acme/employee-${n}`);

function newRegistry(runtime: ProcessRuntime): Registry<State, Notify, number> {
  return new Registry(runtime, {
    name: "by-key",
    activation: "spawned",
    behaviour: () => resident,
  });
}

const sections: Record<string, () => Promise<Record<string, number>>> = {
  "memory-columns": async () => ({ bytesInColumns: await bytesOf(columnar) }),
  "memory-state": async () => ({ bytesWithState: await bytesOf(() => resident) }),
  "memory-none": async () => ({
    bytesWithoutState: await bytesOf<State>(() => ({ init: () => undefined, onCast: () => {} })),
  }),
  "memory-keyed": async () => {
    const names = keys(MILLION);
    const first = newRegistry(newRuntime());
    for (const key of names) first.spawn(key);
    const beforeBytes = rssBytes();
    const second = newRegistry(newRuntime());
    for (const key of names) second.spawn(`2/${key}`);
    const bytes = (rssBytes() - beforeBytes) / MILLION;
    return { bytesByKey: first.size + second.size === 2 * MILLION ? bytes : Number.NaN };
  },
  starts: async () => {
    const names = keys(200_000);
    const bySlot = await rateOf(MILLION, async () => {
      const { runtime, tables } = start(() => resident);
      for (const table of tables) for (let slot = 0; slot < SLOTS; slot++) table.spawn(slot);
      runtime.stop();
    });
    const byKey = await rateOf(names.length, async () => {
      const runtime = newRuntime();
      const registry = newRegistry(runtime);
      for (const key of names) registry.spawn(key);
      if (registry.size !== names.length) throw new Error("not all started");
      runtime.stop();
    });
    return { startsBySlotPerSecond: bySlot, startsByKeyPerSecond: byKey };
  },
  casts: async () => {
    const slots = start(() => resident);
    await fill(slots);
    const bySlot = await rateOf(MILLION, async (round) => {
      for (const table of slots.tables)
        for (let slot = 0; slot < SLOTS; slot++)
          table.cast(slot, { kind: "notify", offset: round });
      await untilIdle(slots.runtime);
    });
    slots.runtime.stop();
    const names = keys(200_000);
    const runtime = newRuntime();
    const registry = newRegistry(runtime);
    for (const key of names) registry.spawn(key);
    const byKey = await rateOf(names.length, async (round) => {
      for (const key of names) registry.cast(key, { kind: "notify", offset: round });
      await untilIdle(runtime);
    });
    return { castsBySlotPerSecond: bySlot, castsByKeyPerSecond: byKey };
  },
  calls: async () => {
    const names = keys(200_000);
    const runtime = newRuntime();
    const registry = newRegistry(runtime);
    for (const key of names) registry.spawn(key);
    const message: Notify = { kind: "notify", offset: 1 };
    const callFrom = async (from: number, step: number): Promise<void> => {
      for (let n = from; n < names.length; n += step) {
        const outcome = await registry.call(names[n] ?? "", message);
        if (outcome.kind !== "reply") throw new Error(outcome.kind);
      }
    };
    const bySlot = async (from: number, step: number): Promise<void> => {
      for (let slot = from; slot < names.length; slot += step) {
        const outcome = await registry.table.call(slot, message);
        if (outcome.kind !== "reply") throw new Error(outcome.kind);
      }
    };
    const slotSequential = await rateOf(names.length, () => bySlot(0, 1));
    const slotConcurrent = await rateOf(names.length, async () => {
      await Promise.all(Array.from({ length: 100 }, (_, caller) => bySlot(caller, 100)));
    });
    const sequential = await rateOf(names.length, () => callFrom(0, 1));
    const concurrent = await rateOf(names.length, async () => {
      await Promise.all(Array.from({ length: 100 }, (_, caller) => callFrom(caller, 100)));
    });
    const many = await rateOf(names.length, async () => {
      await Promise.all(Array.from({ length: 10_000 }, (_, caller) => callFrom(caller, 10_000)));
    });
    return {
      callsBySlotSequentialPerSecond: slotSequential,
      callsBySlotConcurrentPerSecond: slotConcurrent,
      callsSequentialPerSecond: sequential,
      callsConcurrentPerSecond: concurrent,
      callsTenThousandPerSecond: many,
    };
  },
  "fan-out": async () => {
    const all = start(() => resident);
    await fill(all);
    const withState = await rateOf(MILLION, async (round) => {
      const message: Notify = { kind: "notify", offset: round };
      for (const table of all.tables) table.castEach(everySlot, message);
      await untilIdle(all.runtime);
    });
    all.runtime.stop();
    const columns = start(columnar);
    await fill(columns);
    const inColumns = await rateOf(MILLION, async (round) => {
      const message: Notify = { kind: "notify", offset: round };
      for (const table of columns.tables) table.castEach(everySlot, message);
      await untilIdle(columns.runtime);
    });
    return { fanOutPerSecond: withState, fanOutInColumnsPerSecond: inColumns };
  },
  crashes: async () => ({
    crashRestartsPerSecond: await crashRate(5_000, () => CRASH),
    crashRestartsTwentyThousandPerSecond: await crashRate(20_000, () => CRASH),
    crashRestartsHundredThousandPerSecond: await crashRate(100_000, () => CRASH),
    crashRestartsNewErrorPerSecond: await crashRate(20_000, () => new Error("crash")),
  }),
  flood: async () => {
    const runtime = newRuntime();
    const turnaroundsMs: number[] = [];
    const table = runtime.createTable<State, Notify, number>({
      name: "flood",
      behaviour: resident,
    });
    const message: Notify = { kind: "notify", offset: 1 };
    let floodedCount = 0;
    const endsAtMs = performance.now() + 3_000;
    const stopFlood = runtime.onSliceEnd(() => {
      while (floodedCount < MILLION * 50 && table.cast(0, message) === "accepted") floodedCount++;
    });
    table.cast(0, message);
    while (performance.now() < endsAtMs) {
      const sentMs = performance.now();
      await table.call(1, message);
      turnaroundsMs.push(performance.now() - sentMs);
      await nextLoop();
    }
    stopFlood();
    const sorted = turnaroundsMs.toSorted((a, b) => a - b);
    return {
      quietUnderFloodP99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN,
      quietUnderFloodMaxMs: sorted.at(-1) ?? Number.NaN,
      floodedPerSecond: floodedCount / 3,
    };
  },
  stall: async () => ({
    ...prefixed("columns", await stallWith(start(columnar))),
    ...prefixed("state", await stallWith(start(() => resident))),
  }),
};

/** Made once, as the rival's `exit(crashed)` has no stack either. */
const CRASH = new Error("crash");

/** From the first crash until every process has answered again; back-off 0, as the rival's. */
async function crashRate(count: number, error: () => Error): Promise<number> {
  const limits = { backoffBaseMs: 0, systemicMax: MILLION };
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    let answeredCount = 0;
    const runtime = newRuntime(limits);
    const table = runtime.createTable<State, Notify, number>({
      name: "fra/0",
      capacityCount: count,
      behaviour: {
        ...resident,
        onCast: (context) => {
          if (context.generation === 0) throw error();
          answeredCount++;
        },
      },
    });
    for (let slot = 0; slot < count; slot++) table.spawn(slot);
    const startMs = performance.now();
    for (let slot = 0; slot < count; slot++) table.cast(slot, { kind: "notify", offset: slot });
    await untilIdle(runtime);
    if (answeredCount !== count) throw new Error(`${answeredCount} of ${count} came back`);
    rates.push(count / ((performance.now() - startMs) / 1_000));
    runtime.stop();
  }
  return median(rates);
}

/** 200,000 messages a second for 15 s to residents; garbage lives long enough to grow old. */
async function stallWith<S>(all: { runtime: ProcessRuntime; tables: Tables<S> }) {
  await fill(all);
  const { runtime, tables } = all;
  let majorCount = 0;
  let longestMajorMs = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { kind } = (entry as unknown as { detail: { kind: number } }).detail;
      if (kind !== MAJOR_GC) continue;
      majorCount++;
      longestMajorMs = Math.max(longestMajorMs, entry.duration);
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  const kept: Notify[] = []; // the last two seconds of messages: old when they go
  const startMs = performance.now();
  let sentCount = 0;
  let longestMs = 0;
  let lastMs = startMs;
  for (let nowMs = startMs; nowMs - startMs < 15_000; nowMs = performance.now()) {
    longestMs = Math.max(longestMs, nowMs - lastMs);
    lastMs = nowMs;
    const due = Math.min(Math.floor((nowMs - startMs) * 200), sentCount + 20_000);
    for (; sentCount < due; sentCount++) {
      const message: Notify = { kind: "notify", offset: sentCount };
      kept[sentCount % 400_000] = message;
      const at = (sentCount * 7_919) % MILLION;
      tables[at % TABLES]?.cast(Math.floor(at / TABLES), message);
    }
    await nextLoop();
  }
  observer.disconnect();
  runtime.stop();
  const perSecond = sentCount / ((performance.now() - startMs) / 1_000);
  return { longestStallMs: longestMs, messagesPerSecond: perSecond, majorCount, longestMajorMs };
}
const MAJOR_GC = 4; // perf_hooks.constants.NODE_PERFORMANCE_GC_MAJOR

function prefixed(name: string, numbers: Record<string, number>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(numbers).map(([key, value]) => [`${name}.${key}`, value]),
  );
}

export const SECTION_NAMES = Object.keys(sections);

const wanted = process.argv[2] ?? "";
if (import.meta.main) {
  const section = sections[wanted];
  if (section === undefined) throw new Error(`one of ${SECTION_NAMES.join(", ")} is wanted`);
  console.log(JSON.stringify(await section()));
  process.exit(0);
}
