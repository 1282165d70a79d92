// Goal: RT1–RT5, ST6: what is kept, what goes, and that nobody notices. Method: a real Postgres; a sweep is
// told what time it is, and ids are made for the time at which they would have been accepted. Long, since
// all of it needs the same days and the same recipient.
import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LedgerUpdate } from "./ledger-flush.ts";
import { readMigrations } from "./migrate.ts";
import { connect } from "./pool.ts";
import type { RetentionReport } from "./retention.ts";
import { partDaysOf } from "./retention-policy.ts";
import { createStore } from "./store.ts";
import type { RetentionPolicy } from "./retention-policy.ts";
import {
  acceptItem,
  directTo,
  HOME,
  idsIn,
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

// Parts of 23 days; the journal has its own test.
const POLICY = { notificationDays: 90, buriedTimerDays: 90, journalDays: 36_500 };
const PARTITION = 5;
const [RECIPIENT = ""] = idsIn(PARTITION, 1);
const PLACE = { home: HOME, partition: PARTITION, index: 0 };
const DAY_MS = 86_400_000;

let idCount = 0;
function idAt(at: Date): string {
  const time = at.getTime().toString(16).padStart(12, "0");
  const rest = (++idCount).toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${rest}`;
}

interface Kept extends TestDatabase {
  /** So many days from the migration on. */
  day(days: number): Date;
  /** Accepts one for RECIPIENT on that day; its id. */
  accept(days: number): Promise<string>;
  /** Closes all rows of RECIPIENT's partition up to an offset. */
  close(upToOffset: number): Promise<void>;
  sweep(days: number): Promise<RetentionReport>;
}

async function newKept(policy: RetentionPolicy = POLICY): Promise<Kept> {
  const database = await postgres.newDatabase();
  const { store, sql } = database;
  const [row] = await sql<{ ms: number }[]>`
    select ceil(extract(epoch from from_at) * 1000)::float8 as ms from table_part where name = 'ledger_0'`;
  await register(store, [RECIPIENT]);
  await store.leases.acquire({
    home: HOME,
    memberId: "w",
    partitions: [PARTITION],
    leaseMs: 60_000,
  });
  const day = (days: number) => new Date((row?.ms ?? 0) + days * DAY_MS);
  return {
    ...database,
    day,
    async accept(days) {
      const at = day(days);
      const id = idAt(at);
      const notification = notificationFor({ id, acceptedAtMs: at.getTime() });
      const item = acceptItem(directTo(RECIPIENT), { notification });
      const [result] = await store.notifications.accept(HOME, [item]);
      expect(result?.kind).toBe("accepted");
      return id;
    },
    async close(upToOffset) {
      const updates = Array.from({ length: upToOffset }, (_, n) => update(n + 1));
      expect(await store.ledger.writeRows(HOME, updates)).toEqual({ fencedPartitions: [] });
    },
    sweep: (days) => store.retention.sweep(policy, day(days)),
  };
}

function update(offset: number, read: number[] = []): LedgerUpdate {
  const sets = setsOf({ deliveredSocket: [1], read });
  return { partition: PARTITION, epoch: 1, offset, state: "closed", sets };
}

const offsetsOf = async ({ store }: TestDatabase): Promise<number[]> =>
  (await store.ledger.readRows(HOME, PARTITION, { afterOffset: 0, limitCount: 100 })).map(
    ({ offset }) => offset,
  );

const partsOf = async ({ sql }: TestDatabase, parent: string): Promise<string[]> =>
  (
    await sql<{ name: string }[]>`
      select inhrelid::regclass::text as name from pg_inherits
      where inhparent = ${parent}::regclass order by 1`
  ).map(({ name }) => name);

test("RT2 — what is over its time goes by the part: offsets above stay whole, below is too far", async () => {
  const kept = await newKept();
  const { store } = kept;
  const ids = [await kept.accept(1), await kept.accept(2)];
  expect((await kept.sweep(23)).added).toContain("ledger_1");
  ids.push(await kept.accept(24), await kept.accept(25));
  await kept.close(4);

  expect(await kept.sweep(112)).toMatchObject({ dropped: [], held: [] }); // part 0 ended on day 23
  expect(await offsetsOf(kept)).toEqual([1, 2, 3, 4]);
  expect((await kept.sweep(114)).dropped).toEqual(["ledger_0", "notification_0"]);
  expect(await offsetsOf(kept)).toEqual([3, 4]);
  expect(await partsOf(kept, "ledger")).not.toContain("ledger_0");
  const left =
    await kept.sql`select to_regclass('ledger_0') as l, to_regclass('notification_0') as n`;
  expect(left).toEqual([{ l: null, n: null }]);

  const options = { index: 0, limitCount: 100, scanMax: 100 };
  const tailOf = (afterOffset: number) =>
    store.ledger.readTailOf(HOME, PARTITION, { ...options, afterOffset });
  expect(await tailOf(1)).toEqual({ kind: "tooFar" });
  expect(await tailOf(2)).toMatchObject({ kind: "rows", rows: [{ offset: 3 }, { offset: 4 }] });
  const inbox = await store.notifications.inboxOf(PLACE, { limit: 20, beforeOffset: null });
  expect(inbox.items.map(({ offset }) => offset)).toEqual([4, 3]);
  expect(inbox.nextBeforeOffset).toBe(null);
  const gets = await Promise.all(ids.map((id) => store.notifications.get(TENANT, id)));
  expect(gets.map((details) => details?.notification.id)).toEqual([
    undefined,
    undefined,
    ...ids.slice(2),
  ]);
  expect(await kept.accept(114)).toBeTruthy();
  expect(await offsetsOf(kept)).toEqual([3, 4, 5]);
});

test("RT2 — a receipt for a row that was dropped is kept by nobody, and fails no flush", async () => {
  const kept = await newKept();
  await kept.accept(1);
  await kept.sweep(23);
  await kept.accept(24);
  await kept.close(2);
  await kept.sweep(114);
  const updates = [update(1, [1]), update(2, [1])];
  expect(await kept.store.ledger.writeRows(HOME, updates)).toEqual({ fencedPartitions: [] });
  const rows = await kept.store.ledger.readTails(HOME, [PARTITION], 10);
  expect(rows).toMatchObject([{ offset: 2, sets: { read: Buffer.from([1]) } }]);
});

test("RT1 — an open row keeps its part, for ever; closed, the part goes", async () => {
  const kept = await newKept();
  const id = await kept.accept(1);
  await kept.sweep(23);
  const later = await kept.sweep(4_000);
  expect(later.held).toEqual([
    { table: "ledger", name: "ledger_0", by: "ledger" },
    { table: "notification", name: "notification_0", by: "ledger" },
  ]);
  expect(await kept.store.ledger.readUnclosedRows(HOME, [PARTITION])).toMatchObject([
    { notificationId: id, offset: 1 },
  ]);
  await kept.close(1);
  expect((await kept.sweep(4_000)).dropped).toContain("ledger_0");
});

test("RT1 — a notification stays while a row names it: relayed late, or not sent yet", async () => {
  const kept = await newKept();
  await kept.sweep(23);
  const late = await kept.accept(3); // in the ledger's part 1, as what waited in a cut-off region
  await kept.close(1);
  const held = (by: string) => ({ table: "notification", name: "notification_0", by });
  expect(await kept.sweep(115)).toMatchObject({ dropped: ["ledger_0"], held: [held("ledger")] });
  expect(await kept.store.ledger.readNotifications([late])).toHaveLength(1);

  const audience = directTo("somebody");
  await kept.store.notifications.accept(HOME, [
    acceptItem(null, {
      notification: notificationFor({ id: idAt(kept.day(4)) }),
      remotes: [{ region: "lon", audience }],
    }),
  ]);
  await kept.sweep(400);
  expect((await kept.sweep(800)).held).toEqual([held("outbox")]);
  await kept.sql`delete from outbox`;
  expect((await kept.sweep(800)).dropped).toEqual(["notification_0"]);
});

test("RT1 — and while it waits for its time, or somebody does whom it was put off for", async () => {
  const kept = await newKept();
  const id = idAt(kept.day(4));
  const audience = { kind: "broadcast" } as const;
  const notification = notificationFor({ id, sendAtMs: Date.now() + 31 * 86_400_000 });
  await kept.store.notifications.accept(HOME, [acceptItem(audience, { notification })]);
  await kept.sweep(400);
  expect((await kept.sweep(800)).held).toEqual([
    { table: "notification", name: "notification_0", by: "timer" },
  ]);
  expect(await kept.store.ledger.readNotifications([id])).toHaveLength(1);
  await kept.sql`delete from timer`;
  expect((await kept.sweep(800)).dropped).toEqual(["notification_0"]);
});

test("RT2 — the journal goes by the part, before what it tells of", async () => {
  const kept = await newKept({ ...POLICY, journalDays: 30 });
  const id = await kept.accept(1);
  await kept.store.journal.append(HOME, "fra-w1", [
    [PARTITION, 1, id, 0, kept.day(1).getTime(), 1, "handed", null, null],
  ]);
  const eventsCount = async () => (await kept.sql`select from attempt`).length;
  expect((await kept.sweep(37)).dropped).toEqual([]);
  expect(await eventsCount()).toBe(1);
  expect((await kept.sweep(39)).dropped).toEqual(["attempt_0"]);
  expect(await eventsCount()).toBe(0);
  expect(await kept.store.ledger.readNotifications([id])).toHaveLength(1);
});

test("RT3 — nobody needs a part to be there: without a sweep for years all is accepted", async () => {
  const kept = await newKept();
  await kept.accept(1);
  const ids = [await kept.accept(1_000), await kept.accept(2_000)];
  expect(await offsetsOf(kept)).toEqual([1, 2, 3]);
  const restOf = async () => (await kept.sql`select id from notification_rest order by id`).flat();
  expect(await restOf()).toEqual(ids.map((id) => ({ id })));

  const report = await kept.sweep(1_990); // the clock of the last one's node is ten days ahead
  expect(report.restCount).toBe(1);
  expect(report.aheadSeconds).toBeGreaterThan(23 * 86_400);
  expect(await restOf()).toEqual([{ id: ids[0]! }]); // no part for what is past
  expect(await kept.store.ledger.readNotifications(ids)).toHaveLength(2);
  await kept.close(3);
  const last = await kept.sweep(2_200); // drops the ledger's part, then what it named
  expect(last.deleted.notification_rest).toBe(1);
  expect(last.restCount).toBe(0);
});

test("RT3 — a repeat of what was relayed is found in whatever part it is", async () => {
  const kept = await newKept();
  await kept.sweep(23);
  const items = [1, 24, 5_000].map((days) => ({
    notification: notificationFor({ id: idAt(kept.day(days)) }),
    audience: directTo(RECIPIENT),
  }));
  const kinds = async () =>
    (await kept.store.notifications.acceptRelayed(HOME, items)).map(({ kind }) => kind);
  expect(await kinds()).toEqual(["accepted", "accepted", "accepted"]);
  expect(await kinds()).toEqual(["repeated", "repeated", "repeated"]);
});

test("RT3 — group commits go on while parts are added, opened and dropped", async () => {
  const kept = await newKept();
  const over = new AbortController();
  const work = async () => {
    while (!over.signal.aborted) {
      const item = acceptItem({ kind: "broadcast" });
      const [result] = await kept.store.notifications.accept(HOME, [item]);
      expect(result?.kind).toBe("accepted");
    }
  };
  const node = kept.openStore({ poolMax: 2 });
  const sweeps = async () => {
    const dropped: string[] = [];
    for (let days = 23; days < 23 * 12; days += 23) {
      await kept.sql`update ledger set state = 2 where state <> 2 and part < ${days / 23 - 4}`;
      const { dropped: names } = await node.retention.sweep(POLICY, kept.day(days));
      dropped.push(...names);
    }
    return dropped;
  };
  const [dropped] = await Promise.all([sweeps().finally(() => over.abort()), work(), work()]);
  expect(dropped.filter((name) => name.startsWith("ledger"))).not.toEqual([]);
  const gaps = await kept.sql`
    select l.partition from ledger l join partition p on p.home = l.home and p.n = l.partition
    group by l.partition, p.next_offset
    having count(*) <> p.next_offset - min(l.offset) or max(l.offset) <> p.next_offset - 1`;
  expect([...gaps]).toEqual([]); // ST14, RT2
  const parts = await kept.sql`
    select count(*)::int as n from ledger l
    where l.part <> (select f.part from ledger_part f where f.home = l.home
      and f.partition = l.partition and f.first_offset <= l.offset
      order by f.first_offset desc, f.part desc limit 1)`;
  expect([...parts]).toEqual([{ n: 0 }]); // a flush looks where the row is
});

test("RT3 — a long read in the way: the sweep gives up at once, and comes again", async () => {
  const kept = await newKept();
  await kept.accept(1);
  await kept.sweep(23);
  await kept.close(1);
  const reader = await kept.sql.reserve();
  await reader`begin`;
  await reader`select count(*) from ledger`;
  const waiting = kept.sweep(114);
  const accepted = kept.accept(113); // behind whoever waits for all of the ledger
  expect(await waiting).toMatchObject({ dropped: [], isBusy: true });
  await accepted;
  await reader`commit`;
  reader.release();
  expect(await kept.sweep(114)).toMatchObject({ dropped: ["ledger_0", "notification_0"] });
});

test("RT3 — nodes that sweep at once do each step once", async () => {
  const kept = await newKept();
  const stores = [1, 2, 3].map(() => kept.openStore({ poolMax: 1 }));
  await Promise.all(stores.map(({ retention }) => retention.sweep(POLICY, kept.day(23))));
  await kept.sweep(23);
  expect(await partsOf(kept, "ledger")).toEqual(["ledger_0", "ledger_1"]);
  expect(await partsOf(kept, "notification")).toEqual([
    "notification_0",
    "notification_1",
    "notification_rest",
  ]);
});

test("RT3 — a table that was detached before its node died is dropped by the next sweep", async () => {
  const kept = await newKept();
  await kept.sweep(23);
  await kept.sql.unsafe(`alter table ledger detach partition ledger_0;
    drop trigger fence on ledger_0;
    update table_part set detached_at = now() where name = 'ledger_0';
    delete from ledger_part where part = 0`);
  await kept.sweep(24);
  expect([...(await kept.sql`select to_regclass('ledger_0') as l`)]).toEqual([{ l: null }]);
});

test("RT4 — keys go after 24 hours, buried timers and quarantines after their time, and no others", async () => {
  const kept = await newKept();
  const { sql } = kept;
  await sql.unsafe(`
    insert into idempotency (tenant_id, key, fingerprint, notification_id, answer, created_at)
    select 'acme', 'k' || n, '', gen_random_uuid(), '{}', now() - n * interval '1 min'
    from generate_series(0, 2399) as n;
    insert into timer (home, partition, kind, key, tenant_id, due_at, payload, buried_at)
    select 'fra', 1, 'x', n::text, 'acme', now() - interval '900 days', '{}',
      case when n > 0 then now() - n * interval '40 days' end
    from generate_series(0, 3) as n;
    insert into timer (home, partition, kind, key, tenant_id, due_at, payload, buried_at)
    values ('fra', 1, 'row', 'somebody', 'acme', now(), '{}', now() - interval '900 days');
    insert into notification_control (notification_id, tenant_id, state, changed_at_ms, changed_in, updated_at)
    select gen_random_uuid(), 'acme', 'cancelled', 1, 'fra', now() - n * interval '40 days'
    from generate_series(0, 3) as n;
    insert into notification_rate (notification_id, tenant_id, targeted_count, changed_at_ms, changed_in, updated_at)
    select gen_random_uuid(), 'acme', 1, 1, 'fra', now() - n * interval '40 days'
    from generate_series(0, 3) as n;
    insert into quarantine (home, partition, idx, reason, until)
    select 'fra', 1, n, 'x', now() - n * interval '25 hours' from generate_series(0, 2) as n`);
  const report = await kept.store.retention.sweep(POLICY);
  expect(report.deleted).toMatchObject({ idempotency: 960, timer: 1, quarantine: 1 });
  expect(report.deleted).toMatchObject({ notification_control: 1, notification_rate: 1 });
  const [left] = await sql`
    select (select count(*)::int from idempotency where created_at > now() - interval '1 day') as fresh,
      (select count(*)::int from idempotency) as keys,
      (select string_agg(key, ',' order by key) from timer) as timers,
      (select count(*)::int from quarantine) as quarantined`;
  expect(left).toEqual({ fresh: 1_440, keys: 1_440, timers: "0,1,2,somebody", quarantined: 2 });
  expect(await kept.store.retention.sweep(POLICY)).toMatchObject({ deleted: { idempotency: 0 } });
});

test("RT4 — a key that is taken again while old ones go is neither lost nor waited for", async () => {
  const kept = await newKept();
  const { sql, store } = kept;
  await sql`
    insert into idempotency (tenant_id, key, fingerprint, notification_id, answer, created_at)
    select 'acme', 'k' || n, '', gen_random_uuid(), '{}', now() - interval '2 days'
    from generate_series(1, 3) as n`;
  const other = await sql.reserve();
  await other`begin`;
  await other`update idempotency set created_at = now() where key = 'k2'`; // as a group commit does
  expect((await store.retention.sweep(POLICY)).deleted.idempotency).toBe(2);
  await other`commit`;
  other.release();
  expect([...(await sql`select key from idempotency`)]).toEqual([{ key: "k2" }]);
});

test("RT5 — in a fenced home a sweep changes nothing, nor does who writes to a part by its name", async () => {
  const kept = await newKept();
  await kept.accept(1);
  await kept.close(1);
  await kept.sweep(23);
  await kept.store.home.fence(HOME, null);
  const before = await kept.sql`select * from table_part order by name`;
  await expect(kept.sweep(114)).rejects.toMatchObject({ code: "home_fenced" });
  expect(await kept.sql`select * from table_part order by name`).toEqual(before);
  expect(await offsetsOf(kept)).toEqual([1]);
  for (const part of ["ledger_0", "ledger_1", "notification_1", "notification_rest"])
    await expect(kept.sql.unsafe(`delete from ${part}`)).rejects.toMatchObject({ code: "CRF01" });
});

test("ST6 — a database of before is cut without losing a row, an offset or a repeat", async () => {
  const url = await postgres.emptyDatabase();
  const options = { ...(await postgres.newDatabase()).options, url };
  const store = createStore(options);
  const sql = connect(options);
  await sql.unsafe(`create table schema_migration (name text primary key, hash text not null,
    applied_at timestamptz not null default now())`);
  const migrations = await readMigrations();
  for (const { name, text } of migrations.filter((one) => one.name < "0016")) {
    await sql.unsafe(text);
    const hash = createHash("sha256").update(text).digest("hex");
    await sql`insert into schema_migration (name, hash) values (${name}, ${hash})`;
  }
  const far = idAt(new Date("2100-01-01T00:00:00Z")); // of a clock that was wrong
  const near = idAt(new Date("2026-01-01T00:00:00Z"));
  await sql.unsafe(`
    insert into home (home, host_region) values ('fra', 'fra');
    insert into partition (home, n, next_offset) select 'fra', n, 3 from generate_series(0, 255) as n;
    insert into notification (id, tenant_id, accepted_region, accepted_at, expires_at, priority,
      content, exclude, audience, target_regions, is_accepted_here)
    select id::uuid, 'acme', 'fra', now(), now(), 'normal', '{"en":{"title":"a","body":"b"}}', '[]',
      '{"kind":"broadcast"}', '{fra}', true from unnest(array['${near}', '${far}']) as id;
    insert into ledger (home, partition, "offset", notification_id, directory_version, state, targeted)
    select 'fra', n, o, (array['${near}', '${far}'])[o]::uuid, 0, o, '\\x01'
    from generate_series(0, 255) as n, generate_series(1, 2) as o`);
  const columns = (await sql`select * from ledger limit 1`).columns.map(({ name }) => name);
  const applied = await store.migrate();
  expect(applied[0]).toBe("0016-retention");

  const rows = await sql`select * from ledger where partition = 7 order by "offset"`;
  expect(rows.columns.map(({ name }) => name)).toEqual([...columns, "part"]);
  expect(rows).toMatchObject([
    { offset: 1, notification_id: near, state: 1, part: 0 },
    { offset: 2, notification_id: far, state: 2, part: 0 },
  ]);
  expect([...(await sql`select count(*)::int as n from ledger`)]).toEqual([{ n: 512 }]);
  const relayed = [near, far].map((id) => ({
    notification: notificationFor({ id }),
    audience: { kind: "broadcast" as const },
  }));
  const repeated = await store.notifications.acceptRelayed(HOME, relayed);
  expect(repeated.map(({ kind }) => kind)).toEqual(["repeated", "repeated"]);
  const progress = await store.notifications.countsOf({ home: HOME, tenantId: TENANT }, [
    near,
    far,
  ]);
  expect([...progress.values()].map(({ counts }) => counts.targeted)).toEqual([256, 256]);
  const [accepted] = await store.notifications.accept(HOME, [acceptItem({ kind: "broadcast" })]);
  expect(accepted).toMatchObject({ kind: "accepted" });
  expect((await store.ledger.readTails(HOME, [7], 1))[0]?.offset).toBe(3);
  await sql.end({ timeout: 5 });
  await store.close();
});

test("RT3 — there are few parts: a quarter of the time that is kept", () => {
  expect([1, 4, 30, 90, 365].map(partDaysOf)).toEqual([1, 1, 8, 23, 92]);
});
