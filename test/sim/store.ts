// test/sim/store.ts
// A node's way to its region's database: a Store whose statements take time, fail before they are
// done, or are done and their answer is lost.
//   SI7  What was sent to the database is done there whatever becomes of the node; the answer comes
//        to a node that lives and is awake.
import type { Store, OutboxProbe, TakeOverOptions } from "@carillon/store";
import { accept, acceptRelayed, repeatOf } from "./database-accept.ts";
import * as controls from "./database-control.ts";
import * as outbox from "./database-outbox.ts";
import * as policies from "./database-policy.ts";
import { type Database, unavailable } from "./database.ts";
import type { Machine } from "./machine.ts";
import type { Dice } from "./world.ts";

export interface StoreFaults {
  /** Of statements: fails, nothing was done. */
  failShare: number;
  /** Of statements: done, and the connection breaks before the answer. */
  lostAnswerShare: number;
  slowShare: number;
  slowMaxMs: number;
  isAway: boolean; // nobody reaches it
}

export const NO_STORE_FAULTS: StoreFaults = {
  failShare: 0,
  lostAnswerShare: 0,
  slowShare: 0,
  slowMaxMs: 0,
  isAway: false,
};

/** As carillon node has them by default: connect 5 s, a statement 10 s (ST4). */
const STATEMENT_MAX_MS = 10_000;
const OPERATION_MAX_MS = 25_000;
const REFUSED_MS = 3;

/** What the oracle sees of a node's statements. */
export interface StoreObserver {
  /** Who does the next statement; it asks whether that is the owner. */
  onWriter(memberId: string): void;
  /** The node hears now that it does not own these any more. */
  onRefused(memberId: string, partitions: readonly number[]): void;
}

