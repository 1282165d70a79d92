// test/e2e/crossing.test.ts
// A notification crosses Europe: four regions of real processes, Postgres and nats-servers.
import type { NotificationStatus } from "@carillon/contracts";
import { createStore } from "@carillon/store";
import { Socket } from "phoenix";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";
import { startTestCluster, type TestCluster } from "./cluster.ts";
import { startTcpProxy } from "./tcp-proxy.ts";

const REGIONS = ["fra", "lon", "par", "dub"];
let system: TestCluster;
const api = (region: string) => system.api(region);

const summary = ({ counts }: NotificationStatus) => ({
  targeted: counts.targeted,
  deliveredSocket: counts.deliveredSocket,
  noDevice: counts.noDevice,
  pending: counts.pending,
  unknown: counts.unknown,
});

beforeAll(async () => {
  system = await startTestCluster(REGIONS);
});
afterAll(() => system?.stop());

test("D1, D2 — posted in each region, homed in each, connected in any: 16 pairs, once each", async () => {
  const people = REGIONS.flatMap((home) =>
    REGIONS.map((connected) => ({ id: `pair-${home}-${connected}`, home, connected })),
  );
  for (const { id, home } of people) await api("par").register(id, home, { group: "pairs" });
  await api("par").register("pair-offline", "dub", { group: "pairs" });
  const logs = await Promise.all(
    people.map(({ id, connected }) => system.connect(id, { region: connected })),
  );
  const audience = { recipients: [...people.map(({ id }) => id), "pair-offline", "nobody"] };
  for (const region of REGIONS) {
    const explicit = await api(region).post(audience, `explicit from ${region}`);
    expect(summary(await api(region).finished(explicit))).toEqual({
      targeted: 17,
      deliveredSocket: 16,
      noDevice: 1,
      pending: 0,
      unknown: 1,
    });
    const filter = { filter: { key: "group", cmp: "eq", val: "pairs" } };
    const filtered = await api(region).post(filter, `filter from ${region}`, {
      exclude: ["pair-fra-lon"],
    });
    const status = await api("dub").finished(filtered); // any region can tell
    expect(summary(status)).toEqual({
      targeted: 16,
      deliveredSocket: 15,
      noDevice: 1,
      pending: 0,
      unknown: 0,
    });
    const byRegion = status.regions.map(({ region: of, counts }) => [of, counts.targeted]);
    expect(Object.fromEntries(byRegion)).toEqual({ fra: 3, lon: 4, par: 4, dub: 5 });
  }
  const expected = REGIONS.flatMap((region) => [
    `explicit from ${region}`,
    `filter from ${region}`,
  ]);
  logs.forEach((log, at) => {
    const wanted = expected.filter(
      (title) => people[at]!.id !== "pair-fra-lon" || title.startsWith("explicit"),
    );
    expect({ who: people[at]!.id, titles: log.titles }).toEqual({
      who: people[at]!.id,
      titles: wanted,
    });
    const offsets = log.seen.map(({ offset }) => offset);
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
    expect(log.resetCount).toBe(0);
  });
});

test("A2 — one Idempotency-Key posted 50 times at once: one notification; another body: 422", async () => {
  await api("lon").register("once", "lon");
  const log = await system.connect("once", { region: "lon" });
  const body = (title: string) => ({
    audience: { recipients: ["once"] },
    content: { en: { title } },
  });
  const headers = { "idempotency-key": "fifty-at-once" };
  const answers = await Promise.all(
    Array.from({ length: 50 }, () =>
      api("lon").call<{ id: string }>("POST", "/v1/notifications", body("one"), headers),
    ),
  );
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
  expect(new Set(answers.map((answer) => answer.body.id)).size).toBe(1);
  expect(answers.filter((answer) => !answer.headers.has("idempotency-replayed")).length).toBe(1);
  const other = await api("lon").call<{ code: string }>(
    "POST",
    "/v1/notifications",
    body("two"),
    headers,
  );
  expect([other.status, other.body.code]).toEqual([422, "idempotency_mismatch"]);
  await api("lon").finished(answers[0]!.body.id);
  expect(log.titles).toEqual(["one"]);
});

test("W1, W2 — the stock phoenix client receives, acks, and resumes after a dropped connection", async () => {
  await api("fra").register("stock", "fra");
  const token = await api("fra").token("stock");
  const seen: { offset: number; epoch: string; title: string }[] = [];
  const joins: { recovered: boolean; missed: number }[] = [];
  const position = () => seen.at(-1);
  const direct = new URL(system.socketUrl("lon"));
  const proxy = await startTcpProxy(Number(direct.port));
  const socket = new Socket(`ws://127.0.0.1:${proxy.port}${direct.pathname}`, {
    authToken: token,
    reconnectAfterMs: () => 1_500, // long enough for what is posted meanwhile
  });
  socket.connect();
  const channel = socket.channel("inbox", () => {
    const last = position();
    return last === undefined ? {} : { offset: last.offset, epoch: last.epoch };
  });
  channel.on("ntf", (ntf) => {
    seen.push(ntf);
    channel.push("ack", { offset: ntf.offset });
  });
  const joined = new Promise<void>((resolve, reject) => {
    channel
      .join()
      .receive("ok", (reply) => {
        joins.push(reply);
        resolve();
      })
      .receive("error", (reason) => reject(new Error(JSON.stringify(reason))));
  });
  await joined;
  const post = (title: string) => api("dub").post({ recipients: ["stock"] }, title);
  const first = await post("before");
  expect(summary(await api("fra").finished(first))).toMatchObject({ deliveredSocket: 1 });

  // The TCP connection drops without a close frame, as when a network goes away.
  expect(proxy.dropAll()).toBe(1);
  const missed = await Promise.all(["while away 1", "while away 2"].map(post));
  for (const id of missed)
    expect(summary(await api("fra").finished(id))).toMatchObject({ deliveredSocket: 1 });
  const last = await post("after");
  await api("fra").finished(last);
  expect(seen.map(({ title }) => title).toSorted()).toEqual(
    ["after", "before", "while away 1", "while away 2"].toSorted(),
  );
  expect(seen.map(({ title }) => title).at(-1)).toBe("after");
  const offsets = seen.map(({ offset }) => offset);
  expect(offsets).toEqual([...new Set(offsets)].toSorted((a, b) => a - b));
  expect(joins.at(-1)).toMatchObject({ recovered: true });
  socket.disconnect();
  await proxy.close();
});

test("D8 — a recipient's attributes are stored in the home region's database only", async () => {
  await api("fra").register("private", "dub", { secretTrait: "canary-attribute" });
  const found = await Promise.all(
    REGIONS.map(async (region) => {
      const store = createStore({
        url: system.cluster.storeUrl(region),
        poolMax: 1,
        applicationName: "test",
        connectTimeoutMs: 5_000,
        statementTimeoutMs: 5_000,
      });
      const stored = await store.directory.read(system.cluster.tenantId, "private");
      await store.close();
      return [region, stored?.attributes];
    }),
  );
  expect(Object.fromEntries(found)).toEqual({ dub: { secretTrait: "canary-attribute" } });
  await until("every region knows the id", 10_000, async () => {
    const read = await api("lon").call<{ homeRegion: string }>("GET", "/v1/recipients/private");
    return read.body.homeRegion === "dub" || undefined;
  });
});
