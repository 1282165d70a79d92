// Goal: D1–D3 while something is killed every few seconds. Method: two regions of real processes, 200
// posts a second and broadcasts (posts.ts: some for later, some cancelled), people with and without a
// socket, some in their quiet hours; kill -9 of whatever chance names: a node with all roles, a worker, a
// nats-server, Postgres. In the end every accepted notification is counted against what it was meant for,
// person by person.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { LIMITS } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../e2e/api.ts";
import { startTestCluster, type TestCluster } from "../e2e/cluster.ts";
import {
  type Person,
  post,
  type Posted,
  POSTERS_COUNT,
  type Quiet,
  quietForAWhile,
} from "./posts.ts";

const REGIONS = ["fra", "lon"] as const;
type Region = (typeof REGIONS)[number];
const PEOPLE_COUNT = 40; // of each region; every second one has a socket, half of these abroad
const QUIET_COUNT = 2; // of these, one with a socket and one without
const KILLS_MS = process.env["CARILLON_TEST_LONG"] === "1" ? 900_000 : 180_000;
const KILL_EVERY_MS = [1_500, 4_500] as const;

/**
 * After the last fault. What waits for a fault's end is handed after some 15 s at most: a dead owner's leases
 * run out after 10 s and are taken within 3 more, a backlog is tried again every 3 s. Of whom it was sent to
 * an ack may have been lost with the last kill: it is sent again `ackMaxMs`, 30 s, later. Sessions of a gateway
 * that is gone end sooner: 14 s to be suspected from the other region, and the 5 s of grace above.
 * See packages/delivery, "How long a row may stay open".
 */
const ENDED_MAX_MS = 45_000;
const CLOCKS_MS = 50; // two readings of one machine's clock, hours apart at most
const PARTITIONS = Array.from({ length: LIMITS.partitionCount }, (_, n) => n);

let system: TestCluster;
let quiet: Quiet;
let cancelledCount = 0; // in a home
const people: Person[] = [];
/** Nodes that served and ended unasked: what a lost Postgres or NATS must not cause. */
const endedByThemselves: string[] = [];
const killed = { node: 0, worker: 0 };
const toBeKilled = { node: 0, worker: 0 };

beforeAll(async () => {
  system = await startTestCluster(REGIONS, { CARILLON_NODE_SESSION_GRACE_MS: "5000" }, "durable");
  system.cluster.on("exit", ({ component, region, code, signal }) => {
    if (component !== "node" && component !== "worker") return;
    if (signal === "SIGKILL") return void killed[component]++;
    const log = readFileSync(join(system.dataFolder, `nodes/node-${region}.log`), "utf8");
    if (wasReady(log)) endedByThemselves.push(`${region}, ${code ?? signal}: ${log.slice(-1_500)}`);
  });
  for (const home of REGIONS)
    for (let n = 0; n < PEOPLE_COUNT; n++) {
      const id = `${home}-${n}`;
      await system.api(home).register(id, home);
      const region = n % 4 === 0 ? home : otherThan(home);
      const log = n % 2 === 0 ? system.inbox(id, { region, issuer: home }) : undefined;
      people.push({ id, home, log });
    }
  for (const region of REGIONS)
    for (const { id } of people)
      await until(`${region} knows ${id}`, 20_000, async () => {
        const { status } = await system.api(region).call("GET", `/v1/recipients/${id}`);
        return status === 200 || undefined;
      });
  await Promise.all(people.map(({ log }) => log?.live() ?? Promise.resolve()));
  quiet = quietForAWhile();
  const { quietHours } = quiet;
  for (const { id } of people.filter(isLeftAlone))
    await until(`${id} is left alone`, 20_000, async () => {
      const path = `/v1/recipients/${id}/preferences`;
      const { status } = await system.api("fra").call("PUT", path, { quietHours });
      return status === 200 || undefined;
    });
});
afterAll(() => system?.stop());

