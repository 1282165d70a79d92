// Goal: IN58–IN73. Method: three regions over real NATS; a worker's writes, ledger and journal, are made
// with the store, so that every word of an answer is known.
import { COUNT_NAMES, partitionOf } from "@carillon/contracts";
import { DELIVERY_DEFAULTS, isSampled } from "@carillon/delivery";
import { Bitset } from "@carillon/kernel";
import type { JournalEvent, LedgerSets } from "@carillon/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  ask,
  startRegions,
  TENANT,
  TEST_MAX_MS,
  type TestNode,
  type TestRegions,
  until,
} from "./test-regions.ts";
import { putPeople } from "./test-people.ts";

let regions: TestRegions;
const nodes = new Map<string, TestNode>();
const PEOPLE: Readonly<Record<string, { home: string; attributes?: Record<string, unknown> }>> = {
  ada: { home: "fra" },
  ben: { home: "lon", attributes: { country: "gb" } },
  cyd: { home: "lon", attributes: { country: "ie" } },
};

beforeAll(async () => {
  regions = await startRegions(["fra", "lon", "par"]);
  for (const region of regions.regions) nodes.set(region, await regions.startNode(region));
  const people = Object.entries(PEOPLE).map(([recipientId, { home, attributes = {} }]) => {
    return { at: at("par"), recipientId, body: { homeRegion: home, attributes } };
  });
  await putPeople(regions, people);
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

function at(region: string): TestNode {
  const node = nodes.get(region);
  if (node === undefined) throw new Error(region);
  return node;
}

const content = { en: { title: "Hello" } };
async function post(region: string, body: object): Promise<string> {
  const request = { method: "POST", token: regions.apiKey, body: { content, ...body } };
  const answer = await ask(`${at(region).url}/v1/notifications`, request);
  if (answer.status !== 202) throw new Error(JSON.stringify(answer.body));
  await until("it is everywhere", async () => {
    const others = regions.regions.filter((other) => other !== region);
    const left = await Promise.all(others.map((other) => at(region).store.outbox.backlog(other)));
    return left.every((count) => count === 0);
  });
  return String(answer.body["id"]);
}
const get = (region: string, path: string, token = regions.apiKey) =>
  ask(`${at(region).url}/v1/notifications/${path}`, { token });

async function placeOf(recipientId: string) {
  const home = PEOPLE[recipientId]?.home ?? "";
  const { store } = at(home);
  const place = (await store.directory.locate(home, TENANT, [recipientId])).get(recipientId);
  return { home, store, ...place! };
}

/** Sets of the newest row of the recipient's partition, by recipient or by index; as its owner. */
async function record(
  recipientId: string,
  sets: Partial<Record<keyof LedgerSets, readonly number[]>>,
): Promise<void> {
  const { home, store, partition } = await placeOf(recipientId);
  const lease = { home, memberId: `${home}-w`, partitions: [partition] };
  const [taken] = await store.leases.acquire({ ...lease, leaseMs: 60_000 });
  const row = (await store.ledger.readUnclosedRows(home, [partition])).at(-1)!;
  const bytes = (name: keyof LedgerSets): Uint8Array => Bitset.of(sets[name] ?? []).toBytes();
  const all = Object.fromEntries(
    COUNT_NAMES.flatMap((name) => (name === "deferred" ? [] : [[name, bytes(name)]])),
  );
  await store.ledger.writeRows(home, [
    { ...row, epoch: taken!.epoch, state: "open", sets: { ...row.sets, ...all } },
  ]);
  await store.leases.release(lease);
}

type Told = [epoch: number, atMs: number, kind: string, code?: string, detail?: object];
async function journal(recipientId: string, id: string, told: readonly Told[]): Promise<void> {
  const { home, store, partition, index } = await placeOf(recipientId);
  for (const [seq, [epoch, atMs, kind, code, detail]] of told.entries()) {
    const event: JournalEvent = [
      partition,
      epoch,
      id,
      index,
      atMs,
      seq,
      kind,
      code ?? null,
      detail === undefined ? null : JSON.stringify(detail),
    ];
    await store.journal.append(home, `${home}-w${epoch}`, [event]);
  }
}
const T0 = Date.UTC(2026, 10, 30, 12);

test("IN58 — any region tells every decision of a recipient's home region: time, node, attempt, code, a sentence", async () => {
  const id = await post("fra", { audience: { recipients: ["ada", "ben"] } });
  await record("ben", { deliveredSocket: [0], read: [0] });
  await journal("ben", id, [
    [1, T0, "handed"],
    [1, T0 + 5, "sent", "lon-g1", { session: 7 }],
    [2, T0 + 20_000, "handed"],
    [2, T0 + 20_001, "resent", "lon-g2", { session: 9 }],
    [2, T0 + 20_050, "outcome", "deliveredSocket", { gateway: "lon-g2" }],
    [2, T0 + 21_000, "receipt", "read"],
    [2, T0 + 22_000, "teleported", "by a newer build"],
  ]);
  const answer = await get("par", `${id}/recipients/ben`);
  const { timeline, ...rest } = answer.body as { timeline: Record<string, unknown>[] };
  expect([answer.status, rest]).toEqual([
    200,
    {
      notificationId: id,
      recipientId: "ben",
      homeRegion: "lon",
      state: "deliveredSocket",
      reason: null,
      read: true,
      acknowledged: false,
      offset: 1,
      rows: [{ offset: 1, sets: ["targeted", "deliveredSocket", "read"] }],
      journal: "kept",
      isCut: false,
    },
  ]);
  expect(
    timeline.map(({ at: when, node, epoch, attempt, kind, text }) =>
      [when, node, epoch, attempt, kind, text].join(" | "),
    ),
  ).toEqual([
    "2026-11-30T12:00:00.000Z | lon-w1 | 1 | 0 | handed | The recipient's process got it.",
    "2026-11-30T12:00:00.005Z | lon-w1 | 1 | 1 | sent | It was sent to session 7 on gateway lon-g1.",
    "2026-11-30T12:00:20.000Z | lon-w2 | 2 | 1 | resumed | Another node, lon-w2, took the recipient's partition over, and went on with it.",
    "2026-11-30T12:00:20.001Z | lon-w2 | 2 | 2 | resent | No acknowledgement came in time: it was sent again (1.) to session 9 on gateway lon-g2.",
    "2026-11-30T12:00:20.050Z | lon-w2 | 2 | 2 | outcome | The recipient's device acknowledged it.",
    "2026-11-30T12:00:21.000Z | lon-w2 | 2 | 2 | receipt | The recipient read it.",
    "2026-11-30T12:00:22.000Z | lon-w2 | 2 | 2 | teleported | teleported: by a newer build.",
  ]);
  expect(timeline[4]).toMatchObject({ code: "deliveredSocket", detail: { gateway: "lon-g2" } });
  expect((await get("lon", `${id}/recipients/ben`)).body).toEqual(answer.body);
  expect((await get("fra", `${id}/recipients/ada`)).body).toMatchObject({
    state: "pending",
    journal: "kept",
    timeline: [],
  });
});

test("IN58 — of a large audience it says that the story was not kept, unless the recipient is one of the sampled", async () => {
  const { index, partition } = await placeOf("ben");
  let id: string;
  do id = await post("fra", { audience: { broadcast: true } });
  while (isSampled({ notificationId: id, partition, index }, DELIVERY_DEFAULTS.journal.oneIn));
  expect((await get("fra", `${id}/recipients/ben`)).body).toMatchObject({
    state: "planned",
    reason: null,
    offset: null,
  });
  const many = Array.from({ length: 2_000 }, (_, n) => n);
  await record("ben", { targeted: many, unacked: [index] });
  await journal("ben", id, [[1, T0, "outcome", "unacked"]]);
  expect((await get("fra", `${id}/recipients/ben`)).body).toMatchObject({
    state: "unacked",
    journal: "sampled_out",
    timeline: [{ code: "unacked", text: "It was sent, and no device acknowledged it in time." }],
  });
  await journal("ben", id, [[2, T0, "handed"]]); // whose story is whole
  expect((await get("fra", `${id}/recipients/ben`)).body).toMatchObject({ journal: "kept" });
});

test("IN58 — who waits for a time is told until when, also where the audience is not worked out yet", async () => {
  const sendAt = new Date(Date.now() + 3_600_000).toISOString();
  const named = await post("fra", { audience: { recipients: ["ada", "ben"] }, sendAt });
  const all = await post("fra", { audience: { broadcast: true }, exclude: ["ada"], sendAt });
  const stateOf = async (id: string, recipientId: string) => {
    const { body } = await get("par", `${id}/recipients/${recipientId}`);
    const { state, dueAt, reason } = body as Record<string, { code?: string } | undefined>;
    return [state, dueAt, reason?.code];
  };
  expect(await stateOf(named, "ada")).toEqual(["scheduled", sendAt, undefined]);
  expect(await stateOf(named, "ben")).toEqual(["scheduled", sendAt, undefined]);
  expect(await stateOf(all, "ben")).toEqual(["scheduled", sendAt, undefined]);
  expect(await stateOf(all, "ada")).toEqual(["not_targeted", undefined, "excluded"]);
  for (const state of ["deferred", "pending", "targeted"]) {
    const { body } = await get("par", `${named}/recipients?state=${state}&region=lon`); // ST44
    expect([state, body]).toEqual([state, { recipientIds: ["ben"], nextCursor: null }]);
  }
});

test("IN59 — who was not meant is told why", async () => {
  const reasonOf = async (id: string, recipientId: string): Promise<unknown[]> => {
    const { body, status } = await get("par", `${id}/recipients/${recipientId}`);
    const { state, reason } = body as { state: string; reason: { code: string } | null };
    return [status, state, reason?.code ?? null];
  };
  const named = await post("fra", { audience: { recipients: ["ada", "ben"] } });
  expect(await reasonOf(named, "cyd")).toEqual([200, "not_targeted", "not_named"]);
  const onlyFra = await post("par", { audience: { recipients: ["ada"] } });
  expect(await reasonOf(onlyFra, "ben")).toEqual([200, "not_targeted", "region_not_targeted"]);

  const filter = { key: "country", cmp: "eq", val: "gb" };
  const filtered = await post("fra", { audience: { filter }, exclude: ["ben"] });
  expect(await reasonOf(filtered, "cyd")).toEqual([200, "planned", null]);
  for (const recipientId of ["ben", "cyd"]) await record(recipientId, {}); // expanded: nobody
  expect(await reasonOf(filtered, "ben")).toEqual([200, "not_targeted", "excluded"]);
  expect(await reasonOf(filtered, "cyd")).toEqual([200, "not_targeted", "does_not_match"]);
  const moved = { method: "PUT", token: regions.apiKey, body: { attributes: { country: "gb" } } };
  await ask(`${at("lon").url}/v1/recipients/cyd`, moved);
  expect(await reasonOf(filtered, "cyd")).toEqual([200, "not_targeted", "did_not_match"]);
});

test("IN59 — unknown notifications and recipients are 404, another tenant's too; what is malformed is 422", async () => {
  const id = await post("fra", { audience: { recipients: ["ben"] } });
  const { store } = at("fra");
  await store.tenants.create("other", "Other");
  const stranger = await store.tenants.createApiKey({
    tenantId: "other",
    scopes: ["read"],
    pepper: "pepper-of-the-tests",
  });
  const none = "01890000-0000-7000-8000-000000000000";
  const asked = [
    await get("fra", `${id}/recipients/nobody`),
    await get("fra", `${none}/recipients/ben`),
    await get("fra", `${id}/recipients/ben`, stranger),
    await get("fra", `${none}/recipients?state=read`),
    await get("fra", `${id}/recipients?state=read`, stranger),
  ];
  for (const { status, body } of asked) expect([status, body["code"]]).toEqual([404, "not_found"]);
  const writer = await regions.newApiKey("fra", ["notifications:write"]);
  expect((await get("fra", `${id}/recipients/ben`, writer)).status).toBe(403);
  const wrong = {
    [`x/recipients/ben`]: "id",
    [`${id}/recipients/a%20b`]: "recipientId",
    [`${id}/recipients`]: "state",
    [`${id}/recipients?state=asleep`]: "state",
    [`${id}/recipients?state=read&region=oslo`]: "region",
    [`${id}/recipients?state=read&limit=0`]: "limit",
    [`${id}/recipients?state=read&limit=1001`]: "limit",
    [`${id}/recipients?state=read&cursor=x`]: "cursor",
    [`${id}/recipients?state=read&cursor=par.`]: "cursor",
    [`${id}/recipients?state=read&page=1`]: "page",
  };
  for (const [path, field] of Object.entries(wrong)) {
    const { status, body } = await get("fra", path);
    expect([path, status, body["errors"]]).toMatchObject([path, 422, [{ field }]]);
  }
});

test("IN73 — pages of the people in a state go through the regions, and on where they ended", async () => {
  const id = await post("par", { audience: { recipients: ["ada", "ben", "cyd"] } });
  const pagesOf = async (query: string): Promise<string[][]> => {
    const pages: string[][] = [];
    for (let cursor: string | null = ""; cursor !== null;) {
      const more: string = cursor === "" ? "" : `&cursor=${cursor}`;
      const { status, body } = await get("par", `${id}/recipients?${query}${more}`);
      if (status !== 200) throw new Error(JSON.stringify(body));
      pages.push(body["recipientIds"] as string[]);
      cursor = body["nextCursor"] as string | null;
    }
    return pages;
  };
  const ofLon = ["ben", "cyd"].toSorted((a, b) => partitionOf(TENANT, a) - partitionOf(TENANT, b));
  expect(await pagesOf("state=targeted")).toEqual([["ada", ...ofLon]]);
  expect((await pagesOf("state=targeted&limit=1")).flat()).toEqual(["ada", ...ofLon]);
  expect((await pagesOf("state=targeted&limit=2")).flat()).toEqual(["ada", ...ofLon]);
  expect(await pagesOf("state=targeted&region=lon")).toEqual([ofLon]);
  expect(await pagesOf("state=targeted&region=par")).toEqual([[]]);
  await record("ada", { noDevice: [0], receivedLate: [0] });
  await record("ben", { noDevice: [0] });
  expect((await pagesOf("state=noDevice")).flat()).toEqual(["ada", "ben"]);
  expect((await pagesOf("state=receivedLate")).flat()).toEqual(["ada"]);
  expect((await pagesOf("state=pending")).flat()).toEqual(["cyd"]);
  expect((await pagesOf("state=read")).flat()).toEqual([]);
});

test(
  "IN59, IN73 — a silent home region is 503, never an empty list and never 'not targeted'",
  async () => {
    const id = await post("fra", { audience: { broadcast: true } });
    await at("lon").stop();
    const explained = await get("fra", `${id}/recipients/ben`);
    expect([explained.status, explained.body["code"]]).toEqual([503, "region_unreachable"]);
    const list = await get("fra", `${id}/recipients?state=targeted`);
    expect([list.status, list.body["code"]]).toEqual([503, "region_unreachable"]);
    const near = await get("fra", `${id}/recipients?state=targeted&region=fra`);
    expect([near.status, near.body]).toEqual([200, { recipientIds: [], nextCursor: null }]);
  },
  TEST_MAX_MS,
);
