// Goal: IN81, A2 throttle, A3 and A5 rate. Method: two regions over real NATS and Postgres; owners are played by the
// test, which says how many they count; databases are looked at directly.
import {
  decodeMessage,
  encodeMessage,
  type NotificationStatus,
  ownerPlanRequestSchema,
  subjects,
} from "@carillon/contracts";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import {
  ask,
  startRegions,
  TENANT,
  TEST_MAX_MS,
  type TestNode,
  type TestRegions,
  until,
} from "./test-regions.ts";

let regions: TestRegions;
let fra: TestNode;
let lon: TestNode;
/** Regions whose owners answer. */
const answering = new Set<string>();

beforeAll(async () => {
  regions = await startRegions(["fra", "lon"]);
  const ownerOf = (home: string) => `${home}-w`;
  fra = await regions.startNode("fra", { ownerOf });
  lon = await regions.startNode("lon", { ownerOf });
  for (const region of ["fra", "lon"]) {
    const bus = await regions.connectBus(region, `${region}/worker`);
    bus.subscribe(subjects.memberPlan(`${region}-w`), (message) => {
      const decoded = decodeMessage(ownerPlanRequestSchema, message.data);
      if (decoded.kind === "malformed") throw new Error("malformed");
      const partitions = answering.has(region)
        ? decoded.message.partitions.map(([number]) => number)
        : [];
      message.reply(encodeMessage({ partitions, targeted: partitions.length, locales: [] }));
    });
  }
  await until("the gateways are up", async () => {
    const made = await Promise.all([
      ...["liz", "leo", "lea"].map((id) =>
        send(fra, "PUT", `recipients/${id}`, { homeRegion: "lon" }),
      ),
      send(lon, "PUT", "recipients/fay", { homeRegion: "fra" }),
    ]);
    return made.every(({ status }) => status < 300);
  });
  await until("both know all homes", async () => {
    const known = [await fra.store.directory.countOf(TENANT, "lon")];
    known.push(await lon.store.directory.countOf(TENANT, "fra"));
    return known.join() === "3,1";
  });
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);
beforeEach(() => {
  answering.add("fra").add("lon");
});

const send = (node: TestNode, method: string, path: string, body?: unknown, token?: string) =>
  ask(`${node.url}/v1/${path}`, { method, token: token ?? regions.apiKey, body });
const content = { en: { title: "Hello" } };
const accepted = async (body: object): Promise<string> => {
  const { status, body: answer } = await send(fra, "POST", "notifications", { content, ...body });
  expect(status).toBe(202);
  return answer["id"] as string;
};
const throttleOf = async (node: TestNode, id: string) =>
  (await node.store.notifications.get(TENANT, id))?.notification.throttle;
const setRate = (node: TestNode, id: string, ratePerMinute: unknown) =>
  send(node, "POST", `notifications/${id}/rate`, { ratePerMinute });

test("A2, A3 — a throttled one carries to all regions how many it comes to in all of them", async () => {
  const throttle = { ratePerMinute: 100 };
  const id = await accepted({ audience: { broadcast: true }, throttle });
  const counted = { ratePerMinute: 100, targetedCount: 512 }; // one of each partition
  expect(await throttleOf(fra, id)).toEqual(counted);
  await until("lon has it", async () => (await throttleOf(lon, id)) !== undefined);
  expect(await throttleOf(lon, id)).toEqual(counted);
  const named = await accepted({ audience: { recipients: ["liz", "fay", "nobody"] }, throttle });
  expect(await throttleOf(fra, named)).toEqual({ ratePerMinute: 100, targetedCount: 2 });
  const plan = await send(fra, "POST", "notifications/plan", {
    ...{ audience: { broadcast: true }, throttle },
  });
  expect(plan.body).toMatchObject({ targeted: 512, durationSeconds: 308 });
  const status = (await send(lon, "GET", `notifications/${id}`)).body;
  expect(status["ratePerMinute"]).toBe(100);
});

test("IN81 — a region that cannot count: as many as are known to live there, so that nobody is faster", async () => {
  answering.delete("lon");
  const id = await accepted({ audience: { broadcast: true }, throttle: { ratePerMinute: 5 } });
  expect(await throttleOf(fra, id)).toEqual({ ratePerMinute: 5, targetedCount: 256 + 3 });
});

test("A13 — a rate that cannot be is refused by its field's name", async () => {
  const wrong = await send(fra, "POST", "notifications", {
    ...{ content, audience: { broadcast: true }, throttle: { ratePerMinute: 0, burst: 1 } },
  });
  expect([wrong.status, wrong.body["errors"]]).toEqual([
    422,
    [
      { field: "throttle.ratePerMinute", message: expect.any(String) as string },
      { field: "throttle.burst", message: expect.any(String) as string },
    ],
  ]);
  const id = await accepted({ audience: { recipients: ["fay"] } });
  for (const rate of [0, 1.5, "fast", 1_000_001, undefined]) {
    const { status, body } = await setRate(fra, id, rate);
    expect([status, (body["errors"] as { field: string }[])[0]?.field]).toEqual([
      ...[422, "ratePerMinute"],
    ]);
  }
  expect((await setRate(fra, "nothing", 1)).status).toBe(422);
  expect((await setRate(fra, "00000000-0000-7000-8000-00000000abcd", 1)).status).toBe(404);
  const reader = await regions.newApiKey("fra", ["read"]);
  const path = `notifications/${id}/rate`;
  expect((await send(fra, "POST", path, { ratePerMinute: 1 }, reader)).status).toBe(403);
});

test("IN81 — what is cancelled or recalled has no rate: 409, as for all that is done with it", async () => {
  for (const [verb, code] of [
    ["cancel", "already_cancelled"],
    ["recall", "already_recalled"],
  ]) {
    const id = await accepted({ audience: { broadcast: true } });
    expect((await send(fra, "POST", `notifications/${id}/${verb}`)).status).toBe(202);
    const answer = await setRate(fra, id, 60);
    expect([answer.status, answer.body["code"]]).toEqual([409, code]);
    expect(await fra.store.rates.find(TENANT, id)).toBeUndefined();
  }
});

test("IN81 — a rate set in the other region is told to all, of as many as the notification came to", async () => {
  const id = await accepted({ audience: { broadcast: true }, throttle: { ratePerMinute: 100 } });
  await until("lon has it", async () => (await throttleOf(lon, id)) !== undefined);
  const { status, body } = await setRate(lon, id, 7);
  expect([status, body]).toEqual([
    202,
    { id, ratePerMinute: 7, changedAt: expect.stringMatching(/Z$/) as string },
  ]);
  await until("fra has heard", async () => (await fra.store.rates.find(TENANT, id)) !== undefined);
  for (const { store } of [fra, lon])
    expect(await store.rates.find(TENANT, id)).toMatchObject({
      ...{ ratePerMinute: 7, targetedCount: 512, changedIn: "lon" },
    });
  expect((await setRate(fra, id, null)).body["ratePerMinute"]).toBeNull();
  await until("lon has heard", async () => {
    const { body: told } = await send(lon, "GET", `notifications/${id}`);
    return (told as unknown as NotificationStatus).ratePerMinute === null;
  });
});

test("IN81 — without a throttle its regions tell how many it came to; those that have not counted, at most", async () => {
  const named = await accepted({ audience: { recipients: ["liz", "leo", "fay"] } });
  await until("lon has its rows", async () => {
    const { body } = await send(fra, "GET", `notifications/${named}`);
    return (body as unknown as NotificationStatus).counts.targeted === 3;
  });
  expect((await setRate(fra, named, 60)).status).toBe(202);
  expect((await fra.store.rates.find(TENANT, named))?.targetedCount).toBe(3);
  const everybody = await accepted({ audience: { broadcast: true } }); // nobody expands it here
  expect((await setRate(fra, everybody, 60)).status).toBe(202);
  expect((await fra.store.rates.find(TENANT, everybody))?.targetedCount).toBe(4);
  expect((await send(fra, "GET", `notifications/${everybody}`)).body["ratePerMinute"]).toBe(60);
});
