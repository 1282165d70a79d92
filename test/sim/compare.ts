// test/sim/compare.ts
// The same operations on packages/store against a real Postgres and on the simulation's database:
// what the simulation believes of a statement is what Postgres does. Draws them from a seed; answers
// the first difference.
import {
  deferredMembersOf,
  type DeferredPayload,
  FLOW_TIMER_KIND,
  ROW_TIMER_KIND,
} from "@carillon/contracts";
import {
  OUTBOX_FIRST_POLL_MS,
  type Release,
  type Store,
  type TimerChange,
  type TimerClaim,
} from "@carillon/store";
import { isDeepStrictEqual } from "node:util";
import {
  audienceOf,
  bits,
  heldOf,
  HOME,
  itemOf,
  leaseOf,
  movesOf,
  notificationOf,
  oneEpochEach,
  OTHERS,
  type Pair,
  PARTITIONS,
  someOf,
  TENANTS,
} from "./compare-draws.ts";
import { REGISTER_STEPS } from "./compare-registers.ts";
import { accept, acceptRelayed } from "./database-accept.ts";
import * as outbox from "./database-outbox.ts";
import { Database } from "./database.ts";
import { Machine } from "./machine.ts";
import { type Dice, World } from "./world.ts";

export interface Difference {
  readonly step: number;
  readonly operation: string;
  readonly real: unknown;
  readonly simulated: unknown;
}

type Step = (dice: Dice, pair: Pair) => Promise<readonly [unknown, unknown]>;

const NO_ID = "00000000-0000-7000-8000-000000000000";

/** So many that backlogs come to their end, with another holder than the one who asks. */
const OUTBOX_STEPS = 64;

/** So many that owners go while they have timers, again and again. */
const TIMER_STEPS = 160;

/** Last, so that the others are the same steps with it and without. */
const REGISTER_STEPS_COUNT = 120;

/** Undefined: none. `nowMs`: a clock that goes as the database's does. */
export async function compareStores(
  seed: number,
  deps: {
    readonly real: Store;
    readonly nowMs: () => number;
    readonly sleep: (ms: number) => Promise<void>;
  },
  stepsCount = 150,
): Promise<Difference | undefined> {
  const world = new World(seed);
  const dice = world.dice("compare");
  const pair: Pair = {
    real: deps.real,
    database: new Database(HOME, deps.nowMs, "epoch"),
    machine: new Machine(world, "compare"),
    known: [],
    keys: [],
  };
  const names = Object.keys(STORE_STEPS) as (keyof typeof STORE_STEPS)[];
  for (let step = 0; step < stepsCount; step++) {
    const operation = step < 3 ? "upsert" : dice.pick(names);
    const found = await difference(step, operation, STEPS[operation], dice, pair);
    if (found !== undefined) return found;
  }
  const timersEnd = stepsCount + TIMER_STEPS;
  for (let step = stepsCount; step < timersEnd; step++) {
    const operation = dice.pick(TIMER_NAMES);
    const found = await difference(step, operation, STEPS[operation], dice, pair);
    if (found !== undefined) return found;
  }
  await deps.sleep(OUTBOX_FIRST_POLL_MS + 200); // all of the outbox is due
  for (let step = timersEnd; step < timersEnd + OUTBOX_STEPS; step++) {
    const found = await difference(step, "outbox", outboxStep, dice, pair);
    if (found !== undefined) return found;
  }
  const registersFrom = timersEnd + OUTBOX_STEPS;
  for (let step = registersFrom; step < registersFrom + REGISTER_STEPS_COUNT; step++) {
    const operation = dice.pick(REGISTER_NAMES);
    const found = await difference(step, operation, STEPS[operation], dice, pair);
    if (found !== undefined) return found;
  }
  return undefined;
}

const REGISTER_NAMES = [
  ...(["accept", "acquire", "writeRows", "releaseRows", "releaseRows"] as const),
  ...(["learnControls", "learnControls", "learnControls", "wake", "readRecent"] as const),
] as const;
const TIMER_NAMES = ["setTimers", "claimTimers", "claimTimers", "acquire", "release"] as const;

