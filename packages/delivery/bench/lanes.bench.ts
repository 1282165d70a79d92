// packages/delivery/bench/lanes.bench.ts
// How long a critical notification for one person takes from the poke to the gateway, while a broadcast
// to everybody is under way and without one: the real owner code, store and gateways in memory.
// Prints what RESULTS.md keeps. Run: npm run bench -w @carillon/delivery
import { BenchNode, PARTITIONS, residentMiB, until } from "./bench-node.ts";

const RECIPIENTS_EACH = Number(process.argv[2] ?? 15_600);
const CONNECTED_SHARE = 4; // every fourth
const PROBES = 40;
const PROBE_EVERY_MS = 25;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const node = new BenchNode(RECIPIENTS_EACH, () => ({}));
const seenAtMs = new Map<string, number>(); // partition/offset → at the gateway
node.onDelivered = ({ partition, offset }) => {
  const key = `${partition}/${offset}`;
  if (!seenAtMs.has(key)) seenAtMs.set(key, performance.now());
};
const connected = Array.from(
  { length: RECIPIENTS_EACH / CONNECTED_SHARE },
  (_, n) => n * CONNECTED_SHARE,
);

/** Poke → gateway of `PROBES` criticals, one each `PROBE_EVERY_MS`, each for somebody connected. */
async function probe(): Promise<number[]> {
  const waiting: { key: string; atMs: number }[] = [];
  for (let n = 0; n < PROBES; n++) {
    const partitions = [(n * 37) % PARTITIONS.length];
    const members = [connected[Math.floor(((n + 0.5) / PROBES) * connected.length)] ?? 0];
    const atMs = performance.now();
    for (const { partition, offset } of node.post({ members }, { partitions, isCritical: true }))
      waiting.push({ key: `${partition}/${offset}`, atMs });
    await pause(PROBE_EVERY_MS);
  }
  await until(() => waiting.every(({ key }) => seenAtMs.has(key)));
  return waiting
    .map(({ key, atMs }) => (seenAtMs.get(key) ?? Number.NaN) - atMs)
    .toSorted((a, b) => a - b);
}

function tell(what: string, delaysMs: readonly number[]): void {
  const at = (share: number) => delaysMs[Math.floor(share * (delaysMs.length - 1))]?.toFixed(1);
  console.log(`| ${what} | ${delaysMs.length} | ${at(0.5)} ms | ${at(0.9)} ms | ${at(1)} ms |`);
}

await node.serve();
await node.connect(connected);
await pause(500);
console.log(
  "| critical for one, poke → gateway | count | p50 | p90 | max |\n|---|---|---|---|---|",
);
await probe(); // warm
tell("nothing else", await probe());
const startedAtMs = performance.now();
const before = node.outcomesCount;
const broadcast = node.post({ kind: "broadcast" });
tell("during a broadcast to all", await probe());
await node.closed(broadcast);
console.log(
  `\nbroadcast: ${node.outcomesCount - before} outcomes after ` +
    `${(performance.now() - startedAtMs).toFixed(0)} ms, rss ${residentMiB()} MiB, node ${process.version}`,
);
node.stop();
