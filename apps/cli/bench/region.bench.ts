// apps/cli/bench/region.bench.ts
// One region of real parts with a million people: one node with all roles, a durable Postgres, a nats-server, all
// on this machine with the bench itself. What the design has bars for, and what it costs, three times each; a bar
// is judged by the median.
// Prints what RESULTS.md keeps. Run: npm run bench -w @carillon/cli (with fewer people: -- 100000)
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Filter,
  LIMITS,
  type NotificationAccepted,
  type NotificationPlan,
} from "@carillon/contracts";
import { systemClock, systemRandom } from "@carillon/kernel";
import { createStore, type Store } from "@carillon/store";
import { ApiClient } from "../src/clients/api-client.ts";
import { Latencies, type LatencySummary } from "../src/clients/latencies.ts";
import { Sessions } from "../src/clients/sessions.ts";
import { importPeople } from "../src/demo/import.ts";
import { DevCluster, dropDevData } from "../src/dev/dev-cluster.ts";
import { cpuMs, forgetMostResident, residentMiB } from "./node-costs.ts";
import { Results, showMs } from "./results.ts";

const HOME = "fra";
const TOTAL = Number(process.argv[2] ?? 1_000_000);
const QUARTER = TOTAL / 4;
const ROUNDS = 3;
const LINES_PER_IMPORT = 25_000;
const SOCKETS_COUNT = 400;
const GRACE_MS = 20_000; // a new owner gives sessions so long to come back
const DIRECT_MS = 15_000;
const CRITICAL_EVERY_MS = 25;
const results = new Results();
const clock = systemClock;

const folder = mkdtempSync(join(tmpdir(), "carillon-region-"));
const cluster = await DevCluster.start({
  dataFolder: folder,
  regions: [HOME],
  isDurable: true,
  isFresh: false,
  nodeOptions: {},
  log: () => undefined,
});
const store: Store = createStore({
  url: cluster.storeUrl(HOME),
  poolMax: 4,
  applicationName: "bench",
  connectTimeoutMs: 20_000,
  statementTimeoutMs: 60_000,
});
const { ingestUrl, socketUrl } = cluster.region(HOME);
const client = (connectionsMax: number): ApiClient =>
  new ApiClient({ baseUrl: ingestUrl, apiKey: cluster.apiKey, connectionsMax }, clock);
const api = client(4);
const nodePid = async (): Promise<number> => (await cluster.nodeOf(HOME)).pid;
const idOf = (n: number): string => `employee-${n}`;
const content = { en: { title: "Bench", body: "One of many" } };

async function main(): Promise<void> {
  await importUpTo(0, QUARTER);
  await hydrate(QUARTER);
  await importUpTo(QUARTER, TOTAL);
  await hydrate(TOTAL);
  await filters();
  await directoryChanges();
  await clock.sleep(GRACE_MS);
  await broadcasts();
  await withSockets();
  results.print();
}

// --- people ----------------------------------------------------------------------------------------

const pad = (value: number): string => String(value).padStart(2, "0");

/** As a personnel system has them: few values, many values, one for each. */
function personOf(n: number): object {
  return {
    recipientId: idOf(n),
    locale: ["de", "en", "fr"][n % 3],
    timeZone: "Europe/Berlin",
    attributes: {
      country: `c${n % 20}`,
      department: `department ${n % 400}`,
      level: n % 12,
      isManager: n % 10 === 0,
      hired: `${1990 + (n % 36)}-${pad(1 + (n % 12))}-${pad(1 + (n % 28))}`,
      number: `E-${String(n).padStart(8, "0")}`,
      teams: [`team ${n % 3_000}`, `floor ${n % 40}`],
    },
  };
}

async function importUpTo(first: number, end: number): Promise<void> {
  const startedAtMs = clock.monotonicMs();
  for (let at = first; at < end; at += LINES_PER_IMPORT) {
    const count = Math.min(LINES_PER_IMPORT, end - at);
    await importPeople(
      api,
      Array.from({ length: count }, (_, n) => personOf(at + n)),
    );
  }
  const perSecond = (end - first) / ((clock.monotonicMs() - startedAtMs) / 1_000);
  results.add(`import of people ${first} to ${end}`, `${Math.round(perSecond)} lines/s`);
}

