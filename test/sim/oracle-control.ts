// test/sim/oracle-control.ts
// A5: who has not been handed what is paused or cancelled is not handed it once its owner must have heard, where
// nothing is wrong; and nothing is cancelled that nobody has cancelled.
import type { ControlState } from "@carillon/contracts";
import type { Cluster } from "./cluster.ts";
import { ownerChangesOf } from "./oracle-cut.ts";
import type { TruthRow } from "./oracle.ts";
import type { Device } from "./people.ts";
import { touches, type Weather } from "./weather.ts";

/** Each second it is asked for, and a statement. */
const HEARD_MS = 1_500;
/** From the turn that asks to the app's screen. */
const WAY_MS = 200;

interface Told {
  readonly state: ControlState;
  readonly atMs: number;
}

interface Shown {
  readonly device: Device;
  readonly row: TruthRow;
  readonly since: Told;
  readonly atMs: number;
}

export class Controls {
  readonly #told = new Map<string, Told[]>(); // "home/notification", in order
  readonly #sentAtMs = new WeakMap<TruthRow, number>();
  readonly shown: Shown[] = [];
  changesCount = 0;

  told(home: string, notificationId: string, told: Told): void {
    const key = `${home}/${notificationId}`;
    this.#told.set(key, [...(this.#told.get(key) ?? []), told]);
    this.changesCount++;
  }

  isCancelled(home: string, notificationId: string): boolean {
    return this.#told.get(`${home}/${notificationId}`)?.at(-1)?.state === "cancelled";
  }

  /** Somebody has paused, resumed or cancelled it. */
  isTouched(home: string, notificationId: string): boolean {
    return this.#told.has(`${home}/${notificationId}`);
  }

  /** To a gateway, for whomever. */
  onSent(row: TruthRow, atMs: number): void {
    if (!this.#sentAtMs.has(row)) this.#sentAtMs.set(row, atMs);
  }

  /** When it left its owner first. */
  sentAtMs(row: TruthRow): number {
    return this.#sentAtMs.get(row) ?? 0;
  }

  /** For the first time, by an app. */
  onShown(device: Device, row: TruthRow, atMs: number): void {
    const since = this.#told.get(`${device.identity.home}/${row.notificationId}`)?.at(-1);
    if (since === undefined || since.state === "running") return;
    if (atMs > since.atMs + HEARD_MS + WAY_MS) this.shown.push({ device, row, since, atMs });
  }
}

export interface ControlCounts {
  /** Changes that a region was told. */
  readonly controlled: number;
}

export function checkControls({ world, oracle }: Cluster, weather: Weather): ControlCounts {
  const controlled = oracle.controls?.changesCount ?? 0;
  for (const { device, row, since, atMs } of oracle.controls?.shown ?? []) {
    const { home } = device.identity;
    const heardMs = since.atMs + HEARD_MS;
    const spans = [
      ...weather.settledTroublesOf(home),
      ...ownerChangesOf(oracle, home, device.partition),
    ];
    if (touches(spans, Math.min(row.plannedAtMs, since.atMs), atMs)) continue;
    // What is on a socket is never taken back: the row may have been sent to somebody else only, for all that is seen.
    if ((oracle.controls?.sentAtMs(row) ?? 0) <= heardMs) continue;
    const lateMs = Math.round(atMs - since.atMs);
    world.violate("A5", `${device.name} saw ${row.offset}, ${since.state} ${lateMs} ms before`);
    break;
  }
  return { controlled };
}
