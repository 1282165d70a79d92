// Goal: CL21, and what holds without it. Method: members of two builds on one fake clock over one lease
// table; the older build places by the table before ADR 0017, the newer one by ranks.
import { expect, test } from "vitest";
import { PartitionTables, type TableVersions } from "./rendezvous.ts";
import { createHashTables } from "./test-hash-tables.ts";
import { OPTIONS, region } from "./test-ownership.ts";

const ranks = (count: number): PartitionTables => new PartitionTables(count);
const OLD: TableVersions = [createHashTables];
const NEW: TableVersions = [createHashTables, ranks];
const NODES = ["a", "b", "c", "d"];
const LOOK_MS = 50;

type Region = ReturnType<typeof region>;

/** Owners of all partitions, in order. */
const ownersOf = ({ leases }: Region): (string | null)[] =>
  Array.from({ length: OPTIONS.partitionCount }, (_, partition) => leases.ownerOf(partition));
const tableOf = (create: TableVersions[number], ids: readonly string[]): string[] =>
  create(OPTIONS.partitionCount).ownersOf(ids.map((memberId) => ({ memberId, weight: 1 })));

/** Advances, and returns for how long a partition was without an owner at the worst. */
async function worstGapMs(world: Region, ms: number): Promise<number> {
  const since = new Map<number, number>();
  let worstMs = 0;
  for (let passedMs = 0; passedMs < ms; passedMs += LOOK_MS) {
    await world.clock.advance(LOOK_MS);
    const nowMs = world.clock.monotonicMs();
    for (const [partition, owner] of ownersOf(world).entries()) {
      if (owner !== null) since.delete(partition);
      else if (!since.has(partition)) since.set(partition, nowMs);
      worstMs = Math.max(worstMs, nowMs - (since.get(partition) ?? nowMs));
    }
  }
  return worstMs;
}

/** One after the other is stopped in order, and comes back under a new id with other tables. */
async function upgrade(world: Region, from: TableVersions, to: TableVersions, suffix: string) {
  const nodes = new Map(NODES.map((id) => [id, world.join(id, from)]));
  await world.clock.advance(60_000);
  world.moves.length = 0;
  const atNode: { owners: (string | null)[]; ids: string[] }[] = [];
  let worstMs = 0;
  for (const id of NODES) {
    world.live.delete(id);
    const drained = nodes.get(id)!.drain();
    worstMs = Math.max(worstMs, await worstGapMs(world, 6_500));
    await drained;
    world.join(`${id}${suffix}`, to);
    worstMs = Math.max(worstMs, await worstGapMs(world, 60_000));
    atNode.push({ owners: ownersOf(world), ids: [...world.live.keys()] });
  }
  return { worstMs, atNode };
}

/** Of partitions that moved again within 10 s. */
function movedTwice({ moves }: Region): string[] {
  const lastAtMs = new Map<number, number>();
  return moves.flatMap(({ atMs, partition, memberId }) => {
    const beforeMs = lastAtMs.get(partition) ?? Number.NEGATIVE_INFINITY;
    lastAtMs.set(partition, atMs);
    return atMs - beforeMs < 10_000 ? [`${partition} to ${memberId} at ${atMs}`] : [];
  });
}

test.each<[string, TableVersions, TableVersions, 0 | 1]>([
  ["up", OLD, NEW, 1],
  ["back", NEW, OLD, 0],
])(
  "CL21, C20, C21 — %s node by node: the table is the older one's while there is one, nothing waits 2 s for an owner or moves twice in 10 s",
  async (_, from, to, last) => {
    const world = region();
    const { worstMs, atNode } = await upgrade(world, from, to, "2");
    const tables = atNode.map(({ ids }, n) =>
      tableOf(n === NODES.length - 1 ? NEW[last]! : createHashTables, ids),
    );
    expect(atNode.map(({ owners }) => owners)).toEqual(tables);
    expect(worstMs).toBeLessThanOrEqual(2_000);
    expect(movedTwice(world)).toEqual([]);
    world.moves.length = 0;
    await world.clock.advance(600_000);
    expect(world.moves).toEqual([]); // it has come to rest
  },
);

test("CL21, C18 — the last of the older build is killed: its partitions are owned within 12 s, and the newer table holds", async () => {
  const world = region();
  const old = world.join("a", OLD);
  for (const id of ["b", "c", "d"]) world.join(id, NEW);
  await world.clock.advance(60_000);
  expect(ownersOf(world)).toEqual(tableOf(createHashTables, NODES));
  old.stop(); // as kill -9: leases are not given back
  world.live.delete("a");
  await world.clock.advance(12_000);
  expect(ownersOf(world)).not.toContain(null);
  await world.clock.advance(60_000);
  expect(ownersOf(world)).toEqual(tableOf(ranks, ["b", "c", "d"]));
  expect(movedTwice(world)).toEqual([]);
});

test("CL14, CL16 — two tables that go by one version: waits of up to 6 s, but all is owned, nothing moves twice in 10 s, and it comes to rest", async () => {
  const world = region();
  const { worstMs, atNode } = await upgrade(world, OLD, [ranks], "2");
  expect(atNode.flatMap(({ owners }) => owners)).not.toContain(null);
  expect(worstMs).toBeGreaterThan(2_000); // what CL21 is for
  expect(worstMs).toBeLessThanOrEqual(6_000); // free for 5 s, and a look
  expect(movedTwice(world)).toEqual([]);
  await world.clock.advance(600_000); // what was spurned is kept for 5 minutes
  expect(ownersOf(world)).toEqual(tableOf(ranks, [...world.live.keys()]));
  world.moves.length = 0;
  await world.clock.advance(600_000);
  expect(world.moves).toEqual([]);
});
