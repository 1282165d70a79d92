// Goal: IN4, IN7, IN8, IN14 and idempotency (A2). Method: a real node on a real database, some of
// them through a proxy that stalls or cuts; workers' poke subjects are listened to on real NATS.
import { partitionOf, type Poke } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { INGEST_LIMITS } from "./limits.ts";
import { startProxy, type TestProxy } from "./test-proxy.ts";
import {
  ask,
  collectPokes,
  startRegions,
  TENANT,
  TEST_MAX_MS,
  type TestNode,
  type TestRegions,
  until,
} from "./test-regions.ts";

let regions: TestRegions;
let node: TestNode;
let proxy: TestProxy;
let stalling: TestNode;

beforeAll(async () => {
  regions = await startRegions(["fra"]);
  const ownerOf = (home: string, partition: number) =>
    partition === 255 ? undefined : `${home}-w${partition % 2}`;
  node = await regions.startNode("fra", { ownerOf });
  const database = new URL(regions.databaseUrl("fra"));
  proxy = await startProxy(Number(database.port));
  database.port = String(proxy.port);
  stalling = await regions.startNode("fra", {
    databaseUrl: database.href,
    limits: { accept: { ...INGEST_LIMITS.accept, batchesAtOnceMax: 1, queueMax: 2 } },
  });
}, TEST_MAX_MS);
afterAll(async () => {
  await proxy.stop();
  await regions.stop();
}, TEST_MAX_MS);

const content = { en: { title: "Hello" } };
const post = (to: TestNode, body: unknown, headers: Record<string, string> = {}) =>
  ask(`${to.url}/v1/notifications`, { method: "POST", token: regions.apiKey, body, headers });

async function offsetsGiven(): Promise<number> {
  const heads = await node.store.ledger.readHeads("fra", [...Array(256).keys()]);
  return heads.reduce((sum, head) => sum + head.nextOffset - 1, 0);
}

test("A2 — one Idempotency-Key fifty times at once is one notification", async () => {
  const before = await offsetsGiven();
  const body = { audience: { broadcast: true }, content };
  const headers = { "idempotency-key": "fifty" };
  const answers = await Promise.all(Array.from({ length: 50 }, () => post(node, body, headers)));
  expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(202));
  expect(new Set(answers.map(({ body: answer }) => JSON.stringify(answer))).size).toBe(1);
  const replayed = answers.filter(
    (answer) => answer.headers.get("idempotency-replayed") === "true",
  );
  expect(replayed.length).toBe(49);
  expect((await offsetsGiven()) - before).toBe(256);
});

test("A2 — the order of keys does not matter, another body is 422", async () => {
  const headers = { "idempotency-key": "order" };
  const first = await post(node, { content, audience: { broadcast: true } }, headers);
  const second = await post(node, { audience: { broadcast: true }, content }, headers);
  expect([second.status, second.body]).toEqual([202, first.body]);
  const third = await post(
    node,
    { audience: { broadcast: true }, content, priority: "high" },
    headers,
  );
  expect(third.status).toBe(422);
  expect(third.body).toMatchObject({
    code: "idempotency_mismatch",
    errors: [{ field: "Idempotency-Key" }],
  });
});

test("IN7, IN8 — each owner is poked once, with the content once; no owner, no poke", async () => {
  const bus = await regions.connectBus("fra", "worker");
  const even = collectPokes(bus, "fra-w0");
  const odd = collectPokes(bus, "fra-w1");
  await until("the subscriptions are known", async () => {
    await post(node, { audience: { broadcast: true }, content: { en: { title: "probe" } } });
    return even.length > 0 && odd.length > 0;
  });
  const { body: answer } = await post(node, { audience: { broadcast: true }, content });
  const last = await post(node, { audience: { broadcast: true }, content });
  await until("what came before the last is here", () =>
    [even, odd].every((pokes) => pokesOf(pokes, last.body["id"]).length > 0),
  );
  const [evenPokes, oddPokes] = [pokesOf(even, answer["id"]), pokesOf(odd, answer["id"])];
  expect([evenPokes.length, oddPokes.length]).toEqual([1, 1]);
  const [evenPoke, oddPoke] = [evenPokes[0]!, oddPokes[0]!];
  expect([evenPoke.items.length, oddPoke.items.length]).toEqual([1, 1]);
  expect(evenPoke.home).toBe("fra");
  expect(evenPoke.items[0]!.notification).toMatchObject({ id: answer["id"], content });
  expect(evenPoke.items[0]!.audience).toEqual({ kind: "broadcast" });
  const partitions = (poke: typeof evenPoke) =>
    poke.items[0]!.entries.map((entry) => entry.partition);
  expect(partitions(evenPoke)).toEqual(Array.from({ length: 128 }, (_, at) => at * 2));
  expect(partitions(oddPoke)).toEqual(Array.from({ length: 127 }, (_, at) => at * 2 + 1));
});