export function createSimStore(
  machine: Machine,
  database: Database,
  deps: { readonly faults: StoreFaults; readonly dice: Dice; readonly observer: StoreObserver },
): Store {
  const { faults, dice } = deps;
  const { world } = machine;
  let runningCount = 0;

  const run = <T>(operation: string, statement: () => T): Promise<T> => {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    runningCount++;
    const settle = (delayMs: number, end: () => void): void => {
      world.after(
        delayMs,
        () => {
          runningCount--;
          end();
        },
        machine,
      );
    };
    const fail = (delayMs: number, reason: string): void => {
      machine.trace(`store ${operation} fails: ${reason}`);
      settle(delayMs, () => reject(unavailable(operation, reason)));
    };
    const isSlow = faults.slowShare > 0 && dice.isHit(faults.slowShare);
    const slowMs = isSlow ? dice.between(0, faults.slowMaxMs) : 0;
    const wayMs = dice.between(0.15, 0.6);
    if (faults.isAway) fail(REFUSED_MS, "refused");
    else if (faults.failShare > 0 && dice.isHit(faults.failShare)) fail(wayMs, "broken before");
    else if (slowMs > STATEMENT_MAX_MS) fail(STATEMENT_MAX_MS, "cancelled");
    else {
      const isAnswerLost = faults.lostAnswerShare > 0 && dice.isHit(faults.lostAnswerShare);
      world.after(wayMs + slowMs, () => {
        deps.observer.onWriter(machine.name);
        const answer = statement();
        if (isAnswerLost) return fail(dice.between(0.1, OPERATION_MAX_MS / 100), "answer lost");
        settle(dice.between(0.15, 0.6), () => resolve(answer));
      });
    }
    return promise;
  };

  const unused = (name: string) => (): never => {
    throw new Error(`the simulation has no ${name}`);
  };

  const store = {
    get load() {
      return { runningCount, waitingCount: 0 };
    },
    leases: {
      list: () => run("leases.list", () => database.listLeases()),
      acquire: (options: Parameters<Database["acquire"]>[0]) =>
        run("leases.acquire", () => database.acquire(options)),
      refresh: (options: Parameters<Database["refresh"]>[0]) =>
        run("leases.refresh", () => database.refresh(options)),
      release: (options: Parameters<Database["release"]>[0]) =>
        run("leases.release", () => database.release(options)),
    },
    ledger: {
      readHeads: (_: string, partitions: readonly number[]) =>
        run("ledger.readHeads", () => database.heads(partitions)),
      readRows: (_: string, partition: number, options: Parameters<Database["rows"]>[1]) =>
        run("ledger.readRows", () => database.rows(partition, options)),
      readUnclosedRows: (_: string, partitions: readonly number[], ownRowsMax?: number) =>
        run("ledger.readUnclosedRows", () => database.unclosedRows(partitions, ownRowsMax)),
      readOwnRows: (
        _: string,
        wanted: Parameters<Database["ownRows"]>[0],
        options: Parameters<Database["ownRows"]>[1],
      ) => run("ledger.readOwnRows", () => database.ownRows(wanted, options)),
      readTails: (_: string, partitions: readonly number[], limitCount: number) =>
        run("ledger.readTails", () => database.tails(partitions, limitCount)),
      readRowsOf: (_: string, partitions: readonly number[], notificationId: string) =>
        run("ledger.readRowsOf", () => database.rowsOf(partitions, notificationId)),
      readTailOf: (_: string, partition: number, options: Parameters<Database["tailOf"]>[1]) =>
        run("ledger.readTailOf", () => database.tailOf(partition, options)),
      readNotifications: (ids: readonly string[]) =>
        run("ledger.readNotifications", () => database.notificationsOf(ids)),
      readDirectory: (_: string, n: number, options: Parameters<Database["directory"]>[1]) =>
        run("ledger.readDirectory", () => database.directory(n, options)),
      readQuarantined: () => run("ledger.readQuarantined", () => []),
      async streamDirectory(
        _: string,
        partitions: readonly number[],
        onPage: (rows: ReturnType<Database["wholeDirectory"]>) => void,
      ) {
        onPage(await run("ledger.streamDirectory", () => database.wholeDirectory(partitions)));
      },
      async writeRows(_: string, updates: Parameters<Database["writeRows"]>[0]) {
        const written = await run("ledger.writeRows", () => database.writeRows(updates));
        deps.observer.onRefused(machine.name, written.fencedPartitions);
        return written;
      },
      async releaseRows(_: string, releases: Parameters<Database["releaseRows"]>[0]) {
        const released = await run("ledger.releaseRows", () => database.releaseRows(releases));
        deps.observer.onRefused(machine.name, released.fencedPartitions);
        return released;
      },
    },
    timers: {
      async claim(_: string, options: Parameters<Database["timers"]["claim"]>[0]) {
        const claimed = await run("timers.claim", () => database.timers.claim(options));
        deps.observer.onRefused(machine.name, claimed.fencedPartitions);
        return claimed;
      },
      async write(_: string, changes: Parameters<Database["timers"]["write"]>[0]) {
        const written = await run("timers.write", () => database.timers.write(changes));
        deps.observer.onRefused(machine.name, written.fencedPartitions);
        return written;
      },
    },
    controls: {
      readChanged: (lastSeconds: number | null) =>
        run("controls.readChanged", () => controls.readChanged(database, lastSeconds)),
      wake: (
        _: string,
        held: Parameters<typeof controls.wake>[1],
        heard: Parameters<typeof controls.wake>[2],
      ) => run("controls.wake", () => controls.wake(database, held, heard)),
    },
    policies: {
      findChanged: (known: Parameters<typeof policies.findChanged>[1]) =>
        run("policies.findChanged", () => policies.findChanged(database, known)),
      readRecent: (
        _: string,
        partitions: readonly number[],
        question: Parameters<typeof policies.readRecent>[2],
      ) => run("policies.readRecent", () => policies.readRecent(database, partitions, question)),
    },
    notifications: {
      accept: (_: string, items: Parameters<typeof accept>[1]) =>
        run("notifications.accept", () => accept(database, items)),
      acceptRelayed: (_: string, items: Parameters<typeof acceptRelayed>[1]) =>
        run("notifications.acceptRelayed", () => acceptRelayed(database, items)),
      repeatOf: (tenantId: string, claim: Parameters<typeof repeatOf>[2]) =>
        run("notifications.repeatOf", () => repeatOf(database, tenantId, claim)),
    },
    outbox: {
      claim: (target: string, limitCount: number, retryInMs: number) =>
        run("outbox.claim", () => outbox.claim(database, target, { limitCount, retryInMs })),
      takeOver: (options: TakeOverOptions) =>
        run("outbox.takeOver", () => outbox.takeOver(database, options)),
      giveBack: (target: string, holder: string) =>
        run("outbox.giveBack", () => outbox.giveBack(database, target, holder)),
      endBacklog: (target: string, holder: string) =>
        run("outbox.endBacklog", () => outbox.endBacklog(database, target, holder)),
      readWaiting: (target: string, limitCount: number) =>
        run("outbox.readWaiting", () => outbox.readWaiting(database, target, limitCount)),
      markDone: (ids: readonly number[]) =>
        run("outbox.markDone", () => outbox.markDone(database, ids)),
      defer: (ids: readonly number[], forMs: number) =>
        run("outbox.defer", () => outbox.defer(database, ids, forMs)),
      withhold: (ids: readonly number[]) =>
        run("outbox.withhold", () => outbox.withhold(database, ids)),
      probe: (target: string, asked: Parameters<typeof outbox.probe>[2]) =>
        run("outbox.probe", () => outbox.probe(database, target, asked)),
      release: (target: string, probes: readonly OutboxProbe[], limitCount: number) =>
        run("outbox.release", () => outbox.release(database, target, { probes, limitCount })),
      oldestAgeMs: () => run("outbox.oldestAgeMs", () => null),
    },
    directory: {
      homesOf: (tenantId: string, ids: readonly string[]) =>
        run("directory.homesOf", () => database.homesOf(tenantId, ids)),
      learnHomes: () => run("directory.learnHomes", () => 0),
      upsert: unused("directory.upsert"),
    },
    ping: () => run("store.ping", () => undefined),
  };
  return store as unknown as Store; // the parts that the nodes of the simulation use
}
