// Goal: IN15, IN43 to IN46, A6 and D8 for groups. Method: two regions over real NATS; groups made in
// either, members of both; databases are looked at directly.
import { partitionOf, type RegionAudience } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  ask,
  collectPokes,
  TENANT,
  TEST_MAX_MS,
  type TestNode,
  type TestRegions,
  until,
} from "./test-regions.ts";
import { startFraAndLon } from "./test-people.ts";

let regions: TestRegions;
let fra: TestNode;
let lon: TestNode;

beforeAll(async () => {
  ({ regions, fra, lon } = await startFraAndLon(
    { liz: { homeRegion: "lon" }, fay: { homeRegion: "fra" } },
    { ownerOf: (home) => `${home}-w` },
  ));
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

const send = (node: TestNode, method: string, path: string, body?: unknown) =>
  ask(`${node.url}/v1/${path}`, { method, token: regions.apiKey, body });
const content = { en: { title: "Hello" } };
const post = (node: TestNode, more: object) =>
  send(node, "POST", "notifications", { content, ...more });
const audienceIn = async (
  node: TestNode,
  id: unknown,
): Promise<RegionAudience | null | undefined> =>
  (await node.store.notifications.get(TENANT, String(id)))?.audience;
const tagsIn = async (node: TestNode, recipientId: string) => {
  const partition = partitionOf(TENANT, recipientId);
  const page = { afterVersion: 0, limitCount: 1_000 };
  const rows = await node.store.ledger.readDirectory(node.region, partition, page);
  return rows.find((row) => row.recipientId === recipientId)?.groups;
};

test("A6 — a group is made, read, replaced and deleted, from either region", async () => {
  const made = await send(fra, "PUT", "groups/board", { name: "The board" });
  expect([made.status, made.body]).toEqual([
    201,
    {
      groupId: "board",
      kind: "static",
      name: "The board",
      filter: null,
      updatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
    },
  ]);
  expect((await send(lon, "GET", "groups/board")).body).toEqual(made.body); // IN43: at once
  const filter = { key: "level", cmp: "ge", val: 7 };
  const replaced = await send(lon, "PUT", "groups/board", { filter });
  expect(replaced.status).toBe(200);
  expect(replaced.body).toMatchObject({ kind: "dynamic", name: null, filter });
  await until("fra has heard", async () => {
    return (await send(fra, "GET", "groups/board")).body["kind"] === "dynamic";
  });
  const deleted = await send(fra, "DELETE", "groups/board");
  expect(deleted.status).toBe(204);
  expect((await send(fra, "DELETE", "groups/board")).status).toBe(404);
  await until("lon has heard", async () => {
    return (await send(lon, "GET", "groups/board")).status === 404;
  });
});

test("IN44 — each change is told to the other region without being asked, and its newest stays", async () => {
  for (let n = 0; n < 5; n++)
    await send(n % 2 === 0 ? fra : lon, "PUT", "groups/told", { name: `${n}` });
  const names = async () =>
    await Promise.all(
      [fra, lon].map(
        async ({ store }) => (await store.groups.find(TENANT, ["told"])).get("told")?.name,
      ),
    );
  await until("both have the last", async () => (await names()).join() === "4,4");
});

test("D8 — members are written at their home only, wherever they are named; unknown ones are told", async () => {
  await send(fra, "PUT", "groups/wardens", {});
  const answer = await send(lon, "PUT", "groups/wardens/members", {
    recipients: ["liz", "fay", "nobody", "liz"],
  });
  expect([answer.status, answer.body]).toEqual([
    200,
    { changed: 2, unchanged: 0, unknown: ["nobody"], full: [] },
  ]);
  expect([await tagsIn(fra, "fay"), await tagsIn(lon, "liz")]).toEqual([["wardens"], ["wardens"]]);
  expect([await tagsIn(fra, "liz"), await tagsIn(lon, "fay")]).toEqual([undefined, undefined]);
  const again = await send(fra, "PUT", "groups/wardens/members", { recipients: ["liz", "fay"] });
  expect(again.body).toEqual({ changed: 0, unchanged: 2, unknown: [], full: [] });
  const removed = await send(fra, "DELETE", "groups/wardens/members", { recipients: ["liz"] });
  expect(removed.body).toEqual({ changed: 1, unchanged: 0, unknown: [], full: [] });
  expect(await tagsIn(lon, "liz")).toEqual([]);
});

test("IN17 — a change of members pokes the owners at home", async () => {
  await send(lon, "PUT", "groups/poked", {});
  const bus = await regions.connectBus("lon", "lon/worker");
  const pokes = collectPokes(bus, "lon-w");
  const partition = partitionOf(TENANT, "liz");
  let isMember = false;
  const toggle = async () => {
    isMember = !isMember;
    const method = isMember ? "PUT" : "DELETE";
    await send(fra, method, "groups/poked/members", { recipients: ["liz"] });
  };
  await until("the subscription is known", async () => {
    await toggle();
    return pokes.length > 0;
  });
  pokes.length = 0;
  await toggle();
  const [head] = await lon.store.ledger.readHeads("lon", [partition]);
  const poke = await until("the poke", () => pokes[0]);
  expect(poke).toEqual({
    home: "lon",
    items: [],
    directory: [[partition, head!.directoryVersion]],
  });
});

test("IN46 — a static group goes out as its tag, a dynamic one as the filter it is now", async () => {
  const filter = { key: "site", cmp: "eq", val: "Linz" } as const;
  await send(fra, "PUT", "groups/fixed", {});
  await send(fra, "PUT", "groups/linz", { filter });
  const fixed = await post(lon, { audience: { group: "fixed" } });
  const linz = await post(lon, { audience: { group: "linz" } });
  expect([fixed.status, fixed.body["regions"], linz.status]).toEqual([202, ["fra", "lon"], 202]);
  for (const node of [lon, fra]) {
    await until("the relay", () => audienceIn(node, linz.body["id"]));
    expect(await audienceIn(node, fixed.body["id"])).toEqual({ kind: "group", tag: "fixed" });
    expect(await audienceIn(node, linz.body["id"])).toEqual({ kind: "filter", filter });
  }
});

test("IN15 — who is excluded: people, groups and a filter together, in every region's audience", async () => {
  const [filter, kept] = [
    { key: "site", cmp: "eq", val: "Linz" } as const,
    { key: "left", cmp: "exists" } as const,
  ];
  await send(fra, "PUT", "groups/without", {});
  await send(fra, "PUT", "groups/without-linz", { filter });
  const exclude = { recipients: ["fay"], groups: ["without", "without-linz"], filter: kept };
  const all = await post(fra, { audience: { broadcast: true }, exclude });
  const out = { tags: ["without"], filters: [kept, filter] };
  expect(await audienceIn(fra, all.body["id"])).toEqual({
    kind: "except",
    of: { kind: "broadcast" },
    ...out,
  });
  const stored = await fra.store.notifications.get(TENANT, String(all.body["id"]));
  expect(stored?.notification.exclude).toEqual(["fay"]);
  const named = await post(fra, { audience: { recipients: ["fay", "liz"] }, exclude });
  expect(named.body["regions"]).toEqual(["lon"]);
  await until("the relay", () => audienceIn(lon, named.body["id"]));
  expect(await audienceIn(lon, named.body["id"])).toEqual({
    kind: "except",
    of: { kind: "recipients", recipientIds: ["liz"] },
    ...out,
  });
  const onlyPeople = await post(fra, {
    audience: { broadcast: true },
    exclude: { recipients: ["a"] },
  });
  expect(await audienceIn(fra, onlyPeople.body["id"])).toEqual({ kind: "broadcast" });
});

test("IN45 — a group that does not exist is named by its field, and nothing is accepted", async () => {
  await send(fra, "PUT", "groups/there", {});
  const exclude = { groups: ["there", "nowhere"] };
  const answer = await post(fra, { audience: { group: "absent" }, exclude });
  expect(answer.status).toBe(422);
  expect(answer.body).toMatchObject({
    code: "invalid_field",
    errors: [
      { field: "audience.group", message: "must be a group that exists" },
      { field: "exclude.groups[1]", message: "must be a group that exists" },
    ],
  });
  for (const [method, path] of [
    ["GET", "groups/absent"],
    ["DELETE", "groups/absent"],
  ])
    expect((await send(fra, method!, path!)).status).toBe(404);
  const members = { recipients: ["fay"] };
  expect((await send(fra, "PUT", "groups/absent/members", members)).status).toBe(404);
});

test("IN49 — filters are counted together, dynamic groups by what they are: too many are a 422, for a plan, too", async () => {
  const leaf = (n: number) => ({ key: "team", cmp: "eq", val: `t${n}` });
  const filterOf = (count: number) => ({
    op: "or",
    nodes: Array.from({ length: count - 1 }, (_, n) => leaf(n)),
  });
  await send(fra, "PUT", "groups/wide", { filter: filterOf(200) });
  const request = (count: number) => ({
    audience: { broadcast: true },
    exclude: { groups: ["wide"], filter: filterOf(count) },
  });
  expect((await post(fra, request(56))).status).toBe(202);
  const message =
    "must hold, with the audience and with dynamic groups by their filters, at most 256 nodes; these are 257";
  for (const answer of [
    await post(fra, request(57)),
    await send(fra, "POST", "notifications/plan", request(57)),
  ]) {
    expect(answer.status).toBe(422);
    expect(answer.body).toMatchObject({ errors: [{ field: "exclude", message }] });
  }
});

test("D8 — a group of one tenant is none of another", async () => {
  await send(fra, "PUT", "groups/secret", {});
  await fra.store.tenants.create("bolt", "Bolt");
  const key = await fra.store.tenants.createApiKey({
    tenantId: "bolt",
    scopes: ["admin"],
    pepper: "pepper-of-the-tests",
  });
  const asked = await ask(`${fra.url}/v1/groups/secret`, { token: key });
  expect(asked.status).toBe(404);
  const body = { content, audience: { group: "secret" } };
  const posted = await ask(`${fra.url}/v1/notifications`, { method: "POST", token: key, body });
  expect(posted.status).toBe(422);
});

test("A13 — a dynamic group has no members to name; ids and bodies are checked", async () => {
  await send(fra, "PUT", "groups/dynamic", { filter: { key: "a", cmp: "exists" } });
  const members = await send(fra, "PUT", "groups/dynamic/members", { recipients: ["fay"] });
  expect([members.status, members.body["errors"]]).toEqual([
    422,
    [
      {
        field: "groupId",
        message: "must be a static group: a filter says who is in this one",
      },
    ],
  ]);
  const wrongId = await send(fra, "PUT", `groups/${"g".repeat(65)}`, {});
  expect(wrongId.body["errors"]).toEqual([
    { field: "groupId", message: "must have at most 64 characters" },
  ]);
  const unknownField = await send(fra, "PUT", "groups/ok", { members: [] });
  expect(unknownField.body["errors"]).toEqual([
    { field: "members", message: "is not a known field" },
  ]);
  const nobody = await send(fra, "DELETE", "groups/dynamic/members", { recipients: [] });
  expect(nobody.body["errors"]).toEqual([
    { field: "recipients", message: "must hold at least 1 item" },
  ]);
});

const repeatable = (more = {}) =>
  ask(`${fra.url}/v1/notifications`, {
    method: "POST",
    token: regions.apiKey,
    body: { content, audience: { group: "short-lived" }, ...more },
    headers: { "idempotency-key": "repeat-group" },
  });

test("IN60 — a repeat is replayed although its group was deleted since; another body is not", async () => {
  await send(fra, "PUT", "groups/short-lived", {});
  const first = await repeatable();
  expect(first.status).toBe(202);
  await send(fra, "DELETE", "groups/short-lived");
  const repeated = await repeatable();
  expect([repeated.status, repeated.body]).toEqual([202, first.body]);
  expect(repeated.headers.get("idempotency-replayed")).toBe("true");
  const other = await repeatable({ priority: "high" });
  expect([other.status, other.body["code"]]).toEqual([422, "idempotency_mismatch"]);
});

test("IN43 — an unknown group while the other region is silent is 503, not 422; a known one works on", async () => {
  await send(fra, "PUT", "groups/known", {});
  await regions.natsOf.get("lon")?.stop();
  const unknown = await post(fra, { audience: { group: "never-heard-of" } });
  expect([unknown.status, unknown.body["code"]]).toEqual([503, "region_unreachable"]);
  expect((await send(fra, "PUT", "groups/never-heard-of", {})).status).toBe(503);
  expect((await post(fra, { audience: { group: "known" } })).status).toBe(202);
  expect((await repeatable()).status).toBe(202); // IN60: its group is deleted, which lon might not know
  await regions.restartNats("lon");
});
