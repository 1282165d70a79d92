// packages/process/src/crash-sweep.ts
// Forgets crashes that no success forgives: of processes that have nothing to do any more.
//   CR1  With traffic or without, a record goes when it says nothing any more (RS4), at most one
//        `crashWindowMs` late. So a table remembers those that crashed lately, whose number a storm's
//        pause bounds (S41), and not all that ever did.
import { forgetCrashes } from "./endings.ts";
import { FORGET_TIMER, timerKey } from "./engine.ts";
import { type CrashRecord, isForgettable } from "./restart.ts";
import type { TableCore } from "./table-core.ts";

const CHUNK_RECORDS = 4_096; // as of the idle sweep: far below a slice

export class CrashSweep<State, Message extends object, Reply> {
  readonly #core: TableCore<State, Message, Reply>;
  #handle = 0;
  /** Where the pass under way is; a Map's iterator bears what comes and goes meanwhile. */
  #pass: MapIterator<[number, CrashRecord<State>]> | undefined;

  constructor(core: TableCore<State, Message, Reply>) {
    this.#core = core;
  }

  /** To be called when there is a record; does nothing when it is under way. */
  start(): void {
    if (this.#handle === 0) this.#arm(this.#core.engine.limits.crashWindowMs);
  }

  /** The wheel's timer has fired: one chunk. */
  run(): void {
    const { engine, crashes } = this.#core;
    this.#handle = 0;
    engine.counters.forgetTimers--;
    this.#pass ??= crashes.entries();
    const isWholeDone = this.#visitChunk(this.#pass);
    if (isWholeDone) this.#pass = undefined;
    if (crashes.size > 0) this.#arm(isWholeDone ? engine.limits.crashWindowMs : 0);
    engine.schedule(); // names that are free by now
  }

  stop(): void {
    this.#pass = undefined;
    if (this.#handle === 0) return;
    const { engine } = this.#core;
    engine.wheel.cancel(this.#handle);
    this.#handle = 0;
    engine.counters.forgetTimers--;
  }

  /** True: there is no more. */
  #visitChunk(pass: MapIterator<[number, CrashRecord<State>]>): boolean {
    const core = this.#core;
    const { clock, limits } = core.engine;
    const nowMs = clock.monotonicMs();
    for (let count = 0; count < CHUNK_RECORDS; count++) {
      const next = pass.next();
      if (next.done === true) return true;
      const [slot, record] = next.value;
      if (isForgettable(record, { nowMs, limits, isIdle: core.isIdle(slot) }))
        forgetCrashes(core, slot);
    }
    return false;
  }

  #arm(delayMs: number): void {
    const { engine, id } = this.#core;
    engine.counters.forgetTimers++;
    this.#handle = engine.wheel.arm(delayMs, timerKey(id, 0, FORGET_TIMER));
  }
}
