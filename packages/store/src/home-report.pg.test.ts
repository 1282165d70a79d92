// packages/store/src/home-report.pg.test.ts
// Goal: HM5, HM8 and HM9: what a fenced database holds and another one does not. Method: two databases of a real
// Postgres, written through the store as an owner writes; in small pages, too. Between real copies:
// test/e2e/failover.test.ts.
import { policyRequestSchema } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { HeldPartition } from "./ledger-flush.ts";
import type { LedgerSets } from "./ledger-rows.ts";
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
import type { TemplateChange } from "./templates.ts";
import type { TimerChange } from "./timers.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const NOW_MS = 1_790_000_000_000;
const SALT = "5a".repeat(16);
const inFra = { tenantId: TENANT, nowMs: NOW_MS, region: HOME, otherRegions: [] };
const controlOf = (notificationId: string, state: "paused" | "cancelled") => ({
  ...inFra,
  notificationId,
  state,
});
const rateOf = (notificationId: string, ratePerMinute: number | null) => ({
  ...inFra,
  notificationId,
  ratePerMinute,
  targetedCount: 10,
});
const policyOf = (isCapped: boolean) => ({
  ...inFra,
  policy: policyRequestSchema.parse(isCapped ? {} : { mandatoryCategories: ["safety"] }),
});
const templateOf = (title: string): TemplateChange => ({
  ...inFra,
  templateId: "shift",
  definition: {
    locales: { en: { title } },
    defaultLocale: "en",
    fallbacks: {},
    payloadSchema: { type: "object", properties: {}, required: [], additionalProperties: false },
    timeZone: "UTC",
  },
});
const groupOf = (groupId: string, name = "Name") => ({
  tenantId: TENANT,
  groupId,
  definition: { name },
  nowMs: 1,
  region: HOME,
  otherRegions: [],
});
const timerOf = (key: string, payload: unknown): TimerChange => ({
  ...{ partition: 1, epoch: 1, kind: "k", key, tenantId: TENANT },
  ...{ change: "set", due: { inMs: 60_000 }, payload },
});

