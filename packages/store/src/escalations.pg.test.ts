// Goal: ST37–ST39: the statements that chains stand on. Method: a real Postgres; what there is is asked of the
// tables.
import { deferredMembersOf, type DeferredPayload, type Notification } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  acceptItem,
  directTo,
  HOME,
  idsIn,
  newId,
  notificationFor,
  register,
  setsOf,
  startTestPostgres,
  TENANT,
  type TestDatabase,
  type TestPostgres,
} from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const P = 7;
const CHAIN = { deadlineSeconds: 600, escalation: [{ to: "recipient" }] };

interface Waiting {
  readonly id: number;
  readonly partition: number;
  readonly kind: string;
  readonly key: string;
  readonly tenantId: string;
  readonly dueInSeconds: number;
  readonly payload: Record<string, unknown>;
}

async function waiting({ sql }: TestDatabase): Promise<Waiting[]> {
  return [
    ...(await sql<Waiting[]>`
      select id, partition, kind, key, tenant_id as "tenantId", payload,
        round(extract(epoch from due_at - now()))::int as "dueInSeconds"
      from timer order by partition, id`),
  ];
}

async function withPeople(count: number) {
  const database = await postgres.newDatabase();
  const ids = idsIn(P, count);
  await register(database.store, ids);
  const [held] = await database.store.leases.acquire({
    ...{ home: HOME, memberId: "fra-w1", partitions: [P], leaseMs: 60_000 },
  });
  return { database, store: database.store, ids, held: held! };
}

const flowOf = ({ id }: Notification, offset: number) => ({
  kind: "flow",
  partition: P,
  tenantId: TENANT,
  key: `${id}/${offset}`,
  payload: { notificationId: id, offset },
});

test("ST37 — a row with steps to follow gets its timer with it, due after the deadline; others get none", async () => {
  const { database, store, ids } = await withPeople(3);
  const [first, second, third] = [
    notificationFor({ requireAck: CHAIN }),
    notificationFor({ requireAck: { deadlineSeconds: 60 } }),
    notificationFor(),
  ];
  const relayed = notificationFor({ requireAck: CHAIN, acceptedRegion: "lon" });
  await store.notifications.accept(
    HOME,
    [second, first, third].map((notification) =>
      acceptItem(directTo(ids[0]!, ids[1]!), { notification }),
    ),
  );
  await store.notifications.acceptRelayed(HOME, [
    { notification: relayed, audience: directTo(ids[2]!) },
    { notification: first, audience: directTo(ids[2]!) }, // is here already
  ]);
  const timers = await waiting(database);
  expect(timers).toMatchObject([flowOf(first, 2), flowOf(relayed, 4)]);
  for (const { dueInSeconds } of timers) {
    expect(dueInSeconds).toBeGreaterThan(570);
    expect(dueInSeconds).toBeLessThanOrEqual(600);
  }
  const stored = await store.notifications.get(TENANT, first.id);
  expect(stored?.notification).toEqual(first);
});

test("ST37 — to all: one timer for each partition's row", async () => {
  const database = await postgres.newDatabase();
  const notification = notificationFor({ requireAck: CHAIN });
  const item = acceptItem({ kind: "broadcast" }, { notification });
  await database.store.notifications.accept(HOME, [item]);
  const timers = await waiting(database);
  expect(timers.length).toBe(256);
  expect(new Set(timers.map(({ partition }) => partition)).size).toBe(256);
  expect(timers.every(({ kind, key }) => kind === "flow" && key === `${notification.id}/1`)).toBe(
    true,
  );
});

test("ST37 — what comes later has its deadline from when its row is made, once", async () => {
  const { database, store, ids, held } = await withPeople(1);
  const notification = notificationFor({ requireAck: CHAIN, sendAtMs: Date.now() + 3_600_000 });
  const other = notificationFor({ sendAtMs: Date.now() + 3_600_000 });
  await store.notifications.accept(HOME, [
    acceptItem(directTo(ids[0]!), { notification }),
    acceptItem(directTo(ids[0]!), { notification: other }),
  ]);
  const later = await waiting(database);
  expect(later.map(({ kind }) => kind)).toEqual(["row", "row"]);
  expect(later.map(({ payload }) => payload["ackSeconds"])).toEqual([600, undefined]);
  const releases = later.map(({ id, payload }) => {
    const { notificationId, ackSeconds } = payload as unknown as DeferredPayload;
    const members = deferredMembersOf(payload as unknown as DeferredPayload)!;
    return { ...held, timerId: id, notificationId, members, ...(ackSeconds && { ackSeconds }) };
  });
  for (let again = 0; again < 2; again++) {
    await store.ledger.releaseRows(HOME, releases);
    expect(await waiting(database)).toMatchObject([flowOf(notification, 1)]);
  }
});

