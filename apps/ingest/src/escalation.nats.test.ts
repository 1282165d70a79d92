// Goal: IN76, IN77 at the edge: what is posted is stored and travels, and regions tell each other what was
// acknowledged. Method: two regions over real NATS; a worker's write is made with the store.
import { ackedReplySchema, decodeMessage, encodeMessage, subjects } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { EMPTY_SETS } from "@carillon/delivery";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ALWAYS_SERVING } from "./home-gate.ts";
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

beforeAll(async () => {
  regions = await startRegions(["fra", "lon"]);
  const webhooks = { secretsOf: () => [], endpointProblem: () => undefined };
  fra = await regions.startNode("fra", { webhooks });
  lon = await regions.startNode("lon", {
    home: { ...ALWAYS_SERVING, withholds: (tenantId) => tenantId === "bolt" },
  });
  await until("the gateways are up", async () => {
    const path = `${fra.url}/v1/recipients/ben`;
    const body = { homeRegion: "lon" };
    return (await ask(path, { method: "PUT", token: regions.apiKey, body })).status < 300;
  });
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

const requireAck = {
  deadlineSeconds: 60,
  escalation: [
    {
      to: { attribute: "managerId" },
      content: { en: { title: "Not confirmed" } },
      waitSeconds: 10,
    },
    { to: { webhook: "https://ops.example/overdue" } },
  ],
};
const post = (more: object) =>
  ask(`${fra.url}/v1/notifications`, {
    method: "POST",
    token: regions.apiKey,
    body: { audience: { recipients: ["ben"] }, content: { en: { title: "Hello" } }, ...more },
  });

const acked = async (tenantId: string, notificationIds: readonly string[]) => {
  const data = encodeMessage({ tenantId, notificationIds });
  const outcome = await fra.bus.request(subjects.regionAcked("lon"), data, 5_000);
  if (outcome.kind !== "reply") return outcome.kind;
  const decoded = decodeMessage(ackedReplySchema, outcome.data);
  return decoded.kind === "message" ? decoded.message : decoded.kind;
};

test("IN77 — what is to be acknowledged is stored as it was posted, in the recipients' regions", async () => {
  const answer = await post({ requireAck });
  expect(answer.status).toBe(202);
  const id = String(answer.body["id"]);
  await until(
    "lon has it",
    async () => (await lon.store.notifications.get(TENANT, id)) !== undefined,
  );
  for (const { store } of [fra, lon])
    expect((await store.notifications.get(TENANT, id))?.notification.requireAck).toEqual(
      requireAck,
    );
  const tokens = await ask(`${fra.url}/v1/tokens`, {
    ...{ method: "POST", token: regions.apiKey, body: { recipientIds: ["ben"] } },
  });
  const [{ token }] = tokens.body["tokens"] as [{ token: string }];
  const inbox = await ask(`${fra.url}/v1/inbox`, { token });
  expect(inbox.body["items"]).toMatchObject([{ id, requireAck: { deadlineSeconds: 60 } }]);
  const refused = await post({ requireAck: { deadlineSeconds: 5, escalation: [] } });
  expect(refused).toMatchObject({
    status: 422,
    body: {
      errors: [
        { field: "requireAck.deadlineSeconds", message: "must be at least 10" },
        { field: "requireAck.escalation", message: "must hold at least 1 item" },
      ],
    },
  });
});

test("IN76 — a region tells what its people have acknowledged, of the tenant only, and never none for withheld", async () => {
  const ids: string[] = [];
  for (let n = 0; n < 2; n++) ids.push(String((await post({})).body["id"]));
  const place = (await lon.store.directory.locate("lon", TENANT, ["ben"])).get("ben")!;
  const { partition } = place;
  const rows = () => lon.store.ledger.readRows("lon", partition, { afterOffset: 0, limitCount: 9 });
  await until(
    "lon has both",
    async () =>
      ids.every((id) => lon !== undefined && id !== "") &&
      (await rows()).filter(({ notificationId }) => ids.includes(notificationId)).length === 2,
  );
  expect(await acked(TENANT, ids)).toEqual({ kind: "acked", notificationIds: [] });
  const lease = { home: "lon", memberId: "lon-w", partitions: [partition], leaseMs: 60_000 };
  const [held] = await lon.store.leases.acquire(lease);
  const row = (await rows()).find(({ notificationId }) => notificationId === ids[1])!;
  const sets = { ...EMPTY_SETS, acknowledged: Bitset.of([0]).toBytes() };
  await lon.store.ledger.writeRows("lon", [
    { partition, offset: row.offset, epoch: held!.epoch, state: "open", sets },
  ]);
  expect(await acked(TENANT, ids)).toEqual({ kind: "acked", notificationIds: [ids[1]] });
  expect(await acked("other", ids)).toEqual({ kind: "acked", notificationIds: [] });
  expect(await acked("bolt", ids)).toEqual({ kind: "failed", code: "tenant_withheld" });
});
