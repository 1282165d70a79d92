// apps/worker/bench/timers.bench.ts
// 100,000 durable timers that are due within one minute, all 256 partitions of a region on one owner, on a
// real, durable Postgres. Prints what RESULTS.md keeps. Run: npm run bench -w @carillon/worker
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DeliveryNode, type TimerHandler } from "@carillon/delivery";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { dropPostgres, startPostgres } from "@carillon/local";
import { createRuntime } from "@carillon/process";
import { createStore } from "@carillon/store";

const HOME = "fra";
const ALL = Array.from({ length: 256 }, (_, n) => n);
const COUNT = Number(process.argv[2] ?? 100_000);
const WITHIN_MS = Number(process.argv[3] ?? 60_000);
const LATE_MAX_MS = 1_000; // the bar
const TICKS_PER_SECOND = 100; // of /proc

const folder = mkdtempSync(join(tmpdir(), "carillon-timers-"));
const server = await startPostgres({ folder, databases: [HOME] });
const store = createStore({
  url: server.urlOf(HOME),
  poolMax: 8,
  applicationName: "bench",
  connectTimeoutMs: 20_000,
  statementTimeoutMs: 20_000,
});
await store.migrate();
await store.ensureHome(HOME);
const acquired = (
  await store.leases.acquire({ home: HOME, memberId: "w", partitions: ALL, leaseMs: 3_600_000 })
).map((held) => ({ ...held, isFirst: true }));

const lateMs: number[] = [];
let earlyCount = 0;
let servingCount = 0;
let mostFiring = 0;
const handler: TimerHandler<unknown> = { kind: "bench", fire: () => undefined };
const runtime = createRuntime({
  clock: systemClock,
  scheduler: systemScheduler,
  random: systemRandom,
});
const node = new DeliveryNode(
  { home: HOME, memberId: "w" },
  {
    store: store.ledger,
    timers: store.timers,
    timerHandlers: [handler],
    gateways: { deliver: () => true },
    runtime,
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
    observer: {
      onFault: (cause) => console.error(cause),
      onFlushed: () => undefined,
      onOutcome: () => undefined,
      onReceipt: () => undefined,
      onTimerFired(_, late) {
        lateMs.push(late);
        if (late < 0) earlyCount++;
        mostFiring = Math.max(mostFiring, node.stats().timersFiringCount);
      },
      onTimerFailed: (_, cause) => console.error(cause),
      onTimerBuried: (_, reason) => console.error(reason),
    },
    onServing: (_, isServing) => (servingCount += isServing ? 1 : -1),
    onFenced: (partitions) => console.error("fenced", partitions),
  },
);

/** CPU of the server's processes so far, those that have ended left out. */
function serverCpuMs(): number {
  let ticks = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
      const isServers = Number(pid) === server.pid || Number(fields[1]) === server.pid;
      if (isServers) ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      continue; // it has ended meanwhile
    }
  }
  return (ticks / TICKS_PER_SECOND) * 1_000;
}

async function measured(what: string, work: () => Promise<void>): Promise<void> {
  const before = { atMs: performance.now(), cpu: process.cpuUsage(), serverMs: serverCpuMs() };
  await work();
  const { user, system } = process.cpuUsage(before.cpu);
  const wallMs = performance.now() - before.atMs;
  const serverMs = serverCpuMs() - before.serverMs;
  const own = ((user + system) / 1_000).toFixed(0);
  console.log(`${what}: ${wallMs.toFixed(0)} ms; CPU ${own} ms here, ${serverMs} ms in Postgres`);
}

const until = async (isTrue: () => boolean): Promise<void> => {
  while (!isTrue()) await systemClock.sleep(50);
};

node.start();
node.acquire(acquired);
await until(() => servingCount === ALL.length);
await measured("nothing set, 10 s", () => systemClock.sleep(10_000));

const beginsAtMs = systemClock.wallClockMs() + 5_000 + COUNT / 5;
await measured(`${COUNT} set, 1,000 a statement`, async () => {
  for (let first = 0; first < COUNT; first += 1_000)
    await store.timers.write(
      HOME,
      Array.from({ length: Math.min(1_000, COUNT - first) }, (_, n) => {
        const { partition, epoch } = acquired[(first + n) % ALL.length]!;
        const due = { atMs: beginsAtMs + systemRandom.next() * WITHIN_MS };
        const place = { partition, epoch, kind: "bench", key: String(first + n) };
        return { ...place, change: "set", tenantId: "acme", due, payload: { n: first + n } };
      }),
    );
});
await systemClock.sleep(Math.max(0, beginsAtMs - systemClock.wallClockMs()));
await measured(`${COUNT} due within ${WITHIN_MS} ms, fired and done`, () =>
  until(() => lateMs.length >= COUNT && node.stats().timersFiringCount === 0),
);
const sorted = lateMs.toSorted((a, b) => a - b);
const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(0);
console.log(
  `late: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, p99.9 ${at(0.999)} ms, most ${at(1)} ms; ` +
    `early: ${earlyCount}; fired: ${lateMs.length}; at most ${mostFiring} at a time`,
);
const isHeld = earlyCount === 0 && (sorted.at(-1) ?? Infinity) <= LATE_MAX_MS;
console.log(
  `the bar, none early and none later than ${LATE_MAX_MS} ms: ${isHeld ? "held" : "MISSED"}`,
);
node.stop();
runtime.stop();
await store.close();
await server.stop();
dropPostgres(folder);
