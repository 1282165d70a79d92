// Goal: IN47, IN48, IN82 and A3. Method: two regions over real NATS and Postgres; owners are played by the test,
// which sees what they are asked and answers what it likes.
import {
  decodeMessage,
  encodeMessage,
  type OwnerPlanReply,
  type OwnerPlanRequest,
  ownerPlanRequestSchema,
  partitionOf,
  subjects,
} from "@carillon/contracts";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { HomeGate } from "./home-gate.ts";
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
let fra: TestNode;
let lon: TestNode;
let ownerOf: (home: string, partition: number) => string | undefined;
const asked: (OwnerPlanRequest & { readonly owner: string })[] = [];
let answerOf: (owner: string, request: OwnerPlanRequest) => OwnerPlanReply;
const withheld = new Set<string>();

const gate: HomeGate = {
  standing: "serving",
  claim: undefined,
  isEmpty: false,
  withholds: (tenantId) => withheld.has(tenantId),
  onChange: () => () => undefined,
};

beforeAll(async () => {
  regions = await startRegions(["fra", "lon"]);
  const options = { ownerOf: (home: string, n: number) => ownerOf(home, n) };
  reset();
  fra = await regions.startNode("fra", options);
  lon = await regions.startNode("lon", { ...options, home: gate });
  for (const region of ["fra", "lon"]) {
    const bus = await regions.connectBus(region, `${region}/worker`);
    for (const owner of [`${region}-w0`, `${region}-w1`])
      bus.subscribe(subjects.memberPlan(owner), (message) => {
        const decoded = decodeMessage(ownerPlanRequestSchema, message.data);
        if (decoded.kind === "malformed") throw new Error("malformed");
        asked.push({ owner, ...decoded.message });
        message.reply(encodeMessage(answerOf(owner, decoded.message)));
      });
  }
  await putPeople(regions, [
    { at: fra, recipientId: "liz", body: { homeRegion: "lon" } },
    { at: lon, recipientId: "fay", body: { homeRegion: "fra" } },
  ]);
  await until("the owners are heard", async () => {
    const { body } = await plan(fra, { audience: { broadcast: true } });
    return body["isComplete"];
  });
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

function reset(): void {
  asked.length = 0;
  withheld.clear();
  ownerOf = (home, partition) => `${home}-w${partition % 2}`;
  answerOf = (_, { partitions }) => ({
    partitions: partitions.map(([number]) => number),
    targeted: partitions.length * 10,
    optedOut: partitions.length,
    locales: [
      ["de", partitions.length * 7],
      [null, partitions.length * 3],
    ],
  });
}
beforeEach(reset);

const send = (node: TestNode, method: string, path: string, body?: unknown) =>
  ask(`${node.url}/v1/${path}`, { method, token: regions.apiKey, body });
const plan = (node: TestNode, body: object) => send(node, "POST", "notifications/plan", body);
const inRegion = (region: string, more: object = {}) => ({
  region,
  state: "counted",
  targeted: 2_560,
  noDevice: null,
  optedOut: 256,
  locales: [
    { locale: "de", targeted: 1_792 },
    { locale: null, targeted: 768 },
  ],
  ...more,
});

test("A3 — owners of all partitions are asked once each, and their numbers added up", async () => {
  const filter = { key: "level", cmp: "ge", val: 3 };
  const answer = await plan(fra, { audience: { filter }, exclude: ["liz"] });
  expect([answer.status, answer.body]).toEqual([
    200,
    {
      isComplete: true,
      targeted: 5_120,
      noDevice: null,
      optedOut: 512,
      locales: [
        { locale: "de", targeted: 3_584 },
        { locale: null, targeted: 1_536 },
      ],
      regions: [inRegion("fra"), inRegion("lon")],
    },
  ]);
  expect(asked.map(({ owner }) => owner).toSorted()).toEqual([
    "fra-w0",
    "fra-w1",
    "lon-w0",
    "lon-w1",
  ]);
  for (const { home, tenantId, audience, exclude, partitions } of asked) {
    expect([tenantId, audience, exclude]).toEqual([TENANT, { kind: "filter", filter }, ["liz"]]);
    expect([home.length, partitions.length]).toEqual([3, 128]);
  }
});

test("IN48 — owners are asked for the versions that the database has now", async () => {
  await send(fra, "PUT", "recipients/fay", { attributes: { changed: true } });
  const partition = partitionOf(TENANT, "fay");
  await plan(lon, { audience: { recipients: ["fay", "nobody"] } });
  const [head] = await fra.store.ledger.readHeads("fra", [partition]);
  expect(asked.map(({ home, partitions }) => [home, partitions])).toEqual([
    ["fra", [[partition, head!.directoryVersion]]],
  ]);
});

test("IN82 — owners are told the kind, and the version of the policy that their region has now", async () => {
  const kindsAsked = () =>
    asked.splice(0).map(({ home, priority, category, policyVersion }) => {
      return [home, priority, category, policyVersion];
    });
  const one = { audience: { recipients: ["fay"] } };
  await plan(fra, { ...one, category: "news", priority: "high" });
  expect(kindsAsked()).toEqual([["fra", "high", "news", undefined]]); // there is no policy
  await send(lon, "PUT", "policy", { mandatoryCategories: ["safety"] });
  const policy = await until("fra has heard of it", async () => fra.store.policies.find(TENANT));
  await plan(lon, { ...one, category: "news" });
  await plan(lon, one);
  expect(kindsAsked()).toEqual([
    ["fra", "normal", "news", [policy.changedAtMs, "lon"]],
    ["fra", "normal", undefined, undefined],
  ]);
});

test("IN82 — while one owner does not say who has opted out, the number is not known, and no guess", async () => {
  const all = answerOf;
  answerOf = (owner, request) => {
    const { optedOut: _, ...older } = all(owner, request);
    return owner === "lon-w1" ? older : all(owner, request);
  };
  const { body } = await plan(fra, { audience: { broadcast: true }, category: "news" });
  expect(body).toMatchObject({ isComplete: true, targeted: 5_120, optedOut: null });
  expect(body["regions"]).toEqual([inRegion("fra"), inRegion("lon", { optedOut: null })]);
});

test("A3 — explicit recipients: the regions and partitions they live in, and how many are unknown", async () => {
  answerOf = (_, { partitions }) => ({
    partitions: partitions.map(([number]) => number),
    targeted: 1,
    optedOut: 0,
    locales: [["en", 1]],
  });
  const { body } = await plan(fra, { audience: { recipients: ["liz", "nobody", "liz"] } });
  expect(body).toEqual({
    isComplete: true,
    targeted: 1,
    noDevice: null,
    optedOut: 0,
    locales: [{ locale: "en", targeted: 1 }],
    regions: [
      inRegion("lon", { targeted: 1, optedOut: 0, locales: [{ locale: "en", targeted: 1 }] }),
    ],
    unknownCount: 1,
  });
});

test("IN47 — a partition that moves while it is asked for is asked for again, where it is then", async () => {
  answerOf = (owner, { partitions }) => {
    ownerOf = (home) => `${home}-w1`;
    const served = owner.endsWith("w1") ? partitions : [];
    const numbers = served.map(([number]) => number);
    return { partitions: numbers, targeted: numbers.length, locales: [] };
  };
  const { body } = await plan(fra, { audience: { broadcast: true } });
  expect(body).toMatchObject({ isComplete: true, targeted: 512 });
});

test("IN47 — partitions without an owner: the region is partial, and the number is of the others", async () => {
  ownerOf = (home, partition) => (home === "lon" && partition < 2 ? undefined : `${home}-w0`);
  const { body } = await plan(fra, { audience: { broadcast: true } });
  expect(body).toMatchObject({ isComplete: false, targeted: 5_100 });
  expect(body["regions"]).toMatchObject([
    { region: "fra", state: "counted", targeted: 2_560 },
    { region: "lon", state: "partial", targeted: 2_540 },
  ]);
});

test("IN47 — a tenant that is withheld in a region: named, not counted", async () => {
  withheld.add(TENANT);
  const { body } = await plan(fra, { audience: { broadcast: true } });
  expect(body).toMatchObject({ isComplete: false, targeted: 2_560 });
  expect(body["regions"]).toMatchObject([
    { state: "counted" },
    { region: "lon", state: "withheld" },
  ]);
});

test("A3 — dryRun gives the plan, and nothing is accepted", async () => {
  const before = await fra.store.ledger.readHeads("fra", [0]);
  const request = { audience: { broadcast: true }, content: { en: { title: "Hello" } } };
  const dry = await send(fra, "POST", "notifications", { ...request, dryRun: true });
  const planned = await plan(fra, request);
  expect([dry.status, dry.body]).toEqual([200, planned.body]);
  expect(dry.body).toMatchObject({ isComplete: true, targeted: 5_120 });
  expect(await fra.store.ledger.readHeads("fra", [0])).toEqual(before);
});

test("A13 — what a notification would be refused for, a plan is refused for; a group that is unknown too", async () => {
  const errorsOf = async (body: object) => (await plan(fra, body)).body["errors"];
  expect(await errorsOf({})).toEqual([{ field: "audience", message: "is required" }]);
  expect(await errorsOf({ audience: { broadcast: true }, all: 1 })).toEqual([
    { field: "all", message: "is not a known field" },
  ]);
  expect(await errorsOf({ audience: { group: "nowhere" } })).toEqual([
    { field: "audience.group", message: "must be a group that exists" },
  ]);
  const key = await regions.newApiKey("fra", ["read"]);
  const body = { audience: { broadcast: true } };
  const url = `${fra.url}/v1/notifications/plan`;
  expect((await ask(url, { method: "POST", token: key, body })).status).toBe(403);
});

test(
  "IN47 — a silent region is named unreachable, and the others are counted",
  async () => {
    await regions.natsOf.get("lon")?.stop();
    const { body } = await plan(fra, { audience: { broadcast: true } });
    expect(body).toMatchObject({ isComplete: false, targeted: 2_560 });
    expect(body["regions"]).toEqual([
      inRegion("fra"),
      {
        ...{ region: "lon", state: "unreachable", targeted: 0 },
        ...{ noDevice: null, optedOut: null, locales: [] },
      },
    ]);
    await regions.restartNats("lon");
  },
  TEST_MAX_MS,
);
