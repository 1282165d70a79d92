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
const tableOf = (ids: readonly string[], weights: readonly number[] = []): string[] =>
  assignPartitions(
    ids.map((memberId, n) => ({ memberId, weight: weights[n] ?? 1 })),
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

/**
 * Members of mixed weights, and one of them that has something which would be a third one's by a
 * table in which the first, of weight 4, counts 1.
 */
function ofMixedWeights() {
  const weights = [4, 1, 0.5, 1, 2, 1, 1, 2, 1, 1];
  for (const ids of TENS) {
    const owners = tableOf(ids, weights);
    const wrong = tableOf(ids, weights.with(0, 1));
    const at = owners.findIndex(
      (owner, n) => owner !== ids[0] && wrong[n] !== owner && wrong[n] !== ids[0],
    );
    const everybody = ids.map((id, n) => member(id, { weight: weights[n]! }));
    if (at >= 0) return { ids, owners, everybody, heavy: ids[0]!, self: owners[at]! };
  }
  throw new Error("no such case");
}

test("CL16 — mixed weights: a holder that is suspect, drains or is forgotten keeps its weight, and nothing moves", () => {
  const { ids, owners, everybody, heavy } = ofMixedWeights();
  const unheard = everybody.filter(({ memberId }) => memberId !== heavy);
  const suspect = everybody.map((one) => ({ ...one, isSuspect: one.memberId === heavy }));
  const moved = ids
    .filter((id) => id !== heavy)
    .flatMap((self) => {
      const placement = new Placement(self, PLACEMENT_DEFAULTS);
      return [everybody, unheard, suspect, everybody].flatMap((placeable, step) => {
        const view = viewOf(owners, placeable, { self, nowMs: 200_000 + step });
        const { take, give } = placement.decide(view);
        return [...take, ...give];
      });
    });
  expect(moved).toEqual([]);
});

test("CL16 — while a holder never told its weight nothing is given; then what is another's by the true table", () => {
  const { owners, everybody, heavy, self } = ofMixedWeights();
  const unheard = everybody.filter(({ memberId }) => memberId !== heavy);
  const placement = new Placement(self, PLACEMENT_DEFAULTS);
  const give = (placeable: readonly PlaceableWorker[], rows: readonly string[]): number =>
    placement.decide(viewOf(rows, placeable, { self })).give.length;
  expect([give(unheard, owners), give(everybody, owners)]).toEqual([0, 0]);
  const more = owners.map((owner) => (owner === heavy ? self : owner));
  expect(give(everybody, more)).toBe(32);
});

test("CL16 — a weight is kept while its member holds leases; of who is gone and holds none it has to be told anew", () => {
  const { ids, owners, everybody, heavy, self } = ofMixedWeights();
  const unheard = everybody.filter(({ memberId }) => memberId !== heavy);
  const other = ids.find((id) => id !== heavy && id !== self)!;
  const withoutHeavy = owners.map((owner) => (owner === heavy ? self : owner));
  const withOthers = owners.map((owner) => (owner === other ? self : owner));
  const dueCount = owners.filter((owner) => owner === other).length;
  const [kept, forgotten] = [owners, withoutHeavy].map((rows) => {
    const placement = new Placement(self, PLACEMENT_DEFAULTS);
    for (const placeable of [everybody, unheard])
      placement.decide(viewOf(rows, placeable, { self }));
    return [unheard, everybody].map(
      (placeable) => placement.decide(viewOf(withOthers, placeable, { self })).give.length,
    );
  });
  expect([kept, forgotten]).toEqual([
    [dueCount, dueCount],
    [0, dueCount],
  ]);
});

test("CL16 — what it lacks and does not get is looked at slowly after 30 s, until something changes", () => {
  const placement = new Placement(IDS[0], PLACEMENT_DEFAULTS);
  const others = Array<string>(COUNT).fill(IDS[1]);
  const placeable = [member(IDS[0]), member(IDS[1])];
  const isWaiting = (owners: readonly string[], nowMs: number): boolean =>
    placement.decide(viewOf(owners, placeable, { nowMs })).isWaiting;
  expect(isWaiting(others, 100_000)).toBe(true);
  expect([isWaiting(others, 129_999), isWaiting(others, 130_000)]).toEqual([true, false]);
  const some = others.with(tableOf(IDS.slice(0, 2)).indexOf(IDS[0]), IDS[0]); // one of its own came
  expect([isWaiting(some, 200_000), isWaiting(some, 230_000)]).toEqual([true, false]);
  const all = tableOf(IDS.slice(0, 2));
  expect(isWaiting(all, 300_000)).toBe(false);
});

test("CL17 — D5 relieved by one that never was heard, and alone since its leases ended: it serves, and is relieved no more", () => {
  const placement = new Placement(IDS[0], PLACEMENT_DEFAULTS);
  const owners: (string | null)[] = [...tableOf(IDS.slice(0, 2))]; // the other is known by leases only
  const look = (nowMs: number) =>
    placement.decide({ ...viewOf(owners, [member(IDS[0])], { nowMs }), isIsolated: true });
  const { give, isOffer } = look(100_000);
  expect([give.length, isOffer]).toEqual([1, true]);
  placement.given(give, 100_000, isOffer);
  owners[give[0]!] = IDS[1];
  look(101_000);
  expect(placement.isRelieved).toBe(true);
  owners.forEach((owner, partition) => owner === IDS[1] && (owners[partition] = null));
  const { take } = look(112_000);
  expect([take.length, placement.isRelieved]).toEqual([owners.filter((o) => !o).length, false]);
});

test("CL17 — isolated, what is free is left to the others for 8 s, and an offer that nobody takes for 3 s only", () => {
  const placement = new Placement(IDS[0], PLACEMENT_DEFAULTS);
  const owners: (string | null)[] = [...tableOf(IDS.slice(0, 2))];
  const look = (nowMs: number) =>
    placement.decide({
      ...viewOf(owners, [member(IDS[0]), member(IDS[1])], { nowMs }),
      isIsolated: true,
    });
  const offered = look(100_000).give;
  placement.given(offered, 100_000, true);
  const free = owners.indexOf(IDS[1]);
  owners[offered[0]!] = owners[free] = null;
  expect([look(100_001).take, look(102_999).take]).toEqual([[], []]);
  expect(look(103_000).take).toEqual(offered);
  owners[offered[0]!] = IDS[0];
  expect([look(108_000).take, look(108_001).take]).toEqual([[], [free]]);
});

test("CL17 — C14 isolated anew, it offers at once, however short a time ago it did so last", () => {
  const placement = new Placement(IDS[0], PLACEMENT_DEFAULTS);
  const owners = tableOf(IDS.slice(0, 2));
  const offersCount = (nowMs: number, isIsolated: boolean): number =>
    placement.decide({
      ...viewOf(owners, [member(IDS[0]), member(IDS[1])], { nowMs }),
      isIsolated,
    }).give.length;
  expect([offersCount(100_000, true), offersCount(101_000, true)]).toEqual([1, 0]);
  expect([offersCount(102_000, false), offersCount(103_000, true)]).toEqual([0, 1]);
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
