// packages/delivery/bench/lanes.bench.ts
// How long a critical notification for one person takes from the poke to the gateway, while a broadcast
// to everybody is under way and without one: the real owner code, store and gateways in memory.
// Prints what RESULTS.md keeps. Run: npm run bench -w @carillon/delivery
import type { Deliver } from "@carillon/contracts";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createRuntime } from "@carillon/process";
import { DeliveryNode } from "../src/delivery-node.ts";
import { FakeLedgerStore, notificationOf } from "../src/fake-ledger-store.ts";

const PARTITIONS = 64;
const RECIPIENTS_PER_PARTITION = Number(process.argv[2] ?? 15_600);
const CONNECTED_SHARE = 4; // every fourth
const PROBES = 40;
const PROBE_EVERY_MS = 25;

const store = new FakeLedgerStore();
for (let partition = 0; partition < PARTITIONS; partition++) {
  store.epochs.set(partition, 1);
  for (let n = 0; n < RECIPIENTS_PER_PARTITION; n++)
    store.addRecipient(partition, `employee-${partition}-${n}`, { version: n + 1 });
}
const seenAtMs = new Map<string, number>(); // partition/offset → at the gateway
let servingCount = 0;
let servedCount = 0;
const runtime = createRuntime({
  clock: systemClock,
  scheduler: systemScheduler,
  random: systemRandom,
});
const node = new DeliveryNode(
  { home: "fra", memberId: "bench" },
  {
    store,
    timers: {
      claim: async () => ({ timers: [], isMore: false, nextInMs: null, fencedPartitions: [] }),
      write: async () => ({ fencedPartitions: [] }),
    },
    gateways: {
      deliver(gatewayId, { items }) {
        for (const { partition, offset } of items.flatMap(({ groups }) => groups)) {
          const key = `${partition}/${offset}`;
          if (!seenAtMs.has(key)) seenAtMs.set(key, performance.now());
        }
        setImmediate(() => ackAll(gatewayId, items));
        return true;
      },
    },
    runtime,
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
    observer: {
      onFault: (cause) => console.error(cause),
      onFlushed: () => undefined,
      onOutcome: () => void servedCount++,
      onReceipt: () => undefined,
      onTimerFired: () => undefined,
      onTimerFailed: () => undefined,
      onTimerBuried: () => undefined,
    },
    onServing: (_, isServing) => (servingCount += isServing ? 1 : -1),
    onFenced: () => undefined,
  },
);
/** Every session acks at once; the session's number tells its recipient's index. */
function ackAll(gatewayId: string, items: Deliver["items"]): void {
  for (const { partition, offset, sids } of items.flatMap(({ groups }) => groups))
    node.report(partition, {
      kind: "report",
      gatewayId,
      acks: sids.map((sid) => [sid, sid - 1 - partition * RECIPIENTS_PER_PARTITION, offset]),
      reads: [],
      acknowledges: [],
      closed: [],
    });
}

const until = async (isTrue: () => boolean): Promise<void> => {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
};
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
let notificationCount = 0;
const notify = (
  priority: "normal" | "critical",
  audience: Parameters<FakeLedgerStore["plan"]>[2],
  partitions: readonly number[],
): readonly { partition: number; offset: number }[] => {
  const notification = notificationOf({
    id: `00000000-0000-7000-8000-${String(++notificationCount).padStart(12, "0")}`,
    expiresAtMs: systemClock.wallClockMs() + 600_000,
    priority,
  });
  const rows = partitions.map((n) => store.plan(n, notification, audience));
  const entries = rows.map(({ partition, offset, directoryVersion, members }) => ({
    partition,
    offset,
    directoryVersion,
    members,
  }));
  const stored = "kind" in audience ? audience : null;
  node.onPoke({ home: "fra", directory: [], items: [{ notification, audience: stored, entries }] });
  return rows;
};

/** Poke → gateway of `PROBES` criticals, one each `PROBE_EVERY_MS`, each for somebody connected. */
async function probe(): Promise<number[]> {
  const waiting: { key: string; atMs: number }[] = [];
  for (let n = 0; n < PROBES; n++) {
    const partition = (n * 37) % PARTITIONS;
    const index =
      Math.floor(((n + 0.5) / PROBES) * (RECIPIENTS_PER_PARTITION / CONNECTED_SHARE)) *
      CONNECTED_SHARE;
    const atMs = performance.now();
    const [row] = notify("critical", { members: [index] }, [partition]);
    waiting.push({ key: `${row!.partition}/${row!.offset}`, atMs });
    await pause(PROBE_EVERY_MS);
  }
  await until(() => waiting.every(({ key }) => seenAtMs.has(key)));
  return waiting.map(({ key, atMs }) => seenAtMs.get(key)! - atMs).toSorted((a, b) => a - b);
}
const told = (what: string, delaysMs: readonly number[]): void => {
  const at = (share: number) => delaysMs[Math.floor(share * (delaysMs.length - 1))]!.toFixed(1);
  console.log(`| ${what} | ${delaysMs.length} | ${at(0.5)} ms | ${at(0.9)} ms | ${at(1)} ms |`);
};

const all = Array.from({ length: PARTITIONS }, (_, partition) => partition);
node.start();
node.acquire(all.map((partition) => ({ partition, epoch: 1, isFirst: true })));
await until(() => servingCount === PARTITIONS);
for (const partition of all) {
  const sessions = Array.from({ length: RECIPIENTS_PER_PARTITION / CONNECTED_SHARE }, (_, n) => ({
    sid: partition * RECIPIENTS_PER_PARTITION + n * CONNECTED_SHARE + 1,
    tenantId: "acme",
    recipientId: `employee-${partition}-${n * CONNECTED_SHARE}`,
    position: null,
    ackedOffset: 0,
    device: "",
  }));
  await node.open(partition, { gatewayId: "gw", sessions }, () => undefined);
}
await pause(500);
console.log(
  "| critical for one, poke → gateway | count | p50 | p90 | max |\n|---|---|---|---|---|",
);
await probe(); // warm
told("nothing else", await probe());
const startedAtMs = performance.now();
const before = servedCount;
const broadcast = notify("normal", { kind: "broadcast" }, all);
const during = await probe();
told("during a broadcast to all", during);
await until(() =>
  broadcast.every((row) => store.rows.get(`${row.partition}/${row.offset}`)?.state === "closed"),
);
console.log(
  `\nbroadcast to ${servedCount - before} outcomes closed after ` +
    `${(performance.now() - startedAtMs).toFixed(0)} ms, ` +
    `rss ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB, node ${process.version}`,
);
node.stop();
runtime.stop();
