// packages/process/src/engine.ts
// What the tables of one thread share: the ready queue, the wheel, the limits and the counters.
import type { Clock, Random, TimerWheel } from "@carillon/kernel";
import type { Down } from "./behaviour.ts";
import type { OpenCalls } from "./calls.ts";
import type { RuntimeLimits, RuntimeObserver } from "./limits.ts";
import type { LoadGate } from "./load-gate.ts";
import type { MonitorRef } from "./monitors.ts";
import type { Pace } from "./pace.ts";
import type { ReadyQueue } from "./ready-queue.ts";

/** What a timer of the wheel is for. */
export const PROCESS_TIMER = 0; // armed by the handler
export const HOLD_TIMER = 1; // end of a back-off, a quarantine, or the wait after a failed load
export const HANDLER_TIMER = 2; // an async handler has taken too long
export const SWEEP_TIMER = 3; // of a table, not of a slot
export const CALL_TIMER = 4; // of a call, by its number; no table
export const PAUSE_TIMER = 5; // of a table
export const FORGET_TIMER = 6; // of a table: crashes that say nothing any more
const PURPOSES = 8;
const SLOTS = 2 ** 24;

export function timerKey(tableId: number, slot: number, purpose: number): number {
  return (tableId * SLOTS + slot) * PURPOSES + purpose;
}

export function purposeOfKey(key: number): number {
  return key % PURPOSES;
}

export function slotOfKey(key: number): number {
  return Math.floor(key / PURPOSES) % SLOTS;
}

export function tableIdOfKey(key: number): number {
  return Math.floor(key / PURPOSES / SLOTS);
}

/** In the ready queue in place of a slot: the oldest fan-out of the table. */
export const FAN_OUT = -1;

export interface Counters {
  resident: number;
  busy: number;
  waiting: number;
  quarantined: number;
  pausedTables: number;
  forgetTimers: number; // armed
  handled: number;
  crashes: number;
  restarts: number;
  deadLettered: number;
  refused: number;
  coalesced: number;
  dropped: number;
  spilled: number;
  loadsFailed: number;
  callTimeouts: number;
  skippedCalls: number;
  lateReplies: number;
  staleWrites: number;
  callbackErrors: number;
}

export function createCounters(): Counters {
  return {
    resident: 0,
    busy: 0,
    waiting: 0,
    quarantined: 0,
    pausedTables: 0,
    forgetTimers: 0,
    handled: 0,
    crashes: 0,
    restarts: 0,
    deadLettered: 0,
    refused: 0,
    coalesced: 0,
    dropped: 0,
    spilled: 0,
    loadsFailed: 0,
    callTimeouts: 0,
    skippedCalls: 0,
    lateReplies: 0,
    staleWrites: 0,
    callbackErrors: 0,
  };
}

/** Told before and after every turn, for a watchdog on another thread: must cost next to nothing. */
export interface TurnPulse {
  /** A number that no other table has whose turns are told here. */
  newTableId(): number;
  enter(tableId: number, slot: number): void;
  leave(): void;
  /** A table's name, for people. */
  nameTable(tableId: number, name: string): void;
  forgetTable(tableId: number): void;
}

/** Resolution of `nowTick`. */
export const TICK_MS = 100;

export interface Engine {
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: RuntimeLimits;
  readonly observer: RuntimeObserver;
  readonly wheel: TimerWheel;
  readonly ready: ReadyQueue;
  readonly loads: LoadGate;
  readonly calls: OpenCalls;
  readonly downs: { readonly ref: MonitorRef; readonly down: Down }[];
  readonly pace: Pace;
  readonly counters: Counters;
  readonly pulse: TurnPulse;
  /** Tables that want `afterSlice`, by id; each is in it once. */
  sliceEnds: number[];
  /** The runtime's clock in tenths of a second, as of the last look at it. */
  nowTick: number;
  /** The runtime's clock while no foreign code has run since it was looked at; otherwise NaN. */
  freshNowMs: number;
  /** A slice will run soon. */
  schedule(): void;
  /** The same for a caller that waits (RT4). */
  scheduleSoon(nowMs: number): void;
  /** Calls what must not throw; when it does, it is counted and reported, and that is all. */
  guard(callback: string, call: () => void): void;
  forgetTable(tableId: number): void;
}