test("IN7 — a small audience travels as index numbers, without ids", async () => {
  const recipientIds = ["ada", "ben", "cyd"];
  for (const recipientId of recipientIds)
    await ask(`${node.url}/v1/recipients/${recipientId}`, {
      method: "PUT",
      token: regions.apiKey,
      body: {},
    });
  const bus = await regions.connectBus("fra", "worker-2");
  const pokes = [...collectPokesOf(bus, ["fra-w0", "fra-w1"])];
  const wanted = [...recipientIds, "ada", "nobody", "dan"];
  await until("the subscriptions are known", async () => {
    await post(node, { audience: { broadcast: true }, content });
    return pokes.every((list) => list.length > 0);
  });
  const answer = await post(node, {
    audience: { recipients: wanted },
    exclude: ["dan", "ben"],
    content,
  });
  expect(answer.body).toMatchObject({ regions: ["fra"], unknownCount: 1 });
  const items = await until("the pokes", () => {
    const own = pokes.flatMap((list) => pokesOf(list, answer.body["id"]));
    const all = own.flatMap((poke) => poke.items);
    return all.flatMap((item) => item.entries).length === 2 ? all : undefined;
  });
  const entries = items.flatMap((item) => item.entries);
  expect(items.map((item) => item.audience)).toEqual(items.map(() => null));
  expect(entries.map((entry) => entry.partition).toSorted((left, right) => left - right)).toEqual(
    ["ada", "cyd"].map((id) => partitionOf(TENANT, id)).toSorted((left, right) => left - right),
  );
  expect(entries.map((entry) => entry.members?.length)).toEqual([1, 1]);
});

test("A2 — an explicit audience that leaves nobody is accepted and finished", async () => {
  const answer = await post(node, { audience: { recipients: ["nobody"] }, content });
  expect(answer.body).toMatchObject({ regions: [], unknownCount: 1 });
  const status = await ask(`${node.url}/v1/notifications/${String(answer.body["id"])}`, {
    token: regions.apiKey,
  });
  expect(status.body).toMatchObject({
    state: "finished",
    counts: { targeted: 0, unknown: 1, pending: 0 },
    regions: [],
  });
});

test("IN14, D1 — 202 comes after the commit; a lost database is 503 and nothing half-done", async () => {
  const body = { audience: { broadcast: true }, content };
  expect((await post(stalling, body)).status).toBe(202); // key cached, connections open
  const before = await offsetsGiven();

  let isHeld = proxy.hold();
  let answered = false;
  const slow = post(stalling, body, { "idempotency-key": "slow" }).finally(() => (answered = true));
  await isHeld;
  expect([answered, await offsetsGiven()]).toEqual([false, before]);
  proxy.release();
  expect((await slow).status).toBe(202);
  expect(await offsetsGiven()).toBe(before + 256);

  isHeld = proxy.hold();
  const lost = post(stalling, body, { "idempotency-key": "lost" });
  await isHeld;
  proxy.cut();
  const answer = await lost;
  expect([answer.status, answer.body["code"]]).toEqual([503, "store_unavailable"]);
  expect(answer.headers.get("retry-after")).toBe("1");
  expect(await offsetsGiven()).toBe(before + 256);

  const again = await post(stalling, body, { "idempotency-key": "lost" });
  expect([again.status, again.headers.get("idempotency-replayed")]).toEqual([202, null]);
});

test("D6 — a full queue answers 503 overloaded at once, and what was taken is finished", async () => {
  const body = { audience: { broadcast: true }, content };
  const isHeld = proxy.hold();
  const first = post(stalling, body);
  await isHeld;
  const waiting = [post(stalling, body), post(stalling, body)];
  await until("two wait", () => stalling.ingest.load.acceptWaitingCount === 2);
  const refused = await post(stalling, body);
  expect([refused.status, refused.body["code"]]).toEqual([503, "overloaded"]);
  expect(refused.headers.get("retry-after")).toBe("1");
  proxy.release();
  expect((await Promise.all([first, ...waiting])).map(({ status }) => status)).toEqual([
    202, 202, 202,
  ]);
});

test("readiness follows the database; liveness does not", async () => {
  const ready = await ask(`${node.url}/readyz`);
  expect(ready.body).toEqual({ status: "ready", database: "connected", bus: "connected" });
  const down = await regions.startNode("fra", {
    databaseUrl: "postgres://nobody:nothing@127.0.0.1:1/none",
  });
  expect((await ask(`${down.url}/readyz`)).status).toBe(503);
  expect((await ask(`${down.url}/livez`)).body).toEqual({ status: "live" });
  const metrics = await ask(`${down.url}/metrics`);
  expect(String(metrics.body["text"])).toContain("# TYPE carillon_http_requests_total counter");
});

test("IN4 — draining refuses new writes, finishes what was accepted, still answers reads", async () => {
  const body = { audience: { broadcast: true }, content };
  const isHeld = proxy.hold();
  const accepted = post(stalling, body);
  await isHeld;
  const drained = stalling.ingest.drain();
  const refused = await post(stalling, body);
  expect([refused.status, refused.body["code"]]).toEqual([503, "draining"]);
  expect(refused.headers.get("connection")).toBe("close");
  expect((await ask(`${stalling.url}/readyz`)).body["code"]).toBe("draining");
  proxy.release();
  const answer = await accepted;
  expect(answer.status).toBe(202);
  await drained;
  const status = await ask(`${stalling.url}/v1/notifications/${String(answer.body["id"])}`, {
    token: regions.apiKey,
  });
  expect(status.status).toBe(200);
  await stalling.ingest.stop();
  await stalling.ingest.stop();
});

test("IN28 — nothing that was told holds content, recipients or keys", () => {
  const told = [...node.events, ...stalling.events].map(({ name, args }) => [
    name,
    ...args.map((arg) => (arg instanceof Error ? arg.message : arg)),
  ]);
  const text = JSON.stringify(told);
  expect(text).toContain('"store.unavailable"');
  for (const secret of ["Hello", "nobody", regions.apiKey, "fifty"])
    expect(text.includes(secret)).toBe(false);
});

function pokesOf(pokes: readonly Poke[], id: unknown): Poke[] {
  return pokes.filter(({ items }) => items.some(({ notification }) => notification.id === id));
}

function collectPokesOf(bus: Parameters<typeof collectPokes>[0], memberIds: readonly string[]) {
  return memberIds.map((memberId) => collectPokes(bus, memberId));
}
