// Goal: ST1–ST4, ST6: migrations, Faults and limits. Method: a real Postgres, killed at the end.
import { createServer } from "node:net";
import { Fault } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { migrate, readMigrations } from "./migrate.ts";
import { connect, Pool } from "./pool.ts";
import { createStore } from "./store.ts";
import {
  acceptItem,
  HOME,
  notificationFor,
  startTestPostgres,
  TENANT,
  type TestPostgres,
} from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const OPTIONS = {
  poolMax: 2,
  applicationName: "store-test",
  connectTimeoutMs: 20_000,
  statementTimeoutMs: 30_000,
};
const faultOf = async (work: Promise<unknown>): Promise<Fault> => {
  const error: unknown = await work.catch((caught: unknown) => caught);
  if (!(error instanceof Fault)) throw new Error(`expected a Fault, got ${String(error)}`);
  return error;
};

test("ST6 — six nodes migrate an empty database at once: each migration is applied once", async () => {
  const url = await postgres.emptyDatabase();
  const stores = Array.from({ length: 6 }, () => createStore({ ...OPTIONS, url }));
  const applied = await Promise.all(stores.map((store) => store.migrate()));
  const names = (await readMigrations()).map(({ name }) => name);
  expect(applied.flat()).toEqual(names);
  expect(await stores[0]!.migrate()).toEqual([]);
  await Promise.all(stores.map((store) => store.ensureHome(HOME)));
  expect(await stores[0]!.leases.list(HOME)).toHaveLength(256);
  expect(await stores[0]!.leases.list("lon")).toEqual([]);
  await Promise.all(stores.map((store) => store.close()));
});

test("ST6 — an edited migration is refused", async () => {
  const { options, sql } = await postgres.newDatabase();
  await sql`update schema_migration set hash = 'x' where name like '0002%'`;
  const pool = new Pool(options);
  expect((await faultOf(migrate(pool))).message).toContain("0002-directory was edited");
  await pool.close(0);
});

test("ST6 — each partition has a ledger epoch of its own, and keeps it", async () => {
  const { store } = await postgres.newDatabase();
  const all = Array.from({ length: 256 }, (_, n) => n);
  const heads = await store.ledger.readHeads(HOME, all);
  await store.ensureHome(HOME);
  expect(await store.ledger.readHeads(HOME, all)).toEqual(heads);
  expect(heads[255]).toEqual({
    partition: 255,
    nextOffset: 1,
    directoryVersion: 0,
    ledgerEpoch: expect.stringMatching(/^[0-9a-f]{8}$/),
  });
});

test("ST1, ST2 — a refused statement is store_rejected, and its Fault quotes no data", async () => {
  const { store } = await postgres.newDatabase();
  const secret = "not-a-uuid-secret";
  const item = acceptItem(null, { notification: notificationFor({ id: secret }) });
  const fault = await faultOf(store.notifications.accept(HOME, [item]));
  expect([fault.code, fault.isRetryable]).toEqual(["store_rejected", false]);
  expect(fault.message).toBe("notifications.accept: the store refused it (22P02 string_to_uuid)");
  expect(fault.cause).toBeUndefined();
});

test("ST1 — a statement over its time is store_unavailable", async () => {
  const { openStore, sql } = await postgres.newDatabase();
  const store = openStore({ statementTimeoutMs: 50 });
  await store.ping();
  const blocker = await sql.reserve();
  await blocker`begin`;
  await blocker`select from partition for update`;
  const request = { home: HOME, memberId: "m", partitions: [1], leaseMs: 1_000 };
  const fault = await faultOf(store.leases.acquire(request));
  expect([fault.code, fault.isRetryable]).toEqual(["store_unavailable", true]);
  expect(fault.message).toContain("57014");
  await blocker`rollback`;
  blocker.release();
  expect(await store.leases.acquire(request)).toEqual([{ partition: 1, epoch: 1 }]);
});

