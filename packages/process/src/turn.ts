// packages/process/src/turn.ts
// A running turn as its handler sees it. Reused for the next turn once the handler is done; an
// abandoned one is never reused, so that nothing its handler does later counts (P11).
import type { Lane, ProcessContext } from "./behaviour.ts";
import type { CallMark } from "./calls.ts";
import { NORMAL, type QuietExit } from "./exit.ts";
import type { Phase } from "./limits.ts";
import type {
  Callable,
  CallOptions,
  CallOutcome,
  Monitor,
  Monitorable,
  ProcessTable,
} from "./table-api.ts";
import type { TableCore } from "./table-core.ts";
import { settleTurn } from "./turns.ts";

export class Turn<State, Message extends object, Reply> implements ProcessContext<
  State,
  Message,
  Reply
> {
  readonly #core: TableCore<State, Message, Reply>;
  slot = 0;
  generation = 0;
  /** What it handles, and would be put back; undefined for the rest, calls included. */
  message: Message | undefined;
  callMark: CallMark<Message, Reply> | undefined;
  lane: Lane = "normal";
  during: Phase = "cast";
  /** Wheel handle of the limit for an async handler; 0: the turn is synchronous. */
  deadlineHandle = 0;
  #onResolved: ((answer: unknown) => void) | undefined;
  #onRejected: ((cause: unknown) => void) | undefined;

  constructor(core: TableCore<State, Message, Reply>) {
    this.#core = core;
  }

  get table(): ProcessTable<State, Message, Reply> {
    return this.#core.handle;
  }

  get isCurrent(): boolean {
    return this.#core.isCurrent(this.slot, this.generation);
  }

  get state(): State | undefined {
    return this.isCurrent ? this.#core.rows.states[this.slot] : undefined;
  }

  set state(state: State | undefined) {
    if (this.isCurrent) this.#core.setState(this.slot, state);
    else this.#core.engine.counters.staleWrites++;
  }

  get deadlineAtMs(): number | undefined {
    return this.callMark?.deadlineAtMs;
  }

  setTimer(delayMs: number): void {
    if (this.isCurrent) this.#core.armTimer(this.slot, delayMs, { isIdleTimer: false });
  }

  setIdleTimer(delayMs: number): void {
    if (this.isCurrent) this.#core.armTimer(this.slot, delayMs, { isIdleTimer: true });
  }

  clearTimer(): void {
    if (this.isCurrent) this.#core.clearTimer(this.slot);
  }

  stop(exit: QuietExit = NORMAL): void {
    if (this.isCurrent) this.#core.exits.set(this.slot, exit);
  }

  monitor(table: Monitorable, slot: number): Monitor {
    const monitor = this.#core.watch({ watcher: this.slot, table, slot });
    if (!this.isCurrent) monitor.demonitor();
    return monitor;
  }

  call<OtherMessage extends object, OtherReply>(
    table: Callable<OtherMessage, OtherReply>,
    slot: number,
    message: OtherMessage,
    options: CallOptions = {},
  ): Promise<CallOutcome<OtherReply>> {
    const own = this.deadlineAtMs ?? Infinity;
    const deadlineAtMs = Math.min(own, options.deadlineAtMs ?? Infinity);
    return table.call(slot, message, {
      ...options,
      deadlineAtMs: deadlineAtMs === Infinity ? undefined : deadlineAtMs,
    });
  }

  /** Made by the first async handler: most turns have none, and a crash costs a turn. */
  get onResolved(): (answer: unknown) => void {
    return (this.#onResolved ??= (answer) => settleTurn(this.#core, this, { answer }));
  }

  get onRejected(): (cause: unknown) => void {
    return (this.#onRejected ??= (cause) => settleTurn(this.#core, this, { cause }));
  }
}
