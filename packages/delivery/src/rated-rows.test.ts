// Goal: RA2 to RA7. Method: pacers with the real process runtime on a fake clock, which moves by the tick of the
// timer; it is noted when whose turn comes. A pacer is an owner: several have parts of one notification.
import { describe, expect, test } from "vitest";
import { entryOf } from "./fake-ledger-store.ts";
import type { Partition } from "./partition.ts";
import type { Pace } from "./rate-group.ts";
import { startPacer } from "./test-pacer.ts";

const TICK_MS = 20;
const range = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
const perMinute = (ratePerMinute: number, targetedCount: number): Pace => ({
  perMs: ratePerMinute / 60_000,
  targetedCount,
});

interface Turn {
  readonly atMs: number;
  readonly partition: number;
  readonly offset: number;
  readonly index: number;
}

/** An owner, whose notifications have these paces by id; none: as fast as it goes. */
function start(options: { paces?: Record<string, Pace>; ratedRowsMax?: number } = {}) {
  const paces = new Map(Object.entries(options.paces ?? {}));
  const turns: Turn[] = [];
  const pacer = startPacer({
    ...{ turnsMax: 64, quantumCount: 16, ratedRowsMax: options.ratedRowsMax ?? 100 },
    paceOf: (entry) => paces.get(entry.envelope.notification.id),
    onTurn({ partition, index, entry }) {
      const atMs = pacer.clock.monotonicMs();
      turns.push({ atMs, partition, offset: entry.offset, index });
      entry.record(index, "noDevice");
    },
  });
  const { clock, finish, offer, createPartition } = pacer;
  const post = (
    partition: Partition,
    id: string,
    members: number[],
    more: { priority?: "critical"; tenantId?: string } = {},
  ): void => {
    const offset = partition.handedOffset + 1;
    offer(partition, entryOf({ id, offset, members, ...more }));
  };
  const run = async (ms: number): Promise<void> => {
    finish();
    for (let leftMs = ms; leftMs > 0; leftMs -= TICK_MS) {
      await clock.advance(TICK_MS);
      finish();
    }
  };
  const change = (id: string, pace: Pace | undefined): void => {
    if (pace === undefined) paces.delete(id);
    else paces.set(id, pace);
    pacer.pacer.changed(id);
  };
  return { ...pacer, createPartition, post, run, change, turns };
}

/** The most and the fewest turns of any span of that length that begins with one, or ends before the last one. */
function spans(turns: readonly Turn[], spanMs: number): { max: number; min: number } {
  const counts = turns.map(
    ({ atMs }) => turns.filter((other) => other.atMs >= atMs && other.atMs < atMs + spanMs).length,
  );
  const lastMs = turns.at(-1)?.atMs ?? 0;
  const whole = counts.filter((_, at) => (turns[at]?.atMs ?? 0) + spanMs <= lastMs);
  return { max: Math.max(...counts), min: Math.min(...whole) };
}

test("RA2 — a broadcast is handed at its rate from the first to the last, in any ten seconds", async () => {
  const { createPartition, post, run, turns } = start({ paces: { a: perMinute(600, 600) } });
  for (const n of range(6)) post(createPartition(n), "a", range(100));
  await run(61_000);
  expect(turns).toHaveLength(600);
  expect(new Set(turns.map(({ partition, index }) => `${partition}/${index}`)).size).toBe(600);
  expect(spans(turns, 10_000)).toEqual({ max: 100, min: 100 });
  expect(turns.at(-1)?.atMs).toBeGreaterThan(59_000);
});

test("RA2, RA3 — owners that know nothing of each other have it together, and rows of all sizes end together", async () => {
  const sizes = [1, 1, 2, 3, 5, 8, 30, 50, 100, 100]; // 300
  const owners = range(3).map(() => start({ paces: { a: perMinute(300, 300) } }));
  for (const [n, size] of sizes.entries()) {
    const owner = owners[n % 3]!;
    owner.post(owner.createPartition(n), "a", range(size));
  }
  await Promise.all(owners.map((owner) => owner.run(62_000)));
  const turns = owners.flatMap((owner) => owner.turns).toSorted((a, b) => a.atMs - b.atMs);
  expect(turns).toHaveLength(300);
  const { max, min } = spans(turns, 10_000); // 50, and one of each owner
  expect([max <= 53, min >= 47]).toEqual([true, true]);
  for (const [partition, size] of sizes.entries()) {
    const own = turns.filter((turn) => turn.partition === partition);
    expect(own).toHaveLength(size);
    for (const [n, { atMs }] of own.entries())
      expect(Math.abs(atMs - ((n + 0.5) / size) * 60_000)).toBeLessThan(30_000 / size + 3_000);
  }
});

