// Goal: counts (A4) and inbox (W2): what is read after a commit. Method: a real Postgres, one
// database a test.
import type { RegionAudience } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  acceptItem,
  directTo,
  HOME,
  idsIn,
  register,
  setsOf,
  startTestPostgres,
  TENANT,
  type TestPostgres,
} from "./test-database.ts";
import { rowsRead } from "./test-reads.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const BROADCAST: RegionAudience = { kind: "broadcast" };

test("A4 — counts are popcounts over both forms, and the state follows the rows", async () => {
  const { store } = await postgres.newDatabase();
  const ids = idsIn(4, 40);
  await register(store, ids);
  const small = acceptItem(directTo(...ids.slice(0, 5)));
  const large = acceptItem(directTo(...ids));
  const wide = acceptItem(BROADCAST);
  const remote = acceptItem(null, { remotes: [{ region: "lon", audience: BROADCAST }] });
  const items = [small, large, wide, remote];
  const [smallId, largeId, wideId, remoteId] = items.map(({ notification }) => notification.id);
  await store.notifications.accept(HOME, items);
  await store.leases.acquire({ home: HOME, memberId: "w", partitions: [4], leaseMs: 60_000 });
  const outcome = await store.ledger.writeRows(HOME, [
    { partition: 4, epoch: 1, offset: 1, state: "closed", sets: setsOf({ noDevice: [0b11111] }) },
    {
      partition: 4,
      epoch: 1,
      offset: 2,
      state: "open",
      sets: setsOf({ targeted: [255, 255, 255, 255, 255], deliveredSocket: [1, 1], read: [1] }),
    },
  ]);
  expect(outcome).toEqual({ fencedPartitions: [] });
  const scope = { home: HOME, tenantId: TENANT };
  const zero = (await store.notifications.countsOf(scope, ["00000000-0000-7000-8000-000000000000"]))
    .values()
    .next().value!;
  expect(zero.state).toBe("waiting");
  const counts = await store.notifications.countsOf(scope, [
    smallId!,
    largeId!,
    wideId!,
    remoteId!,
  ]);
  expect(Object.fromEntries(counts)).toEqual({
    [smallId!]: { state: "finished", counts: { ...zero.counts, targeted: 5, noDevice: 5 } },
    [largeId!]: {
      state: "delivering",
      counts: { ...zero.counts, targeted: 40, deliveredSocket: 2, read: 1 },
    },
    [wideId!]: { state: "planned", counts: zero.counts },
    [remoteId!]: zero,
  });
  const others = await store.notifications.countsOf({ home: HOME, tenantId: "other" }, [smallId!]);
  expect(others.get(smallId!)).toEqual(zero); // D8
});

test("A4 — counts read the rows of their notifications only, also before the database knows its tables", async () => {
  const database = await postgres.newDatabase();
  const { store, sql } = database;
  const item = acceptItem(BROADCAST);
  await store.notifications.accept(HOME, [item]);
  const rows = await sql<{ id: string }[]>`
    with more as (
      insert into notification (id, tenant_id, accepted_region, accepted_at, expires_at, priority, content,
        exclude, audience, target_regions, is_accepted_here)
      select gen_random_uuid(), tenant_id, accepted_region, accepted_at, expires_at, priority, content,
        exclude, audience, target_regions, is_accepted_here
      from notification, generate_series(1, 10000)
      returning id
    ), numbered as (
      select id, row_number() over () as number from more
    ), direct as (
      insert into ledger (home, partition, "offset", notification_id, directory_version, state, members)
      select ${HOME}, (number + place) % 40, 1000 + number * 3 + place, id, 1, 1, array[1]
      from numbered, generate_series(0, 2) as place
    )
    select id from numbered where number <= 1000`;
  const states = new Map<string, number>();
  const readCount = await rowsRead(database, "ledger", async (reader) => {
    const scope = { home: HOME, tenantId: TENANT };
    const counts = await reader.notifications.countsOf(
      scope,
      rows.map(({ id }) => id),
    );
    for (const { state } of counts.values()) states.set(state, (states.get(state) ?? 0) + 1);
  });
  expect([...states]).toEqual([["delivering", 1_000]]);
  expect(readCount).toBeLessThan(256 + 3 * 10_000 + 10); // none twice
});

test("W2 — an inbox shows one recipient's rows newest first, page by page, without a gap", async () => {
  const { store } = await postgres.newDatabase();
  const ids = idsIn(5, 40);
  await register(store, ids);
  const me = 1;
  const audiences = [
    directTo(ids[me]!),
    directTo(ids[0]!), // somebody else's
    directTo(ids[0]!, ids[me]!, ids[2]!),
    directTo(...ids),
    BROADCAST, // planned: not mine yet
    directTo(ids[me]!),
  ];
  const items = audiences.map((audience) => acceptItem(audience));
  for (const item of items) await store.notifications.accept(HOME, [item]);
  await store.leases.acquire({ home: HOME, memberId: "w", partitions: [5], leaseMs: 60_000 });
  await store.ledger.writeRows(HOME, [
    { partition: 5, epoch: 1, offset: 3, state: "open", sets: setsOf({ read: [0b010] }) },
    {
      partition: 5,
      epoch: 1,
      offset: 4,
      state: "open",
      sets: setsOf({ targeted: [0b10], acknowledged: [0b10] }),
    },
  ]);
  const place = { home: HOME, partition: 5, index: me };
  const all = await store.notifications.inboxOf(place, { limit: 10, beforeOffset: null });
  expect(all.nextBeforeOffset).toBeNull();
  expect(all.headOffset).toBe(4); // 5 is planned: it, and what follows, comes over the socket
  const item = (offset: number, isRead = false, isAcknowledged = false) => ({
    offset,
    notification: items[offset - 1]!.notification,
    isRead,
    isAcknowledged,
  });
  expect(all.items).toEqual([item(6), item(4, false, true), item(3, true), item(1)]);
  const pages = [];
  for (let beforeOffset: number | null = null; ;) {
    const page = await store.notifications.inboxOf(place, { limit: 2, beforeOffset });
    pages.push(page.items.map(({ offset }) => offset));
    beforeOffset = page.nextBeforeOffset;
    if (beforeOffset === null) break;
  }
  expect(pages).toEqual([[6, 4], [3, 1], []]);
  const [head] = await store.ledger.readHeads(HOME, [5]);
  expect(all.ledgerEpoch).toBe(head?.ledgerEpoch);
});

test("W2 — an inbox looks at a bounded number of wide rows and says where it stopped", async () => {
  const { store, sql } = await postgres.newDatabase();
  const ids = idsIn(6, 2);
  await register(store, ids);
  await store.notifications.accept(HOME, [acceptItem(directTo(ids[0]!))]); // offset 1
  const [{ id }] = (await sql`select id from notification`) as unknown as [{ id: string }];
  await sql`insert into ledger (home, partition, "offset", notification_id, directory_version, state,
      members, targeted)
    select ${HOME}, 6, n, ${id}, 1, 1, null, '\\x02' from generate_series(2, 1501) n`;
  await sql`update partition set next_offset = 1502 where n = 6`;
  const place = { home: HOME, partition: 6, index: 0 };
  const first = await store.notifications.inboxOf(place, { limit: 5, beforeOffset: null });
  expect([first.items, first.nextBeforeOffset]).toEqual([[], 502]);
  const second = await store.notifications.inboxOf(place, { limit: 5, beforeOffset: 502 });
  expect(second.items.map(({ offset }) => offset)).toEqual([1]);
  expect(second.nextBeforeOffset).toBeNull();
});
