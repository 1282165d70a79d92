// Goal: IN31 and the admin routes (O8). Method: two regions over real NATS; the nodes that are asked
// are scripted here, since what they answer is apps/cli's affair.
import { callHandler, startDispatcher } from "@carillon/cluster";
import {
  type AdminRequest,
  adminRequestSchema,
  type Beat,
  decodeMessage,
  encodeMessage,
  partitionOf,
  PROCESS_INSPECT,
  PROCESS_RESET,
  type ProcessView,
  subjects,
} from "@carillon/contracts";
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

const OPERATOR_KEY = "operator-key-of-the-tests-1";
const LON_WORKER = "lon-worker-1";
const SILENT = "lon-worker-2";
let regions: TestRegions;
let fra: TestNode;
const asked: (AdminRequest | { kind: string; slot: number })[] = [];
const ada = `${TENANT}/ada`;
/** In the directory of lon, in the partition of ada, and not known to its owner yet. */
const ghost = Array.from({ length: 9_999 }, (_, n) => `ghost-${n}`).find(
  (id) => partitionOf(TENANT, id) === partitionOf(TENANT, "ada"),
)!;
const table = `lon/${partitionOf(TENANT, "ada")}`;
const view: ProcessView = {
  table,
  key: ada,
  slot: 3,
  phase: "quarantined",
  generation: 4,
  hasState: true,
  waitingCount: 0,
  waitingBytes: 0,
  isTimerArmed: false,
  restartCount: 4,
  recentCrashCount: 4,
  lastError: "Error: poison",
  current: "cast entry",
  ageMs: null,
  retryInMs: 1_000,
};

const beat = (memberId: string, owned: Beat["owned"]): Beat => ({
  memberId,
  region: "lon",
  roles: ["worker"],
  isDraining: false,
  build: "1",
  owned,
  links: {},
});