async function difference(
  step: number,
  operation: string,
  run: Step,
  dice: Dice,
  pair: Pair,
): Promise<Difference | undefined> {
  let answers: readonly [unknown, unknown];
  try {
    answers = await run(dice, pair);
  } catch (cause) {
    answers = [String(cause), "no error"]; // one of them refuses what the other does
  }
  const [real, simulated] = answers.map(plain);
  return isDeepStrictEqual(real, simulated) ? undefined : { step, operation, real, simulated };
}

const STORE_STEPS = {
  async upsert(dice, { real, database }) {
    const tenantId = dice.pick(TENANTS);
    const changes = Array.from({ length: 1 + dice.below(12) }, () => ({
      recipientId: `r${dice.below(60)}`,
      locale: dice.pick(["en", "de", null]),
      timeZone: null,
      attributes: { team: dice.pick(["red", "blue"]) },
    }));
    const request = { home: HOME, tenantId, changes, otherRegions: [] };
    const { created } = await real.directory.upsert(request);
    return [{ created }, database.upsert(tenantId, changes)];
  },
  async accept(dice, pair) {
    const items = Array.from({ length: 1 + dice.below(4) }, () => itemOf(dice, pair));
    return [await pair.real.notifications.accept(HOME, items), accept(pair.database, items)];
  },
  async acceptRelayed(dice, { real, database, machine, known }) {
    const items = Array.from({ length: 1 + dice.below(3) }, () => {
      const notification =
        known.length > 0 && dice.isHit(0.4) ? dice.pick(known) : notificationOf(dice, machine);
      known.push(notification);
      return { notification, audience: audienceOf(dice) };
    });
    return [await real.notifications.acceptRelayed(HOME, items), acceptRelayed(database, items)];
  },
  async acquire(dice, { real, database }) {
    const options = { ...leaseOf(dice), partitions: someOf(dice, PARTITIONS) };
    return [sorted(await real.leases.acquire(options)), sorted(database.acquire(options))];
  },
  async refresh(dice, { real, database }) {
    const options = leaseOf(dice);
    return [sorted(await real.leases.refresh(options)), sorted(database.refresh(options))];
  },
  async release(dice, { real, database }) {
    const options = { ...leaseOf(dice), partitions: someOf(dice, PARTITIONS) };
    return [await real.leases.release(options), database.release(options)];
  },
  list: async (_, { real, database }) => [await real.leases.list(HOME), database.listLeases()],
  async readHeads(_, { real, database }) {
    return [await real.ledger.readHeads(HOME, PARTITIONS), database.heads(PARTITIONS)];
  },
  async readRows(dice, { real, database }) {
    const n = dice.pick(PARTITIONS);
    const options = { afterOffset: dice.below(6), limitCount: 1 + dice.below(5) };
    return [await real.ledger.readRows(HOME, n, options), database.rows(n, options)];
  },
  async readUnclosedRows(dice, { real, database }) {
    const some = someOf(dice, PARTITIONS);
    const ownRowsMax = dice.pick([undefined, 1, 2]);
    return [
      await real.ledger.readUnclosedRows(HOME, some, ownRowsMax),
      database.unclosedRows(some, ownRowsMax),
    ];
  },
  async readOwnRows(dice, { real, database }) {
    const wanted = someOf(dice, PARTITIONS).flatMap((partition) =>
      someOf(dice, [0, 1, 2, 3]).map((index) => ({ partition, index, fromOffset: dice.below(4) })),
    );
    const expiredByMs = dice.pick([null, database.nowMs(), database.nowMs() + 1e12]);
    const options = { limitCount: 1 + dice.below(3), expiredByMs };
    return [
      await real.ledger.readOwnRows(HOME, wanted, options),
      database.ownRows(wanted, options),
    ];
  },
  async readTails(dice, { real, database }) {
    const limitCount = 1 + dice.below(4);
    return [
      await real.ledger.readTails(HOME, PARTITIONS, limitCount),
      database.tails(PARTITIONS, limitCount),
    ];
  },
  async readRowsOf(dice, { real, database, known }) {
    const partitions = someOf(dice, PARTITIONS);
    const { id } = known.length > 0 ? dice.pick(known) : { id: NO_ID };
    const found = await real.ledger.readRowsOf(HOME, partitions, id);
    return [found, database.rowsOf(partitions, id)];
  },
  async readTailOf(dice, { real, database }) {
    const n = dice.pick(PARTITIONS);
    const options = {
      index: dice.below(4),
      afterOffset: dice.below(5),
      limitCount: 1 + dice.below(6),
      scanMax: dice.pick([3, 100]),
    };
    return [await real.ledger.readTailOf(HOME, n, options), database.tailOf(n, options)];
  },
  async readNotifications(dice, { real, database, known }) {
    const ids = someOf(dice, known).map(({ id }) => id);
    const byId = (rows: { notification: { id: string } }[]) =>
      rows.toSorted((a, b) => (a.notification.id < b.notification.id ? -1 : 1));
    return [
      byId(await real.ledger.readNotifications(ids)),
      byId(database.notificationsOf([...new Set(ids)])),
    ];
  },
  async readDirectory(dice, { real, database }) {
    const n = dice.pick(PARTITIONS);
    const options = { afterVersion: dice.below(5), limitCount: 1 + dice.below(3) };
    return [await real.ledger.readDirectory(HOME, n, options), database.directory(n, options)];
  },
  async streamDirectory(_, { real, database }) {
    const rows: unknown[] = [];
    await real.ledger.streamDirectory(HOME, PARTITIONS, (page) => void rows.push(...page));
    return [rows, database.wholeDirectory(PARTITIONS)];
  },
  async homesOf(dice, { real, database }) {
    const tenantId = dice.pick(TENANTS);
    const ids = Array.from({ length: 8 }, (_, number) => `r${number * 9}`);
    const entries = (homes: Map<string, string>) =>
      [...homes].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return [
      entries(await real.directory.homesOf(tenantId, ids)),
      entries(database.homesOf(tenantId, ids)),
    ];
  },
  /** Set and cancelled under right and wrong epochs; due long ago, one after the other, or not here. */
  async setTimers(dice, { real, database }) {
    const changes = [...new Set([dice.below(9), dice.below(9), dice.below(9)])].map((n) => ({
      ...heldOf(dice, database, dice.pick(PARTITIONS)),
      ...{ kind: dice.pick(["k", "other"]), key: `timer-${n}` },
    }));
    const settings = oneEpochEach(changes).map((change): TimerChange => {
      if (dice.isHit(0.2)) return { ...change, change: "cancel" };
      const due = { inMs: dice.isHit(0.7) ? -1 - dice.below(1e9) : 1e8 };
      const payload = { of: dice.below(100) };
      return { ...change, change: "set", tenantId: dice.pick(TENANTS), due, payload };
    });
    return [await real.timers.write(HOME, settings), database.timers.write(settings)].map(
      ({ fencedPartitions }) => fencedPartitions.toSorted(ascending),
    ) as unknown as [unknown, unknown];
  },
  /** What is claimed, and what became of it; ids are each database's own. */
  async claimTimers(dice, { real, database }) {
    const held = someOf(dice, PARTITIONS).map((n) => heldOf(dice, database, n));
    const options = {
      held,
      kinds: dice.pick([["k", "other"], ["other"], ["k", FLOW_TIMER_KIND], [FLOW_TIMER_KIND]]),
      limitCount: 1 + dice.below(4),
      mayBeDoubtful: dice.isHit(0.7),
    };
    const told = [
      await real.timers.claim(HOME, { ...options, exceptIds: [] }),
      database.timers.claim({ ...options, exceptIds: [] }),
    ];
    const [first] = told;
    const fates = (first?.timers ?? []).map(() => ({
      kind: dice.pick(["done", "retry", "bury", "unclaim", "left", "left"] as const),
      inMs: dice.isHit(0.5) ? 1e8 : -1 - dice.below(1e9),
    }));
    const isStale = dice.isHit(0.2); // about a setting that is over
    const changesOf = ({ timers }: TimerClaim): TimerChange[] =>
      timers.flatMap(({ partition, kind, key, id }, at): TimerChange[] => {
        const epoch = held.find((one) => one.partition === partition)?.epoch ?? 0;
        const place = { partition, epoch, kind, key, id: isStale ? id - 1e6 : id };
        const { kind: fate, inMs } = fates[at] ?? { kind: "left" as const, inMs: 0 };
        if (fate === "retry") return [{ ...place, change: fate, inMs }];
        if (fate === "bury") return [{ ...place, change: fate, reason: "it failed" }];
        return fate === "left" ? [] : [{ ...place, change: fate }];
      });
    const [ofReal, ofSimulated] = told.map(changesOf);
    const written = [
      await real.timers.write(HOME, ofReal ?? []),
      database.timers.write(ofSimulated ?? []),
    ];
    return told.map(({ timers, isMore, nextInMs, fencedPartitions }, at) => [
      isMore,
      timers.map(({ id: _id, lateMs, ...timer }) => ({ ...timer, isLate: lateMs > 0 })),
      nextInMs === null ? null : nextInMs > 0,
      fencedPartitions.toSorted(ascending),
      written[at]?.fencedPartitions.toSorted(ascending),
    ]) as [unknown, unknown];
  },
  /** The fence, with right and wrong epochs mixed. */
  async writeRows(dice, { real, database }) {
    const rows = someOf(dice, PARTITIONS).flatMap((partition) => {
      const record = database.partition(partition);
      const epoch = Math.max(0, record.epoch - (dice.isHit(0.4) ? 1 : 0));
      return someOf(dice, record.ledger)
        .slice(0, 3)
        .map(({ offset }) => ({ partition, epoch, offset }));
    });
    const updates = rows.map((row) => ({
      ...row,
      ...(dice.isHit(0.4) && { moves: movesOf(dice, database, row) }),
      state: dice.pick(["planned", "open", "closed"] as const),
      sets: {
        targeted: bits(dice),
        deliveredSocket: bits(dice),
        noDevice: bits(dice),
        unacked: bits(dice),
        expired: bits(dice),
        failed: bits(dice),
        cancelled: bits(dice),
        optedOut: bits(dice),
        capped: bits(dice),
        collapsed: bits(dice),
        moved: bits(dice),
        receivedLate: bits(dice),
        read: bits(dice),
        acknowledged: bits(dice),
      },
    }));
    const outcome = await real.ledger.writeRows(HOME, updates);
    const after = await real.ledger.readRows(HOME, updates[0]?.partition ?? 0, ALL_ROWS);
    const simulated = database.writeRows(updates);
    if (dice.isHit(0.5)) {
      await real.ledger.writeRows(HOME, updates); // as an owner that did not hear the answer
      database.writeRows(updates);
    }
    return [
      [outcome.fencedPartitions.toSorted(ascending), after],
      [
        simulated.fencedPartitions.toSorted(ascending),
        database.rows(updates[0]?.partition ?? 0, ALL_ROWS),
      ],
    ];
  },
  /** What waits becomes rows, under right and wrong epochs; some of it twice. */
  async releaseRows(dice, { real, database }) {
    const held = someOf(dice, PARTITIONS).map((n) => heldOf(dice, database, n));
    const asked = { held, kinds: [ROW_TIMER_KIND], exceptIds: [], limitCount: 6 };
    const options = { ...asked, mayBeDoubtful: dice.isHit(0.7) };
    const claims = [await real.timers.claim(HOME, options), database.timers.claim(options)];
    const [ofReal = [], ofSimulated = []] = claims.map(({ timers }) =>
      timers.map(({ partition, id, payload }): Release => {
        const { notificationId, ackSeconds } = payload as DeferredPayload;
        const members = deferredMembersOf(payload as DeferredPayload) ?? { kind: "all" };
        const epoch = held.find((one) => one.partition === partition)?.epoch ?? 0;
        const chain = ackSeconds === undefined ? {} : { ackSeconds };
        return { partition, epoch, timerId: id, notificationId, members, ...chain };
      }),
    );
    const answers: unknown[][] = claims.map(({ timers }) => [
      timers.map(({ key, payload }) => [key, payload]),
    ]);
    for (const isRun of [true, dice.isHit(0.5)]) {
      if (!isRun) break;
      for (const [at, told] of [
        await real.ledger.releaseRows(HOME, ofReal),
        database.releaseRows(ofSimulated),
      ].entries())
        answers[at]?.push([
          told.entries.map((entry) => ({ ...entry, timerId: 0 })), // each has its own
          told.fencedPartitions.toSorted(ascending),
        ]);
    }
    return answers as unknown as [unknown, unknown];
  },
} satisfies Record<string, Step>;

