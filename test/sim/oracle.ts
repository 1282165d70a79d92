// test/sim/oracle.ts
// Who knows what is right, beside the code that is being run: it sees every statement at its instant,
// every message to a gateway, everything that an employee sees, and every answer 202. What it checks,
// and how, is in README.md; what must have happened in the end is in oracle-end.ts. Above 300 lines:
// what it has seen in one place is looked up in all others.
import type { Position } from "@carillon/client";
import { deliverSchema, decodeMessage, type NtfPayload } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import type { LedgerRow, LedgerUpdate } from "@carillon/store";
import type { Database, DatabaseObserver } from "./database.ts";
import type { Machine } from "./machine.ts";
import type { Device, DeviceObserver } from "./people.ts";
import type { CapWatch } from "./oracle-caps.ts";
import type { Controls } from "./oracle-control.ts";
import { Waits } from "./oracle-later.ts";
import { earlySend, type EarlySend, takenBack, tooEarly } from "./oracle-moves.ts";
import { misplaced } from "./oracle-places.ts";
import { isSame, newReceipts, readMoved, readOutcomes, targetsOf } from "./oracle-rows.ts";
import {
  Evidence,
  type Moment,
  type Outcome,
  RECEIPTS,
  TERMINAL,
  wrongOutcome,
} from "./oracle-outcome.ts";
import type { Poison } from "./poison.ts";
import type { Quiet } from "./quiet.ts";
import type { World } from "./world.ts";

interface Decided {
  readonly outcome: Outcome;
  readonly epoch: number;
  readonly atMs: number;
}

/** A ledger row as it should be: whom it is meant for, from the request and the directory. */
export interface TruthRow {
  readonly offset: number;
  readonly notificationId: string;
  readonly targets: ReadonlySet<number>; // indexes
  readonly plannedAtMs: number;
  /** Of the ownership then, or the last one before. */
  readonly plannedEpoch: number;
  readonly expiresAtMs: number;
  /** By index: the first outcome, when, and under which ownership. */
  readonly decided: Map<number, Decided>;
  /** By index, who has left it for a later one: when, and under which ownership. */
  readonly moved: Map<number, { readonly atMs: number; readonly epoch: number }>;
}

const STATES = ["planned", "open", "closed"];
/** Every 3 s (C17), and what the statement takes. */
const TOLD_BY_REFRESH_MS = 4_000;

export class Oracle implements DeviceObserver {
  readonly world: World;
  readonly databases: ReadonlyMap<string, Database>;
  readonly truth = new Map<string, TruthRow[]>(); // "home/partition"
  /** "device/notification" → when it was shown first. */
  readonly shownAtMs = new Map<string, number>();
  /** By notification, in any region, by the databases' clock. */
  readonly firstPlannedMs = new Map<string, number>();
  writer = "";
  fencedCount = 0; // partitions of writes that were refused
  writtenCount = 0;
  releasedCount = 0; // rows of posts that were sent later
  movedCount = 0; // people who left a row for a later one
  againCount = 0; // shown in two rows: the first by an owner that was gone
  ownerChangesCount = 0;
  livesCount = 0; // joins that were answered
  resendsCount = 0;
  readonly evidence = new Evidence();
  readonly hasDroppedReceipts: () => boolean;
  /** Whose handler throws for a while (D7). */
  poison: Poison | undefined;
  /** Senders pause and cancel (A5). */
  controls: Controls | undefined;
  /** A cap counts, and posts take each other's place (A11). */
  capped: CapWatch | undefined;
  readonly #revoked = new Map<string, { readonly ownerId: string; readonly atMs: number }>();
  readonly #outcomes = new WeakMap<LedgerRow, ReadonlyMap<number, Outcome>>(); // rows never change
  readonly #byNotification = new Map<string, TruthRow[]>(); // "home/partition/notification"
  readonly #sent = new Set<TruthRow>();
  readonly waits = new Waits();
  /** Judged in the end (oracle-moves.ts). */
  readonly earlySends: EarlySend[] = [];
  readonly quiet: Quiet | undefined;
  /** No worker of a region has ever had a wall clock that was wrong. */
  readonly isOnTime: (home: string) => boolean;
  readonly #ownedSinceMs = new Map<string, number>(); // "home/partition"
  /** "home/partition" → when it was given or taken. */
  readonly ownerChangesMs = new Map<string, number[]>();
  readonly #machineOf: (memberId: string) => Machine | undefined;
  readonly #lostCount: () => number;

