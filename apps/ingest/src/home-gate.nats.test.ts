// Goal: IN35–IN37. Method: two real regions; the gate of one is the test's.
import {
  encodeMessage,
  type HomeReply,
  type HomeStanding,
  homeSubjects,
} from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { HomeGate } from "./home-gate.ts";
import { ask, startRegions, TENANT, TEST_MAX_MS, type TestRegions, until } from "./test-regions.ts";

const KEY = "operator-key-of-the-tests-0123456789";
let regions: TestRegions;
beforeAll(async () => {
  regions = await startRegions(["fra", "lon"]);
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

function gate() {
  const listeners = new Set<() => void>();
  const state = {
    standing: "serving" as HomeStanding,
    isEmpty: false,
    withheld: new Set<string>(),
  };
  const home: HomeGate = {
    get standing() {
      return state.standing;
    },
    claim: { epoch: 2, host: "par" },
    get isEmpty() {
      return state.isEmpty;
    },
    withholds: (tenantId) => state.withheld.has(tenantId),
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  const stand = (standing: HomeStanding): void => {
    state.standing = standing;
    for (const listener of listeners) listener();
  };
  return { home, state, stand };
}

const post = (url: string, recipients: string[], token = regions.apiKey) =>
  ask(`${url}/v1/notifications`, {
    method: "POST",
    token,
    body: { audience: { recipients }, content: { en: { title: "T" } } },
  });
const put = (url: string, id: string, homeRegion: string) =>
  ask(`${url}/v1/recipients/${id}`, { method: "PUT", token: regions.apiKey, body: { homeRegion } });

/** The regions' gateways may still be on their way to each other. */
const registered = (url: string, id: string, token = regions.apiKey) =>
  until(`${id} is known`, async () => {
    const body = { homeRegion: "fra" };
    const { status } = await ask(`${url}/v1/recipients/${id}`, { method: "PUT", token, body });
    return status < 300;
  });

test("IN35 — not served here: the reason to every tenant's request, nothing of others' is taken; then both", async () => {
  const { home, stand, state } = gate();
  const fra = await regions.startNode("fra", { home, operatorKey: KEY });
  const lon = await regions.startNode("lon");
  await registered(lon.url, "ann");
  for (const [standing, code] of [
    ["standby", "home_standby"],
    ["undeclared", "home_standby"],
    ["draining", "home_fenced"],
    ["fenced", "home_fenced"],
  ] as const) {
    stand(standing);
    const answers = await Promise.all([
      post(fra.url, ["ann"]),
      post(fra.url, ["ann"], "crl_nobody_0123456789abcdef"), // before the key is looked at
      put(fra.url, "ann", "fra"),
      ask(`${fra.url}/v1/inbox`, { token: "no token" }),
      ask(`${fra.url}/readyz`),
    ]);
    expect(answers.map(({ status, body }) => [status, body["code"]])).toEqual(
      Array.from({ length: 5 }, () => [503, code]),
    );
    expect(answers[0]?.body["detail"]).toBe(
      `This node is ${standing}. It is hosted by par, epoch 2.`,
    );
    expect((await ask(`${fra.url}/livez`)).status).toBe(200);
    expect((await ask(`${fra.url}/v1/admin/nodes`, { token: KEY })).status).toBe(200);
  }
  state.isEmpty = true;
  stand("undeclared");
  for (const answer of [await post(fra.url, ["ann"]), await ask(`${fra.url}/readyz`)])
    expect([answer.status, answer.body["code"], answer.body["detail"]]).toEqual([
      503,
      "home_empty",
      "This node is no copy. It is hosted by par, epoch 2.",
    ]);
  state.isEmpty = false;
  const accepted = await post(lon.url, ["ann"]);
  expect(accepted.status).toBe(202);
  const statusOf = async () => {
    const { body } = await ask(`${lon.url}/v1/notifications/${String(accepted.body["id"])}`, {
      token: regions.apiKey,
    });
    return (body["regions"] as { region: string; state: string }[]).find(
      ({ region }) => region === "fra",
    )?.state;
  };
  expect(await statusOf()).toBe("unreachable");
  stand("serving");
  await until("fra has it", async () => (await statusOf()) === "delivering");
  expect((await post(fra.url, ["ann"])).status).toBe(202);
  await fra.stop();
  await lon.stop();
});

test("IN36 — a withheld tenant: refused by name, its rows stay in lon, another tenant's do not", async () => {
  const { home, state } = gate();
  const fra = await regions.startNode("fra", { home });
  const lon = await regions.startNode("lon");
  const other = "other";
  const store = regions.openStore("lon");
  await store.tenants.create(other, "Other");
  const pepper = "pepper-of-the-tests";
  const otherKey = await store.tenants.createApiKey({ tenantId: other, scopes: ["admin"], pepper });
  await registered(lon.url, "bob");
  await registered(lon.url, "eve", otherKey);
  state.withheld.add(TENANT);
  expect(await post(fra.url, ["bob"])).toMatchObject({
    status: 503,
    body: { code: "tenant_withheld" },
  });
  expect(await put(lon.url, "bob", "fra")).toMatchObject({
    status: 503,
    body: { code: "tenant_withheld" },
  });
  const kept = String((await post(lon.url, ["bob"])).body["id"]);
  const sent = String((await post(lon.url, ["eve"], otherKey)).body["id"]);
  const there = regions.openStore("fra");
  await until("the other's is there", async () => there.notifications.get(other, sent));
  const stateOf = async () =>
    (await ask(`${lon.url}/v1/notifications/${kept}`, { token: regions.apiKey })).body["regions"];
  expect(await stateOf()).toMatchObject([{ region: "fra", state: "withheld" }]);
  expect(await there.notifications.get(TENANT, kept)).toBe(undefined);
  await until("it is kept for later", async () => (await store.outbox.backlog("fra")) === 1);
  state.withheld.clear();
  await until("it goes on", async () => there.notifications.get(TENANT, kept), 60_000);
  await fra.stop();
  await lon.stop();
});

test("IN37 — steps go to the place named; refusals are 409 with the reason, silence is 503", async () => {
  const lon = await regions.startNode("lon", { operatorKey: KEY });
  const bus = await regions.connectBus("fra", "steward");
  const asked: unknown[] = [];
  bus.subscribe(homeSubjects.homeAt("fra", "lon"), (message) => {
    asked.push(JSON.parse(new TextDecoder().decode(message.data)));
    const reply: HomeReply = {
      kind: "refused",
      code: "not_fenced",
      detail: "the fence is not here",
    };
    message.reply(encodeMessage(reply));
  });
  const step = (home: string, body: unknown, token = KEY) =>
    ask(`${lon.url}/v1/admin/homes/${home}/steps`, { method: "POST", token, body });
  const take = { place: "lon", request: { kind: "take", fenceLsn: "0/10" } };
  const refused = await until("the gateways know the subject", async () => {
    const answer = await step("fra", take);
    return answer.status === 409 && answer;
  });
  expect(refused.body).toMatchObject({
    code: "failover_refused",
    detail: "not_fenced: the fence is not here",
  });
  expect(asked.at(-1)).toEqual({ kind: "take", fenceLsn: "0/10" });
  expect(await step("fra", { ...take, place: "fra" })).toMatchObject({
    status: 503,
    body: { code: "node_unreachable" },
  });
  expect(await step("ber", take)).toMatchObject({
    status: 404,
    body: { detail: "There is no home region ber. There are fra, lon." },
  });
  expect(await step("fra", { ...take, place: "ber" })).toMatchObject({
    status: 422, // not a silence, which would be waited for
    body: { errors: [{ field: "place", message: "must be one of fra, lon" }] },
  });
  expect(
    await step("fra", { place: "lon", request: { kind: "take", fenceLsn: "here" } }),
  ).toMatchObject({
    status: 422,
    body: {
      errors: [{ field: "request.fenceLsn", message: "must be a position such as 0/3000060" }],
    },
  });
  expect((await step("fra", take, regions.apiKey)).status).toBe(401); // IN31
  const { body } = await ask(`${lon.url}/v1/admin/homes`, { token: KEY });
  expect(body).toEqual({
    homes: ["fra", "lon"].map((home) => ({ home, claim: null, places: [] })),
  });
  await lon.stop();
});