const STEPS = { ...STORE_STEPS, ...REGISTER_STEPS };

const ALL_ROWS = { afterOffset: 0, limitCount: 1_000 };

const outboxStep: Step = async (dice, { real, database }) => {
  const target = dice.pick(OTHERS);
  const ageless = (rows: readonly object[]) => rows.map((row) => ({ ...row, ageMs: 0 }));
  const holder = dice.pick(["a", "b"]);
  const [limitCount, holdMs] = [3, dice.pick([0, 1e8])];
  const kind = dice.pick(["claim", "takeOver", "takeOver", "takeOver", "giveBack", "endBacklog"]);
  if (kind === "giveBack") {
    await real.outbox.giveBack(target, holder);
    return [undefined, outbox.giveBack(database, target, holder)];
  }
  if (kind === "endBacklog")
    return [
      await real.outbox.endBacklog(target, holder),
      outbox.endBacklog(database, target, holder),
    ];
  const isClaim = kind === "claim";
  const asked = {
    ...{ targetRegion: target, holder, holdMs, limitCount },
    isBeginning: dice.isHit(0.3),
  };
  const retryInMs = dice.pick([0, 1e8]);
  const taken = isClaim
    ? { kind: "rows" as const, rows: await real.outbox.claim(target, limitCount, retryInMs) }
    : await real.outbox.takeOver(asked);
  const simulated = isClaim
    ? { kind: "rows" as const, rows: outbox.claim(database, target, { limitCount, retryInMs }) }
    : outbox.takeOver(database, asked);
  const ids = taken.kind === "rows" ? taken.rows.map(({ id }) => id) : [];
  const done = someOf(dice, ids);
  const later = someOf(dice, ids).filter((id) => !done.includes(id));
  await real.outbox.markDone(done);
  outbox.markDone(database, done);
  await real.outbox.defer(later, 0);
  outbox.defer(database, later, 0);
  const kept = someOf(dice, ids).filter((id) => !done.includes(id) && !later.includes(id));
  await real.outbox.withhold(kept);
  outbox.withhold(database, kept);
  const turn = { afterTenantId: dice.pick(["", ...TENANTS]), limitCount: dice.pick([1, 3]) };
  const probed = await real.outbox.probe(target, turn);
  const simulatedProbed = outbox.probe(database, target, turn);
  const arrived = someOf(dice, probed).map(({ id }) => id);
  await real.outbox.markDone(arrived);
  outbox.markDone(database, arrived);
  const probes = probed.flatMap((row) =>
    row.kind === "notification" ? { id: row.id, tenantId: row.item.notification.tenantId } : [],
  );
  const released = await real.outbox.release(target, probes, limitCount);
  const simulatedReleased = outbox.release(database, target, { probes, limitCount });
  const waiting = ageless(await real.outbox.readWaiting(target, limitCount));
  return [
    [taken.kind, taken.kind === "rows" && ageless(taken.rows), waiting, ageless(probed), released],
    [
      simulated.kind,
      simulated.kind === "rows" && ageless(simulated.rows),
      ageless(outbox.readWaiting(database, target, limitCount)),
      ageless(simulatedProbed),
      simulatedReleased,
    ],
  ];
};

function sorted(leases: readonly { partition: number; epoch: number }[]) {
  return leases.toSorted((a, b) => a.partition - b.partition);
}

function ascending(a: number, b: number): number {
  return a - b;
}

/** As it looks to a reader: bytes as text, the ledger's epoch as any. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value ?? null, (name, inner: unknown) => {
      if (name === "ledgerEpoch") return "epoch";
      if (isBytes(inner)) return Buffer.from(inner.data ?? Object.values(inner)).toString("hex");
      return inner;
    }),
  );
}

function isBytes(value: unknown): value is Uint8Array & { data?: number[] } {
  if (value instanceof Uint8Array) return true;
  return typeof value === "object" && value !== null && "type" in value && value.type === "Buffer";
}
