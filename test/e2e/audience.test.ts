// Goal: A2, A3, A4, A6: groups, filters, plans and explanations through whole regions. Method: real nodes of two
// regions; what a plan says is compared with what is sent, what is changed with what is sent next, and what
// became of it with what is told of one recipient.
import type { NotificationPlan, RecipientExplanation, RecipientList } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";
import { startTestCluster, type TestCluster } from "./cluster.ts";

let system: TestCluster;
const fra = () => system.api("fra");
const lon = () => system.api("lon");

const PEOPLE_COUNT = 60;
const idOf = (n: number): string => `person-${n}`;
const all = Array.from({ length: PEOPLE_COUNT }, (_, n) => idOf(n));

beforeAll(async () => {
  system = await startTestCluster(["fra", "lon"]);
  const lines = all.map((recipientId, n) =>
    JSON.stringify({
      recipientId,
      homeRegion: n % 3 === 0 ? "lon" : "fra",
      locale: n % 2 === 0 ? "de" : "en",
      attributes: {
        level: n % 10,
        hired: `2026-${String(1 + (n % 12)).padStart(2, "0")}-15`,
        teams: n % 4 === 0 ? ["fire", "first-aid"] : [],
      },
    }),
  );
  await fra().importLines(lines.join("\n"));
});
afterAll(async () => {
  await system?.stop();
});

const planOf = async (request: object): Promise<NotificationPlan> => {
  const answer = await fra().call<NotificationPlan>("POST", "/v1/notifications/plan", request);
  expect(answer.status).toBe(200);
  return answer.body;
};
/** Posted in lon, so that both ways are gone. */
const targetedBy = async (audience: object, more: object = {}): Promise<number> =>
  (await lon().finished(await lon().post(audience, "Hello", more))).counts.targeted;
const setMembers = async (method: "PUT" | "DELETE", recipients: string[]): Promise<void> => {
  const answer = await lon().call(method, "/v1/groups/wardens/members", { recipients });
  expect(answer.status).toBe(200);
};

test("A3 — what a plan says is what a notification is targeted at, by region and locale", async () => {
  const filter = {
    op: "and",
    nodes: [
      { key: "level", cmp: "ge", val: 4 },
      { op: "not", nodes: [{ key: "hired", cmp: "lt", val: "2026-06-01" }] },
    ],
  };
  const exclude = { recipients: [idOf(5)], filter: { key: "teams", cmp: "contains", val: "fire" } };
  const isMeant = (n: number): boolean => n % 10 >= 4 && n % 12 >= 5 && n !== 5 && n % 4 !== 0;
  const meant = all.flatMap((_, n) => (isMeant(n) ? n : []));
  const plan = await until("every owner serves", 30_000, async () => {
    const now = await planOf({ audience: { filter }, exclude });
    return now.isComplete ? now : undefined;
  });
  const inLon = meant.filter((n) => n % 3 === 0).length;
  expect(plan).toMatchObject({ targeted: meant.length, isComplete: true });
  expect(plan.regions.map(({ region, targeted }) => [region, targeted])).toEqual([
    ["fra", meant.length - inLon],
    ["lon", inLon],
  ]);
  const german = meant.filter((n) => n % 2 === 0).length;
  expect(new Map(plan.locales.map(({ locale, targeted }) => [locale, targeted]))).toEqual(
    new Map([
      ["de", german],
      ["en", meant.length - german],
    ]),
  );
  expect(await targetedBy({ filter }, { exclude })).toBe(meant.length);
  expect((await planOf({ audience: { broadcast: true } })).targeted).toBe(PEOPLE_COUNT);
});