test("HM5 — the report names what another database lacks or has otherwise, and nothing else", async () => {
  const old = await postgres.newDatabase();
  const taken = await postgres.newDatabase();
  for (const { store } of [old, taken]) {
    await store.tenants.create(TENANT, "Acme");
    await register(store, ["both"]);
  }
  const both = acceptItem(directTo("both"));
  for (const { store } of [old, taken]) await store.notifications.accept(HOME, [both]);
  const [seen] = await old.sql<{ snapshot: string }[]>`
    select pg_current_snapshot()::text as snapshot`;
  const lost = acceptItem(directTo("both"), {
    remotes: [{ region: "lon", audience: { kind: "broadcast" } }],
  });
  await old.store.notifications.accept(HOME, [lost]);
  await register(old.store, ["new"]);
  await old.store.tenants.create("fresh", "Fresh");
  await old.store.home.setResidency(TENANT, ["par"]);
  const [kept, revoked] = ["crl_0123abcd", "crl_4567abcd"].map((id) => `${id}_${"s".repeat(43)}`);
  for (const [{ store }, keyTexts] of [
    [old, [kept, revoked]],
    [taken, [revoked]],
  ] as const)
    for (const keyText of keyTexts)
      await store.tenants.insertApiKey({
        tenantId: TENANT,
        scopes: ["read"],
        pepper: "pepper",
        keyText: keyText!,
      });
  await old.sql`update api_key set revoked_at = now() where key_id = '4567abcd'`;
  for (const [{ store }, home] of [
    [old, "lon"],
    [taken, "par"],
  ] as const)
    await store.directory.learnHomes({
      from: home,
      tenants: [{ tenantId: TENANT, recipientIds: ["twice"] }],
    });
  await old.store.directory.learnHomes({
    from: "lon",
    tenants: [{ tenantId: TENANT, recipientIds: ["far"] }],
  });
  const salt = "5a".repeat(16);
  await old.store.groups.change(groupOf("nurses"));
  for (const [{ store }, name] of [
    [old, "Night"],
    [taken, "Day"],
  ] as const) {
    await store.groups.change(groupOf("shift", name));
    await store.leases.acquire({ home: HOME, memberId: "w", partitions: [1], leaseMs: 60_000 });
    await store.timers.write(HOME, [timerOf("moved", name)]);
  }
  await old.store.timers.write(HOME, [timerOf("late", 1)]);
  await old.store.groups.setMembers({
    ...{ home: HOME, tenantId: TENANT, recipientIds: ["both"] },
    ...{ groupId: "nurses", tag: "nurses", isMember: true },
  });
  const only = newId();
  for (const [{ store }, state] of [
    [old, "cancelled"],
    [taken, "paused"],
  ] as const) {
    await store.controls.change(controlOf(lost.notification.id, state));
    await store.policies.change(policyOf(state === "paused"));
    await store.templates.change(templateOf(state));
  }
  await old.store.controls.change(controlOf(only, "paused"));
  await old.store.rates.change(rateOf(lost.notification.id, 600));
  await taken.store.rates.change(rateOf(lost.notification.id, null));
  await old.store.rates.change(rateOf(only, 60));
  await old.store.templates.change(templateOf("second"));
  for (const [snapshot, wanted] of [
    [seen!.snapshot, [1, 1, 2, 1, 2, 2, 2, 2, 2, 1, 2, 2, 2]],
    [null, [2, 2, 2, 1, 2, 2, 2, 2, 2, 1, 2, 2, 2]],
  ] as const) {
    const found: Record<string, unknown> = {};
    const looked: number[] = [];
    for (const table of [
      "notification",
      "people",
      "recipient",
      "outbox",
      "tenant",
      "api_key",
      "recipient_home",
      "recipient_group",
      "timer",
      "tenant_policy",
      "template",
      "notification_control",
      "notification_rate",
    ] as const) {
      const page = { home: HOME, table, snapshot, after: null, limit: 1_000, salt };
      const rows = await old.store.homeReport.read(page);
      const { missing, different } = await taken.store.homeReport.compare({
        home: HOME,
        table,
        rows,
        salt,
      });
      const idOf = (at: number) => rows[at]!.key.at(table === "people" ? 0 : -1);
      found[table] = [missing.map(idOf), different.map(idOf)];
      looked.push(rows.length);
      const after = rows.at(-1)!.key;
      expect(await old.store.homeReport.read({ ...page, after })).toEqual([]);
    }
    expect(looked).toEqual(wanted);
    expect(found).toEqual({
      notification: [[lost.notification.id], []],
      people: [[lost.notification.id], []],
      recipient: [["new"], ["both"]], // whoever joined a group, too
      outbox: [["1"], []],
      tenant: [["fresh"], [TENANT]],
      api_key: [["0123abcd"], ["4567abcd"]],
      recipient_home: [["far"], ["twice"]],
      recipient_group: [["nurses"], ["shift"]],
      timer: [["late"], ["moved"]],
      tenant_policy: [[], [TENANT]],
      template: [["2"], ["1"]], // by its version
      notification_control: [[only], [lost.notification.id]],
      notification_rate: [[only], [lost.notification.id]],
    });
  }
});

const P = 7;
const LATER_MS = Date.now() + 3_600_000;