test(
  "D1, D2, D3 — under kill -9 of nodes, workers, nats-servers and Postgres every accepted notification ends once for everybody",
  async () => {
    const seed = Number(process.env["CARILLON_TEST_SEED"] ?? Date.now() % 1_000_000);
    const accepted = new Map<string, Posted>();
    const state = { isOver: false };
    const posters = Array.from({ length: POSTERS_COUNT }, (_, poster) =>
      post(system.api(REGIONS[poster % REGIONS.length] ?? "fra"), {
        ...{ poster, people, accepted, state },
      }),
    );
    const kills = await killFor(KILLS_MS, diceOf(seed));
    state.isOver = true;
    await Promise.all(posters);
    console.info(`seed ${seed}: ${accepted.size} accepted under ${JSON.stringify(kills)}`);
    expect(accepted.size).toBeGreaterThan((KILLS_MS / 1_000) * 50); // a quarter of what was tried

    const startedAtMs = performance.now();
    const moved = new Map(REGIONS.map((home) => [home, movedOf(home, accepted)] as const));
    await until("nothing waits or is open", ENDED_MAX_MS, () => isAllTerminal(moved));
    console.info(`all ended ${Math.round(performance.now() - startedAtMs)} ms after the last kill`);
    for (const home of REGIONS) await countAll(home, accepted);
    console.info(`${cancelledCount} were cancelled for somebody of a region`);
    expect(cancelledCount).toBeGreaterThan(0);
    for (const person of people) await sawAllOnce(person, accepted);
    expect([endedByThemselves, killed]).toEqual([[], toBeKilled]);
  },
  KILLS_MS + 400_000,
);

async function killFor(forMs: number, dice: () => number): Promise<Record<string, number>> {
  const { cluster } = system;
  const workers = new Map<Region, Awaited<ReturnType<typeof cluster.addWorker>>>();
  const replaceWorker = async (region: Region): Promise<void> => {
    const old = workers.get(region);
    if (old !== undefined) {
      toBeKilled.worker++;
      old.kill("SIGKILL");
      await old.exited;
    }
    const next = await cluster.addWorker(region).catch(() => undefined); // Postgres may be away
    if (next === undefined) workers.delete(region);
    else workers.set(region, next);
  };
  const kinds = {
    node: async (region: Region) => {
      await cluster.nodeOf(region);
      toBeKilled.node++;
      cluster.killNode(region, "SIGKILL");
    },
    worker: replaceWorker,
    nats: async (region: Region) => {
      await cluster.natsUp(region);
      cluster.killNats(region, "SIGKILL");
    },
    postgres: async () => {
      await cluster.postgresUp();
      cluster.killPostgres("SIGKILL");
    },
  };
  const counts: Record<string, number> = {};
  const names = Object.keys(kinds) as (keyof typeof kinds)[];
  const endsAtMs = performance.now() + forMs;
  while (performance.now() < endsAtMs) {
    const name = names[Math.floor(dice() * names.length)] ?? "node";
    counts[name] = (counts[name] ?? 0) + 1;
    await kinds[name](REGIONS[Math.floor(dice() * REGIONS.length)] ?? "fra");
    const [min, max] = KILL_EVERY_MS;
    await new Promise((resolve) => setTimeout(resolve, min + dice() * (max - min)));
  }
  await cluster.postgresUp();
  for (const region of REGIONS) await Promise.all([cluster.natsUp(region), cluster.nodeOf(region)]);
  return counts;
}

/**
 * In no region anything waits for another one; then: nothing is planned, or has somebody without an outcome; then:
 * nobody's row is still to come. `moved`: by home, what may wait for its time; what has ended is removed.
 */
async function isAllTerminal(moved: ReadonlyMap<Region, Set<string>>): Promise<true> {
  for (const home of REGIONS) {
    const waitingCount = await system.store(home).outbox.backlog(otherThan(home));
    if (waitingCount > 0) throw new Error(`${home}: ${waitingCount} wait`);
  }
  for (const home of REGIONS) {
    const open = await system.store(home).ledger.readUnclosedRows(home, PARTITIONS);
    if (open.length > 0) throw new Error(`${home}: ${open.length} are open, ${rowsText(open)}`);
  }
  for (const [home, ids] of moved)
    while (ids.size > 0) {
      const some = [...ids].slice(0, 1_000);
      const scope = { home, tenantId: "demo" };
      const progress = await system.store(home).notifications.countsOf(scope, some);
      for (const [id, { state }] of progress) if (state === "finished") ids.delete(id);
      const left = some.find((id) => ids.has(id));
      if (left !== undefined) throw new Error(`${home}: ${left} is ${progress.get(left)?.state}`);
    }
  return true;
}

