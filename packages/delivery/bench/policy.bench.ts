// packages/delivery/bench/policy.bench.ts
// What policy and preferences cost when a broadcast asks for each of a million people, as owners do:
// 250 partitions of 4,000, each in one go, with the rules of one owner. CPU per recipient, best of five; prints
// what RESULTS.md keeps. Run: node packages/delivery/bench/policy.bench.ts
import { policyRequestSchema, type Preferences } from "@carillon/contracts";
import { LocalTimes } from "../src/local-time.ts";
import {
  createEmptyRules,
  createTenantRules,
  type PolicyQuestion,
  policyVerdict,
  type TenantRules,
} from "../src/policy-verdict.ts";
import { RecentDeliveries } from "../src/recent-deliveries.ts";
import { residentMiB } from "./bench-node.ts";

const PARTITIONS_COUNT = 250;
const RECIPIENTS_EACH = 4_000;
const PLACES = [
  ["DE", "Europe/Berlin"],
  ["FR", "Europe/Paris"],
  ["GB", "Europe/London"],
  ["IE", "Europe/Dublin"],
  ["US", "America/New_York"],
  ["US", "America/Los_Angeles"],
  ["IN", "Asia/Kolkata"],
  ["JP", "Asia/Tokyo"],
] as const;
const night = [{ from: "18:00", until: "08:00" }];
const days = { mon: night, tue: night, wed: night, thu: night, fri: night };
const holidays = Object.fromEntries(
  PLACES.map(([country]) => [
    country,
    Array.from({ length: 20 }, (_, n) => ({
      date: `2027-01-${String(n + 1).padStart(2, "0")}`,
      name: "day",
    })),
  ]),
);
const policy = policyRequestSchema.parse({ quietHours: { forAll: { days } }, holidays });
const DAY_MS = Date.parse("2027-02-03T12:00:00Z");
const FOLD_MS = Date.parse("2027-10-30T23:00:00Z"); // clocks are put back within the next hours

type People = (n: number) => Preferences | undefined;
const nobody: People = () => undefined;
const clock = (minute: number): string =>
  new Date((minute % 1_440) * 60_000).toISOString().slice(11, 16);
const own = (n: number): Preferences => ({
  categories: {},
  quietHours: {
    days: {
      wed: [{ from: clock(n), until: clock(n + 480) }],
      sat: [{ from: clock(n), until: clock(n + 480) }],
    },
  },
});
const shared = Array.from({ length: 20 }, (_, n) => own(n * 60));

function questions(partition: number, people: People): PolicyQuestion[] {
  return Array.from({ length: RECIPIENTS_EACH }, (_, index) => {
    const n = partition * RECIPIENTS_EACH + index;
    const [country, timeZone] = PLACES[n % PLACES.length] ?? PLACES[0];
    return {
      priority: "normal",
      category: "news",
      dueAtMs: DAY_MS,
      expiresAtMs: FOLD_MS * 2,
      preferences: people(n),
      timeZone,
      country,
      recentCount: 0,
    };
  });
}

function measure(what: string, rulesOf: () => TenantRules, people: People, nowMs: number): void {
  const partitions = Array.from({ length: PARTITIONS_COUNT }, (_, n) => questions(n, people));
  const options = { channels: ["socket"], nowMs } as const;
  let first = 0;
  let best = Number.POSITIVE_INFINITY;
  let deferredCount = 0;
  for (let round = 0; round < 5; round++) {
    const rules = rulesOf();
    deferredCount = 0;
    const cpu = process.cpuUsage();
    for (const [place, asked] of partitions.entries()) {
      for (const question of asked)
        if (policyVerdict(question, rules, options).kind === "defer") deferredCount++;
      if (place === 0) first = process.cpuUsage(cpu).user;
    }
    best = Math.min(best, process.cpuUsage(cpu).user);
  }
  const perRecipientNs = Math.round((best * 1_000) / (PARTITIONS_COUNT * RECIPIENTS_EACH));
  console.log(
    `| ${what} | ${deferredCount} | ${(first / 1_000).toFixed(1)} ms | ${(best / 1_000).toFixed(0)} ms | ${perRecipientNs} ns |`,
  );
}

const times = new LocalTimes();
const withPolicy = (): TenantRules => createTenantRules(policy, times);
const without = (): TenantRules => createEmptyRules(times);
console.log(
  "| What | deferred | first 4,000 (cpu) | 1,000,000 (cpu) | per recipient |\n|---|---|---|---|---|",
);
measure("no policy, no preferences", without, nobody, DAY_MS);
measure("policy: hours, holidays, 8 zones", withPolicy, nobody, DAY_MS);
measure("the same in the night of a fold", withPolicy, nobody, FOLD_MS);
measure(
  "one in 20 with own hours, of 20 kinds",
  withPolicy,
  (n) => (n % 20 === 0 ? shared[(n / 20) % 20] : undefined),
  DAY_MS,
);
measure("everybody with own hours, each an object", withPolicy, own, DAY_MS);
measure("the same in the night of a fold", withPolicy, own, FOLD_MS);

const before = Number(residentMiB());
const recent = Array.from(
  { length: PARTITIONS_COUNT },
  () => new RecentDeliveries({ windowMs: 86_400_000, entriesMax: 262_144 }),
);
const cpu = process.cpuUsage();
for (const one of recent)
  for (let n = 0; n < 3 * RECIPIENTS_EACH; n++) one.add(n % RECIPIENTS_EACH, DAY_MS + n);
const addedMs = process.cpuUsage(cpu).user / 1_000;
let countedCount = 0;
for (const one of recent)
  for (let index = 0; index < RECIPIENTS_EACH; index++) countedCount += one.countOf(index, DAY_MS);
const countedMs = process.cpuUsage(cpu).user / 1_000 - addedMs;
console.log(
  `\n${countedCount} recent deliveries of 1,000,000 recipients: added in ${addedMs.toFixed(0)} ms of CPU, ` +
    `counted in ${countedMs.toFixed(0)} ms; ${Number(residentMiB()) - before} MiB. node ${process.version}`,
);