/** Two databases with the same four people in one partition, and an owner of it in each. */
async function twoHomes() {
  const [old, taken] = [await postgres.newDatabase(), await postgres.newDatabase()];
  const ids = idsIn(P, 4);
  const homes = [old, taken] as const;
  const held: HeldPartition[] = [];
  for (const { store } of homes) {
    await register(store, ids);
    held.push(
      ...(await store.leases.acquire({
        ...{ home: HOME, memberId: "w", partitions: [P], leaseMs: 60_000 },
      })),
    );
  }
  /** What the report says of it: [missing], [different, people that are nowhere]. */
  const reported = async (limit = 1_000) => {
    const found = { missing: [] as unknown[], different: [] as unknown[] };
    let after: readonly string[] | null = null;
    for (let isMore = true; isMore;) {
      const page = { home: HOME, table: "people", snapshot: null, salt: SALT } as const;
      const rows = await old.store.homeReport.read({ ...page, after, limit });
      const compared = await taken.store.homeReport.compare({ ...page, rows });
      const { missing, different, lacking } = compared;
      const aboutOf = (at: number) => {
        const { offsets, peopleCount, waitingCount, isWhole } = rows[at]!.about;
        return [rows[at]!.key[0], offsets, peopleCount, waitingCount, isWhole];
      };
      found.missing.push(...missing.map(aboutOf));
      found.different.push(...different.map((at, n) => [aboutOf(at), lacking?.[n]]));
      after = rows.at(-1)?.key ?? null;
      isMore = rows.length === limit;
    }
    return found;
  };
  return {
    old,
    taken,
    ids,
    held: (at: TestDatabase) => held[homes.indexOf(at)]!,
    reported,
  };
}

/** A flush of the row at `offset`: the sets, and who is put off. */
async function flush(
  { store }: TestDatabase,
  held: HeldPartition,
  offset: number,
  sets: Partial<Record<keyof LedgerSets, number[]>>,
  movedMembers: number[] = [],
) {
  const row = {
    ...{ untilMs: LATER_MS, reason: "paused" as const },
    members: { kind: "members" as const, members: movedMembers },
  };
  const moves = movedMembers.length === 0 ? {} : { moves: { count: 1, rows: [row] } };
  const moved = Bitset.of(movedMembers).toBytes();
  const update = { ...held, offset, state: "open" as const, ...moves };
  await store.ledger.writeRows(HOME, [{ ...update, sets: setsOf({ moved: [...moved], ...sets }) }]);
}

async function release({ store, sql }: TestDatabase, held: HeldPartition, members: number[]) {
  const [timer] = await sql<{ id: number; notification_id: string }[]>`
    select id, notification_id from timer where notification_id is not null order by id limit 1`;
  const { entries } = await store.ledger.releaseRows(HOME, [
    {
      ...held,
      timerId: timer!.id,
      notificationId: timer!.notification_id,
      members: { kind: "members", members },
    },
  ]);
  return entries[0]!.offset;
}

test("HM9 — put off in one database, at another offset in the other: the same people, and nothing to tell", async () => {
  const { old, taken, ids, held, reported } = await twoHomes();
  const item = acceptItem(directTo(...ids));
  for (const { store } of [old, taken]) await store.notifications.accept(HOME, [item]);
  await flush(old, held(old), 1, {}, [0, 2]);
  expect(await reported()).toEqual({ missing: [], different: [] }); // pending there, waiting here
  await release(old, held(old), [0, 2]);
  expect(await reported()).toEqual({ missing: [], different: [] });
  await flush(taken, held(taken), 1, {}, [0, 2]);
  await taken.store.notifications.accept(HOME, [acceptItem(directTo(ids[3]!))]); // takes an offset
  await release(taken, held(taken), [0, 2]);
  expect(await reported()).toEqual({ missing: [], different: [] });
  await flush(old, held(old), 2, { deliveredSocket: [0b01] }); // of members[0]
  expect(await reported()).toEqual({
    missing: [],
    different: [[[item.notification.id, "1,2", 4, 0, false], 0]],
  });
  await flush(taken, held(taken), 3, { deliveredSocket: [0b01] });
  expect(await reported()).toEqual({ missing: [], different: [] });
});