beforeAll(async () => {
  regions = await startRegions(["fra", "lon"]);
  fra = await regions.startNode("fra", {
    operatorKey: OPERATOR_KEY,
    members: () => [
      { ...beat(SILENT, {}), state: "suspect", phi: 9.5, silentMs: 5_000 },
      { ...beat(LON_WORKER, { lon: [[5, 1]] }), load: 0.5, weight: 2 },
    ],
    ownerOf: (home) => (home === "lon" ? LON_WORKER : undefined),
    limits: { statusTimeoutMs: 1_000 },
  });
  const lon = await regions.startNode("lon");
  const bus = await regions.connectBus("lon", LON_WORKER);
  bus.subscribe(subjects.memberAdmin(LON_WORKER), (message) => {
    const decoded = decodeMessage(adminRequestSchema, message.data);
    if (decoded.kind === "malformed") return;
    asked.push(decoded.message);
    message.reply(encodeMessage(answerOf(decoded.message)));
  });
  startDispatcher({
    memberId: LON_WORKER,
    bus,
    owners: { ownerOf: () => LON_WORKER },
    router: {
      forward: () => ({
        sentCount: 0,
        noConnection: [],
        tooLarge: [],
        messageCount: 0,
        bytesCount: 0,
      }),
    },
    handlers: [
      callHandler(PROCESS_INSPECT, ({ slot }) => {
        asked.push({ kind: PROCESS_INSPECT.name, slot });
        return { kind: "reply", reply: view };
      }),
      callHandler(PROCESS_RESET, ({ slot }) => {
        asked.push({ kind: PROCESS_RESET.name, slot });
        return { kind: "reply", reply: { isChanged: true } };
      }),
    ],
    mayServe: () => true,
    servedPartition: (home, partition) =>
      `${home}/${partition}` === table
        ? { slotOf: (tenantId, id) => (`${tenantId}/${id}` === ada ? view.slot : undefined) }
        : undefined,
    onDispatched: () => undefined,
    onCrash: (cause) => {
      throw cause;
    },
  });
  await lon.store.directory.upsert({
    home: "lon",
    tenantId: TENANT,
    changes: ["ada", ghost].map((recipientId) => ({
      recipientId,
      locale: null,
      timeZone: null,
      attributes: {},
    })),
    otherRegions: ["fra"],
  });
  await until(
    "the worker in lon answers",
    async () => (await get("/nodes/lon-worker-1/tree")).status === 200,
  );
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

const buried = {
  ...{ id: 12, partition: 7, kind: "reminder", key: "ada", tenantId: TENANT },
  ...{ attemptCount: 10, failureCount: 9, lostCount: 0 },
  ...{ buriedAt: "2026-12-01T00:00:00.000Z", reason: "Error: no" },
};

function answerOf(request: AdminRequest): unknown {
  if (request.kind === "tree")
    return {
      kind: "tree",
      tree: {
        id: "node",
        type: "supervisor",
        status: "running",
        restartsCount: 0,
        childrenCount: 0,
        children: [],
      },
      tables: [],
      stats: { residentCount: 1 },
    };
  if (request.kind === "processes")
    return request.table === "lon/999" || request.table === "lon/9"
      ? { kind: "not_found" }
      : { kind: "processes", processes: [view] };
  if ("key" in request && request.key !== ada) return { kind: "not_found" };
  if (request.kind === "inspect") return { kind: "process", process: view };
  if (request.kind === "buried_timers")
    return { kind: "buried_timers", timers: [{ ...buried, payload: "salary" }], isCut: false };
  return { kind: "done", isChanged: true };
}

const get = (path: string, token: string | undefined = OPERATOR_KEY) =>
  ask(`${fra.url}/v1/admin${path}`, token === "" ? {} : { token });
const post = (path: string, body: unknown) =>
  ask(`${fra.url}/v1/admin${path}`, { method: "POST", token: OPERATOR_KEY, body });

test("O8 — nodes, a node's tree and processes are asked in any region and answered by the node", async () => {
  expect((await get("/nodes")).body).toEqual({
    nodes: [
      {
        memberId: LON_WORKER,
        region: "lon",
        roles: ["worker"],
        isDraining: false,
        build: "1",
        load: 0.5,
        weight: 2,
        ownedCount: 1,
        home: "lon",
        standing: "serving",
      },
      {
        memberId: SILENT,
        region: "lon",
        roles: ["worker"],
        isDraining: false,
        build: "1",
        state: "suspect",
        phi: 9.5,
        silentMs: 5_000,
        ownedCount: 0,
        home: "lon",
        standing: "serving",
      },
    ],
  });
  expect((await get(`/nodes/${LON_WORKER}/tree`)).body).toMatchObject({
    node: LON_WORKER,
    tree: { id: "node" },
    stats: { residentCount: 1 },
  });
  const listed = await get("/processes?quarantined=true&limit=5");
  expect(listed.body).toEqual({
    processes: [{ ...view, node: LON_WORKER }],
    unreachable: [SILENT],
    isCut: false,
  });
  expect(asked.at(-1)).toEqual({
    kind: "processes",
    table: null,
    isQuarantinedOnly: true,
    isIdleToo: false,
    limit: 5,
  });
  await get(`/processes?all=true&node=${LON_WORKER}`);
  expect(asked.at(-1)).toMatchObject({ isQuarantinedOnly: false, isIdleToo: true });
});

test("O8 — a recipient's process is found by its name, wherever its owner is", async () => {
  const found = await get(`/process?recipient=${encodeURIComponent(ada)}`);
  expect([found.status, found.body]).toEqual([200, { ...view, node: LON_WORKER }]);
  expect(asked.at(-1)).toEqual({ kind: "inspect-process", slot: view.slot });
  const byTable = await get(`/process?table=${table}&key=${encodeURIComponent(ada)}`);
  expect([byTable.status, byTable.body]).toEqual([200, { ...view, node: LON_WORKER }]);
  expect(asked.at(-1)).toEqual({ kind: "inspect", table, key: ada });
  expect((await get(`/process?recipient=${TENANT}%2F${ghost}`)).status).toBe(404);
  const reset = await post("/process/reset", { recipient: ada });
  expect(reset.body).toEqual({ node: LON_WORKER, isChanged: true });
  expect(asked.at(-1)).toEqual({ kind: "reset-process", slot: view.slot });
  const resumed = await post("/tables/resume", { table });
  expect(resumed.body).toEqual({ node: LON_WORKER, isChanged: true });
  const other = await get(`/process?table=sessions&key=7&node=${LON_WORKER}`);
  expect(other.status).toBe(404);
});

test("IN72, O8 — buried timers of a region are told by a worker of it, without what they hold", async () => {
  const listed = await get("/timers?region=lon&limit=5");
  expect(listed.body).toEqual({ node: LON_WORKER, timers: [buried], isCut: false });
  expect(asked.at(-1)).toEqual({ kind: "buried_timers", home: "lon", limit: 5 });
  for (const step of ["revive", "delete"]) {
    const done = await post(`/timers/${step}`, { region: "lon", id: 12 });
    expect(done.body).toEqual({ node: LON_WORKER, isChanged: true });
    expect(asked.at(-1)).toEqual({ kind: `${step}_timer`, home: "lon", id: 12 });
  }
});

test("A13 — bad addresses are named, absent things are 404, silent nodes 503", async () => {
  const cases: [Promise<{ status: number; body: Record<string, unknown> }>, number, string][] = [
    [get("/process"), 422, "invalid_field"],
    [get("/process?recipient=ada"), 422, "invalid_field"],
    [get("/process?table=sessions&key=7"), 422, "invalid_field"],
    [get("/process?table=fra/3&key=7"), 503, "node_unreachable"],
    [get("/process?table=fra/256&key=7"), 404, "not_found"],
    [get("/process?table=xyz/1&key=7"), 404, "not_found"],
    [post("/process/reset", { recipient: `${TENANT}/a\u0000b` }), 422, "invalid_field"],
    [post("/process/reset", { recipient: `${TENANT}/${"x".repeat(9_999)}` }), 422, "invalid_field"],
    [get(`/process?recipient=${TENANT}%2Fnobody`), 404, "not_found"],
    [get("/processes?limit=0"), 422, "invalid_field"],
    [get("/processes?limit=x"), 422, "invalid_field"],
    [get("/processes?node=nobody"), 404, "not_found"],
    [get(`/processes?node=${LON_WORKER}&table=lon/999`), 404, "not_found"],
    [get(`/processes?node=${LON_WORKER}&table=lon/9`), 404, "not_found"],
    [get("/nodes/nobody/tree"), 404, "not_found"],
    [get(`/nodes/${SILENT}/tree`), 503, "node_unreachable"],
    [post("/process/reset", { table: "fra/1" }), 422, "invalid_field"],
    [post("/tables/resume", {}), 422, "invalid_field"],
    [get("/timers"), 422, "invalid_field"],
    [get("/timers?region=xyz"), 422, "invalid_field"],
    [get("/timers?region=lon&limit=0"), 422, "invalid_field"],
    [get("/timers?region=fra"), 503, "node_unreachable"], // it has no worker
    [post("/timers/revive", { region: "lon", id: 0 }), 422, "invalid_field"],
    [post("/timers/delete", { region: "xyz", id: 1 }), 422, "invalid_field"],
    [post("/tables/resume", { table: "sessions" }), 422, "invalid_field"],
  ];
  for (const [answer, status, code] of cases) {
    const { status: got, body } = await answer;
    expect([got, body["code"]]).toEqual([status, code]);
  }
});

test("A13 — a node, a partition or a node's table that is none: what there is, is told", async () => {
  const members = [LON_WORKER, ...Array.from({ length: 25 }, (_, at) => `fra-node-${at}`)];
  const many = await regions.startNode("fra", {
    operatorKey: OPERATOR_KEY,
    members: () => members.map((memberId) => beat(memberId, {})),
  });
  const read = (path: string) => ask(`${many.url}/v1/admin${path}`, { token: OPERATOR_KEY });
  const tables =
    "Recipients are in fra/0, lon/0 … to /255, sessions and sockets in gateway.sessions and " +
    "gateway.connections of a node with the role gateway.";
  const node = await read("/nodes/nobody/tree");
  const shown = members.toSorted().slice(0, 20).join(", ");
  expect(node.body["detail"]).toBe(`There is no node nobody. There are ${shown} ….`);
  const partition = await read("/process?table=fra/256&key=7");
  expect(partition.body["detail"]).toBe(`There is no partition fra/256. ${tables}`);
  const placeless = await read("/process?table=sessions&key=7");
  expect(placeless.body["errors"]).toEqual([
    { field: "node", message: `is needed for a table of no partition. ${tables}` },
  ]);
  await many.stop();
});

test("A13 — a table that is nowhere is 404, with what would be; one whose owner nobody knows is 503", async () => {
  const only = await regions.startNode("fra", {
    operatorKey: OPERATOR_KEY,
    members: () => [beat(LON_WORKER, {})],
  });
  const list = (name: string) =>
    ask(`${only.url}/v1/admin/processes?table=${name}`, { token: OPERATOR_KEY });
  const nowhere = await list("lon/999");
  expect([nowhere.status, nowhere.body["detail"]]).toEqual([
    404,
    "No node has the table lon/999. Recipients are in fra/0, lon/0 … to /255, sessions and sockets " +
      "in gateway.sessions and gateway.connections of a node with the role gateway.",
  ]);
  expect((await list("lon/9")).status).toBe(503);
  expect((await list("lon/8")).status).toBe(200);
});

test("IN31, A1 — a tenant's key opens nothing here, admin or not, and no key nothing either", async () => {
  for (const token of [regions.apiKey, "", "wrong", `${OPERATOR_KEY}x`])
    expect((await get("/nodes", token)).status).toBe(401);
  const keyless = await regions.startNode("fra");
  for (const token of ["undefined", OPERATOR_KEY, regions.apiKey])
    expect((await ask(`${keyless.url}/v1/admin/nodes`, { token })).status).toBe(401);
});
