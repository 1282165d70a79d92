// Goal: HM1–HM4 and HM6 on one real database. HM5, HM8, HM9: home-report.pg.test.ts. With a real copy of it: test/e2e/failover.test.ts.
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  acceptItem,
  directTo,
  HOME,
  newId,
  register,
  startTestPostgres,
  TENANT,
  type TestPostgres,
} from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "written",
    (cause: { code: string }) => cause.code,
  );

test("HM1 — after the fence every write is refused in its own statement, and reads go on", async () => {
  const { store, sql } = await postgres.newDatabase();
  await store.tenants.create(TENANT, "Acme");
  await register(store, ["a"]);
  await store.notifications.accept(HOME, [acceptItem(directTo("a"))]);
  const leased = { home: HOME, memberId: "w1", partitions: [1, 2], leaseMs: 60_000 };
  await store.leases.acquire(leased);
  await store.home.fence(HOME, { epoch: 2, host: "par" });
  const writes: Record<string, () => Promise<unknown>> = {
    accept: () => store.notifications.accept(HOME, [acceptItem(directTo("a"))]),
    relayed: () =>
      store.notifications.acceptRelayed(HOME, [
        { notification: acceptItem(null).notification, audience: directTo("a") },
      ]),
    directory: () => register(store, ["b"]),
    claim: () => store.directory.claimHomes(TENANT, new Map([["c", HOME]])),
    learn: () =>
      store.directory.learnHomes({
        from: "lon",
        tenants: [{ tenantId: TENANT, recipientIds: ["d"] }],
      }),
    acquire: () => store.leases.acquire({ ...leased, partitions: [3] }),
    refresh: () => store.leases.refresh(leased),
    release: () => store.leases.release(leased),
    flush: () => sql`update ledger set state = 2`,
    outbox: () => store.outbox.claim("lon", 10, 1_000),
    done: () => store.outbox.markDone([1]),
    tenant: () => store.tenants.create("other", "Other"),
    key: () => store.tenants.createApiKey({ tenantId: TENANT, scopes: ["read"], pepper: "pepper" }),
    quarantine: () => store.quarantine.remove(HOME, 1, 1),
    timer: () =>
      store.timers.write(HOME, [{ partition: 1, epoch: 1, kind: "k", key: "1", change: "cancel" }]),
    journal: () =>
      store.journal.append(HOME, "w1", [[1, 1, newId(), 0, 0, 1, "handed", null, null]]),
    truncate: () => sql`truncate ledger`,
  };
  const codes: Record<string, string> = {};
  for (const [name, write] of Object.entries(writes)) codes[name] = await codeOf(write());
  const raw = { flush: "CRF01", truncate: "CRF01" }; // the driver's own error
  const fenced = Object.keys(writes).map((name) => [name, "home_fenced"]);
  expect(codes).toEqual({ ...Object.fromEntries(fenced), ...raw });
  expect((await store.directory.read(TENANT, "a"))?.recipientId).toBe("a");
  expect(await store.home.look(HOME)).toMatchObject({
    state: "fenced",
    claim: { epoch: 1, host: HOME },
    supersededBy: { epoch: 2, host: "par" },
    fenceLsn: expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/) as string,
  });
});

test("HM1 — the fence waits for a write under way, and lies behind it", async () => {
  const { store, sql } = await postgres.newDatabase();
  const held = await sql.reserve();
  await held`begin`;
  await held`update partition set next_index = 7 where n = 3`;
  let isFenced = false;
  const fence = store.home.fence(HOME, null).then(() => (isFenced = true));
  // Refused from the first moment, while the older write is still under way.
  await expect
    .poll(async () => codeOf(store.outbox.markDone([1])), { timeout: 10_000 })
    .toBe("home_fenced");
  expect(isFenced).toBe(false);
  const [row] = await held<{ lsn: string }[]>`
    update partition set next_index = 8 where n = 3 returning pg_current_wal_insert_lsn()::text as lsn`.catch(
    (cause: { code: string }) => [{ lsn: cause.code }],
  );
  expect(row?.lsn).toBe("CRF01"); // its second statement sees the fence; what it wrote is rolled back
  await held`rollback`;
  held.release();
  await fence;
  const { fenceLsn } = await store.home.look(HOME);
  await store.home.fence(HOME, null);
  expect((await store.home.look(HOME)).fenceLsn).toBe(fenceLsn); // a repeat changes nothing
});