  constructor(
    world: World,
    databases: ReadonlyMap<string, Database>,
    deps: {
      readonly machineOf: (memberId: string) => Machine | undefined;
      /** Messages that the network has lost so far. */
      readonly lostCount: () => number;
      /** A gateway had more receipts than may wait. */
      readonly hasDroppedReceipts: () => boolean;
      readonly quiet: Quiet | undefined;
      readonly isOnTime: (home: string) => boolean;
    },
  ) {
    this.world = world;
    this.databases = databases;
    this.#machineOf = deps.machineOf;
    this.#lostCount = deps.lostCount;
    this.hasDroppedReceipts = deps.hasDroppedReceipts;
    this.quiet = deps.quiet;
    this.isOnTime = deps.isOnTime;
    for (const database of databases.values()) database.observer = this.#observerOf(database);
  }

  rowsOf(home: string, partition: number): TruthRow[] {
    const key = `${home}/${partition}`;
    const rows = this.truth.get(key) ?? [];
    this.truth.set(key, rows);
    return rows;
  }

  /** D3: at most once, in order, and nothing left out. */
  onNotification(device: Device, { offset, id }: NtfPayload): void {
    const { world } = this;
    world.trace(device.name, `shows ${offset} ${id.slice(-6)}`);
    const last = device.position?.offset ?? 0;
    if (offset <= last) return world.violate("D3", `${device.name} saw ${offset} after ${last}`);
    const expected = this.firstMissedBy(device, last, offset);
    if (expected === undefined || expected.offset !== offset)
      return world.violate(
        "D3",
        `${device.name} saw ${offset} after ${last}, expected ${expected?.offset ?? "nothing"}`,
      );
    if (expected.notificationId !== id)
      world.violate("D3", `${device.name} saw another notification at ${offset}`);
    const moment = this.#momentOf(device);
    const key = `${device.name}/${id}`;
    const early =
      tooEarly(this, device, { row: expected, moment }) ??
      this.capped?.wronglyShown(device, { row: expected, moment });
    if (early !== undefined) world.violate("RD4", `${device.name} saw ${offset}, ${early}`);
    if (!this.shownAtMs.has(key)) {
      this.shownAtMs.set(key, world.nowMs);
      this.controls?.onShown(device, expected, world.nowMs);
    } else {
      this.againCount++;
      const why = takenBack(this, device, expected);
      if (why !== undefined)
        world.violate("D2", `${device.name} saw ${id} at ${offset}, too: ${why}`);
    }
    this.evidence.shown(device.name, expected.plannedAtMs, world.nowMs);
    this.evidence.shows.set(`${device.name}/${offset}`, moment);
  }

  /** Rows of a partition for one notification, in order. */
  rowsFor(home: string, partition: number, notificationId: string): readonly TruthRow[] {
    return this.#byNotification.get(`${home}/${partition}/${notificationId}`) ?? [];
  }

  indexOf({ identity: { home, tenantId, recipientId } }: Device): number | undefined {
    return this.databases.get(home)?.recipients.get(`${tenantId}/${recipientId}`)?.index;
  }

  #momentOf(device: Device): Moment {
    const { epoch } = this.ownershipOf(device);
    const joinEpoch = this.evidence.joins.get(device.name)?.epoch ?? -1;
    return { atMs: this.world.nowMs, epoch, lostCount: this.#lostCount(), joinEpoch };
  }