test("RA2 — what a busy thread has kept back is made good for a second, not for a minute", async () => {
  const { clock, createPartition, finish, post, run, turns } = start({
    paces: { a: perMinute(600, 1_000) },
  });
  post(createPartition(0), "a", range(1_000));
  await run(10_000);
  const before = turns.length;
  await clock.advance(60_000); // its own turns do not come: there is no room
  finish();
  expect(turns.length - before).toBeLessThanOrEqual(64 + 16 + 11);
  await run(1_000);
  expect(spans(turns.slice(before + 80), 1_000).max).toBeLessThanOrEqual(21);
});

describe("what else is to be handed", () => {
  test("RA4, PC2, PC3 — goes on at once, of the same tenant and priority, too", () => {
    const { createPartition, post, finish, turns } = start({ paces: { a: perMinute(1, 100) } });
    const partition = createPartition(0);
    post(partition, "a", range(50));
    post(partition, "b", range(80).slice(50));
    post(partition, "c", [90], { tenantId: "globex" });
    finish();
    expect(turns).toHaveLength(31);
    expect(turns.every(({ offset }) => offset > 1)).toBe(true);
  });

  test("RA4, PC4, D3 — brings what waits for its rate along for whom it is, and for nobody else", async () => {
    const { createPartition, post, run, turns, finish } = start({
      paces: { a: perMinute(60, 10), b: perMinute(1, 10) },
    });
    const partition = createPartition(0);
    post(partition, "b", range(10));
    post(partition, "a", range(10));
    post(partition, "c", [7]);
    finish();
    expect(turns.map(({ offset, index }) => `${offset}→${index}`)).toEqual(["1→7", "2→7", "3→7"]);
    await run(12_000);
    expect(turns).toHaveLength(3 + 18); // a's ten seconds bring all of b
  });

  test("PA2 — a thousand rows behind one that waits are let go as they are handed", () => {
    const { createPartition, post, finish } = start({ paces: { a: perMinute(1, 100) } });
    const partition = createPartition(0);
    post(partition, "a", range(100));
    for (const n of range(1_000)) {
      post(partition, `${n}`, [200 + (n % 50)]);
      finish();
    }
    expect(partition.heldRows().length).toBeLessThanOrEqual(66);
    expect(partition.handedUpTo(0)).toBe(0);
    expect(partition.handedUpTo(200)).toBe(1_001);
  });

  test("RA4 — a change is told to whoever was handed it, and to nobody who has not been", () => {
    const partition = startPacer().createPartition(0);
    const entry = entryOf({ offset: 1, members: range(10) });
    const row = partition.hold(entry);
    expect(partition.waitingFor(entry).toArray()).toEqual([]);
    row.take(3);
    entry.record(1, "noDevice");
    expect(partition.waitingFor(entry).toArray()).toEqual([0, 2]);
    row.take(7);
    expect(partition.waitingFor(entry).toArray()).toEqual([0, ...range(10).slice(2)]);
    partition.letGo();
    expect(partition.waitingFor(entry).count()).toBe(9);
  });

  test("RA4, SD8 — a session is recovered up to what waits for its rate", () => {
    const { createPartition, post, finish } = start({ paces: { b: perMinute(1, 100) } });
    const partition = createPartition(0);
    post(partition, "a", [1, 2]);
    post(partition, "b", [2, 3]);
    post(partition, "c", [4]);
    finish();
    expect([1, 2, 3, 4].map((index) => partition.readyUpTo(index))).toEqual([3, 1, 1, 3]);
    expect([1, 2, 3, 4].map((index) => partition.isBehind(index))).toEqual([
      ...[false, true, true, false],
    ]);
  });
});