test("ST37, ST33 — who is put off has a deadline of his own in the row that he comes to", async () => {
  const { database, store, ids, held } = await withPeople(1);
  const notification = notificationFor({ requireAck: CHAIN });
  await store.notifications.accept(HOME, [acceptItem(directTo(ids[0]!), { notification })]);
  const untilMs = Date.now() + 3_600_000;
  const row = { untilMs, reason: "holiday", members: { kind: "members", members: [0] } } as const;
  await store.ledger.writeRows(HOME, [
    {
      ...{ ...held, offset: 1, state: "closed", sets: setsOf({ moved: [1] }) },
      moves: { count: 1, rows: [row] },
    },
  ]);
  const [flow, moved] = await waiting(database);
  expect(flow).toMatchObject(flowOf(notification, 1));
  expect(moved).toMatchObject({ kind: "row", payload: { ackSeconds: 600, reason: "holiday" } });
});

const stepFor = (recipientId: string, more: Partial<Notification> = {}) => ({
  recipientId,
  notification: notificationFor({
    escalation: { of: newId(), recipientId: "ada", step: 1 },
    ...more,
  }),
});

test("ST38 — a step is accepted once, goes where its recipient lives, and to nobody who is unknown", async () => {
  const { database, store, ids } = await withPeople(1);
  await store.directory.learnHomes({
    from: "lon",
    tenants: [{ tenantId: TENANT, recipientIds: ["boss"] }],
  });
  const steps = [stepFor(ids[0]!), stepFor("nobody"), stepFor("boss")];
  expect(await store.escalations.accept(HOME, steps)).toEqual(["accepted", "unknown", "accepted"]);
  const wrong = stepFor(ids[0]!, { content: { en: { title: "\u0000" } } });
  const repeated = [...steps.toReversed(), wrong];
  expect(await store.escalations.accept(HOME, repeated)).toEqual([
    ...["repeated", "unknown", "repeated"],
    "unstorable",
  ]);
  const rows = await store.ledger.readRows(HOME, P, { afterOffset: 0, limitCount: 9 });
  expect(rows).toMatchObject([{ notificationId: steps[0]!.notification.id, members: [0] }]);
  const outbox = await database.sql<{ target_region: string; notification_id: string }[]>`
    select target_region, notification_id from outbox where kind = 'notification'`;
  expect([...outbox]).toEqual([
    { target_region: "lon", notification_id: steps[2]!.notification.id },
  ]);
  const stored = await store.notifications.get(TENANT, steps[0]!.notification.id);
  expect(stored).toMatchObject({ notification: steps[0]!.notification, targetRegions: [HOME] });
});

test("ST39 — a step is acknowledged when its row says so; of one that went elsewhere it is told where", async () => {
  const { store, ids, held } = await withPeople(2);
  await store.directory.learnHomes({
    from: "lon",
    tenants: [{ tenantId: TENANT, recipientIds: ["boss"] }],
  });
  const steps = [stepFor(ids[0]!), stepFor(ids[1]!), stepFor("boss")];
  await store.escalations.accept(HOME, steps);
  const sets = setsOf({ deliveredSocket: [1], read: [1], acknowledged: [1] });
  await store.ledger.writeRows(HOME, [{ ...held, offset: 1, state: "closed", sets }]);
  const asked = [newId(), ...steps.map(({ notification }) => notification.id)];
  const found = await store.escalations.readSteps(HOME, asked);
  expect(
    found.toSorted((a, b) => asked.indexOf(a.notificationId) - asked.indexOf(b.notificationId)),
  ).toEqual([
    { notificationId: asked[1], isAcknowledged: true, targetRegions: [HOME] },
    { notificationId: asked[2], isAcknowledged: false, targetRegions: [HOME] },
    { notificationId: asked[3], isAcknowledged: false, targetRegions: ["lon"] },
  ]);
  expect(await store.escalations.acknowledgedOf(HOME, TENANT, asked)).toEqual([asked[1]]);
  expect(await store.escalations.acknowledgedOf(HOME, "bolt", asked)).toEqual([]);
});

test("ST39 — the people of a partition, with what leads to the next person", async () => {
  const { store, ids } = await withPeople(2);
  const change = { recipientId: ids[1]!, locale: null, timeZone: null };
  await store.directory.upsert({
    ...{ home: HOME, tenantId: TENANT, otherRegions: [] },
    changes: [{ ...change, attributes: { managerId: "boss" } }],
  });
  expect(await store.escalations.readPeople(HOME, P, [1, 9])).toEqual([
    { index: 1, recipientId: ids[1], attributes: { managerId: "boss" } },
  ]);
});
