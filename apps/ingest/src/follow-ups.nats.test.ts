// apps/ingest/src/follow-ups.nats.test.ts
// Goal: IN78, IN79, A13 for recall and remind. Method: two regions over real NATS and Postgres; the databases and what
// owners are poked with are looked at directly.
import { LIMITS, type RegionAudience, withdrawalIdOf } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
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
let fra: TestNode;
let lon: TestNode;

beforeAll(async () => {
  regions = await startRegions(["fra", "lon"]);
  const ownerOf = (home: string) => `${home}-w`;
  fra = await regions.startNode("fra", { ownerOf });
  lon = await regions.startNode("lon", { ownerOf });
  await until("the gateways are up", async () => {
    const there = await send(fra, "PUT", "recipients/liz", { homeRegion: "lon" });
    const back = await send(lon, "PUT", "recipients/fay", { homeRegion: "fra" });
    return there.status < 300 && back.status < 300;
  });
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

const send = (
  node: TestNode,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
) => ask(`${node.url}/v1/${path}`, { method, token: regions.apiKey, body, headers });
const content = { en: { title: "Hello" } };
const post = async (node: TestNode, more: object) => {
  const answer = await send(node, "POST", "notifications", { content, ...more });
  expect(answer.status).toBe(202);
  return String(answer.body["id"]);
};
const stored = (node: TestNode, id: string) => node.store.ledger.readNotifications([id]);
const EVERYWHERE = Array.from({ length: LIMITS.partitionCount }, (_, partition) => partition);
/** Partition, state and members of its rows there. */
const rowsOf = async (node: TestNode, id: string) =>
  (await node.store.ledger.readRowsOf(node.region, EVERYWHERE, id)).map(
    ({ partition, state, members }) => ({ partition, state, members }),
  );
const plannedIn = (rows: Awaited<ReturnType<typeof rowsOf>>) =>
  rows.map(({ partition }) => ({ partition, state: "planned", members: null }));
const about = (notificationId: string, who: "sent" | "unread"): RegionAudience => ({
  ...{ kind: "unread", notificationId, who },
});

test("IN78 — recalled where it was not accepted: committed there with the withdrawal, which every target region gets", async () => {
  const id = await post(fra, { audience: { broadcast: true } });
  await until("lon has it", async () => (await stored(lon, id)).length > 0);
  const heard = collectPokes(lon.bus, "lon-w");
  const recalled = await send(lon, "POST", `notifications/${id}/recall`);
  expect([recalled.status, recalled.body]).toEqual([
    202,
    { id, control: "recalled", changedAt: expect.any(String) as string },
  ]);
  const [withdrawal] = await stored(lon, withdrawalIdOf(id)); // when it is answered
  expect(withdrawal).toMatchObject({
    notification: { withdraws: id, tenantId: TENANT, priority: "critical", content: {} },
    audience: about(id, "sent"),
  });
  await until("fra has it", async () => (await stored(fra, withdrawalIdOf(id))).length > 0);
  for (const node of [fra, lon]) {
    expect((await node.store.controls.find(TENANT, id))?.state).toBe("recalled");
    const status = await send(node, "GET", `notifications/${id}`);
    expect([status.status, status.body["control"]]).toEqual([200, "recalled"]);
    const hidden = await send(node, "GET", `notifications/${withdrawalIdOf(id)}`);
    expect(hidden.status).toBe(404);
    const again = await send(node, "POST", `notifications/${withdrawalIdOf(id)}/recall`);
    expect(again.status).toBe(404);
  }
  await until("the owner is poked", () =>
    heard.some(({ items }) => items.some((item) => item.notification.withdraws === id)),
  );
});

test("IN78 — recalled where there is no copy: its target regions get the withdrawal, and no other a row", async () => {
  const id = await post(fra, { audience: { recipients: ["fay"] } });
  const withdrawalId = withdrawalIdOf(id);
  expect((await send(lon, "POST", `notifications/${id}/recall`)).status).toBe(202);
  await until("fra has it", async () => (await stored(fra, withdrawalId)).length > 0);
  const [row, ...others] = await rowsOf(fra, id);
  expect([row?.state, others]).toEqual(["open", []]);
  expect(await rowsOf(fra, withdrawalId)).toEqual(plannedIn(row ? [row] : []));
  expect(await rowsOf(lon, withdrawalId)).toEqual([]);
  expect((await send(lon, "GET", `notifications/${id}`)).body["control"]).toBe("recalled");
});

test("IN78 — recalled in both regions at once, and again: one withdrawal, one row for each that it has", async () => {
  const id = await post(lon, { audience: { recipients: ["liz", "fay"] } });
  await until("fra has it", async () => (await stored(fra, id)).length > 0);
  const both = await Promise.all(
    [fra, lon].map((node) => send(node, "POST", `notifications/${id}/recall`)),
  );
  expect(both.map(({ status }) => status)).toEqual([202, 202]);
  for (const node of [fra, lon]) {
    await until("it has come", async () => (await stored(node, withdrawalIdOf(id))).length > 0);
    expect((await send(node, "POST", `notifications/${id}/recall`)).status).toBe(202);
  }
  for (const node of [fra, lon]) {
    const rows = await rowsOf(node, id);
    expect(rows.length).toBe(1);
    expect(await rowsOf(node, withdrawalIdOf(id))).toEqual(plannedIn(rows));
  }
});

test("IN78, A13 — what was cancelled can be recalled, what was recalled stays; what there is not is 404", async () => {
  const id = await post(fra, { audience: { recipients: ["fay"] } });
  expect((await send(fra, "POST", `notifications/${id}/cancel`)).status).toBe(202);
  const reminded = await send(fra, "POST", `notifications/${id}/remind`, {});
  expect([reminded.status, reminded.body["code"]]).toEqual([409, "already_cancelled"]);
  expect((await send(fra, "POST", `notifications/${id}/recall`)).status).toBe(202);
  for (const verb of ["pause", "resume", "cancel", "remind"]) {
    const answer = await send(
      fra,
      "POST",
      `notifications/${id}/${verb}`,
      verb === "remind" ? {} : undefined,
    );
    expect([verb, answer.status, answer.body["code"]]).toEqual([verb, 409, "already_recalled"]);
  }
  const unknown = "00000000-0000-7000-8000-00000000abcd";
  for (const verb of ["recall", "remind"]) {
    const body = verb === "remind" ? {} : undefined;
    expect((await send(lon, "POST", `notifications/${unknown}/${verb}`, body)).status).toBe(404);
    expect((await send(lon, "POST", `notifications/nothing/${verb}`, body)).status).toBe(422);
  }
});

test("IN79 — reminded where there is no copy: content, priority and category of the first, in its target regions", async () => {
  const more = { priority: "high", category: "news", fallbacks: { fr: ["en"] } };
  const id = await post(fra, { audience: { recipients: ["fay"] }, ...more });
  const answer = await send(lon, "POST", `notifications/${id}/remind`, { ttlSeconds: 60 });
  expect(answer.status).toBe(202);
  expect(answer.body["regions"]).toEqual(["fra"]);
  const reminder = String(answer.body["id"]);
  const [there] = await until("fra has it", async () => {
    const found = await stored(fra, reminder);
    return found.length > 0 && found;
  });
  expect(there).toMatchObject({
    notification: { ...more, content, acceptedRegion: "lon", tenantId: TENANT },
    audience: about(id, "unread"),
  });
  const { acceptedAtMs = 0, expiresAtMs = 0 } = there?.notification ?? {};
  expect(expiresAtMs - acceptedAtMs).toBe(60_000);
});

test("IN79 — what it says itself counts; a repeat is replayed, also when the first is recalled by then", async () => {
  const id = await post(fra, { audience: { recipients: ["fay"] } });
  const said = { content: { en: { title: "Again" } }, priority: "critical" };
  const key = { "idempotency-key": "once" };
  const first = await send(fra, "POST", `notifications/${id}/remind`, said, key);
  expect(first.status).toBe(202);
  const [reminder] = await stored(fra, String(first.body["id"]));
  expect(reminder?.notification).toMatchObject(said);
  expect((await send(fra, "POST", `notifications/${id}/recall`)).status).toBe(202);
  const again = await send(fra, "POST", `notifications/${id}/remind`, said, key);
  expect([again.status, again.body]).toEqual([202, first.body]);
  expect(again.headers.get("idempotency-replayed")).toBe("true");
  const other = await send(fra, "POST", `notifications/${id}/remind`, {}, key);
  expect([other.status, other.body["code"]]).toEqual([422, "idempotency_mismatch"]);
});

test("IN79, A13 — a reminder says nothing of an audience, and names what is wrong", async () => {
  const id = await post(fra, { audience: { recipients: ["fay"] } });
  const refused: readonly [object, string][] = [
    [{ audience: { broadcast: true } }, "audience"],
    [{ sendAt: "2030-01-01T00:00:00Z" }, "sendAt"],
    [{ payload: {} }, "payload"],
    [{ priority: "urgent" }, "priority"],
  ];
  for (const [body, field] of refused) {
    const answer = await send(fra, "POST", `notifications/${id}/remind`, body);
    expect([answer.status, answer.body["errors"]]).toEqual([
      422,
      [{ field, message: expect.any(String) as string }],
    ]);
  }
});