test("HM1 — a writer that does not end leaves the fence incomplete; a repeat completes it", async () => {
  const { store, sql } = await postgres.newDatabase();
  const held = await sql.reserve();
  await held`begin`;
  await held`update partition set next_index = 7 where n = 3`;
  expect(await codeOf(store.home.fence(HOME, null))).toBe("store_unavailable");
  expect(await store.home.look(HOME)).toMatchObject({ state: "fenced", fenceLsn: null });
  await held`commit`;
  held.release();
  await store.home.fence(HOME, null);
  expect((await store.home.look(HOME)).fenceLsn).not.toBe(null);
});

test("HM1 — the fence waits for a writer of any table but those that say who hosts the home", async () => {
  const { store, sql } = await postgres.newDatabase();
  const unguarded = ["home", "home_heard", "schema_migration"];
  const guarded = await sql<{ name: string }[]>`
    select tablename as name from pg_tables
    where schemaname = 'public' and tablename <> all(${unguarded}::text[]) order by 1`;
  expect(guarded.map(({ name }) => name)).toContain("relay_backlog"); // which was left out once
  for (const { name } of guarded) {
    const writer = await sql.reserve();
    await writer`begin`;
    await writer.unsafe(`lock table ${name} in row exclusive mode`); // as whoever writes
    const fence = store.home.fence(HOME, null);
    const waiting = () => sql<{ name: string }[]>`
      select relation::regclass::text as name from pg_locks
      where not granted and database = (select oid from pg_database where datname = current_database())`;
    await expect.poll(waiting, { timeout: 4_000 }).toEqual([{ name }]);
    await writer`commit`;
    writer.release();
    await fence;
    await sql`update home set state = 'serving', fence_lsn = null`; // for the next one
  }
});

test("HM1 — a fence stays: drained again, told of an older host, or taken back behind a newer one", async () => {
  const { store } = await postgres.newDatabase();
  await store.home.drain(HOME, "par");
  await store.home.fence(HOME, null);
  const fenced = await store.home.look(HOME);
  expect(await store.home.drain(HOME, "par")).toBe(true);
  expect(await store.home.look(HOME)).toEqual(fenced);
  await store.home.resume(HOME, { epoch: 2, host: "par" }); // not its host
  expect(await store.home.look(HOME)).toEqual(fenced);
  const superseded = { ...fenced, supersededBy: { epoch: 3, host: "par" } };
  await store.home.fence(HOME, { epoch: 3, host: "par" });
  await store.home.fence(HOME, { epoch: 2, host: "lon" });
  await store.home.resume(HOME, { epoch: 4, host: HOME });
  expect(await store.home.look(HOME)).toEqual(superseded);
});

