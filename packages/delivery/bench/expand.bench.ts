// packages/delivery/bench/expand.bench.ts
// One broadcast through the real owner code: directory, expansion, a process per recipient, ledger
// rows; store and gateways in memory. Prints what RESULTS.md keeps. Run: npm run bench -w @carillon/delivery
import { BenchNode, PARTITIONS, residentMiB } from "./bench-node.ts";

const RECIPIENTS_EACH = Number(process.argv[2] ?? 15_600);
const COUNTRIES = ["de", "fr", "gb", "ie"];

const node = new BenchNode(RECIPIENTS_EACH, (n) => ({ country: COUNTRIES[n % 4], level: n % 9 }));
const total = PARTITIONS.length * RECIPIENTS_EACH;

async function timed(what: string, run: () => Promise<void>): Promise<void> {
  const startedAtMs = performance.now();
  const cpu = process.cpuUsage();
  await run();
  const tookMs = performance.now() - startedAtMs;
  const { user, system } = process.cpuUsage(cpu);
  const rate = Math.round(total / (tookMs / 1_000));
  console.log(
    `| ${what} | ${total} | ${tookMs.toFixed(0)} ms | ${((user + system) / 1_000).toFixed(0)} ms | ${rate}/s |`,
  );
}

console.log("| What | recipients | wall | cpu | rate |\n|---|---|---|---|---|");
await timed("hydrate directory", () => node.serve());
await timed("broadcast, nobody connected (with the flush's 100 ms)", () =>
  node.closed(node.post({ kind: "broadcast" })),
);
const filter = {
  op: "and" as const,
  nodes: [
    { key: "country", cmp: "eq" as const, val: "de" },
    { key: "level", cmp: "ge" as const, val: 5 },
  ],
};
await timed("filter: country and level (with the flush's 100 ms)", () =>
  node.closed(node.post({ kind: "filter", filter })),
);
await node.connect(Array.from({ length: RECIPIENTS_EACH / 4 }, (_, index) => index));
await timed("broadcast, a quarter connected and acking", () =>
  node.closed(node.post({ kind: "broadcast" })),
);
console.log(`\njournal ${node.journaledCount} events`);
console.log(`rss ${residentMiB()} MiB, node ${process.version}`);
node.stop();
