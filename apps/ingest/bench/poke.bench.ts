// apps/ingest/bench/poke.bench.ts
// Pokes without a bus, in processor time: grouping by owner, chunks, encoding. One notification to all 256
// partitions of three owners; and a commit group of 100 direct ones. Accepted: RESULTS.md.
import type { Bus } from "@carillon/bus";
import type { PokeEntry } from "@carillon/contracts";
import { createPoker, type PokeSource } from "../src/poke.ts";

const ROUNDS_COUNT = 7;
let bytesCount = 0;
const bus: Pick<Bus, "publish" | "payloadMaxBytes"> = {
  payloadMaxBytes: 4_194_304,
  publish(_subject, data) {
    bytesCount += data.length;
    return { kind: "sent" };
  },
};
const owners = { ownerOf: (_home: string, partition: number) => `fra-worker-${partition % 3}` };
const poker = createPoker({ home: "fra", bus: bus as Bus, owners, onPoke: () => undefined });
const notificationJson = JSON.stringify({ id: "0193", content: { en: "x".repeat(1_000) } });
const entry = (partition: number, members: number[] | null): PokeEntry => ({
  partition,
  offset: 17,
  directoryVersion: 3,
  members,
});
const broadcast: PokeSource = {
  tenantId: "acme",
  notificationJson,
  audience: { kind: "broadcast" },
  entries: Array.from({ length: 256 }, (_, partition) => entry(partition, null)),
};
const direct = Array.from({ length: 100 }, (_, n): PokeSource => ({
  tenantId: "acme",
  notificationJson,
  audience: { kind: "recipients", recipientIds: [`employee-${n}`] },
  entries: [entry((n * 37) % 256, [n])],
}));

/** Seconds of processor time of this process: other work on the machine does not count. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000_000;
}

function measure(name: string, sources: readonly PokeSource[], times: number): void {
  const rates: number[] = [];
  for (let round = 0; round <= ROUNDS_COUNT; round++) {
    const start = cpuSeconds();
    for (let n = 0; n < times; n++) poker.notifications(sources);
    if (round > 0) rates.push(times / (cpuSeconds() - start));
  }
  const median = rates.toSorted((a, b) => a - b)[rates.length >> 1] ?? 0;
  console.log(`${name.padEnd(40)} ${Math.round(median).toLocaleString("en")} groups/s`);
}

measure("broadcast: 256 entries, 3 owners", [broadcast], 4_000);
measure("100 direct notifications, 3 owners", direct, 2_000);
if (bytesCount === 0) throw new Error("nothing was sent");