test("HM2 — a declared epoch ends what was before: fence, move and who superseded it; only ended leases count as none", async () => {
  const { store } = await postgres.newDatabase();
  for (const [memberId, partitions, leaseMs] of [
    ["w1", [1, 2], 60_000],
    ["w2", [3], 0],
  ] as const)
    await store.leases.acquire({ home: HOME, memberId, partitions, leaseMs });
  expect((await store.home.look(HOME)).leasedCount).toBe(2);
  await store.home.drain(HOME, "par");
  await store.home.fence(HOME, { epoch: 2, host: "par" });
  const how = { replayed: null, snapshot: null };
  const inPar = { epoch: 2, host: "par" };
  const declare = (host: string, isPlanned: boolean) =>
    store.home.declare(HOME, inPar, { ...how, isPlanned, from: { epoch: 1, host } });
  expect([await declare("lon", true), await declare(HOME, false)]).toEqual([false, true]);
  expect(await store.home.look(HOME)).toMatchObject({
    ...{ claim: inPar, movingTo: null, fenceLsn: null, supersededBy: null, leasedCount: 0 },
  });
  const isReleased = async () =>
    new Set((await store.leases.list(HOME)).map((row) => `${row.ownerId} ${row.isReleased}`));
  expect(await isReleased()).toEqual(new Set(["null false"])); // something may be in flight
  await store.home.declare(
    HOME,
    { epoch: 3, host: HOME },
    { ...how, from: inPar, isPlanned: true },
  );
  expect(await isReleased()).toEqual(new Set(["null true"]));
});

test("HM2, HM3, HM4 — a declared epoch: served by its host, leases free, ledger epochs new", async () => {
  const { store, sql } = await postgres.newDatabase();
  await store.leases.acquire({ home: HOME, memberId: "w1", partitions: [1], leaseMs: 60_000 });
  const before = await sql<{ n: number; ledger_epoch: string }[]>`
    select n, ledger_epoch from partition order by n`;
  const how = {
    from: { epoch: 1, host: HOME },
    isPlanned: false,
    replayed: "0/3000060",
    snapshot: "10:12:10,11",
  };
  await store.home.declare(HOME, { epoch: 2, host: "par" }, how);
  expect(await store.home.look(HOME)).toMatchObject({
    state: "serving",
    claim: { epoch: 2, host: "par" },
    leasedCount: 0,
    since: { isPlanned: false, replayedLsn: "0/3000060", snapshot: "10:12:10,11" },
  });
  const after = await sql<{ n: number; ledger_epoch: string; epoch: number }[]>`
    select n, ledger_epoch, epoch from partition order by n`;
  expect(after.filter((row, at) => row.ledger_epoch === before[at]!.ledger_epoch)).toEqual([]);
  expect(new Set(after.map(({ epoch }) => epoch))).toEqual(new Set([2 * 2 ** 32]));
  const taken = await store.leases.acquire({
    home: HOME,
    memberId: "w2",
    partitions: [1],
    leaseMs: 60_000,
  });
  expect(taken).toEqual([{ partition: 1, epoch: 2 * 2 ** 32 + 1 }]);
  await store.home.declare(
    HOME,
    { epoch: 3, host: HOME },
    { from: { epoch: 2, host: "par" }, isPlanned: true, replayed: null, snapshot: null },
  );
  const planned = await sql<{ ledger_epoch: string }[]>`
    select ledger_epoch from partition order by n`;
  expect(planned).toEqual(after.map(({ ledger_epoch }) => ({ ledger_epoch })));
});

test("HM2 — a declaration that comes late changes nothing: not the fence, not leases, not ledger epochs", async () => {
  const { store, sql } = await postgres.newDatabase();
  const from = { epoch: 1, host: HOME };
  const how = { from, isPlanned: false, replayed: null, snapshot: null };
  const inPar = { epoch: 2, host: "par" };
  const declared = await Promise.all([
    store.home.declare(HOME, inPar, how),
    store.home.declare(HOME, inPar, how),
  ]);
  expect(declared.filter((isDone) => isDone)).toEqual([true]); // two takes at once
  await store.leases.acquire({ home: HOME, memberId: "w1", partitions: [3], leaseMs: 60_000 });
  await store.home.drain(HOME, HOME);
  await store.home.fence(HOME, null);
  const rows = () => sql`select * from home, partition where n in (3, 4) order by n`;
  const before = await rows();
  for (const claim of [inPar, { epoch: 1, host: "lon" }, { epoch: 3, host: "lon" }])
    expect(await store.home.declare(HOME, claim, how)).toBe(false);
  expect(await rows()).toEqual(before);
  expect(await store.home.look(HOME)).toMatchObject({ state: "fenced", claim: inPar });
});

