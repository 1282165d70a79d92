// test/sim/oracle-caps.ts
// Caps and collapse, as far as PD1, FC2 and CO1 promise them and it follows for certain from outside: nobody is
// delivered more than the cap within its window, by one owner or several; nobody is capped who was not sent as
// many; nobody is delivered one that a newer of its key had replaced; none is collapsed without a newer one.
// Who has an outcome was to be handed it as a new one, with a verdict. A recovery shows also what has ended
// otherwise (noDevice, unacked), which no cap holds back: so delivered rows are asked about, not shown ones.
import type { Notification } from "@carillon/contracts";
import { CAP_WINDOW_MS, type Caps } from "./caps.ts";
import type { Cluster } from "./cluster.ts";
import { ownerChangesOf } from "./oracle-cut.ts";
import type { Moment, Outcome } from "./oracle-outcome.ts";
import type { Oracle, TruthRow } from "./oracle.ts";
import type { Device } from "./people.ts";
import { touches, type Weather } from "./weather.ts";

/** Handed is before shown, and counted to the second (FC1). */
const SLACK_MS = 2_000;
/** Rows of a partition that an owner has in memory for certain; the oracle's own number. */
const IN_MEMORY_COUNT = 100;
/** From its commit until its owner has it in memory, where nothing is wrong. */
const KNOWN_MS = 1_000;
/** As production has it. */
const OWN_ROWS_MAX = 64;
/** A verdict is asked for in the turn that sends, and the message leaves with its slice. */
const SLICE_MS = 50;

/** An opening sends what it has let through when what it has not is written. */
const OPENED_MS = 2_000;

interface Of {
  readonly home: string;
  readonly partition: number;
  readonly index: number;
  readonly row: TruthRow;
}

export class CapWatch {
  readonly caps: Caps;
  readonly #oracle: Oracle;
  readonly #sentAtMs = new WeakMap<TruthRow, number>();
  readonly suppressed: (Of & { readonly atMs: number })[] = [];
  collapsedCount = 0;

  constructor(caps: Caps, oracle: Oracle) {
    this.caps = caps;
    this.#oracle = oracle;
  }