async function planOf(audience: object): Promise<NotificationPlan> {
  const body = JSON.stringify({ audience });
  const answer = await api.expect({ method: "POST", path: "/v1/notifications/plan", body });
  return answer as NotificationPlan;
}

// --- a new owner -----------------------------------------------------------------------------------

async function hydrate(count: number): Promise<void> {
  const tookMs: number[] = [];
  const cpus: number[] = [];
  let resident = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await cluster.stopNode(HOME);
    const startedAtMs = clock.monotonicMs();
    await cluster.startNode(HOME);
    for (let plan = await planOf({ broadcast: true }); ; plan = await planOf({ broadcast: true })) {
      if (plan.isComplete && plan.targeted === count) break;
      await clock.sleep(50);
    }
    tookMs.push(clock.monotonicMs() - startedAtMs);
    const pid = await nodePid();
    cpus.push(cpuMs(pid, { isTree: false }));
    resident = residentMiB(pid).now;
  }
  results.judge(
    `a new owner of ${count}: from the start of its process until all partitions serve`,
    `${showMs(tookMs)}; CPU ${showMs(cpus)}; resident ${resident} MiB`,
    { value: medianOf(tookMs), most: 10_000 * Math.max(1, count / 250_000) },
  );
}

function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

// --- audiences -------------------------------------------------------------------------------------

const leaf = (key: string, cmp: string, val: unknown): Filter =>
  ({ key, cmp, ...(cmp === "in" ? { vals: val } : { val }) }) as Filter;
