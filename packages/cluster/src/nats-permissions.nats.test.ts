// Goal: NP1–NP3 as the server sees them (C10): for each role what it may say and hear, and what not.
// Method: two real regions with the users of nats-permissions.ts; every subject is tried by every
// role, in both regions' names, and what the server denies is compared with a table.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bus, type BusEvent, connectBus, createNatsKey, type NatsKey } from "@carillon/bus";
import { systemClock, systemRandom } from "@carillon/kernel";
import { subjects } from "@carillon/contracts";
import { freePorts, startNatsServer } from "@carillon/local";
import { afterAll, beforeAll, expect, test } from "vitest";
import { renderNatsConf } from "./nats-conf.ts";
import {
  NATS_ROLES,
  natsInboxPrefixOf,
  type NatsRole,
  type NatsUserName,
} from "./nats-permissions.ts";
import { connectRaw } from "./test-raw-client.ts";

const TEST_MAX_MS = 90_000;
const REQUEST_MAX_MS = 20_000;
const REGIONS = ["fra", "lon"] as const;
const USERS = [...NATS_ROLES, "node"] as const;
const SENTINEL = "sentinel"; // nobody's: its denial says that all before it was looked at
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

/** One real subject of each kind, by region; and what nobody may touch. */
const namedBy = (region: string): string[] => [
  ...Object.values(subjects).flatMap((of) =>
    of === subjects.beats || of === subjects.nearBeats
      ? []
      : [(of as (...args: unknown[]) => string)(...argsFor(of, region))],
  ),
  ...USERS.map((user) => `_INBOX.${region}.${user}.abc.1`),
];
const argsFor = (of: unknown, region: string): unknown[] => {
  if (of === subjects.partitionSessions) return [region, 7];
  if (of === subjects.beat || of === subjects.nearBeat) return [region, `${region}-worker-1`];
  const isMember = [
    subjects.memberPoke,
    subjects.memberDeliver,
    subjects.memberAdmin,
    subjects.memberRoute,
    subjects.memberPlan,
  ].includes(of as never);
  return [isMember ? `${region}-worker-1` : region];
};
const ALL = [...REGIONS.flatMap(namedBy), "$SYS.REQ.SERVER.PING", "anything.else"];
const WIDE = ["beat.*.*", "member.*.*.poke", "member.fra.*.poke", "home.*.part.*", "_INBOX.>", ">"];

