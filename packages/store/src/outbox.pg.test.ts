// Goal: ST17, ST22, ST23, ST25: what waits for other regions, in turn and out of turn. Method: a real Postgres,
// one database a test.
import type { RegionAudience } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "./store.ts";
import {
  acceptItem,
  directTo,
  HOME,
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
const HOLD_MS = 60_000;

/** One commit of one notification for lon and par; its outbox ids, and the backlogs it saw. */
async function post(
  store: Store,
): Promise<{ id: number; idOfPar: number; backlogs: readonly string[] }> {
  const remotes = [
    { region: "lon", audience: directTo("x") },
    { region: "par", audience: BROADCAST },
  ];
  const [result] = await store.notifications.accept(HOME, [acceptItem(null, { remotes })]);
  if (result?.kind !== "accepted") throw new Error(`expected accepted, got ${result?.kind}`);
  const { lon: id = 0, par: idOfPar = 0 } = result.outboxIds;
  return { id, idOfPar, backlogs: result.backlogs };
}

const takeOver = (
  store: Store,
  holder: string,
  more: { isBeginning?: boolean; targetRegion?: string; limitCount?: number } = {},
) =>
  store.outbox.takeOver({
    ...{ targetRegion: "lon", holder, holdMs: HOLD_MS, limitCount: 10, isBeginning: false },
    ...more,
  });
const idsOf = (taken: Awaited<ReturnType<typeof takeOver>>) =>
  taken.kind === "rows" ? taken.rows.map(({ id }) => id) : taken.kind;

test("ST22 — rows wait for the fast path; the oldest that does not go begins a backlog", async () => {
  const { store, sql } = await postgres.newDatabase();
  const item = acceptItem(null, { remotes: [{ region: "lon", audience: directTo("x") }] });
  await store.notifications.accept(HOME, [item]);
  expect(await takeOver(store, "a")).toEqual({ kind: "none" });
  expect((await post(store)).backlogs).toEqual([]);
  await sql`update outbox set next_attempt_at = now() where id = 1`;
  const taken = await takeOver(store, "a");
  expect(taken.kind === "rows" && taken.rows[0]).toEqual({
    kind: "notification",
    id: 1,
    attemptCount: 0,
    ageMs: expect.any(Number),
    item: { notification: item.notification, audience: directTo("x") },
  });
  expect(idsOf(taken)).toEqual([1, 2]); // the second is not due, and follows the first
  expect(await store.outbox.backlog("lon")).toBe(2);
  await store.outbox.markDone([1, 2, 999_999]);
  expect(await store.outbox.oldestAgeMs("lon")).toBeNull();
  expect(await store.outbox.backlog("par")).toBe(1);
  await sql`update outbox set created_at = now() - interval '5 s'`;
  expect(Math.round((await store.outbox.oldestAgeMs())! / 1_000)).toBe(5);
});

test("ST17, ST22 — overdue homes begin no backlog and are claimed; overdue notifications begin their region's, and are not", async () => {
  const { store, sql } = await postgres.newDatabase();
  await store.directory.upsert({
    home: HOME,
    tenantId: TENANT,
    changes: [{ recipientId: "new", locale: null, timeZone: null, attributes: {} }],
    otherRegions: ["lon"],
  });
  const { id, idOfPar } = await post(store);
  await sql`update outbox set next_attempt_at = now() where id <> ${id}`;
  expect(await takeOver(store, "a")).toEqual({ kind: "none" });
  expect(idsOf(await takeOver(store, "a", { targetRegion: "par" }))).toEqual([idOfPar]);
  const claimed = await store.outbox.claim("lon", 10, 60_000);
  expect(claimed.map(({ kind }) => kind)).toEqual(["homes"]);
  await sql`update outbox set next_attempt_at = now() where id = ${id}`;
  expect(await store.outbox.claim("lon", 10, 60_000)).toEqual([]);
  expect(idsOf(await takeOver(store, "a"))).toEqual([id]);
});

test("ST22, C22 — the oldest come first, wherever in the table they lie by now, and whatever the plan", async () => {
  const { store, sql } = await postgres.newDatabase();
  const [database] = await sql<{ name: string }[]>`select current_database() as name`;
  for (const scan of ["indexscan", "bitmapscan"])
    // the index has them in order
    await sql.unsafe(`alter database ${database!.name} set enable_${scan} = off`);
  const posted = [await post(store), await post(store), await post(store)].map(({ id }) => id);
  await sql`update outbox set created_at = created_at where id = ${posted[0]!}`; // behind the others
  const taken = await takeOver(store, "a", { isBeginning: true, limitCount: 1 });
  expect(idsOf(taken)).toEqual(posted.slice(0, 1));
  expect((await store.outbox.readWaiting("lon", 2)).map(({ id }) => id)).toEqual(
    posted.slice(0, 2),
  );
});

test("ST22, ST23 — backlogs of two regions know nothing of each other", async () => {
  const { store } = await postgres.newDatabase();
  const { id, idOfPar } = await post(store);
  const inPar = { targetRegion: "par" };
  expect(idsOf(await takeOver(store, "a", { isBeginning: true }))).toEqual([id]);
  expect(idsOf(await takeOver(store, "a", { ...inPar, isBeginning: true }))).toEqual([idOfPar]);
  await store.outbox.markDone([id]);
  expect(await store.outbox.endBacklog("lon", "a")).toBe(true);
  expect((await post(store)).backlogs).toEqual(["par"]);
  await takeOver(store, "a", { isBeginning: true });
  await store.outbox.giveBack("par", "a");
  expect(await takeOver(store, "b")).toEqual({ kind: "held" });
  expect((await takeOver(store, "b", inPar)).kind).toBe("rows");
});

test("ST22, C22 — one of many that ask at once holds a backlog; it sees the oldest again until they are done", async () => {
  const { store } = await postgres.newDatabase();
  const posted = [await post(store), await post(store), await post(store)].map(({ id }) => id);
  const holders = ["a", "b", "c", "d"];
  const answers = await Promise.all(
    holders.map((holder) => takeOver(store, holder, { isBeginning: true })),
  );
  const kinds = answers.map(({ kind }) => kind);
  expect(kinds.toSorted()).toEqual(["held", "held", "held", "rows"]);
  const holder = holders[kinds.indexOf("rows")]!;
  expect(idsOf(answers[kinds.indexOf("rows")]!)).toEqual(posted);
  const last = await post(store);
  expect(last.backlogs).toEqual(["lon"]); // every commit sees it
  await store.outbox.markDone(posted.slice(0, 1));
  expect(idsOf(await takeOver(store, holder))).toEqual([...posted.slice(1), last.id]);
});

test("ST22 — a backlog changes hands when it is given back, or its holder is silent", async () => {
  const { store, sql } = await postgres.newDatabase();
  const { id } = await post(store);
  expect(idsOf(await takeOver(store, "a", { isBeginning: true }))).toEqual([id]);
  expect(await takeOver(store, "b")).toEqual({ kind: "held" });
  await store.outbox.giveBack("lon", "b"); // not its own
  expect(await takeOver(store, "b")).toEqual({ kind: "held" });
  await store.outbox.giveBack("lon", "a");
  expect(idsOf(await takeOver(store, "b"))).toEqual([id]);
  expect(await takeOver(store, "a")).toEqual({ kind: "held" });
  await sql`update relay_backlog set held_until = now()`; // b died
  expect(idsOf(await takeOver(store, "a"))).toEqual([id]);
  expect(await store.outbox.endBacklog("lon", "b")).toBe(false);
});

test("ST23 — a backlog ends when nothing waits in turn, by its holder only", async () => {
  const { store } = await postgres.newDatabase();
  const { id } = await post(store);
  await takeOver(store, "a", { isBeginning: true });
  expect(await store.outbox.endBacklog("lon", "a")).toBe(false);
  expect((await store.outbox.readWaiting("lon", 10)).map((row) => row.id)).toEqual([id]);
  await store.outbox.markDone([id]);
  expect(await store.outbox.endBacklog("lon", "b")).toBe(false);
  expect(await store.outbox.endBacklog("lon", "a")).toBe(true);
  expect(await store.outbox.endBacklog("lon", "a")).toBe(false);
  expect((await post(store)).backlogs).toEqual([]);
});

test("ST17 — what was put off goes out of turn, claimed once, and holds up no backlog", async () => {
  const { store, sql } = await postgres.newDatabase();
  const posted = [await post(store), await post(store), await post(store)].map(({ id }) => id);
  await takeOver(store, "a", { isBeginning: true });
  await store.outbox.defer(posted.slice(0, 2), 60_000);
  expect(idsOf(await takeOver(store, "a"))).toEqual(posted.slice(2));
  await store.outbox.markDone(posted.slice(2));
  expect(await store.outbox.endBacklog("lon", "a")).toBe(true);
  expect(await store.outbox.claim("lon", 10, 60_000)).toEqual([]); // not due
  expect(await store.outbox.readWaiting("lon", 10)).toEqual([]);
  await sql`update outbox set next_attempt_at = now() - interval '1 s'`;
  expect(await takeOver(store, "a")).toEqual({ kind: "none" });
  const claims = await Promise.all([
    store.outbox.claim("lon", 10, 60_000),
    store.outbox.claim("lon", 10, 60_000),
  ]);
  const claimed = claims.flat().toSorted((left, right) => left.id - right.id);
  expect(claimed.map(({ id, attemptCount }) => [id, attemptCount])).toEqual(
    posted.slice(0, 2).map((id) => [id, 2]),
  );
  expect(await store.outbox.claim("lon", 10, 60_000)).toEqual([]);
  await store.outbox.markDone(posted);
  expect(await store.outbox.backlog("lon")).toBe(0);
});

test("ST17 — of what is due out of turn, those longest due are claimed first", async () => {
  const { store, sql } = await postgres.newDatabase();
  const posted = [await post(store), await post(store), await post(store)].map(({ id }) => id);
  await store.outbox.defer(posted, 0);
  await sql`update outbox set next_attempt_at = now() - interval '1 min' where id = ${posted[1]!}`;
  const [first, ...more] = await store.outbox.claim("lon", 1, 60_000);
  expect([first?.id, more]).toEqual([posted[1], []]);
});

/** Commits of one notification each, of these tenants, for lon; their outbox ids. */
async function postOf(store: Store, tenantIds: readonly string[]): Promise<number[]> {
  const remotes = [{ region: "lon", audience: BROADCAST }];
  const items = tenantIds.map((tenantId) => {
    const item = acceptItem(null, { remotes });
    return { ...item, notification: { ...item.notification, tenantId } };
  });
  const results = await store.notifications.accept(HOME, items);
  return results.map((result) => {
    if (result.kind !== "accepted") throw new Error(`expected accepted, got ${result.kind}`);
    return result.outboxIds["lon"] ?? 0;
  });
}

const probe = (store: Store, afterTenantId = "", limitCount = 10) =>
  store.outbox.probe("lon", { afterTenantId, limitCount });
const probedOf = async (...asked: Parameters<typeof probe>) =>
  (await probe(...asked)).map(({ id }) => id);

test("ST25 — withheld rows are due for nobody; a probe is one row of each tenant, and done it releases the rest", async () => {
  const { store } = await postgres.newDatabase();
  const ids = await postOf(store, ["strict", "other", "strict", "strict", "other"]);
  const [strict, other] = [ids.filter((_, at) => at % 3 !== 1), [ids[1]!, ids[4]!]];
  await store.outbox.withhold(ids);
  expect(await takeOver(store, "a")).toEqual({ kind: "none" });
  expect(await store.outbox.claim("lon", 10, 60_000)).toEqual([]);
  expect(await store.outbox.backlog("lon")).toBe(5);
  expect(await probedOf(store)).toEqual([other[0], strict[0]]);
  expect(await store.outbox.probe("par", { afterTenantId: "", limitCount: 10 })).toEqual([]);
  const probes = [
    { id: strict[0]!, tenantId: "strict" },
    { id: other[0]!, tenantId: "other" },
  ];
  expect(await store.outbox.release("lon", probes, 10)).toBe(0); // neither was taken
  await store.outbox.markDone([strict[0]!]);
  expect(await store.outbox.release("par", probes, 10)).toBe(0); // another target
  expect(await store.outbox.release("lon", probes, 1)).toBe(1); // the oldest
  expect(await store.outbox.release("lon", probes, 10)).toBe(1);
  const claimed = await store.outbox.claim("lon", 10, 60_000);
  expect(claimed.map(({ id }) => id)).toEqual(strict.slice(1));
  expect(await probedOf(store)).toEqual([other[0]]);
});

test("ST25 — of more tenants than one probe takes each one's turn comes, round and round", async () => {
  const { store } = await postgres.newDatabase();
  const [first, , second, third] = await postOf(store, ["a", "a", "b", "c"]);
  await store.outbox.withhold([first!, first! + 1, second!, third!]);
  expect(await probedOf(store, "", 1)).toEqual([first]);
  expect(await probedOf(store, "a", 1)).toEqual([second]);
  expect(await probedOf(store, "b", 2)).toEqual([third, first]);
  expect(await probedOf(store, "a", 10)).toEqual([second, third, first]); // each once
  expect(await probedOf(store, "c", 2)).toEqual([first, second]);
  expect(await probedOf(store, "bb", 1)).toEqual([third]); // b itself is gone
});

test("ST25 — rows that a node of the build before has withheld are probed and released like the others", async () => {
  const { store, sql } = await postgres.newDatabase();
  const ids = await postOf(store, ["strict", "strict"]);
  await sql`update outbox set attempt_count = attempt_count + 1, next_attempt_at = 'infinity'`;
  expect(await probedOf(store)).toEqual([ids[0]]);
  await store.outbox.markDone([ids[0]!]);
  const probes = [{ id: ids[0]!, tenantId: "strict" }];
  expect(await store.outbox.release("lon", probes, 10)).toBe(1);
});

test("ST25 — a probe reads two rows of each of its tenants, however many are withheld", async () => {
  const database = await postgres.newDatabase();
  const { store, sql } = database;
  const [id] = await postOf(store, ["t"]);
  await sql`
    with more as (
      insert into notification (id, tenant_id, accepted_region, accepted_at, expires_at, priority, content,
        exclude, target_regions, is_accepted_here)
      select gen_random_uuid(), 't' || lpad((number % 2000)::text, 4, '0'), accepted_region, accepted_at,
        expires_at, priority, content, exclude, target_regions, is_accepted_here
      from notification, generate_series(1, 10000) as number
      returning id, tenant_id
    )
    insert into outbox (target_region, kind, notification_id, payload, next_attempt_at, attempt_count,
      withheld_tenant)
    select 'lon', 'notification', id, '{"kind":"broadcast"}', 'infinity', 1, tenant_id from more`;
  await store.outbox.markDone([id!]);
  const probed: number[] = [];
  const readCount = await rowsRead(database, "outbox", async (prober) => {
    probed.push(...(await probedOf(prober, "t1949", 100))); // the last 50, then the first
  });
  expect(new Set(probed).size).toBe(100);
  expect(readCount).toBeLessThanOrEqual(2 * 100 + 10); // of 10,000; some of what came before
});

test("ST25 — a probe that one region has taken releases nothing of what another one withholds", async () => {
  const { store } = await postgres.newDatabase();
  const [first, second] = [await post(store), await post(store)];
  await store.outbox.withhold([first, second].flatMap(({ id, idOfPar }) => [id, idOfPar]));
  await store.outbox.markDone([first.id]);
  const probes = [{ id: first.id, tenantId: TENANT }];
  expect(await store.outbox.release("lon", probes, 10)).toBe(1);
  expect(await store.outbox.claim("par", 10, 60_000)).toEqual([]);
  expect(
    (await store.outbox.probe("par", { afterTenantId: "", limitCount: 10 })).map(({ id }) => id),
  ).toEqual([first.idOfPar]);
  expect((await store.outbox.claim("lon", 10, 60_000)).map(({ id }) => id)).toEqual([second.id]);
});