  /** Of the device's partition, as it is now. */
  ownershipOf({ identity, partition }: Device): { epoch: number; sinceMs: number } {
    const epoch = this.databases.get(identity.home)?.partition(partition).epoch ?? 0;
    return { epoch, sinceMs: this.#ownedSinceMs.get(`${identity.home}/${partition}`) ?? 0 };
  }

  onConnecting(device: Device): void {
    this.evidence.connecting(device.name, this.world.nowMs, this.ownershipOf(device).epoch);
  }

  onDown(device: Device): void {
    this.evidence.down(device.name);
  }

  onRead(device: Device, offset: number): void {
    this.evidence.read(device.name, offset, this.#momentOf(device));
  }

  /**
   * Nothing has happened since by which the report of an ack may be lost: the owner goes on, so does
   * the session, and the network has lost nothing. Acks are sent once (and asked for again).
   */
  isTold(device: Device, { atMs, epoch, lostCount }: Moment): boolean {
    const now = this.#momentOf(device);
    const liveSinceMs = this.evidence.liveSinceMs.get(device.name) ?? Infinity;
    return liveSinceMs <= atMs && epoch === now.epoch && lostCount === now.lostCount;
  }

  onLive(device: Device, position: Position): void {
    this.livesCount++;
    this.evidence.live(device.name, position.offset, this.world.nowMs);
    this.world.trace(device.name, `live at ${position.offset}`);
    const known = device.position;
    if (known !== null && known.offset !== position.offset)
      this.world.violate("D3", `${device.name} had ${known.offset}, joined at ${position.offset}`);
  }

  onReset(device: Device): void {
    if (device.position !== null)
      this.world.violate("D3", `${device.name} lost its place at ${device.position.offset}`);
  }

  /**
   * The first row for a device above `offset` that it must see. What has expired need not be shown,
   * but may be (W2: a recovered tail holds it); nor need what it has left for a later row, or does not
   * want. `shownOffset` is one that is being shown.
   */
  firstMissedBy(device: Device, offset: number, shownOffset?: number): TruthRow | undefined {
    const { home, recipientId } = device.identity;
    const [database, index] = [this.databases.get(home), this.indexOf(device)];
    if (database === undefined || index === undefined) return undefined;
    const nowMs = database.nowMs();
    const rows = this.rowsOf(home, device.partition); // row of offset n at n − 1
    for (let at = Math.max(0, offset); at < rows.length; at++) {
      const row = rows[at];
      if (row?.targets.has(index) !== true) continue;
      const mayMiss =
        row.expiresAtMs <= nowMs ||
        row.moved.has(index) ||
        this.controls?.isCancelled(home, row.notificationId) === true ||
        this.capped?.isSuppressed(row, index) === true ||
        this.quiet?.hasOptedOut(recipientId, row.notificationId) === true ||
        this.mayFail(device.name, row);
      if (row.offset === shownOffset || !mayMiss) return row;
    }
    return undefined;
  }

  /** Its handler threw when it was there, and may have thrown for it. */
  mayFail(device: string, row: TruthRow): boolean {
    const { poison } = this;
    return poison?.victim.device.name === device && row.plannedAtMs <= poison.endedAtMs;
  }

  /** D4 from outside: who sends for a partition holds its lease, by the database. */
  onMessage(from: string, subject: string, data: Uint8Array): void {
    if (!subject.endsWith(".deliver")) return;
    const decoded = decodeMessage(deliverSchema, data);
    if (decoded.kind === "malformed") return this.world.violate("BUG", `${from} sent garbage`);
    const { ownerId, items, seq } = decoded.message;
    const groups = items.flatMap((item) => item.groups);
    const what = groups.map(
      ({ partition, offset, isResend }) => `${partition}@${offset}${isResend ? "r" : ""}`,
    );
    this.world.trace(from, `delivers #${seq} to ${subject.split(".")[1]}: ${what.join(" ")}`);
    for (const { home, partition, offset, isResend } of groups) {
      if (isResend) this.resendsCount++;
      const database = this.databases.get(home);
      const record = database?.partition(partition);
      if (record === undefined || database === undefined) continue;
      this.#onSent(database, { partition, offset, ownerId });
      if (record.ledger[offset - 1]?.state === "planned")
        this.world.violate(
          "D1",
          `${ownerId} sends ${partition}@${offset}, not committed for anybody`,
        );
      if (record.ownerId === ownerId && !database.isFree(record)) continue;
      if (this.#mayBelieve(ownerId, `${home}/${partition}`)) continue;
      const wokeAtMs = this.#machineOf(ownerId)?.wokeAtMs ?? -Infinity;
      const since = this.world.nowMs - wokeAtMs;
      this.world.violate(
        "D4",
        `${ownerId} sends for ${home}/${partition}, which is ${record.ownerId ?? "nobody"}'s` +
          (since < 1_000 ? ` (woke ${since.toFixed(2)} ms ago)` : ""),
      );
    }
  }

  #onSent(
    database: Database,
    { partition, offset, ownerId }: { partition: number; offset: number; ownerId: string },
  ): void {
    const row = this.rowsOf(database.home, partition)[offset - 1];
    const machine = this.#machineOf(ownerId);
    if (row !== undefined) this.controls?.onSent(row, this.world.nowMs);
    if (row !== undefined) this.capped?.onSent(row, this.world.nowMs);
    if (this.quiet === undefined || row === undefined || machine === undefined) return;
    if (this.#sent.has(row)) return;
    this.#sent.add(row);
    if (this.world.nowMs - machine.wokeAtMs < 1_000) return; // it may have been asked before it slept
    const sent = { row, partition, wallMs: machine.wallClockMs() };
    const early = earlySend(this.quiet, sent, database);
    if (early !== undefined) this.earlySends.push(early);
  }

  /** It has been told that it owns these no more: from now on it may not act as if it did. */
  onRefused(home: string, memberId: string, partitions: readonly number[]): void {
    for (const partition of partitions) {
      const place = `${home}/${partition}`;
      if (this.#revoked.get(place)?.ownerId === memberId) this.#revoked.delete(place);
    }
  }

  /** Its lease was taken away, and neither a write nor a refresh of it can have told it. */
  #mayBelieve(memberId: string, place: string): boolean {
    const revoked = this.#revoked.get(place);
    return revoked?.ownerId === memberId && this.world.nowMs < revoked.atMs + TOLD_BY_REFRESH_MS;
  }

  #observerOf(database: Database): DatabaseObserver {
    const { home } = database;
    return {
      onPlanned: (row) => this.#onPlanned(database, row),
      onWritten: (update, before) => this.#onWritten(database, update, before),
      onPlaced: (partition, id) => {
        const wrong = misplaced(database, partition, {
          id,
          rows: this.rowsFor(home, partition, id),
        });
        if (wrong !== undefined) this.world.violate("D5", wrong);
        this.waits.look(database, this.world.nowMs);
      },
      onReleased: (timer) => this.waits.released(database, this.world.nowMs, timer),
      onFenced: (partitions) => {
        this.fencedCount += partitions.length;
        this.world.trace(`db ${home}`, `refuses ${this.writer} ${partitions.join()}`);
      },
      onOwner: (partition, owner, epoch) => {
        this.ownerChangesCount++;
        const changesMs = this.ownerChangesMs.get(`${home}/${partition}`) ?? [];
        this.ownerChangesMs.set(`${home}/${partition}`, [...changesMs, this.world.nowMs]);
        if (owner !== null) this.#ownedSinceMs.set(`${home}/${partition}`, this.world.nowMs);
        this.world.trace(`db ${home}`, `${partition} is ${owner ?? "nobody"}'s, epoch ${epoch}`);
      },
      onRevoked: (partition, ownerId) =>
        void this.#revoked.set(`${home}/${partition}`, { ownerId, atMs: this.world.nowMs }),
    };
  }

  outcomesOf(row: LedgerRow): ReadonlyMap<number, Outcome> {
    let outcomes = this.#outcomes.get(row);
    if (outcomes === undefined) {
      outcomes = readOutcomes(row);
      this.#outcomes.set(row, outcomes);
    }
    return outcomes;
  }

  #onPlanned(database: Database, row: LedgerRow): void {
    const { home } = database;
    const rows = this.rowsOf(home, row.partition);
    if (row.offset !== rows.length + 1)
      this.world.violate("ST14", `${home}/${row.partition} got offset ${row.offset}`);
    const targets = targetsOf(database, row);
    const { offset, notificationId } = row;
    const { sendAtMs = 0, expiresAtMs = Infinity } =
      database.notifications.get(notificationId)?.notification ?? {};
    const isCancelled = this.controls?.isCancelled(home, notificationId) === true;
    if (sendAtMs > database.nowMs() && !isCancelled)
      this.world.violate("A2", `${notificationId} is in the ledger before its time`);
    if (sendAtMs > 0) this.releasedCount++;
    const truth: TruthRow = {
      offset,
      notificationId,
      targets,
      plannedAtMs: this.world.nowMs,
      plannedEpoch: database.partition(row.partition).epoch,
      expiresAtMs,
      decided: new Map(),
      moved: new Map(),
    };
    rows.push(truth);
    const { firstPlannedMs } = this;
    const plannedMs = Math.min(firstPlannedMs.get(notificationId) ?? Infinity, database.nowMs());
    firstPlannedMs.set(notificationId, plannedMs);
    const key = `${home}/${row.partition}/${notificationId}`;
    this.#byNotification.set(key, [...(this.#byNotification.get(key) ?? []), truth]);
    this.world.trace(
      `db ${home}`,
      `${row.partition}@${offset} ${notificationId.slice(-6)} for ${[...targets].join()}`,
    );
  }

  #onWritten(database: Database, update: LedgerUpdate, before: LedgerRow): void {
    const { home } = database;
    const { partition, offset, state, sets, epoch } = update;
    const place = `${home}/${partition}@${offset}`;
    const broken = (id: string, what: string): void => this.world.violate(id, `${place} ${what}`);
    this.writtenCount++;
    this.world.trace(`db ${home}`, `${partition}@${offset} ${state} by ${this.writer} ${epoch}`);
    const owner = database.partition(partition).ownerId;
    if (owner !== this.writer) broken("D4", `was written by ${this.writer}, is ${owner}'s`);
    if (STATES.indexOf(state) < STATES.indexOf(before.state))
      broken("D2", `went from ${before.state} to ${state}`);
    const terminal = new Bitset();
    for (const name of TERMINAL) {
      const is = Bitset.fromBytes(sets[name]);
      if (!Bitset.fromBytes(before.sets[name]).andNot(is).isEmpty)
        broken("D2", `lost an outcome ${name}`);
      if (!terminal.clone().and(is).isEmpty) broken("D2", `has two outcomes, one ${name}`);
      terminal.or(is);
    }
    const row = this.rowsOf(home, partition)[offset - 1];
    const truth = row?.targets ?? new Set<number>();
    const targeted = before.members ?? Bitset.fromBytes(sets.targeted).toArray();
    if (state !== "planned" && !isSame(targeted, truth))
      broken("D1", `targets ${targeted.join()}, not ${[...truth].join()}`);
    const outcomes = terminal.toArray().map((bit) => before.members?.[bit] ?? bit);
    for (const index of outcomes)
      if (!truth.has(index)) broken("D2", `has an outcome of ${index}, whom it is not for`);
    const known = this.outcomesOf(before);
    for (const [index, outcome] of readOutcomes({ ...before, sets })) {
      if (known.has(index) || row === undefined) continue;
      row.decided.set(index, { outcome, epoch, atMs: this.world.nowMs });
      const why = this.#wrongOutcome(database, { row, partition, index, outcome });
      if (why !== undefined) broken("D1", `has the outcome ${outcome} of ${index}, who ${why}`);
    }
    const moved = this.#onMoves(database, { update, before, row });
    for (const index of outcomes)
      if (moved.has(index)) broken("D2", `has moved ${index}, and ended`);
    if (state === "closed" && outcomes.length + moved.size !== truth.size)
      broken(
        "D1",
        `is closed with ${outcomes.length} outcomes of ${truth.size}, ${moved.size} left`,
      );
    for (const [name, index] of newReceipts(before, sets)) {
      const device = database.partition(partition).recipients[index]?.recipientId ?? "nobody";
      const isSeen =
        name === "read"
          ? this.evidence.hasRead(device, offset)
          : this.evidence.shows.has(`${device}/${offset}`);
      if (!isSeen) broken("D1", `has the receipt ${name} of ${device}, who sent none`);
    }
    for (const name of RECEIPTS)
      if (!Bitset.fromBytes(before.sets[name]).andNot(Bitset.fromBytes(sets[name])).isEmpty)
        broken("D2", `lost a receipt ${name}`);
  }

