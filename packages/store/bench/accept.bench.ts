// packages/store/bench/accept.bench.ts
// The group commit and the owner's flush on a real, durable Postgres (fsync on). Run it with
// `npm run bench` in packages/store; accepted numbers are in RESULTS.md.
import { performance } from "node:perf_hooks";
import type { AcceptItem } from "../src/accept.ts";
import type { LedgerUpdate } from "../src/ledger-flush.ts";
import type { Store } from "../src/store.ts";
import {
  acceptItem,
  directTo,
  HOME,
  register,
  setsOf,
  startTestPostgres,
  type TestDatabase,
} from "../src/test-database.ts";

const RECIPIENT_COUNT = 20_000;
const DIRECT_COUNT = 20_000;
const ALL = Array.from({ length: 256 }, (_, n) => n);

const recipientIds = Array.from({ length: RECIPIENT_COUNT }, (_, n) => `employee-${n}`);
const randomId = () => recipientIds[Math.floor(Math.random() * RECIPIENT_COUNT)]!;
const content = {
  en: { title: "Shift changed", body: "x".repeat(200), link: "https://acme.eu/1" },
};

function directBatch(count: number): AcceptItem[] {
  return Array.from({ length: count }, (_, n) => {
    const item = acceptItem(directTo(randomId()), {
      idempotency: { key: `${performance.now()}-${n}`, fingerprint: Buffer.alloc(32, n) },
    });
    return { ...item, notification: { ...item.notification, content } };
  });
}

/** Runs `work` `count` times with `parallelCount` at once; the durations in ms, ascending. */
async function measure(
  options: { count: number; parallelCount: number },
  work: () => Promise<unknown>,
): Promise<{ elapsedMs: number; sorted: number[] }> {
  const durations: number[] = [];
  let leftCount = options.count;
  const startedMs = performance.now();
  const worker = async () => {
    while (leftCount-- > 0) {
      const beginMs = performance.now();
      await work();
      durations.push(performance.now() - beginMs);
    }
  };
  await Promise.all(Array.from({ length: options.parallelCount }, worker));
  return {
    elapsedMs: performance.now() - startedMs,
    sorted: durations.toSorted((left, right) => left - right),
  };
}

function report(name: string, sorted: readonly number[], rest = ""): void {
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(1);
  console.log(`${name.padEnd(52)} p50 ${at(0.5)} ms, p99 ${at(0.99)} ms${rest}`);
}

async function benchAccept(store: Store): Promise<void> {
  for (const [batchCount, parallelCount] of [
    [1, 1],
    [100, 1],
    [100, 2],
    [100, 4],
    [400, 2],
  ] as const) {
    const total = batchCount === 1 ? 1_000 : DIRECT_COUNT;
    const { elapsedMs, sorted } = await measure({ count: total / batchCount, parallelCount }, () =>
      store.notifications.accept(HOME, directBatch(batchCount)),
    );
    const perSecond = Math.round((total / elapsedMs) * 1_000);
    report(`direct, batch ${batchCount}, ${parallelCount} connections`, sorted, `, ${perSecond}/s`);
  }
  const broadcast = await measure({ count: 100, parallelCount: 1 }, () =>
    store.notifications.accept(HOME, [acceptItem({ kind: "broadcast" })]),
  );
  report("broadcast, 256 ledger rows", broadcast.sorted);
  const many = await measure({ count: 10, parallelCount: 1 }, () =>
    store.notifications.accept(
      HOME,
      Array.from({ length: 20 }, () => acceptItem({ kind: "broadcast" })),
    ),
  );
  report("20 broadcasts in one batch, 5,120 ledger rows", many.sorted);
  const tenThousand = recipientIds.slice(0, 10_000);
  const named = await measure({ count: 20, parallelCount: 1 }, () =>
    store.notifications.accept(HOME, [acceptItem(directTo(...tenThousand))]),
  );
  report("10,000 explicit recipients", named.sorted);
}

async function benchFlush(store: Store, bytesPerSet: number): Promise<void> {
  const offsets = (await store.ledger.readHeads(HOME, ALL)).map(({ nextOffset }) => nextOffset - 1);
  const sets = setsOf({
    targeted: Array.from({ length: bytesPerSet }, (_, n) => (n * 37) & 255),
    deliveredSocket: Array.from({ length: bytesPerSet }, (_, n) => (n * 11) & 255),
    noDevice: Array.from({ length: bytesPerSet }, (_, n) => (n * 7) & 255),
  });
  const updates: LedgerUpdate[] = ALL.map((partition) => ({
    partition,
    epoch: 1,
    offset: offsets[partition]!,
    state: "open",
    sets,
  }));
  const { sorted } = await measure({ count: 100, parallelCount: 1 }, () =>
    store.ledger.writeRows(HOME, updates),
  );
  report(`flush, 256 rows, 3 sets of ${bytesPerSet} bytes`, sorted);
}