function isLeftAlone({ id }: Person): boolean {
  return Number(id.split("-")[1]) < QUIET_COUNT;
}

/** What has a time of its own, or was for somebody in his quiet hours. */
function movedOf(home: Region, accepted: ReadonlyMap<string, Posted>): Set<string> {
  const moved = [...accepted].filter(
    ([, { to, isLater }]) =>
      to.some((person) => person.home === home) && (isLater || to.some(isLeftAlone)),
  );
  return new Set(moved.map(([id]) => id));
}

/** Each accepted notification is counted against whom it was meant for in this home. */
async function countAll(home: Region, accepted: ReadonlyMap<string, Posted>): Promise<void> {
  const wanted = new Map<string, number>();
  for (const [id, { to }] of accepted) {
    const count = to.filter((person) => person.home === home).length;
    if (count > 0) wanted.set(id, count);
  }
  const ids = [...wanted.keys()];
  const scope = { home, tenantId: "demo" };
  for (let at = 0; at < ids.length; at += 1_000) {
    const some = ids.slice(at, at + 1_000);
    const progress = await system.store(home).notifications.countsOf(scope, some);
    for (const id of some) {
      const { state, counts } = progress.get(id)!;
      const { targeted, deliveredSocket, noDevice, unacked, expired, failed, cancelled } = counts;
      const endedCount = deliveredSocket + noDevice + unacked + expired + failed + cancelled;
      const peopleCount = wanted.get(id);
      expect([id, state, targeted, endedCount]).toEqual([id, "finished", peopleCount, peopleCount]);
      const { isCancelled } = accepted.get(id)!;
      expect([id, isCancelled || cancelled === 0]).toEqual([id, true]);
      if (cancelled > 0) cancelledCount++;
    }
  }
}

/**
 * D3: whoever has a socket is shown all that was for them, each once, in the order of offsets; what was cancelled
 * once at most; who was left alone nothing before that was over.
 */
async function sawAllOnce(person: Person, accepted: ReadonlyMap<string, Posted>) {
  const { id, log } = person;
  if (log === undefined) return;
  const cancelled = new Set<string>();
  const titles: string[] = [];
  for (const { title, to, isCancelled } of accepted.values())
    if (isCancelled) cancelled.add(title);
    else if (to.some((one) => one.id === id)) titles.push(title);
  const shown = (): string[] => log.titles.filter((title) => !cancelled.has(title));
  await until(`${id} was shown ${titles.length}`, 120_000, () =>
    shown().length >= titles.length ? true : undefined,
  );
  const offsets = log.seen.map(({ offset }) => offset);
  expect(offsets).toEqual([...new Set(offsets)].toSorted((a, b) => a - b));
  expect([id, log.resetCount, shown().toSorted()]).toEqual([id, 0, titles.toSorted()]);
  expect(new Set(log.titles).size).toBe(log.titles.length);
  const firstAtMs = performance.timeOrigin + (log.seenAtMs[0] ?? 0);
  const soonestMs = isLeftAlone(person) ? quiet.endsAtMs - CLOCKS_MS : 0;
  expect([id, firstAtMs > soonestMs]).toEqual([id, true]);
}

/** Of the node whose line is the last one. One that finds no Postgres at its start exits and is started again. */
function wasReady(log: string): boolean {
  const lines = log.trim().split("\n");
  const node = /"node":"[^"]+"/.exec(lines.at(-1) ?? "")?.[0];
  if (node === undefined) return true; // what it printed is no log line: it crashed
  return lines.some((line) => line.includes(node) && line.includes('"event":"node.ready"'));
}

function rowsText(rows: readonly { partition: number; offset: number; state: string }[]): string {
  const some = rows.slice(0, 5);
  return some.map(({ partition, offset, state }) => `${partition}:${offset} ${state}`).join(", ");
}

function otherThan(region: Region): Region {
  return region === "fra" ? "lon" : "fra";
}

/** Lehmer's generator: numbers from 0 up to 1, the same for the same seed. */
function diceOf(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return (state - 1) / 2_147_483_646;
  };
}
