// test/sim/machine.ts
// What one operating-system process is to the simulation: it lives, sleeps, dies, and has a wall
// clock of its own. Nodes and employees' apps each run on one.
import type { Clock, Scheduler, Timer } from "@carillon/kernel";
import type { Event, World } from "./world.ts";

const WALL_START_MS = Date.UTC(2026, 0, 5, 9, 0, 0);
/** A turn of the event loop: so long after what asked for it. */
const TURN_MS = 0.01;

export class Machine implements Clock, Scheduler {
  readonly name: string;
  readonly world: World;
  /** While it is paused: what came due, in order. */
  readonly backlog: Event[] = [];
  isAlive = true;
  isPaused = false;
  /** When it woke up last; −∞: it never slept. */
  wokeAtMs = -Infinity;
  /** The most it has ever been. */
  wallOffsetMaxMs = 0;
  /** Its wall clock has been wrong at some time. */
  hasJumped = false;
  #wallOffsetMs = 0;
  readonly #monotonicStartMs: number;

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
    this.#monotonicStartMs = world.dice(`machine/${name}`).between(1e3, 1e9);
  }

  get wallOffsetMs(): number {
    return this.#wallOffsetMs;
  }

  set wallOffsetMs(offsetMs: number) {
    this.#wallOffsetMs = offsetMs;
    this.hasJumped ||= offsetMs !== 0;
    this.wallOffsetMaxMs = Math.max(this.wallOffsetMaxMs, offsetMs);
  }

  /** kill -9, power cut. */
  die(): void {
    this.isAlive = false;
    this.backlog.length = 0;
  }

  /** SIGSTOP. */
  pause(): void {
    this.isPaused = true;
  }

  /** SIGCONT: everything that came due meanwhile is late, and happens now. */
  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.wokeAtMs = this.world.nowMs;
    for (const event of this.backlog.splice(0)) this.world.requeue(event);
  }

  readonly monotonicMs = (): number => this.#monotonicStartMs + this.world.nowMs;

  readonly wallClockMs = (): number =>
    Math.floor(WALL_START_MS + this.world.nowMs + this.#wallOffsetMs);

  /** The furthest that the wall clock can have been by now. */
  get wallClockMaxMs(): number {
    return Math.floor(WALL_START_MS + this.world.nowMs + this.wallOffsetMaxMs);
  }

  readonly setTimer = (delayMs: number, callback: () => void): Timer => ({
    cancel: this.world.after(delayMs, callback, this),
  });

  readonly sleep = (delayMs: number): Promise<void> =>
    new Promise((resolve) => void this.setTimer(delayMs, resolve));

  readonly defer = (callback: () => void): void => {
    this.world.after(TURN_MS, callback, this);
  };

  trace(what: string): void {
    this.world.trace(this.name, what);
  }
}

/** The database's clock in the simulation; nothing jumps there (ST11). */
export function databaseNowMs(world: World): number {
  return WALL_START_MS + world.nowMs;
}