describe("what its sender does with it", () => {
  test("RA5 — no rate any more: the rest is handed at once", async () => {
    const { change, createPartition, post, run, turns, finish, pacer } = start({
      paces: { a: perMinute(60, 100) },
    });
    const partition = createPartition(0);
    post(partition, "a", range(100));
    await run(10_000);
    expect(turns).toHaveLength(10);
    change("a", undefined);
    finish();
    expect([turns.length, partition.ratedCount, pacer.rowsCount]).toEqual([100, 0, 0]);
  });

  test("RA5 — paused: nobody is handed it; then it goes on at its rate, without what was missed", async () => {
    const { change, createPartition, post, run, turns } = start({
      paces: { a: perMinute(600, 200) },
    });
    post(createPartition(0), "a", range(200));
    await run(10_000);
    change("a", { perMs: 0, targetedCount: 200 });
    await run(120_000);
    expect(turns).toHaveLength(100);
    change("a", perMinute(600, 200));
    await run(5_000);
    expect(turns).toHaveLength(150);
    await run(5_100);
    expect(turns).toHaveLength(200);
  });

  test("RA2 — another rate: at once, and without a burst", async () => {
    const { change, createPartition, post, run, turns } = start({
      paces: { a: perMinute(1, 300) },
    });
    post(createPartition(0), "a", range(300));
    await run(600_000);
    expect(turns).toHaveLength(10);
    change("a", perMinute(600, 300));
    await run(10_000);
    expect(turns).toHaveLength(110);
    change("a", perMinute(60, 300));
    await run(10_000);
    expect(turns).toHaveLength(120);
  });

  test("RA5 — a rate for what waits in its lane: what is not handed yet has it", async () => {
    const { change, createPartition, post, run, turns } = start();
    post(createPartition(0), "a", range(500));
    change("a", perMinute(60, 500)); // 64 turns are to come
    await run(10_000);
    expect(turns).toHaveLength(64 + 10);
  });

  test("DN2 — rows of a lost partition leave, and their share of the rate with them", async () => {
    const { createPartition, post, run, turns } = start({ paces: { a: perMinute(120, 200) } });
    const [lost, kept] = [createPartition(0), createPartition(1)];
    for (const partition of [lost, kept]) post(partition, "a", range(100));
    await run(10_000);
    expect(turns).toHaveLength(20);
    lost.isLost = true;
    lost.table.stop();
    await run(10_000);
    expect(turns).toHaveLength(30);
  });
});

test("RA6 — all groups have one timer, which is not armed more often than it is needed", async () => {
  const ids = range(50).map((n) => `n${n}`);
  const { clock, createPartition, post, run, turns } = start({
    paces: Object.fromEntries(ids.map((id) => [id, perMinute(6, 1)])),
  });
  const partition = createPartition(0);
  for (const [n, id] of ids.entries()) post(partition, id, [n]);
  let armedCount = 0;
  const { setTimer } = clock;
  clock.setTimer = (...timer) => {
    armedCount++;
    return setTimer(...timer);
  };
  expect(clock.timersCount).toBe(1);
  await run(10_100);
  expect(turns).toHaveLength(50);
  expect(armedCount).toBeLessThanOrEqual(100); // for each a tick, and a look at the next
  expect(clock.timersCount).toBe(0);
});

test("RA7 — what is beyond the limit of a partition has no rate, and is counted", async () => {
  const { createPartition, post, run, turns, pacer, finish } = start({
    paces: { a: perMinute(1, 1), b: perMinute(1, 1), c: perMinute(1, 1) },
    ratedRowsMax: 2,
  });
  const partition = createPartition(0);
  for (const [n, id] of ["a", "b", "c"].entries()) post(partition, id, [n]);
  finish();
  expect(turns.map(({ offset }) => offset)).toEqual([3]);
  expect([partition.ratedCount, pacer.ratesRefusedCount]).toEqual([2, 2]); // at the offer, and at its turn
  await run(60_000);
  expect([turns.length, partition.ratedCount]).toEqual([3, 0]);
});