  /** Who has left the row when this is written. Whether they are somewhere else then: onPlaced. */
  #onMoves(
    database: Database,
    of: { update: LedgerUpdate; before: LedgerRow; row: TruthRow | undefined },
  ): ReadonlySet<number> {
    const { update, before, row } = of;
    const { partition, offset, epoch, sets } = update;
    const [left, leaving] = [readMoved(before), readMoved({ ...before, sets })];
    const broken = (id: string, what: string): void =>
      this.world.violate(id, `${database.home}/${partition}@${offset} ${what}`);
    for (const index of left)
      if (!leaving.has(index)) broken("D2", `takes back ${index}, who left`);
    for (const index of leaving) {
      if (left.has(index) || row === undefined) continue;
      if (!row.targets.has(index)) broken("D2", `puts off ${index}, whom it is not for`);
      const { recipientId } = database.partition(partition).recipients[index] ?? {};
      if (this.quiet?.hasOptedOut(recipientId ?? "", row.notificationId) === true)
        broken("RD4", `puts off ${recipientId}, who has opted out`);
      row.moved.set(index, { atMs: this.world.nowMs, epoch });
      this.movedCount++;
      this.world.trace(`db ${database.home}`, `${partition}@${offset} is left by ${index}`);
    }
    return leaving;
  }

  #wrongOutcome(
    database: Database,
    of: { row: TruthRow; partition: number; index: number; outcome: Outcome },
  ): string | undefined {
    const { row, partition, index, outcome } = of;
    const device = database.partition(partition).recipients[index]?.recipientId ?? "nobody";
    return wrongOutcome(outcome, {
      device,
      row,
      isShown: this.evidence.shows.has(`${device}/${row.offset}`),
      hasOptedOut: this.quiet?.hasOptedOut(device, row.notificationId) === true,
      isCancelled: this.controls?.isCancelled(database.home, row.notificationId) === true,
      wrongSuppression: this.#wrongSuppression(database, of),
      mayFail: this.mayFail(device, row),
      evidence: this.evidence,
      nowMs: this.world.nowMs,
      writerWallMaxMs: this.#machineOf(this.writer)?.wallClockMaxMs ?? Infinity,
    });
  }

  #wrongSuppression(
    { home }: Database,
    of: { row: TruthRow; partition: number; index: number; outcome: Outcome },
  ): string | undefined {
    if (this.capped === undefined) return "is in no such run";
    return of.outcome === "capped"
      ? this.capped.wrongCap({ home, ...of })
      : this.capped.wrongCollapse({ home, ...of });
  }
}