async function benchReads({ store, sql }: TestDatabase): Promise<void> {
  const one = { count: 20, parallelCount: 1 };
  report("readHeads, 256", (await measure(one, () => store.ledger.readHeads(HOME, ALL))).sorted);
  const tails = await measure(one, () => store.ledger.readTails(HOME, ALL, 50));
  report("readTails, 256 × 50 rows", tails.sorted);
  const tailOf = await measure({ count: 500, parallelCount: 1 }, () =>
    store.ledger.readTailOf(HOME, 9, {
      index: 3,
      afterOffset: 0,
      limitCount: 1_000,
      scanMax: 1_000,
    }),
  );
  report("readTailOf, ≤ 1,000 rows looked at", tailOf.sorted);
  const inbox = await measure({ count: 500, parallelCount: 1 }, () =>
    store.notifications.inboxOf(
      { home: HOME, partition: 9, index: 3 },
      { limit: 20, beforeOffset: null },
    ),
  );
  report("inboxOf, 20 rows", inbox.sorted);
  const ids = (
    await sql<{ id: string }[]>`
    select id from notification where audience ->> 'kind' = 'broadcast' order by id limit 20`
  ).map(({ id }) => id);
  const counts = await measure({ count: 200, parallelCount: 1 }, () =>
    store.notifications.countsOf({ home: HOME, tenantId: "acme" }, ids.slice(0, 1)),
  );
  report("countsOf, one to all", counts.sorted);
  const directory = await measure({ count: 3, parallelCount: 1 }, () =>
    store.ledger.streamDirectory(HOME, ALL, () => undefined),
  );
  report(`streamDirectory, ${RECIPIENT_COUNT}`, directory.sorted);
}

const POLICY = { notificationDays: 92, buriedTimerDays: 92, journalDays: 92 }; // parts of 23 days

/** A region's history: as many rows in any case, in so many parts. */
async function fill({ store, sql }: TestDatabase, partCount: number): Promise<void> {
  const [now] = await sql<{ ms: number }[]>`select extract(epoch from now())::float8 * 1000 as ms`;
  for (let part = 1; part <= HISTORY_PARTS; part++) {
    for (let batch = 0; batch < 40; batch++)
      await store.notifications.accept(HOME, directBatch(400));
    for (let n = 0; n < 40; n++)
      await store.notifications.accept(HOME, [acceptItem({ kind: "broadcast" })]);
    const at = new Date((now?.ms ?? 0) + (23 * part + 1) * 86_400_000);
    if (part < partCount) await store.retention.sweep(POLICY, at);
  }
}

/** The same commits beside nothing, and beside a sweep a second that opens a part and drops what is over. */
async function benchSweeps({ store, sql, openStore }: TestDatabase): Promise<void> {
  const commits = (count: number) =>
    measure({ count, parallelCount: 2 }, () => store.notifications.accept(HOME, directBatch(100)));
  await sql`update ledger set state = 2 where state <> 2`;
  await sql`checkpoint`;
  report("100 direct, 2 connections, no sweep", (await commits(400)).sorted);
  const sweeper = openStore({ poolMax: 1 });
  const sweeps: number[] = [];
  let droppedCount = 0;
  const over = new AbortController();
  const sweeping = (async () => {
    for (let day = 23 * (HISTORY_PARTS + 1); !over.signal.aborted; day += 24) {
      const [pause] = await sql<{ ms: number }[]>`
        select extract(epoch from now())::float8 * 1000 as ms from (select pg_sleep(1)) as pause`;
      const beginMs = performance.now();
      const at = new Date((pause?.ms ?? 0) + day * 86_400_000);
      droppedCount += (await sweeper.retention.sweep(POLICY, at)).dropped.length;
      sweeps.push(performance.now() - beginMs);
    }
  })();
  const { sorted } = await commits(800);
  over.abort();
  await sweeping;
  const longest = sorted.slice(-3).map((ms) => ms.toFixed(0));
  report("100 direct, 2 connections, beside sweeps", sorted, `, longest ${longest.join(", ")} ms`);
  report(
    `${sweeps.length} sweeps, ${droppedCount} parts dropped`,
    sweeps.toSorted((a, b) => a - b),
  );
}

const HISTORY_PARTS = 5;
const partCount = Number(process.argv[2] ?? HISTORY_PARTS);
const postgres = await startTestPostgres(true);
const database = await postgres.newDatabase();
const { store, sql } = database;
try {
  for (let start = 0; start < RECIPIENT_COUNT; start += 1_000)
    await register(store, recipientIds.slice(start, start + 1_000));
  await sql`analyze`;
  await fill(database, partCount);
  await benchAccept(store);
  await store.leases.acquire({ home: HOME, memberId: "w", partitions: ALL, leaseMs: 600_000 });
  await benchFlush(store, 16);
  await benchFlush(store, 512);
  await benchReads(database);
  await benchSweeps(database);
} finally {
  await postgres.stop();
}
