// Goal: IN25, IN26 and the inbox (IN27). Method: three regions; a worker's writes are made with the
// store, under a real lease, so that the counts are known to the digit.
import { type Counts, partitionOf, zeroCounts } from "@carillon/contracts";
import type { LedgerSets } from "@carillon/store";
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
const HOMES: Readonly<Record<string, string>> = { ada: "fra", ben: "lon", cyd: "lon" };

beforeAll(async () => {
  regions = await startRegions(["fra", "lon", "par"]);
  for (const region of regions.regions) nodes.set(region, await regions.startNode(region));
  const people = Object.entries(HOMES).map(([recipientId, homeRegion]) => {
    return { at: at("par"), recipientId, body: { homeRegion, locale: "de-AT" } };
  });
  await putPeople(regions, people);
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

function at(region: string): TestNode {
  const node = nodes.get(region);
  if (node === undefined) throw new Error(region);
  return node;
}

const content = { en: { title: "Hello" }, de: { title: "Hallo", body: "Welt", data: { k: "v" } } };
async function post(region: string, body: unknown): Promise<string> {
  const request = { method: "POST", token: regions.apiKey, body };
  const answer = await ask(`${at(region).url}/v1/notifications`, request);
  if (answer.status !== 202) throw new Error(JSON.stringify(answer.body));
  return String(answer.body["id"]);
}
const statusFrom = (region: string, id: string) =>
  ask(`${at(region).url}/v1/notifications/${id}`, { token: regions.apiKey });
const counts = (some: Partial<Counts>): Counts => ({ ...zeroCounts(), ...some });

/** What the owner would record for one recipient's own row. */
async function record(
  region: string,
  recipientId: string,
  sets: Partial<LedgerSets>,
): Promise<void> {
  const { store } = at(region);
  const partition = partitionOf(TENANT, recipientId);
  const memberId = `${region}-w`;
  const [lease] = await store.leases.acquire({
    home: region,
    memberId,
    partitions: [partition],
    leaseMs: 60_000,
  });
  const [row] = await store.ledger.readUnclosedRows(region, [partition]);
  const outcome = await store.ledger.writeRows(region, [
    {
      partition,
      epoch: lease!.epoch,
      offset: row!.offset,
      state: "closed",
      sets: { ...row!.sets, ...sets },
    },
  ]);
  expect(outcome.fencedPartitions).toEqual([]);
  await store.leases.release({ home: region, memberId, partitions: [partition] });
}
const FIRST = Uint8Array.of(1);

test("IN25 — every region gives the same status, added up over regions, unknown and pending", async () => {
  const recipients = ["ada", "ben", "cyd", "nobody"];
  const id = await post("fra", { audience: { recipients }, content, priority: "high" });
  await until("lon has its copy", async () => (await at("fra").store.outbox.backlog("lon")) === 0);
  await record("fra", "ada", { deliveredSocket: FIRST, read: FIRST });
  await record("lon", "ben", { noDevice: FIRST });
  const status = await statusFrom("fra", id);
  expect(status.body).toEqual({
    id,
    acceptedAt: expect.any(String) as string,
    acceptedRegion: "fra",
    priority: "high",
    state: "delivering",
    counts: {
      ...counts({ targeted: 3, deliveredSocket: 1, noDevice: 1, read: 1 }),
      unknown: 1,
      pending: 1,
    },
    regions: [
      {
        region: "fra",
        state: "finished",
        counts: counts({ targeted: 1, deliveredSocket: 1, read: 1 }),
      },
      { region: "lon", state: "delivering", counts: counts({ targeted: 2, noDevice: 1 }) },
    ],
  });
  expect((await statusFrom("lon", id)).body).toEqual(status.body); // holds a copy
  expect((await statusFrom("par", id)).body).toEqual(status.body); // holds none
  expect((await statusFrom("par", id.toUpperCase())).body).toEqual(status.body);
  await record("lon", "cyd", { unacked: FIRST });
  expect((await statusFrom("par", id)).body).toMatchObject({
    state: "finished",
    counts: { targeted: 3, pending: 0 },
  });
});

test("another tenant's notification does not exist", async () => {
  const id = await post("fra", { audience: { broadcast: true }, content });
  const { store } = at("fra");
  await store.tenants.create("other", "Other");
  const token = await store.tenants.createApiKey({
    tenantId: "other",
    scopes: ["read"],
    pepper: "pepper-of-the-tests",
  });
  const answer = await ask(`${at("fra").url}/v1/notifications/${id}`, { token });
  expect([answer.status, answer.body["code"]]).toEqual([404, "not_found"]);
});

test("IN27 — the inbox is read in the home region, newest first, in the recipient's language", async () => {
  const ids: string[] = [];
  for (let count = 0; count < 5; count++)
    ids.unshift(await post("fra", { audience: { recipients: ["ben"] }, content }));
  await until("lon has them", async () => (await at("fra").store.outbox.backlog("lon")) === 0);
  const issued = await ask(`${at("par").url}/v1/tokens`, {
    method: "POST",
    token: regions.apiKey,
    body: { recipientIds: ["ben"] },
  });
  const token = (issued.body["tokens"] as { token: string }[])[0]!.token;
  const { ledger } = at("lon").store;
  const [head] = await ledger.readHeads("lon", [partitionOf(TENANT, "ben")]);
  const unclosed = await ledger.readUnclosedRows("lon", [partitionOf(TENANT, "ben")]);
  const planned = unclosed.find(({ state }) => state === "planned"); // nobody works here
  const first = await ask(`${at("par").url}/v1/inbox?limit=3`, { token });
  expect(first.status).toBe(200);
  expect(first.body).toMatchObject({ epoch: head!.ledgerEpoch, offset: planned!.offset - 1 });
  const items = first.body["items"] as { id: string; offset: number }[];
  expect(items.map(({ id }) => id)).toEqual(ids.slice(0, 3));
  expect(items[0]).toEqual({
    offset: head!.nextOffset - 1,
    id: ids[0],
    priority: "normal",
    acceptedAt: expect.any(String) as string,
    expiresAt: expect.any(String) as string,
    locale: "de",
    title: "Hallo",
    body: "Welt",
    link: null,
    data: { k: "v" },
    read: false,
    acknowledged: false,
  });
  expect(first.body["nextBefore"]).toBe(items[2]!.offset);
  const second = await ask(`${at("lon").url}/v1/inbox?limit=100&before=${items[2]!.offset}`, {
    token,
  });
  const rest = second.body["items"] as { id: string }[];
  expect(rest.slice(0, 2).map(({ id }) => id)).toEqual(ids.slice(3));
  expect(second.body["nextBefore"]).toBeNull();

  const wrong = { limit: "0", before: "x", page: "1" };
  for (const [name, value] of Object.entries(wrong)) {
    const answer = await ask(`${at("fra").url}/v1/inbox?${name}=${value}`, { token });
    expect([answer.status, answer.body["errors"]]).toMatchObject([422, [{ field: name }]]);
  }
  const forged = await ask(`${at("fra").url}/v1/inbox`, { token: `${token.slice(0, -4)}AAAA` });
  expect([forged.status, forged.body["code"]]).toEqual([401, "unauthenticated"]);
});

test(
  "IN26 — a region that does not answer is named unreachable, and nobody is said not to exist",
  async () => {
    const id = await post("fra", { audience: { broadcast: true }, content });
    await until("all have it", async () => {
      const rest = await Promise.all(
        ["lon", "par"].map((target) => at("fra").store.outbox.backlog(target)),
      );
      return rest.every((count) => count === 0);
    });
    await at("fra").stop(); // accepted it
    const status = await statusFrom("lon", id);
    expect(status.body).toMatchObject({ state: "delivering", acceptedRegion: "fra" });
    expect(
      (status.body["regions"] as { region: string; state: string }[]).map((part) => [
        part.region,
        part.state,
      ]),
    ).toEqual([
      ["fra", "unreachable"],
      ["lon", "planned"],
      ["par", "planned"],
    ]);
    const unknown = await statusFrom("lon", "01890000-0000-7000-8000-000000000000");
    expect([unknown.status, unknown.body["code"]]).toEqual([503, "region_unreachable"]);
  },
  TEST_MAX_MS,
);

test(
  "IN12 — while a region is silent, an id unknown here is not taken for unknown: 503, nothing stored",
  async () => {
    // fra was stopped above; who was never heard of may live there.
    const send = (method: string, path: string, body: unknown) =>
      ask(`${at("lon").url}${path}`, { method, token: regions.apiKey, body });
    const stranger = { audience: { recipients: ["ben", "never-heard-of"] }, content };
    const answers = [
      await send("POST", "/v1/notifications", stranger),
      await send("PUT", "/v1/recipients/never-heard-of", {}),
      await send("POST", "/v1/tokens", { recipientIds: ["ben", "never-heard-of"] }),
    ];
    for (const { status, body } of answers)
      expect([status, body["code"]]).toEqual([503, "region_unreachable"]);
    const stored = await at("lon").store.directory.locate("lon", TENANT, ["never-heard-of"]);
    expect(stored.size).toBe(0);

    // Who is known here is served as ever (D5), and a home that is named is believed.
    const known = { audience: { recipients: ["ben"] }, content };
    expect((await send("POST", "/v1/notifications", known)).status).toBe(202);
    const named = await send("PUT", "/v1/recipients/newcomer", { homeRegion: "lon" });
    expect(named.status).toBe(201);
  },
  TEST_MAX_MS,
);