const cleanUps: (() => unknown)[] = [];
const keys = new Map<string, NatsKey>(); // by region/user
const urls = new Map<string, string>();

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), "carillon-cluster-"));
  cleanUps.push(() => rmSync(folder, { recursive: true }));
  const ports = await freePorts(6);
  const gateways = REGIONS.map((region, at) => ({
    region,
    urls: [`nats://127.0.0.1:${ports[at * 3 + 2]}`],
  }));
  for (const [at, region] of REGIONS.entries()) {
    const own = USERS.map((name) => [name, createNatsKey()] as const);
    for (const [name, key] of own) keys.set(`${region}/${name}`, key);
    const publicKeys = own.map(([name, { publicKey }]) => [name, [publicKey]] as const);
    const configText = renderNatsConf({
      serverName: `${region}-a`,
      region,
      clientPort: ports[at * 3]!,
      clusterPort: ports[at * 3 + 1]!,
      routes: [],
      gatewayPort: ports[at * 3 + 2]!,
      gateways,
      pidFile: join(folder, `${region}.pid`),
      auth: { kind: "roles", keys: Object.fromEntries(publicKeys) },
    });
    const server = await startNatsServer({ folder, name: `${region}-a`, configText });
    cleanUps.push(() => server.stop());
    urls.set(region, server.clientUrl);
  }
}, TEST_MAX_MS);
afterAll(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

/** Connected as that user; `denied` fills with what the server refuses it. */
async function as(
  user: NatsUserName,
  region: (typeof REGIONS)[number] = "fra",
): Promise<{ bus: Bus; denied: string[]; untilSeen: (sentinel: string) => Promise<void> }> {
  const denied: string[] = [];
  const seen = Promise.withResolvers<void>();
  const roles: readonly NatsRole[] = user === "node" ? ["ingest", "worker", "gateway"] : [user];
  const onEvent = (event: BusEvent): void => {
    if (event.kind !== "publish_denied" && event.kind !== "subscription_denied") return;
    if (event.subject === SENTINEL) return seen.resolve();
    denied.push(event.subject);
  };
  const bus = await connectBus({
    urls: [urls.get(region)!],
    name: `${region}/${user}`,
    clock: systemClock,
    random: systemRandom,
    credentials: { kind: "nkey", seed: keys.get(`${region}/${user}`)!.seed },
    inboxPrefix: natsInboxPrefixOf(roles, region),
    onEvent,
  });
  expect(bus.isConnected).toBe(true);
  cleanUps.push(() => bus.drain());
  return { bus, denied, untilSeen: () => seen.promise };
}

/** What is not denied. */
async function maySay(user: NatsUserName): Promise<string[]> {
  const { bus, denied, untilSeen } = await as(user);
  for (const subject of [...ALL, SENTINEL]) bus.publish(subject, bytes("?"));
  await untilSeen(SENTINEL);
  await bus.drain();
  return ALL.filter((subject) => !denied.includes(subject)).toSorted();
}

async function mayHear(user: NatsUserName): Promise<string[]> {
  const { bus, denied, untilSeen } = await as(user);
  for (const subject of [...ALL, ...WIDE, SENTINEL]) bus.subscribe(subject, () => undefined);
  await untilSeen(SENTINEL);
  await bus.drain();
  return [...ALL, ...WIDE].filter((subject) => !denied.includes(subject)).toSorted();
}

const ASKED = [
  ...["claim", "directory", "explain", "groups", "homes", "inbox", "locate", "members", "notify"],
  ...["plan", "preferences", "recipient", "recipients", "status", "templates"],
];
const askedIn = (region: string): string[] => ASKED.map((what) => `region.${region}.${what}`);
/** What chains ask: workers of any region, ingest nodes of the home. */
const WORKER_ASKS = ["region.fra.acked", "region.lon.acked"];
const BEATS = [
  "beat-near.fra.fra-worker-1",
  "beat.*.*",
  "beat.fra.fra-worker-1",
  "beat.lon.lon-worker-1",
];
const inBoth = (what: string): string[] =>
  REGIONS.map((region) => `member.${region}.${region}-worker-1.${what}`);

const INGEST_SAYS = [
  ...askedIn("fra"),
  ...askedIn("lon"),
  ...inBoth("admin"),
  ...inBoth("plan"),
  ...inBoth("poke"),
  ...inBoth("route"),
];
/** Answers, to whoever asks what it hears: a node has every role. */
const answersTo = (...askers: NatsUserName[]): string[] =>
  [...askers, "node"].flatMap((user) => REGIONS.map((region) => `_INBOX.${region}.${user}.abc.1`));
const GATEWAY_SAYS = ["home.fra.part.7", "home.lon.part.7"];
const WORKER_HEARS = [
  "home.fra.part.7",
  "member.fra.*.poke",
  "member.fra.fra-worker-1.plan",
  "member.fra.fra-worker-1.poke",
  "member.fra.fra-worker-1.route",
];
const GATEWAY_HEARS = ["member.fra.fra-worker-1.deliver"];
const OWN = ["beat-near.fra.fra-worker-1", "beat.fra.fra-worker-1"]; // of the region: NATS cannot say "of this member"
const ADMIN = ["member.fra.fra-worker-1.admin"];

const TABLE: Record<NatsUserName, { says: string[]; hears: string[] }> = {
  ingest: {
    says: [...OWN, ...INGEST_SAYS, ...answersTo("ingest", "worker")],
    hears: [...BEATS, ...ADMIN, ...askedIn("fra"), "region.fra.acked", "_INBOX.fra.ingest.abc.1"],
  },
  worker: {
    says: [
      ...OWN,
      ...inBoth("deliver"),
      ...inBoth("route"),
      ...WORKER_ASKS,
      ...answersTo("ingest", "worker", "gateway"),
    ],
    hears: [...BEATS, ...ADMIN, ...WORKER_HEARS, "_INBOX.fra.worker.abc.1"],
  },
  gateway: {
    says: [...OWN, ...GATEWAY_SAYS, ...answersTo("ingest")],
    hears: [...BEATS, ...ADMIN, ...GATEWAY_HEARS, "_INBOX.fra.gateway.abc.1"],
  },
  agent: { says: [], hears: [...BEATS, "_INBOX.fra.agent.abc.1"] },
  node: {
    says: [
      ...OWN,
      ...INGEST_SAYS,
      ...GATEWAY_SAYS,
      ...inBoth("deliver"),
      ...WORKER_ASKS,
      ...answersTo("ingest", "worker", "gateway"),
    ],
    hears: [
      ...BEATS,
      ...ADMIN,
      ...askedIn("fra"),
      "region.fra.acked",
      ...WORKER_HEARS,
      ...GATEWAY_HEARS,
      "_INBOX.fra.node.abc.1",
    ],
  },
};

test.each(USERS)(
  "NP1, NP2, C10 — %s may say and hear this, and is denied all the rest",
  async (user) => {
    expect(await maySay(user)).toEqual(TABLE[user].says.toSorted());
    expect(await mayHear(user)).toEqual(TABLE[user].hears.toSorted());
  },
  TEST_MAX_MS,
);

test("NP1, C10 — the table's sharpest points, one by one", () => {
  const { gateway, worker, ingest, agent } = TABLE;
  for (const subject of [...askedIn("fra"), ...askedIn("lon")])
    expect(gateway.says).not.toContain(subject);
  for (const { says } of [ingest, worker, gateway, agent])
    expect(says).not.toContain("beat.lon.lon-worker-1");
  for (const { hears } of [ingest, gateway, agent])
    expect(hears.filter((subject) => subject.endsWith(".poke"))).toEqual([]);
  expect(worker.hears).not.toContain("member.lon.lon-worker-1.poke");
  expect(gateway.hears).not.toContain("_INBOX.fra.worker.abc.1");
});

test(
  "NP3, C10 — who is asked may answer, in the other region as well; a role that is not asked may not",
  async () => {
    const asker = await as("ingest", "lon");
    const answerer = await as("ingest", "fra");
    const agent = await as("agent", "fra");
    answerer.bus.subscribe(
      subjects.regionNotify("fra"),
      (message) => message.reply(bytes("first")),
      { queue: "ingest" },
    );
    let outcome = await asker.bus.request(subjects.regionNotify("fra"), bytes("?"), REQUEST_MAX_MS);
    while (outcome.kind === "no_responders")
      outcome = await asker.bus.request(subjects.regionNotify("fra"), bytes("?"), REQUEST_MAX_MS);
    expect(outcome.kind === "reply" && text(outcome.data)).toBe("first");
    expect(answerer.denied).toEqual([]);
    agent.bus.publish("_INBOX.lon.ingest.spy.1", bytes("not asked"));
    agent.bus.publish(SENTINEL, bytes("?"));
    await agent.untilSeen(SENTINEL);
    expect(agent.denied).toEqual(["_INBOX.lon.ingest.spy.1"]);
  },
  TEST_MAX_MS,
);

/** A subject that the user may not say, named as the reply of all that it may say and hear. */
const FORGED = [
  "region.lon.directory",
  "member.lon.lon-worker-1.deliver",
  "beat.lon.lon-worker-1",
  "anything.else",
];

test.each(["ingest", "worker", "gateway", "node"] as const)(
  "NP3, C10 — %s that answers itself gets no right to the subject it named for the reply",
  async (user) => {
    const { says, hears } = TABLE[user];
    const client = await connectRaw(urls.get("fra")!, keys.get(`fra/${user}`)!.seed);
    cleanUps.push(() => client.close());
    const both = says.filter((subject) => hears.includes(subject));
    expect(both).toContain("beat.fra.fra-worker-1");
    for (const [at, subject] of both.entries()) client.write(`SUB ${subject} ${at + 1}`);
    const forged = FORGED.filter((subject) => !says.includes(subject));
    for (const subject of forged) {
      for (const [at, own] of both.entries()) {
        client.write(`PUB ${own} ${subject} 2`, "{}");
        const heard = await client.until(`MSG ${own} ${at + 1}`);
        expect(heard).not.toContain("-ERR");
        client.write(`PUB ${subject} 2`, "{}", "PING");
        const answer = await client.until("PONG");
        expect(answer).toContain(`-ERR 'Permissions Violation for Publish to "${subject}"'`);
      }
    }
    expect(forged.length).toBeGreaterThan(1);
  },
  TEST_MAX_MS,
);

test("C10 — a key of the other region, or none, is nobody here", async () => {
  for (const credentials of [
    { kind: "nkey", seed: keys.get("lon/worker")!.seed },
    { kind: "none" },
  ] as const) {
    const failed = Promise.withResolvers<BusEvent>();
    const bus = await connectBus({
      urls: [urls.get("fra")!],
      name: "stranger",
      clock: systemClock,
      random: systemRandom,
      credentials,
      onEvent: failed.resolve,
      limits: { firstConnectMaxMs: 50 },
    });
    expect(await failed.promise).toMatchObject({ kind: "connect_failed", code: "unauthorized" });
    await bus.drain();
  }
});
