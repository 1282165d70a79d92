// Goal: CL14–CL16, rule by rule. Method: one member's decisions on views that are written down.
import { expect, test } from "vitest";
import type { PlaceableWorker } from "./membership.ts";
import { Placement, PLACEMENT_DEFAULTS, type PlacementView } from "./placement.ts";
import type { LeaseRow } from "./ports.ts";
import { assignPartitions } from "./rendezvous.ts";

const COUNT = 256;
const IDS: readonly [string, string, string] = ["fra-a", "fra-b", "fra-c"];
/** Sets of ten to choose from where a case needs a full member. */
const TENS = Array.from({ length: 50 }, (_, run) =>
  Array.from({ length: 10 }, (__, n) => `fra-${run}-${n}`),
);
const member = (memberId: string, more: Partial<PlaceableWorker> = {}): PlaceableWorker => ({
  memberId,
  weight: 1,
  aliveForMs: 60_000,
  isSuspect: false,
  ...more,
});
const tableOf = (ids: readonly string[]): string[] =>
  assignPartitions(
    ids.map((memberId) => ({ memberId, weight: 1 })),
    COUNT,
  );
/** Rows as the table says; null: nobody owns it. */
const rowsOf = (owners: readonly (string | null)[]): LeaseRow[] =>
  owners.map((ownerId, partition) => ({
    partition,
    ownerId,
    epoch: 1,
    isExpired: ownerId === null,
    isReleased: false,
  }));

/** The view of one member, which has held its partitions since `sinceMs`. */
function viewOf(
  owners: readonly (string | null)[],
  placeable: readonly PlaceableWorker[],
  { nowMs = 100_000, sinceMs = 0, self = IDS[0] } = {},
): PlacementView {
  const own = owners.flatMap((ownerId, partition) => (ownerId === self ? [partition] : []));
  return {
    nowMs,
    partitionCount: COUNT,
    rows: rowsOf(owners),
    placeable,
    isIsolated: false,
    held: new Map(own.map((partition) => [partition, { sinceMs }])),
  };
}
const decide = (view: PlacementView) => new Placement(IDS[0], PLACEMENT_DEFAULTS).decide(view);

test("CL14 — what was held for less than 10 s is not given, be it to whom it may", () => {
  const all = Array<string>(COUNT).fill(IDS[0]);
  const others = [member(IDS[0]), member(IDS[1])];
  expect(decide(viewOf(all, others, { nowMs: 9_999 })).give).toEqual([]);
  expect(decide(viewOf(all, others, { nowMs: 10_000 })).give).toHaveLength(32);
});

test("CL14 — who has been alive for less than 10 s is given nothing, even when it holds leases", () => {
  const owners = tableOf(IDS).map((owner) => (owner === IDS[2] ? IDS[0] : owner));
  owners[owners.indexOf(IDS[1])] = IDS[2];
  const young = member(IDS[2], { aliveForMs: 9_999 });
  const placeable = [member(IDS[0]), member(IDS[1]), young];
  const heirs = new Set(
    decide(viewOf(owners, placeable)).give.map((partition) => tableOf(IDS)[partition]),
  );
  expect(heirs.has(IDS[2])).toBe(false);
  const grown = placeable.map((one) => ({ ...one, aliveForMs: 10_000 }));
  expect(decide(viewOf(owners, grown)).give.length).toBeGreaterThan(0);
});

test("CL15 — a group of 32; the next one only when the last was taken, and nobody waits for an owner", () => {
  const placement = new Placement(IDS[0], PLACEMENT_DEFAULTS);
  const placeable = [member(IDS[0]), member(IDS[1])];
  const owners: (string | null)[] = Array<string>(COUNT).fill(IDS[0]);
  const first = placement.decide(viewOf(owners, placeable)).give;
  expect(first).toHaveLength(32);
  placement.given(first, 100_000, false);
  for (const partition of first) owners[partition] = null;
  expect(placement.decide(viewOf(owners, placeable, { nowMs: 101_900 })).give).toEqual([]);
  for (const partition of first) owners[partition] = IDS[1];
  const second = placement.decide(viewOf(owners, placeable, { nowMs: 101_950 })).give;
  expect([second.length, second.filter((n) => first.includes(n))]).toEqual([32, []]);
  owners[first[0]!] = null; // its owner died
  expect(placement.decide(viewOf(owners, placeable, { nowMs: 101_960 })).give).toEqual([]);
});

test("CL16 — who holds leases is there, suspect or never heard: nothing moves for it", () => {
  const ten = TENS.find((ids) => {
    const [all, nine] = [tableOf(ids), tableOf(ids.slice(1))];
    return all.some((owner, n) => owner !== ids[0] && nine[n] !== owner); // overflow
  })!;
  const [gone = "", ...living] = ten;
  /** What all of the living give, if they see nothing of the first one, or that it is suspect. */
  const given = (owners: readonly string[], more: readonly PlaceableWorker[]): number =>
    living.reduce((sum, self) => {
      const view = viewOf(owners, [...living.map((id) => member(id)), ...more], { self });
      return sum + new Placement(self, PLACEMENT_DEFAULTS).decide(view).give.length;
    }, 0);
  const suspect = member(gone, { isSuspect: true, aliveForMs: 0 });
  expect([given(tableOf(ten), [suspect]), given(tableOf(ten), [])]).toEqual([0, 0]);
  // Once its leases are others', the table is that of nine, and some of its overflow moves.
  const taken = tableOf(ten).map((owner, n) => (owner === gone ? tableOf(living)[n]! : owner));
  expect(given(taken, [suspect])).toBeGreaterThan(0);
});

test("CL6 — a member that drains, or is not known as a worker, takes and gives nothing", () => {
  const free = Array<null>(COUNT).fill(null);
  expect(decide(viewOf(free, [member(IDS[1])]))).toEqual({
    take: [],
    give: [],
    isOffer: false,
    isWaiting: false,
  });
  expect(decide(viewOf(free, [member(IDS[0])])).take).toHaveLength(COUNT);
});
