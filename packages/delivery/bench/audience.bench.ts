// packages/delivery/bench/audience.bench.ts
// The directory and attribute index of one region's million recipients in 256 partitions: built, changed
// and asked. Prints what RESULTS.md keeps. Run: node packages/delivery/bench/audience.bench.ts [recipients]
import type { Filter, DirectoryAudience } from "@carillon/contracts";
import { createSeededRandom } from "@carillon/kernel";
import { PartitionDirectory } from "../src/partition-directory.ts";
import type { DirectoryRow } from "../src/ports.ts";

const PARTITIONS = 256;
const TOTAL = Number(process.argv[2] ?? 1_000_000);
const ROUNDS = 7;
const random = createSeededRandom(1);
const below = (count: number): number => Math.floor(random.next() * count);
const pad = (value: number): string => String(value).padStart(2, "0");
const dayOf = (): string => `${1990 + below(36)}-${pad(1 + below(12))}-${pad(1 + below(28))}`;

/** As a personnel system has them: few values, many values, one for each. */
function rowOf(n: number, version: number): DirectoryRow {
  return {
    index: Math.floor(n / PARTITIONS),
    tenantId: "acme",
    recipientId: `employee-${n}`,
    locale: ["de", "en", "fr", "de-AT", null][below(5)] ?? null,
    timeZone: null,
    preferences: null,
    attributes: {
      country: `c${below(20)}`,
      department: `department ${below(400)}`,
      level: below(12),
      isManager: below(10) === 0,
      hired: dayOf(), // 12,096 different days
      lastSeen: `${dayOf()}T${pad(below(24))}:${pad(below(60))}:${pad(below(60))}Z`, // one for each
      number: `E-${String(n).padStart(8, "0")}`, // one for each
      teams: [`team ${below(3_000)}`, `floor ${below(40)}`],
    },
    groups: [`g${below(50)}`, `site-${below(200)}`],
    version,
  };
}

/** CPU of this process, its garbage collection included: others share the machine. */
function timed<T>(run: () => T): { readonly tookMs: number; readonly result: T } {
  const cpu = process.cpuUsage();
  const result = run();
  const { user, system } = process.cpuUsage(cpu);
  return { tookMs: (user + system) / 1_000, result };
}

const rssMiB = (): number => Math.round(process.memoryUsage.rss() / 2 ** 20);
/** Partition by partition, as a new owner reads them. */
const order = Array.from({ length: TOTAL }, (_, n) => n).toSorted(
  (a, b) => (a % PARTITIONS) - (b % PARTITIONS),
);
const rows = order.map((n) => rowOf(n, 1));
const before = rssMiB();
const directories = Array.from({ length: PARTITIONS }, () => new PartitionDirectory());
const built = timed(() => {
  for (const [at, row] of rows.entries()) directories[(order[at] ?? 0) % PARTITIONS]?.put(row);
});
console.log(`recipients ${TOTAL}, partitions ${PARTITIONS}, node ${process.version}`);
console.log(`built in ${Math.round(built.tookMs)} ms, ${rssMiB() - before} MiB for it\n`);

const leaf = (key: string, cmp: string, val: unknown): Filter =>
  ({ key, cmp, ...(cmp === "in" ? { vals: val } : { val }) }) as Filter;
const filters: readonly (readonly [string, Filter])[] = [
  ["country eq", leaf("country", "eq", "c3")],
  ["number eq (one for each)", leaf("number", "eq", "E-00000512")],
  [
    "department in 40 of 400",
    leaf(
      "department",
      "in",
      Array.from({ length: 40 }, (_, n) => `department ${n}`),
    ),
  ],
  ["level ge", leaf("level", "ge", 8)],
  ["hired ge (dates)", leaf("hired", "ge", "2015-06-01")],
  ["lastSeen lt (instants, one for each)", leaf("lastSeen", "lt", "2008-01-01T00:00:00Z")],
  ["number prefix (one for each)", leaf("number", "prefix", "E-0003")],
  ["department contains", leaf("department", "contains", "nt 3")],
  ["number contains (one for each)", leaf("number", "contains", "77")],
  ["teams contains", leaf("teams", "contains", "floor 7")],
  ["number ne (one for each)", leaf("number", "ne", "E-00000512")],
  [
    "country in 3 and level ge and not manager and hired lt and teams contains",
    {
      op: "and",
      nodes: [
        leaf("country", "in", ["c1", "c2", "c3"]),
        leaf("level", "ge", 5),
        { op: "not", nodes: [leaf("isManager", "eq", true)] },
        leaf("hired", "lt", "2020-01-01"),
        leaf("teams", "contains", "floor 7"),
      ],
    },
  ],
];
const audiences: readonly (readonly [string, DirectoryAudience])[] = [
  ...filters.map(([name, filter]): [string, DirectoryAudience] => [
    name,
    { kind: "filter", filter },
  ]),
  ["group", { kind: "group", tag: "g7" }],
  [
    "broadcast except 2 groups and a filter",
    {
      kind: "except",
      of: { kind: "broadcast" },
      tags: ["g1", "site-9"],
      filters: [leaf("hired", "ge", "2025-01-01")],
    },
  ],
];
console.log(
  "| Audience | selected | first | median of 7 | with locales (CPU) |\n|---|---|---|---|---|",
);
for (const [name, audience] of audiences) {
  const times: number[] = [];
  let selected = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const { tookMs, result } = timed(() =>
      directories.reduce((sum, one) => sum + one.select("acme", audience, []).count(), 0),
    );
    times.push(tookMs);
    selected = result;
  }
  const withLocales = timed(() => {
    for (const one of directories) one.localesIn("acme", one.select("acme", audience, []));
  });
  const median = times.toSorted((a, b) => a - b)[ROUNDS >> 1] ?? 0;
  const show = (ms: number): string => `${ms.toFixed(1)} ms`;
  console.log(
    `| ${name} | ${selected} | ${show(times[0] ?? 0)} | ${show(median)} | ${show(withLocales.tookMs)} |`,
  );
}
const changes = Array.from({ length: 10_000 }, (_, n) => rowOf(n * 7, 2));
const changed = timed(() => {
  for (const [n, row] of changes.entries()) directories[(n * 7) % PARTITIONS]?.put(row);
});
console.log(`\n10,000 recipients changed in every attribute: ${changed.tookMs.toFixed(0)} ms`);
const moved = changes.map((row) => ({ ...row, groups: ["g1", "g2", "g3"], version: 3 }));
const regrouped = timed(() => {
  for (const [n, row] of moved.entries()) directories[(n * 7) % PARTITIONS]?.put(row);
});
console.log(`10,000 recipients changed in their groups only: ${regrouped.tookMs.toFixed(0)} ms`);
