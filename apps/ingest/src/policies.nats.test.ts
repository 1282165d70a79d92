// Goal: IN70, IN71, A6, A11, A13 and D8 for policies and preferences. Method: two regions over real NATS;
// asked in either, databases are looked at directly.
import { partitionOf } from "@carillon/contracts";
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

const send = (node: TestNode, method: string, path: string, body?: unknown, token?: string) =>
  ask(`${node.url}/v1/${path}`, { method, token: token ?? regions.apiKey, body });
const days = { fri: [{ from: "18:00", until: "08:00" }] };
const preferences = { categories: { news: { socket: false } }, quietHours: { days } };

test("A11 — without a policy an empty one is read; one that is set is read in either region", async () => {
  const nothing = { countryAttribute: "country", mandatoryCategories: [] };
  expect((await send(lon, "GET", "policy")).body).toEqual({ policy: nothing, updatedAt: null });
  const put = await send(fra, "PUT", "policy", { quietHours: { forAll: { days } } });
  expect([put.status, put.body]).toEqual([
    200,
    {
      policy: { ...nothing, quietHours: { forAll: { days }, mayBeReplaced: true } },
      updatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
    },
  ]);
  expect((await send(fra, "GET", "policy")).body).toEqual(put.body);
  await until("lon has heard", async () => {
    const { body } = await send(lon, "GET", "policy");
    return body["updatedAt"] === put.body["updatedAt"];
  });
  expect((await send(lon, "GET", "policy")).body).toEqual(put.body);
});

test("IN70 — each change is told to the other region without being asked, and the newest stays", async () => {
  for (let n = 0; n < 5; n++)
    await send(n % 2 === 0 ? fra : lon, "PUT", "policy", { countryAttribute: `land${n}` });
  const attributes = async () =>
    await Promise.all(
      [fra, lon].map(async ({ store }) => {
        const record = await store.policies.find(TENANT);
        return record?.policy["countryAttribute"];
      }),
    );
  await until("both have the last", async () => (await attributes()).join() === "land4,land4");
});

test("A1, A13 — a policy wants an admin's key, and names what is wrong", async () => {
  const writer = await regions.newApiKey("fra", ["recipients:write", "read"]);
  expect((await send(fra, "PUT", "policy", {}, writer)).status).toBe(403);
  expect((await send(fra, "GET", "policy", undefined, writer)).status).toBe(200);
  const wrong = await send(fra, "PUT", "policy", { frequencyCap: { maxCount: 1 } });
  expect([wrong.status, wrong.body["errors"]]).toEqual([
    422,
    [{ field: "frequencyCap.perSeconds", message: "is required" }],
  ]);
});

test("D8 — preferences are written at their home only, and read from either region", async () => {
  const resource = { recipientId: "liz", ...preferences };
  const put = await send(fra, "PUT", "recipients/liz/preferences", preferences);
  expect([put.status, put.body]).toEqual([200, resource]);
  for (const node of [fra, lon])
    expect((await send(node, "GET", "recipients/liz/preferences")).body).toEqual(resource);
  expect(await fra.store.preferences.read(TENANT, "liz")).toBeUndefined();
  expect(await lon.store.preferences.read(TENANT, "liz")).toEqual(preferences);
  const fay = await send(lon, "GET", "recipients/fay/preferences");
  expect([fay.status, fay.body]).toEqual([200, { recipientId: "fay", categories: {} }]);
});

test("A13 — of nobody there are no preferences, and wrong ones are named", async () => {
  expect((await send(fra, "PUT", "recipients/nobody/preferences", preferences)).status).toBe(404);
  expect((await send(lon, "GET", "recipients/nobody/preferences")).status).toBe(404);
  const wrong = await send(fra, "PUT", "recipients/fay/preferences", { quietHours: { days: 1 } });
  expect([wrong.status, wrong.body["errors"]]).toEqual([
    422,
    [{ field: "quietHours.days", message: "must be an object" }],
  ]);
});

test("IN71 — a change of preferences pokes the owner at home", async () => {
  const bus = await regions.connectBus("lon", "lon/worker");
  const pokes = collectPokes(bus, "lon-w");
  const partition = partitionOf(TENANT, "liz");
  let isNews = true;
  const toggle = async () => {
    isNews = !isNews;
    const categories = isNews ? { news: { socket: false } } : {};
    await send(fra, "PUT", "recipients/liz/preferences", { categories });
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

test("A2 — a notification's category reaches the region of its recipient", async () => {
  const posted = await send(fra, "POST", "notifications", {
    audience: { recipients: ["liz"] },
    content: { en: { title: "Hello" } },
    category: "news",
  });
  expect(posted.status).toBe(202);
  const id = String(posted.body["id"]);
  const stored = await until("it is there", async () => {
    return (await lon.store.ledger.readNotifications([id]))[0];
  });
  expect(stored.notification.category).toBe("news");
});