test("ST24 — CL18 a refresh of leases ends at its own limit, far below the pool's, and the next one is right", async () => {
  const { openStore, sql } = await postgres.newDatabase();
  const store = openStore({ poolMax: 1, statementTimeoutMs: 20_000 });
  const lease = { home: HOME, memberId: "m", leaseMs: 60_000 };
  await store.leases.acquire({ ...lease, partitions: [1] });
  const blocker = await sql.reserve();
  await blocker`begin`;
  await blocker`select from partition for update`;
  const startedAtMs = performance.now();
  const fault = await faultOf(store.leases.refresh({ ...lease, limitMs: 300 }));
  const tookMs = performance.now() - startedAtMs;
  expect([fault.code, fault.isRetryable]).toEqual(["store_unavailable", true]);
  expect(fault.message).toMatch(/57014|no answer in time/); // Postgres says it, or a slow machine
  expect(tookMs).toBeGreaterThanOrEqual(290);
  expect(tookMs).toBeLessThan(10_000);
  // No statement of the pool is left with the short limit, and one that waits for a place gives up.
  const waiting = store.leases.release({ ...lease, partitions: [1] });
  expect((await faultOf(store.leases.refresh({ ...lease, limitMs: 300 }))).message).toContain(
    "no connection came free in time",
  );
  await blocker`rollback`;
  blocker.release();
  await waiting;
  expect(await store.leases.acquire({ ...lease, partitions: [1] })).toEqual([
    { partition: 1, epoch: 2 },
  ]);
  expect(await store.leases.refresh({ ...lease, limitMs: 2_000 })).toEqual([
    { partition: 1, epoch: 2 },
  ]);
});

test("ST3 — more operations than connections wait in turn; far more are refused", async () => {
  const { openStore } = await postgres.newDatabase();
  const store = openStore({ poolMax: 1 });
  const pings = Array.from({ length: 300 }, () =>
    store.ping().then(
      () => "done",
      (error: unknown) => (error as Fault).message,
    ),
  );
  expect(store.load).toEqual({ runningCount: 1, waitingCount: 256 });
  const outcomes = await Promise.all(pings);
  const refused = "store.ping: the store is not available (too many operations wait)";
  expect(outcomes).toEqual(outcomes.map((_, n) => (n < 257 ? "done" : refused)));
  expect(store.load).toEqual({ runningCount: 0, waitingCount: 0 });
});

test("ST4 — a host that answers nothing: the operation and those behind it end in time", async () => {
  const silent = createServer(() => undefined).listen(0, "127.0.0.1");
  await new Promise((resolve) => silent.once("listening", resolve));
  const { port } = silent.address() as { port: number };
  const clock = new FakeClock();
  const store = createStore({
    ...OPTIONS,
    url: `postgres://nobody:x@127.0.0.1:${port}/none`,
    poolMax: 1,
    clock,
  });
  const faults = [faultOf(store.ping()), faultOf(store.ping())];
  await clock.advance(20_000 + 2 * 30_000);
  const messages = (await Promise.all(faults)).map(({ message }) => message).toSorted();
  expect(messages).toEqual([
    "store.ping: the store is not available (no answer in time)",
    "store.ping: the store is not available (no connection came free in time)",
  ]);
  expect(store.load).toEqual({ runningCount: 0, waitingCount: 0 });
  await store.close();
  silent.close();
});

test("ST3 — a closed store refuses at once and closes twice", async () => {
  const { openStore } = await postgres.newDatabase();
  const store = openStore();
  await store.ping();
  await Promise.all([store.close(), store.close()]);
  expect((await faultOf(store.ping())).message).toContain("closed");
});

test("ST1 — a database that was killed is store_unavailable for every method", async () => {
  const { store, options } = await postgres.newDatabase();
  await store.ping();
  const fresh = createStore(options);
  const waiting = connect({ ...options, poolMax: 1 });
  const killed = waiting`select pg_sleep(60)`.catch(() => "cut");
  postgres.kill();
  expect(await killed).toBe("cut");
  for (let isUp = true; isUp;)
    // its backends end one by one, each when it notices
    isUp = await store.ping().then(
      () => true,
      () => false,
    );
  const calls = [
    store.ping(),
    fresh.ping(),
    store.notifications.accept(HOME, [acceptItem(null)]),
    store.leases.list(HOME),
    store.directory.homesOf(TENANT, ["a"]),
    store.directory.upsert({
      home: HOME,
      tenantId: TENANT,
      changes: [{ recipientId: "a", locale: null, timeZone: null, attributes: {} }],
      otherRegions: [],
    }),
    store.outbox.claim("lon", 1, 1),
    store.outbox.endBacklog("lon", "a"),
  ];
  const faults = await Promise.all(calls.map(faultOf));
  expect(faults.map(({ code, isRetryable }) => [code, isRetryable])).toEqual(
    calls.map(() => ["store_unavailable", true]),
  );
  await fresh.close();
  await waiting.end({ timeout: 0 });
});
