// packages/process/src/passivation.ts
// The idle sweep of a table: a process without a turn for `idleMs` is asked whether it may be
// forgotten. No clock value is kept per process: each sweep ages it by one, a turn makes it young.
//   PS1  Asked after `idleMs` of idleness at the earliest and 1.5 × `idleMs` at the latest; never
//        while it has a turn, a message or a timer.
import { SWEEP_TIMER, timerKey } from "./engine.ts";
import { PASSIVATED } from "./exit.ts";
import { AGE_MASK, AGE_ONE, CANNOT_RUN_NOW } from "./rows.ts";
import type { TableCore } from "./table-core.ts";

const CHUNK_SLOTS = 16_384; // about 0.1 ms without a hit: sweeping stays far below a slice
const SWEEPS_PER_IDLE = 2;
const OLD = 3 * AGE_ONE;

export class IdleSweep<State, Message extends object, Reply> {
  readonly #core: TableCore<State, Message, Reply>;
  #handle = 0;
  #cursor = 0;

  constructor(core: TableCore<State, Message, Reply>) {
    this.#core = core;
  }

  /** To be called when there may be residents; does nothing when it is under way. */
  start(): void {
    if (this.#handle !== 0 || this.#core.behaviour.mayPassivate === undefined) return;
    this.#arm(this.#core.engine.limits.idleMs / SWEEPS_PER_IDLE);
  }

  /** The wheel's timer has fired: one chunk. */
  run(): void {
    this.#handle = 0;
    const { rows } = this.#core;
    const end = Math.min(this.#cursor + CHUNK_SLOTS, rows.states.length);
    for (let slot = this.#cursor; slot < end; slot++)
      if (rows.states[slot] !== undefined) this.#visit(slot);
    if (this.#core.isStopped) return; // by a callback
    const isWholeDone = end >= rows.states.length;
    this.#cursor = isWholeDone ? 0 : end;
    if (!isWholeDone) this.#arm(0);
    else if (this.#core.residentCount > 0) this.start();
  }

  stop(): void {
    this.#core.engine.wheel.cancel(this.#handle);
    this.#handle = 0;
  }

  #visit(slot: number): void {
    const { rows, behaviour, engine } = this.#core;
    const status = rows.status[slot] ?? 0;
    if ((status & CANNOT_RUN_NOW) !== 0 || rows.isWaiting(slot) || rows.timerOf(slot) !== 0) {
      rows.clearBits(slot, AGE_MASK);
      return;
    }
    if ((status & AGE_MASK) !== OLD) rows.status[slot] = status + AGE_ONE;
    if (((rows.status[slot] ?? 0) & AGE_MASK) !== OLD) return;
    rows.clearBits(slot, AGE_MASK); // asked again after the same time
    const state = rows.states[slot];
    if (state === undefined) return;
    let mayPassivate = false;
    engine.guard("mayPassivate", () => {
      mayPassivate = behaviour.mayPassivate?.(state) ?? false;
    });
    if (!mayPassivate || rows.states[slot] !== state) return;
    this.#core.setState(slot, undefined);
    this.#core.unwatchAll(slot);
    engine.guard("onStop", () => behaviour.onStop?.(slot, state, PASSIVATED));
  }

  #arm(delayMs: number): void {
    const { engine, id } = this.#core;
    this.#handle = engine.wheel.arm(delayMs, timerKey(id, 0, SWEEP_TIMER));
  }
}