const FILTERS: readonly (readonly [string, Filter])[] = [
  ["country eq", leaf("country", "eq", "c3")],
  ["level ge", leaf("level", "ge", 8)],
  ["hired ge", leaf("hired", "ge", "2015-06-01")],
  ["number prefix (one for each)", leaf("number", "prefix", "E-0003")],
  ["number contains (one for each)", leaf("number", "contains", "77")],
  [
    "five together",
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

/**
 * Of the node's whole CPU: the request, its plan with locales, and the answer are in it, and a collection of the
 * node's garbage, should one fall into it. Ticks are 10 ms, so plans are taken ten at a time.
 */
async function filters(): Promise<void> {
  const pid = await nodePid();
  const cpuOf = async (filter: Filter, times: number): Promise<number> => {
    const before = cpuMs(pid, { isTree: false });
    for (let n = 0; n < times; n++) await planOf({ filter });
    return (cpuMs(pid, { isTree: false }) - before) / times;
  };
  for (const [name, filter] of FILTERS) {
    const firstMs = await cpuOf(filter, 1);
    const each: number[] = [];
    for (let round = 0; round < 5; round++) each.push(await cpuOf(filter, 10));
    const { targeted } = await planOf({ filter });
    results.judge(
      `filter \`${name}\` over ${TOTAL}, ${targeted} selected: CPU of the node for its plan, five times ten`,
      `${showMs(each)}; the first one ${firstMs} ms`,
      { value: medianOf(each), most: 50 },
    );
  }
}

async function directoryChanges(): Promise<void> {
  const tookMs: number[] = [];
  for (let n = 0; n < 20; n++) {
    const startedAtMs = clock.monotonicMs();
    const { recipientId: _, ...person } = personOf(n) as { recipientId: string };
    const body = JSON.stringify({ ...person, attributes: { onCall: `shift ${n}` } });
    await api.expect({ method: "PUT", path: `/v1/recipients/${idOf(n)}`, body });
    while ((await planOf({ filter: leaf("onCall", "eq", `shift ${n}`) })).targeted !== 1)
      await clock.sleep(5);
    tookMs.push(clock.monotonicMs() - startedAtMs);
  }
  const most = Math.max(...tookMs);
  results.judge(
    "a recipient changed, until an audience has it (20 times, at most)",
    showMs([most]),
    {
      value: most,
      most: 1_000,
    },
  );
}

// --- a broadcast -----------------------------------------------------------------------------------

async function broadcasts(): Promise<void> {
  const pid = await nodePid();
  const [accepted, targeted, finished, cpus, most]: number[][] = [[], [], [], [], []];
  for (let round = 0; round < ROUNDS; round++) {
    forgetMostResident(pid);
    const cpuBefore = cpuMs(pid, { isTree: false });
    const startedAtMs = clock.monotonicMs();
    const { id } = await api.post({ audience: { broadcast: true }, content });
    accepted!.push(clock.monotonicMs() - startedAtMs);
    await untilState(id, ["delivering", "finished"]);
    targeted!.push(clock.monotonicMs() - startedAtMs);
    const counts = await untilState(id, ["finished"]);
    finished!.push(clock.monotonicMs() - startedAtMs);
    cpus!.push(cpuMs(pid, { isTree: false }) - cpuBefore);
    most!.push(residentMiB(pid).most);
    if (counts.targeted !== TOTAL || counts.noDevice !== TOTAL)
      throw new Error(`of ${TOTAL} people: ${JSON.stringify(counts)}`);
    await clock.sleep(2_000);
  }
  const what = `broadcast to ${TOTAL} without devices`;
  results.add(`${what}: answered 202 after`, showMs(accepted!));
  results.add(`${what}: \`targeted\` of all 256 rows committed after`, showMs(targeted!));
  results.add(`${what}: finished, every outcome committed, after`, showMs(finished!));
  results.add(`${what}: CPU of the node`, showMs(cpus!));
  results.add(`${what}: resident at most`, `${most!.join(", ")} MiB`);
}

/** From the ledger: `planned` while a row has no audience. */
async function untilState(id: string, states: readonly string[], everyMs = 10) {
  for (;;) {
    const progress = await store.notifications.countsOf({ home: HOME, tenantId: "demo" }, [id]);
    const { state, counts } = progress.get(id)!;
    if (states.includes(state)) return counts;
    await clock.sleep(everyMs);
  }
}

// --- people with a socket --------------------------------------------------------------------------

async function withSockets(): Promise<void> {
  await idle("nobody connected");
  const ids = Array.from({ length: SOCKETS_COUNT }, (_, n) => idOf(Math.floor(n * (TOTAL / 401))));
  const tokens = await api.tokensOf(ids);
  const shown = new Map<string, number>(); // accept → shown; at its last one
  const sessions = new Sessions(
    {
      onAck: () => undefined, // the client's acks may wait for others, up to 250 ms
      onShown: ({ notificationId, latencyMs }) => void shown.set(notificationId, latencyMs),
    },
    clock,
  );
  const plans = ids.map((recipientId) => ({
    ...{ recipientId, home: HOME, region: HOME, socketUrl },
    token: tokens.get(recipientId) ?? "",
  }));
  const liveCount = await sessions.open(plans, 60_000);
  if (liveCount < SOCKETS_COUNT) throw new Error(`${liveCount} of ${SOCKETS_COUNT} sockets`);
  await idle(`${SOCKETS_COUNT} sockets`);
  // The first one is of a process whose code is not compiled yet.
  for (const inFlight of [32, 1, 32, 128]) await direct(ids, shown, inFlight);
  await criticals(ids, shown);
  sessions.close();
}

async function idle(what: string): Promise<void> {
  const pid = await nodePid();
  const before = cpuMs(pid, { isTree: false });
  await clock.sleep(10_000);
  const share = (cpuMs(pid, { isTree: false }) - before) / 100;
  results.add(`nothing to do, ${what}, 10 s: CPU of the node`, `${share.toFixed(1)} % of a core`);
}

/** So many posters, each after the answer to its last: accept → ledger → owner → session → ack → outcome. */
async function direct(
  ids: readonly string[],
  shown: ReadonlyMap<string, number>,
  inFlight: number,
): Promise<void> {
  const pid = await nodePid();
  const poster = client(inFlight);
  const posted: string[] = [];
  const refused: string[] = [];
  const http = new Latencies();
  const cpuBefore = cpuMs(pid, { isTree: false });
  const startedAtMs = clock.monotonicMs();
  const post = async (): Promise<void> => {
    while (clock.monotonicMs() - startedAtMs < DIRECT_MS) {
      const recipient = ids[Math.floor(systemRandom.next() * ids.length)];
      const body = JSON.stringify({ audience: { recipients: [recipient] }, content });
      const answer = await poster.send({ method: "POST", path: "/v1/notifications", body });
      if (answer.kind === "failed" || answer.status !== 202) refused.push(JSON.stringify(answer));
      else {
        http.record(answer.durationMs);
        posted.push((JSON.parse(answer.text) as NotificationAccepted).id);
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, post));
  const left = new Set(posted);
  while (left.size > 0) {
    const some = [...left].slice(0, 5_000);
    const progress = await store.notifications.countsOf({ home: HOME, tenantId: "demo" }, some);
    for (const [id, { state, counts }] of progress)
      if (state === "finished" && counts.deliveredSocket === 1) left.delete(id);
  }
  const seconds = (clock.monotonicMs() - startedAtMs) / 1_000;
  const cpuEach = (cpuMs(pid, { isTree: false }) - cpuBefore) / posted.length;
  poster.close();
  const perSecond = Math.round(posted.length / seconds);
  results.add(
    `direct, ${inFlight} in flight: posted, shown, and its outcome committed`,
    `${perSecond}/s; 202 after ${summaryText(http.summary)}; accept → shown ` +
      `${summaryText(latenciesOf(posted, shown))}; CPU of the node ${cpuEach.toFixed(2)} ms each; ${refused.length} refused`,
  );
  for (const answer of refused.slice(0, 3)) console.log(`refused: ${answer}`);
}

/** One each 25 ms, in quiet and during a broadcast to everybody. */
async function criticals(
  ids: readonly string[],
  shown: ReadonlyMap<string, number>,
): Promise<void> {
  const run = async (work: Promise<unknown>): Promise<LatencySummary & { http: string }> => {
    const http = new Latencies();
    const post = async (audience: object): Promise<string> => {
      const sentAtMs = clock.monotonicMs();
      const { id } = await criticalApi.post({ audience, content, priority: "critical" });
      http.record(clock.monotonicMs() - sentAtMs);
      return id;
    };
    const state = { isOver: false };
    const end = work.finally(() => void (state.isOver = true));
    const posts: Promise<string>[] = [];
    for (let n = 0; !state.isOver; n++) {
      posts.push(post({ recipients: [ids[(n * 7) % ids.length]] }));
      await clock.sleep(CRITICAL_EVERY_MS);
    }
    await end;
    const posted = await Promise.all(posts);
    while (posted.some((id) => !shown.has(id))) await clock.sleep(20);
    return { ...latenciesOf(posted, shown)!, http: summaryText(http.summary) };
  };
  const criticalApi = client(64); // nobody waits for another one's answer
  const pid = await nodePid();
  const delaysMs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const quiet = await run(clock.sleep(4_000));
    forgetMostResident(pid);
    const startedAtMs = clock.monotonicMs();
    const broadcast = async (): Promise<void> => {
      const { id } = await api.post({ audience: { broadcast: true }, content });
      await untilState(id, ["finished"], 50);
    };
    const beside = await run(broadcast());
    const tookMs = clock.monotonicMs() - startedAtMs;
    delaysMs.push(beside.p99Ms - quiet.p99Ms);
    results.add(
      `critical singles during a broadcast to ${TOTAL}, ${SOCKETS_COUNT} of them connected: accept → shown`,
      `${summaryText(beside)} (202 after ${beside.http}); in quiet ${summaryText(quiet)} ` +
        `(202 after ${quiet.http}); the broadcast finished after ` +
        `${Math.round(tookMs)} ms; resident at most ${residentMiB(pid).most} MiB`,
    );
  }
  criticalApi.close();
  results.judge("critical singles: p99 during a broadcast, above that in quiet", showMs(delaysMs), {
    value: medianOf(delaysMs),
    most: 50,
  });
}

function latenciesOf(
  ids: readonly string[],
  shown: ReadonlyMap<string, number>,
): LatencySummary | undefined {
  const latencies = new Latencies();
  for (const id of ids) latencies.record(shown.get(id) ?? Number.NaN);
  return latencies.summary;
}

function summaryText(summary: LatencySummary | undefined): string {
  if (summary === undefined) return "nothing";
  const { p50Ms, p99Ms, maxMs } = summary;
  return `p50 ${p50Ms.toFixed(0)} ms, p99 ${p99Ms.toFixed(0)} ms, most ${maxMs.toFixed(0)} ms`;
}

try {
  console.log(`${TOTAL} people, ${LIMITS.partitionCount} partitions, node ${process.version}`);
  await main();
} finally {
  const log = readFileSync(join(folder, `nodes/node-${HOME}.log`), "utf8");
  const faults = log.split("\n").filter((line) => /"level":"(warn|error|fatal)"/.test(line));
  console.log([`${faults.length} warnings of the node`, ...faults.slice(-10)].join("\n"));
  api.close();
  await store.close();
  await cluster.stop();
  dropDevData(folder);
  rmSync(folder, { recursive: true, force: true });
}