test("HM9 — an offset that was dealt out again is no copy of the row that is lost", async () => {
  const { old, taken, ids, reported } = await twoHomes();
  const [lost, other] = [acceptItem(directTo(...ids)), acceptItem(directTo(ids[0]!))];
  await old.store.notifications.accept(HOME, [lost]);
  await taken.store.notifications.accept(HOME, [other]);
  expect(await reported()).toEqual({
    missing: [[lost.notification.id, "1", 4, 0, false]],
    different: [],
  });
});

test("HM9 — people who are in no row there are counted; a row that is not expanded may hold them", async () => {
  const { old, taken, ids, held, reported } = await twoHomes();
  const notification = notificationFor();
  const toAll = (memberIds: string[]) => ({ notification, audience: directTo(...memberIds) });
  await old.store.notifications.acceptRelayed(HOME, [toAll(ids)]);
  await taken.store.notifications.acceptRelayed(HOME, [toAll(ids.slice(1, 3))]);
  const about = [notification.id, "1", 4, 0, false];
  expect(await reported()).toEqual({ missing: [], different: [[about, 2]] });
  await flush(taken, held(taken), 1, { moved: [0b01] }, [1]); // waits: not lost
  expect(await reported()).toEqual({ missing: [], different: [[about, 2]] });
  await taken.sql`update ledger set state = 0, members = null, targeted = ''`;
  expect(await reported()).toEqual({ missing: [], different: [[about, 0]] });
});

test("HM9 — what waits for its time has no row yet, and is told: by people, or as a whole audience", async () => {
  const { old, taken, ids, reported } = await twoHomes();
  const scheduled = () => ({ notification: notificationFor({ sendAtMs: LATER_MS }) });
  const few = acceptItem(directTo(ids[0]!, ids[1]!), scheduled());
  const all = acceptItem({ kind: "broadcast" }, scheduled());
  const both = acceptItem(directTo(ids[0]!), scheduled());
  for (const { store } of [old, taken]) await store.notifications.accept(HOME, [both]);
  await old.store.notifications.accept(HOME, [few, all]);
  const { missing, different } = await reported(3); // in pages
  expect(different).toEqual([]);
  expect(missing.length).toBe(1 + 256);
  expect(missing).toContainEqual([few.notification.id, "", 2, 2, false]);
  expect(new Set(missing.map((one) => JSON.stringify(one))).size).toBe(2);
  expect(missing).toContainEqual([all.notification.id, "", 0, 0, true]);
  const timers = { home: HOME, table: "timer", snapshot: null, after: null, limit: 9 } as const;
  expect(await old.store.homeReport.read({ ...timers, salt: SALT })).toEqual([]); // told once
  await taken.store.notifications.accept(HOME, [few, all]);
  expect(await reported()).toEqual({ missing: [], different: [] });
});

test("HM8 — digests of two reports have nothing in common, and a key's secret is in none", async () => {
  const { store, sql } = await postgres.newDatabase();
  await store.tenants.create(TENANT, "Acme");
  await register(store, ["a"]);
  const keyText = `crl_0123abcd_${"s".repeat(43)}`;
  const key = { tenantId: TENANT, scopes: ["read"], keyText } as const;
  await store.tenants.insertApiKey({ ...key, pepper: "pepper" });
  const digestsOf = async (salt: string | null) => {
    const digests: string[] = [];
    for (const table of ["recipient", "tenant", "api_key"] as const) {
      const page = { home: HOME, table, snapshot: null, after: null, limit: 10, salt };
      digests.push(...(await store.homeReport.read(page)).map(({ digest }) => digest));
    }
    return digests;
  };
  const salts = [null, "0".repeat(32), "1".repeat(32)];
  const all = (await Promise.all(salts.map(digestsOf))).flat();
  expect([all.length, new Set(all).size]).toEqual([9, 9]);
  const before = await digestsOf(salts[1]!);
  await sql`update api_key set secret_hmac = 'other'`;
  expect(await digestsOf(salts[1]!)).toEqual(before);
});