  /** To a gateway, for whomever. */
  onSent(row: TruthRow, atMs: number): void {
    if (!this.#sentAtMs.has(row)) this.#sentAtMs.set(row, atMs);
  }

  /** When it left an owner first; undefined: never. */
  sentAtMs(row: TruthRow): number | undefined {
    return this.#sentAtMs.get(row);
  }

  notificationOf(home: string, { notificationId }: TruthRow): Notification | undefined {
    return this.#oracle.databases.get(home)?.notifications.get(notificationId)?.notification;
  }

  isCounted(home: string, row: TruthRow): boolean {
    const notification = this.notificationOf(home, row);
    return notification !== undefined && this.caps.isCounted(notification);
  }

  /** By the ledger. */
  isSuppressed({ decided }: TruthRow, index: number): boolean {
    return isSuppression(decided.get(index)?.outcome);
  }

  /** Its socket was opened under the owner that decided it, or a later one: nobody before has sent it there. */
  wronglyShown(
    device: Device,
    { row, moment }: { readonly row: TruthRow; readonly moment: Moment },
  ): string | undefined {
    const decided = row.decided.get(this.#oracle.indexOf(device) ?? -1);
    if (decided === undefined || !isSuppression(decided.outcome)) return undefined;
    return decided.epoch <= moment.joinEpoch ? `which was ${decided.outcome}` : undefined;
  }

  /** Whether as many were sent is asked in the end: an opening writes it before it sends what it has let through. */
  wrongCap({ home, row, ...of }: Of): string | undefined {
    this.suppressed.push({ home, row, ...of, atMs: this.#oracle.world.nowMs });
    return this.isCounted(home, row) ? undefined : "is held back by no cap from this one";
  }

  /** CO1 */
  wrongCollapse({ home, partition, index, row }: Of): string | undefined {
    this.collapsedCount++;
    const rows = this.#oracle.rowsOf(home, partition);
    const isReplaced = rows.some((one) => one.targets.has(index) && this.replaces(home, one, row));
    return isReplaced ? undefined : "has no newer one of its key";
  }

  /** `one` takes the place of `other`. */
  replaces(home: string, one: TruthRow, other: TruthRow): boolean {
    const [newer, older] = [this.notificationOf(home, one), this.notificationOf(home, other)];
    if (newer?.collapseKey === undefined || older?.collapseKey !== newer.collapseKey) return false;
    if (older.priority === "critical" && newer.priority !== "critical") return false;
    return newer.acceptedAtMs === older.acceptedAtMs
      ? newer.id > older.id
      : newer.acceptedAtMs > older.acceptedAtMs;
  }
}

function isSuppression(outcome: Outcome | undefined): boolean {
  return outcome === "capped" || outcome === "collapsed";
}

export interface CapCounts {
  readonly capped: number;
  readonly collapsed: number;
  /** Deliveries that had as many before them as the cap allows but one: the next would have been too many. */
  readonly capAsked: number;
}

/** What an app has shown, with its outcome. */
interface Delivered {
  readonly row: TruthRow;
  readonly atMs: number;
}

export function checkCaps(cluster: Cluster, weather: Weather): CapCounts {
  const { oracle, devices } = cluster;
  const { capped } = oracle;
  const counts = { capAsked: 0 };
  if (capped === undefined) return { capped: 0, collapsed: 0, ...counts };
  checkSuppressed(cluster, capped);
  for (const device of devices) {
    const delivered = deliveredTo(oracle, device);
    counts.capAsked += checkCap(cluster, capped, { device, delivered });
    checkCollapse(cluster, capped, { device, delivered, weather });
  }
  return { capped: capped.suppressed.length, collapsed: capped.collapsedCount, ...counts };
}

/** FC2, PD1: never for what was not sent to him, and none counts twice. */
function checkSuppressed({ world, oracle }: Cluster, capped: CapWatch): void {
  const { maxCount } = capped.caps.cap;
  for (const { home, partition, index, row, atMs } of capped.suppressed) {
    const sent = oracle.rowsOf(home, partition).filter((one) => {
      if (one === row || !one.targets.has(index) || !capped.isCounted(home, one)) return false;
      const sentAtMs = capped.sentAtMs(one) ?? Infinity;
      // What was on a socket that broke has been handed, though a newer one replaced it later.
      const endedAtMs = capped.isSuppressed(one, index) ? one.decided.get(index)?.atMs : Infinity;
      return sentAtMs <= Math.min(atMs + OPENED_MS, endedAtMs ?? 0);
    });
    if (sent.length >= maxCount) continue;
    const what = `${home}/${partition}@${row.offset} is capped for ${index}`;
    world.violate("FC2", `${what} after ${sent.length} at most, ${maxCount} may be`);
    return;
  }
}

/** In order, of those that it has shown. */
function deliveredTo(oracle: Oracle, device: Device): Delivered[] {
  const index = oracle.indexOf(device) ?? -1;
  return oracle.rowsOf(device.identity.home, device.partition).flatMap((row) => {
    const shown = oracle.evidence.shows.get(`${device.name}/${row.offset}`);
    const isDelivered = row.decided.get(index)?.outcome === "deliveredSocket";
    return isDelivered && shown !== undefined ? [{ row, atMs: shown.atMs }] : [];
  });
}

/** PD1. Each counts from its acceptance at the earliest, so that all that are looked at are in the window. */
function checkCap(
  { world, oracle, databases }: Cluster,
  capped: CapWatch,
  { device, delivered }: { readonly device: Device; readonly delivered: readonly Delivered[] },
): number {
  const { home } = device.identity;
  if (!oracle.isOnTime(home)) return 0;
  const { maxCount } = capped.caps.cap;
  const wallMs = (databases.get(home)?.nowMs() ?? 0) - world.nowMs;
  const counted = delivered.filter(({ row }) => capped.isCounted(home, row));
  let askedCount = 0;
  for (const [at, { row, atMs }] of counted.entries()) {
    const sinceMs = wallMs + atMs - CAP_WINDOW_MS + SLACK_MS;
    const before = counted.slice(0, at).filter((one) => {
      const { acceptedAtMs = 0 } = capped.notificationOf(home, one.row) ?? {};
      return acceptedAtMs > sinceMs;
    });
    if (before.length >= maxCount - 1) askedCount++;
    if (before.length < maxCount) continue;
    const index = oracle.indexOf(device) ?? -1;
    const epochs = new Set(
      [...before.map((one) => one.row), row].map(({ decided }) => decided.get(index)?.epoch),
    );
    const by = `${epochs.size} owner${epochs.size > 1 ? "s" : ""}`;
    const offsets = before.map((one) => one.row.offset).join();
    world.violate(
      "PD1",
      `${device.name} got ${row.offset} after ${offsets}, ${maxCount} may be, by ${by}`,
    );
    return askedCount;
  }
  return askedCount;
}

/** CO1 */
function checkCollapse(
  { world, oracle }: Cluster,
  capped: CapWatch,
  of: {
    readonly device: Device;
    readonly delivered: readonly Delivered[];
    readonly weather: Weather;
  },
): void {
  const { device, delivered, weather } = of;
  const { home } = device.identity;
  const index = oracle.indexOf(device) ?? -1;
  const spans = [
    ...weather.settledTroublesOf(home),
    ...ownerChangesOf(oracle, home, device.partition),
  ];
  for (const { row: newer, atMs: newerAtMs } of delivered)
    for (const { row: older, atMs } of delivered) {
      if (!capped.replaces(home, newer, older)) continue;
      // It came when he had the newer one, whoever had handed it to him.
      const wasDelivered =
        (newer.decided.get(index)?.atMs ?? Infinity) < older.plannedAtMs &&
        older.offset - newer.offset < IN_MEMORY_COUNT;
      // Or both were in their owner's memory, which was nowhere before the turn that handed the older one.
      const askedAtMs = (capped.sentAtMs(older) ?? 0) - SLICE_MS;
      const mayBeCapped = capped.isCounted(home, newer) && newerAtMs > CAP_WINDOW_MS - SLACK_MS;
      const wasWaiting =
        newer.plannedAtMs + KNOWN_MS < askedAtMs &&
        !mayBeCapped &&
        !isOnShelf(oracle, device, newer) &&
        oracle.controls?.isTouched(home, newer.notificationId) !== true &&
        !touches(spans, newer.plannedAtMs - KNOWN_MS, Math.max(atMs, newerAtMs));
      if (!wasDelivered && !wasWaiting) continue;
      const how = wasDelivered ? "which he had" : "which waited";
      world.violate(
        "CO1",
        `${device.name} got ${older.offset}, of the key of ${newer.offset}, ${how}`,
      );
      return;
    }
}

/** SH1: he had as many open before it as are kept in memory; it is seen when it comes back. */
function isOnShelf(oracle: Oracle, device: Device, row: TruthRow): boolean {
  const index = oracle.indexOf(device) ?? -1;
  const before = oracle.rowsOf(device.identity.home, device.partition).slice(0, row.offset - 1);
  const open = before.filter(
    ({ targets, decided }) =>
      targets.has(index) && (decided.get(index)?.atMs ?? Infinity) > row.plannedAtMs,
  );
  return open.length >= OWN_ROWS_MAX;
}
