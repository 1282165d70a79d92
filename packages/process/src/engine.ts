// packages/process/src/engine.ts
// What the tables of one thread share: the ready queue, the wheel, the limits and the counters.
import type { Clock, Random, TimerWheel } from "@carillon/kernel";
import type { RuntimeLimits, RuntimeObserver } from "./behaviour.ts";
import type { ReadyQueue } from "./ready-queue.ts";

/** What a timer of the wheel is for. */
export const PROCESS_TIMER = 0; // armed by the handler
export const HOLD_TIMER = 1; // end of a back-off or a quarantine
export const HANDLER_TIMER = 2; // an async handler has taken too long
export const SWEEP_TIMER = 3; // of a table, not of a slot
const PURPOSES = 4;
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

export interface Counters {
  resident: number;
  busy: number;
  waiting: number;
  quarantined: number;
  handled: number;
  crashes: number;
  restarts: number;
  deadLettered: number;
  refused: number;
  staleWrites: number;
  callbackErrors: number;
}

export interface Engine {
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: RuntimeLimits;
  readonly observer: RuntimeObserver;
  readonly wheel: TimerWheel;
  readonly ready: ReadyQueue;
  readonly counters: Counters;
  /** A slice will run soon. */
  schedule(): void;
  /** Calls what must not throw; when it does, it is counted and reported, and that is all. */
  guard(callback: string, call: () => void): void;
  forgetTable(tableId: number): void;
}
