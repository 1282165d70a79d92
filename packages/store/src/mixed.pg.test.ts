// Goal: ST13: no deadlock under everything at once, and nothing lost. Method: a real Postgres, four
// stores as four nodes; deadlock_timeout is short so that one would be found, not waited out.
import { createSeededRandom } from "@carillon/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  acceptItem,
  directTo,
  HOME,
  notificationFor,
  register,
  setsOf,
  startTestPostgres,
  TENANT,
  type TestPostgres,
} from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const ALL = Array.from({ length: 256 }, (_, n) => n);

test("ST13 — accept, relay, upsert, flush, timers, acquire, refresh, release and outbox at once", async () => {
  const { store, openStore, sql } = await postgres.newDatabase();
  const [database] = await sql`select current_database() as name`;
  await sql.unsafe(`alter database ${database!.name} set deadlock_timeout = '100ms'`);
  const ids = Array.from({ length: 2_000 }, (_, n) => `employee-${n}`);
  await register(store, ids);
  const random = createSeededRandom(7);
  const pick = () => ids[Math.floor(random.next() * ids.length)]!;
  const some = (count: number) => Array.from({ length: count }, pick);
  const nodes = Array.from({ length: 4 }, () => openStore({ poolMax: 4 }));
  const relayed = Array.from({ length: 30 }, () => ({
    notification: notificationFor({ tenantId: TENANT, acceptedRegion: "lon" }),
    audience: { kind: "broadcast" } as const,
  }));
  let acceptedCount = 0;
  let timersCount = 0;
  const work = nodes.flatMap((node, number) => {
    const memberId = `m${number}`;
    const acceptSome = async () => {
      const items = Array.from({ length: 20 }, (_, n) =>
        acceptItem(n === 0 ? { kind: "broadcast" } : directTo(...some(5)), {
          idempotency: {
            key: `k${Math.floor(random.next() * 60)}`,
            fingerprint: Buffer.alloc(32, 1),
          },
          remotes: [{ region: "lon", audience: { kind: "broadcast" } }],
        }),
      );
      const results = await node.notifications.accept(HOME, items);
      acceptedCount += results.filter(({ kind }) => kind === "accepted").length;
    };
    const relaySome = async () => {
      const items = relayed.toSorted(() => random.next() - 0.5).slice(0, 10);
      const results = await node.notifications.acceptRelayed(HOME, items);
      acceptedCount += results.filter(({ kind }) => kind === "accepted").length;
    };
    const upsertSome = () =>
      node.directory.upsert({
        home: HOME,
        tenantId: TENANT,
        changes: some(50).map((recipientId) => ({
          recipientId: random.next() < 0.5 ? recipientId : `${recipientId}-${number}`,
          locale: null,
          timeZone: null,
          attributes: { n: random.next() },
        })),
        otherRegions: ["lon", "par"],
      });
    const own = async () => {
      const taken = await node.leases.acquire({
        home: HOME,
        memberId,
        partitions: ALL,
        leaseMs: 50,
      });
      const held = await node.leases.refresh({ home: HOME, memberId, leaseMs: 50 });
      const epochs = new Map([...taken, ...held].map((lease) => [lease.partition, lease.epoch]));
      const rows = await node.ledger.readTails(HOME, [...epochs.keys()], 1);
      await node.ledger.writeRows(
        HOME,
        rows.map(({ partition, offset }) => ({
          partition,
          offset,
          epoch: epochs.get(partition)!,
          state: "open",
          sets: setsOf({ read: [number] }),
        })),
      );
      const places = Array.from(epochs, ([partition, epoch]) => ({ partition, epoch, kind: "k" }));
      await node.timers.write(
        HOME,
        places.map((place) => ({
          ...place,
          key: String(timersCount++),
          change: "set",
          tenantId: TENANT,
          due: { inMs: 0 },
          payload: null,
        })),
      );
      const asked = {
        held: places,
        kinds: ["k"],
        exceptIds: [],
        mayBeDoubtful: true,
        limitCount: 100,
      };
      const { timers } = await node.timers.claim(HOME, asked);
      await node.timers.write(
        HOME,
        timers.map(({ partition, kind, key, id }) => {
          const place = { partition, epoch: epochs.get(partition)!, kind, key };
          return { ...place, change: "done", id };
        }),
      );
      await node.leases.release({ home: HOME, memberId, partitions: ALL });
    };
    const relayOut = async () => {
      const asked = { targetRegion: "lon", holder: memberId, holdMs: 1, limitCount: 20 };
      const taken = await node.outbox.takeOver({ ...asked, isBeginning: true });
      const turn = taken.kind === "rows" ? taken.rows.map(({ id }) => id) : [];
      await node.outbox.defer(turn.slice(0, 5), 0);
      await node.outbox.markDone(turn.slice(5));
      await node.outbox.giveBack("lon", memberId);
      await node.outbox.endBacklog("lon", memberId);
      const rows = await node.outbox.claim("lon", 20, 1);
      await node.outbox.markDone(rows.map(({ id }) => id));
      await node.directory.learnHomes({
        from: "dub",
        tenants: [{ tenantId: TENANT, recipientIds: some(50) }],
      });
    };
    return [acceptSome, relaySome, upsertSome, own, own, relayOut].map(async (step) => {
      for (let round = 0; round < 12; round++) await step();
    });
  });
  await Promise.all(work); // a deadlock would be a Fault
  const [deadlocks] = await sql`select deadlocks from pg_stat_database
    where datname = current_database()`;
  expect(deadlocks!.deadlocks).toBe(0);
  const gaps = await sql`select l.partition from ledger l join partition p
    on p.home = l.home and p.n = l.partition group by l.partition, p.next_offset
    having count(*) <> max(l."offset") or max(l."offset") <> p.next_offset - 1`;
  expect([...gaps]).toEqual([]);
  const [stored] = await sql`select count(*) as n from notification`;
  expect(stored!.n).toBe(acceptedCount);
  const sparse = await sql`select partition from recipient group by partition
    having count(*) <> max(idx) + 1`;
  expect([...sparse]).toEqual([]);
});