test("HM4 — taken back, partitions are dealt out above every epoch of the home's epoch before", async () => {
  const { store } = await postgres.newDatabase();
  const leased = { home: HOME, memberId: "w1", partitions: [3], leaseMs: 60_000 };
  await store.leases.acquire(leased);
  await store.home.drain(HOME, "par");
  await store.leases.release(leased);
  await store.home.fence(HOME, null);
  await store.home.resume(HOME, { epoch: 2, host: HOME });
  expect(await store.leases.acquire(leased)).toEqual([{ partition: 3, epoch: 2 * 2 ** 32 + 1 }]);
  await store.home.resume(HOME, { epoch: 2, host: HOME }); // late: it is so already
  expect((await store.leases.list(HOME))[3]?.epoch).toBe(2 * 2 ** 32 + 1);
});

test("HM2 — draining is for one target; taking it back begins a new epoch; what was heard stays", async () => {
  const { store } = await postgres.newDatabase();
  expect(await store.home.drain(HOME, "par")).toBe(true);
  expect(await store.home.drain(HOME, "par")).toBe(true);
  expect(await store.home.drain(HOME, "dub")).toBe(false);
  await store.home.fence(HOME, null);
  await store.home.resume(HOME, { epoch: 2, host: HOME });
  expect(await store.home.look(HOME)).toMatchObject({
    state: "serving",
    claim: { epoch: 2, host: HOME },
    movingTo: null,
    fenceLsn: null,
  });
  await store.home.hear("lon", { epoch: 3, host: "par" });
  await store.home.hear("lon", { epoch: 2, host: "dub" });
  await store.home.hear("lon", { epoch: 3, host: "zrh" });
  expect(await store.home.heard()).toEqual(new Map([["lon", { epoch: 3, host: "par" }]]));
});

test("HM6 — a withheld tenant: nobody is read, its rows are closed and empty, offsets have no gap", async () => {
  const { store } = await postgres.newDatabase();
  for (const tenantId of [TENANT, "strict"]) {
    await store.tenants.create(tenantId, tenantId);
    await store.directory.upsert({
      home: HOME,
      tenantId,
      changes: [{ recipientId: "a", locale: null, timeZone: null, attributes: {} }],
      otherRegions: [],
    });
    const item = acceptItem({ kind: "broadcast" });
    await store.notifications.accept(HOME, [
      { ...item, notification: { ...item.notification, tenantId } },
    ]);
  }
  await store.home.setResidency(TENANT, ["par"]);
  const how = { isPlanned: true, replayed: null, snapshot: null };
  const [atHome, inPar] = [
    { epoch: 1, host: HOME },
    { epoch: 2, host: "par" },
  ];
  await store.home.declare(HOME, inPar, { ...how, from: atHome });
  const { withheldTenants } = await store.home.look(HOME);
  expect(withheldTenants).toEqual(["strict"]);
  store.ledger.withhold(withheldTenants);
  const rows = await store.ledger.readRows(HOME, 5, { afterOffset: 0, limitCount: 10 });
  expect(rows.map(({ offset, state }) => [offset, state])).toEqual([
    [1, "planned"],
    [2, "closed"],
  ]);
  const unclosed = await store.ledger.readUnclosedRows(HOME, [5]);
  expect(unclosed.map(({ offset }) => offset)).toEqual([1]);
  const tenants = new Set<string>();
  await store.ledger.streamDirectory(
    HOME,
    Array.from({ length: 256 }, (_, n) => n),
    (page) => page.forEach(({ row }) => tenants.add(row.tenantId)),
  );
  expect([...tenants]).toEqual([TENANT]);
  await store.home.declare(HOME, { epoch: 3, host: HOME }, { ...how, from: inPar });
  expect((await store.home.look(HOME)).withheldTenants).toEqual([]);
});
