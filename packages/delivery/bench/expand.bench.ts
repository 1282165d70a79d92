// packages/delivery/bench/expand.bench.ts
// One broadcast through the real owner code: directory, expansion, a process per recipient, ledger
// rows; store and gateways in memory. Prints what RESULTS.md keeps. Run: npm run bench -w @carillon/delivery
import type { Deliver } from "@carillon/contracts";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createRuntime } from "@carillon/process";
import { DeliveryNode } from "../src/delivery-node.ts";
import { FakeLedgerStore, notificationOf } from "../src/fake-ledger-store.ts";

const PARTITIONS = 64;
const RECIPIENTS_PER_PARTITION = Number(process.argv[2] ?? 15_600);
const COUNTRIES = ["de", "fr", "gb", "ie"];

const store = new FakeLedgerStore();
for (let partition = 0; partition < PARTITIONS; partition++) {
  store.epochs.set(partition, 1);
  for (let n = 0; n < RECIPIENTS_PER_PARTITION; n++)
    store.addRecipient(partition, `employee-${partition}-${n}`, {
      attributes: { country: COUNTRIES[n % 4], level: n % 9 },
      version: n + 1,
    });
}
let servingCount = 0;
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
      onOutcome: () => undefined,
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
const timed = async (what: string, count: number, run: () => Promise<void>): Promise<void> => {
  const startedAtMs = performance.now();
  const cpu = process.cpuUsage();
  await run();
  const tookMs = performance.now() - startedAtMs;
  const { user, system } = process.cpuUsage(cpu);
  const rate = Math.round(count / (tookMs / 1_000));
  console.log(
    `| ${what} | ${count} | ${tookMs.toFixed(0)} ms | ${((user + system) / 1_000).toFixed(0)} ms | ${rate}/s |`,
  );
};

console.log("| What | recipients | wall | cpu | rate |\n|---|---|---|---|---|");
const total = PARTITIONS * RECIPIENTS_PER_PARTITION;
await timed("hydrate directory", total, async () => {
  node.start();
  node.acquire(
    Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, epoch: 1, isFirst: true })),
  );
  await until(() => servingCount === PARTITIONS);
});
const post = async (
  audience: Parameters<FakeLedgerStore["plan"]>[2],
  id: number,
): Promise<void> => {
  const notification = notificationOf({
    id: `00000000-0000-7000-8000-${String(id).padStart(12, "0")}`,
    expiresAtMs: systemClock.wallClockMs() + 600_000,
  });
  const rows = Array.from({ length: PARTITIONS }, (_, n) => store.plan(n, notification, audience));
  const entries = rows.map(({ partition, offset, directoryVersion, members }) => ({
    partition,
    offset,
    directoryVersion,
    members,
  }));
  const stored = "kind" in audience ? audience : null;
  node.onPoke({ home: "fra", directory: [], items: [{ notification, audience: stored, entries }] });
  await until(() =>
    rows.every((row) => store.rows.get(`${row.partition}/${row.offset}`)?.state === "closed"),
  );
};
await timed("broadcast, nobody connected (with the flush's 100 ms)", total, () =>
  post({ kind: "broadcast" }, 1),
);
await timed("filter: country and level (with the flush's 100 ms)", total, () =>
  post(
    {
      kind: "filter",
      filter: {
        op: "and",
        nodes: [
          { key: "country", cmp: "eq", val: "de" },
          { key: "level", cmp: "ge", val: 5 },
        ],
      },
    },
    2,
  ),
);
for (let partition = 0; partition < PARTITIONS; partition++) {
  const sessions = Array.from({ length: RECIPIENTS_PER_PARTITION / 4 }, (_, n) => ({
    sid: partition * RECIPIENTS_PER_PARTITION + n + 1,
    tenantId: "acme",
    recipientId: `employee-${partition}-${n}`,
    position: null,
    ackedOffset: 0,
    device: "",
  }));
  await node.open(partition, { gatewayId: "gw", sessions }, () => undefined);
}
await timed("broadcast, a quarter connected and acking", total, () =>
  post({ kind: "broadcast" }, 3),
);
console.log(
  `\nrss ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB, node ${process.version}`,
);
node.stop();
runtime.stop();