test("A2, A6 — a group's members get what is sent to it, with every change that was answered before", async () => {
  const made = await fra().call("PUT", "/v1/groups/wardens", { name: "Fire wardens" });
  expect(made.status).toBe(201);
  const members = all.slice(0, 20);
  const planned = async () => (await planOf({ audience: { group: "wardens" } })).targeted;
  await setMembers("PUT", members);
  expect(await planned()).toBe(20);
  expect(await targetedBy({ group: "wardens" })).toBe(20);
  await setMembers("DELETE", members.slice(0, 5));
  expect(await targetedBy({ group: "wardens" })).toBe(15);
  expect(await targetedBy({ broadcast: true }, { exclude: { groups: ["wardens"] } })).toBe(
    PEOPLE_COUNT - 15,
  );
  await setMembers("PUT", members);
  expect(await planned()).toBe(20);
});

test("A6 — a group that is made again has none of the last one's members", async () => {
  expect((await fra().call("PUT", "/v1/groups/crew", {})).status).toBe(201);
  const recipients = all.slice(0, 9);
  await fra().call("PUT", "/v1/groups/crew/members", { recipients });
  const crew = { audience: { group: "crew" } };
  expect((await planOf(crew)).targeted).toBe(9);
  expect((await fra().call("DELETE", "/v1/groups/crew")).status).toBe(204);
  expect((await fra().call("POST", "/v1/notifications/plan", crew)).status).toBe(422);
  expect((await fra().call("PUT", "/v1/groups/crew", {})).status).toBe(201);
  expect((await planOf(crew)).targeted).toBe(0);
  const some = { recipients: recipients.slice(0, 2) };
  await fra().call("PUT", "/v1/groups/crew/members", some);
  expect((await planOf(crew)).targeted).toBe(2);
});

test("A6 — a dynamic group is whoever its filter matches when it is sent to", async () => {
  const filter = { key: "level", cmp: "eq", val: 9 };
  await lon().call("PUT", "/v1/groups/leads", { filter });
  const group = { audience: { group: "leads" } };
  expect((await planOf(group)).targeted).toBe(6);
  await fra().register("newcomer", "lon", { level: 9 });
  expect((await planOf(group)).targeted).toBe(7);
  expect(await targetedBy({ group: "leads" })).toBe(7);
});

test("A4 — what became of a notification is told for one recipient, decision by decision, and as lists", async () => {
  const [online, offline] = [idOf(0), idOf(1)]; // of lon, and of fra
  await system.connect(online, { region: "fra", issuer: "lon" });
  const id = await fra().post({ recipients: [online, offline] }, "Hello");
  await fra().finished(id);
  const explained = (recipientId: string): Promise<RecipientExplanation> =>
    until("its journal is written", 10_000, async () => {
      const path = `/v1/notifications/${id}/recipients/${recipientId}`;
      const { body } = await fra().call<RecipientExplanation>("GET", path);
      return body.timeline.some(({ kind }) => kind === "outcome") ? body : undefined;
    });
  const arrived = await explained(online);
  expect(arrived).toMatchObject({ homeRegion: "lon", state: "deliveredSocket", journal: "kept" });
  expect(arrived.timeline.map(({ kind, attempt }) => `${kind} ${attempt}`)).toEqual([
    "handed 0",
    "sent 1",
    "outcome 1",
  ]);
  expect(arrived.timeline.every(({ node }) => node.startsWith("lon-"))).toBe(true);
  expect(arrived.timeline[1]?.code).toMatch(/^fra-/); // the gateway
  const missed = await explained(offline);
  expect([missed.homeRegion, missed.state, missed.timeline.map(({ kind }) => kind)]).toEqual([
    "fra",
    "noDevice",
    ["handed", "outcome"],
  ]);
  const listed = async (state: string): Promise<readonly string[]> => {
    const path = `/v1/notifications/${id}/recipients?state=${state}`;
    return (await lon().call<RecipientList>("GET", path)).body.recipientIds;
  };
  expect(await listed("targeted")).toEqual([offline, online]);
  expect(await listed("noDevice")).toEqual([offline]);
  expect(await listed("deliveredSocket")).toEqual([online]);
});
