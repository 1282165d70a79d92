// packages/process/src/behaviour.ts
// What a process does, and what its handlers can ask: the types that a behaviour's author needs.
import type { Exit, QuietExit } from "./exit.ts";
import type {
  Callable,
  CallOptions,
  CallOutcome,
  Monitor,
  Monitorable,
  ProcessTable,
} from "./table-api.ts";

/** Where a message waits. `control` has its own places and is served first (P14). */
export type Lane = "normal" | "control";

/** What becomes of a message that finds the mailbox full (P14). */
export type Overflow =
  | "reject" // the sender is told `overloaded`
  | "drop_oldest" // the oldest waiting message goes, and is told to `onDrop`
  | "spill"; // handed to `onSpill`: the store has it and gives it back later

/** `init` answers it: do not start this process; its name stays free (P5). */
export const IGNORE = Symbol("ignore");
/** `onCall` answers it: the reply follows by `from.reply`. */
export const NO_REPLY = Symbol("no reply");

/** Who waits for an answer. May be kept; good for one reply. */
export interface From<Reply> {
  /** False: too late, answered already, or of an earlier incarnation: dropped and counted (P4). */
  reply(reply: Reply): boolean;
  /** Monotonic milliseconds; after it nobody waits any more. */
  readonly deadlineAtMs: number;
}

/** A monitored process has ended. */
export interface Down {
  readonly table: string;
  /** -1: of a name that nobody has. */
  readonly slot: number;
  /** Of the incarnation that ended. */
  readonly generation: number;
  readonly exit: Exit;
}

/**
 * A handler's view of its own process. One object is reused for all processes of a table: use it
 * inside the handler (to its last `await`), never keep it.
 */
export interface ProcessContext<State, Message extends object, Reply = unknown> {
  readonly slot: number;
  /** Rises when the process ends, crashes, is killed or is reset; the same for a whole turn. */
  readonly generation: number;
  readonly table: ProcessTable<State, Message, Reply>;
  /**
   * Undefined: the process may be forgotten at once. It then costs nothing but its row, its timer
   * and the monitors it holds are gone, and the next message rebuilds it by `init`. After an abandoned turn (P11) reads
   * give undefined and writes are refused and counted.
   */
  state: State | undefined;
  /** False in a turn that was abandoned, killed or stopped: nothing it does counts any more. */
  readonly isCurrent: boolean;
  /** Of the call that is handled; undefined in every other handler. */
  readonly deadlineAtMs: number | undefined;
  /** One timer per process: arms it anew. Fires `onTimer` once, never early (P21). */
  setTimer(delayMs: number): void;
  /** As `setTimer`, but any message that is handled before it cancels it (P13). */
  setIdleTimer(delayMs: number): void;
  clearTimer(): void;
  /**
   * Ends the process after this handler; default `normal`. What waits for a spawned one is lost;
   * one that is activated on demand begins anew with it, unless it ended before its first message.
   */
  stop(exit?: QuietExit): void;
  /** `onDown` will tell of its end; goes with this process, also when that is forgotten. */
  monitor(table: Monitorable, slot: number): Monitor;
  /** As the other table's `call`, not longer than the caller of this one waits (P4). */
  call<OtherMessage extends object, OtherReply>(
    table: Callable<OtherMessage, OtherReply>,
    slot: number,
    message: OtherMessage,
    options?: CallOptions,
  ): Promise<CallOutcome<OtherReply>>;
}

/**
 * Turns of one process never overlap (P2). A throw or a rejection is a crash. Return a promise only
 * when there is something to wait for; it must settle within `handlerMaxMs`.
 */
export interface Behaviour<State, Message extends object, Reply = unknown> {
  /**
   * Rebuilds the state from what the table's owner has committed: before the first message and
   * after every crash. No I/O. Undefined: nothing to remember, handlers may still set a state.
   */
  init(slot: number): State | undefined | typeof IGNORE;
  /**
   * Right after `init` gave a state and before any message (P12); after a crash also when no message
   * waits. The place to arm the timer that the rebuilt state needs, or to load more: a promise is a
   * load, of which few run at once (P20). A `LoadError` is no crash.
   */
  onContinue?(context: ProcessContext<State, Message, Reply>): void | Promise<void>;
  onCast?(context: ProcessContext<State, Message, Reply>, message: Message): void | Promise<void>;
  onCall?(
    context: ProcessContext<State, Message, Reply>,
    message: Message,
    from: From<Reply>,
  ): Reply | typeof NO_REPLY | Promise<Reply | typeof NO_REPLY>;
  onTimer?(context: ProcessContext<State, Message, Reply>): void | Promise<void>;
  onDown?(context: ProcessContext<State, Message, Reply>, down: Down): void | Promise<void>;
  /** Asked of a process that had no turn for `idleMs` and no timer armed. True: forget it. */
  mayPassivate?(state: State): boolean;
  /** Best effort; not after a crash or a kill. Must not throw (it is reported, no more). */
  onStop?(slot: number, state: State, exit: QuietExit): void;

  /** A waiting message with the same key is replaced in its place (P14). Undefined: never. */
  coalesceKey?(message: Message): string | undefined;
  /** Asked when the mailbox is full; default `reject`. */
  overflow?(message: Message): Overflow;
  /**
   * Of drop_oldest, or of a process that ended or was ignored before its turn; of one that was killed
   * also what it had begun, of which nobody knows how far it came.
   */
  onDrop?(slot: number, message: Message): void;
  onSpill?(slot: number, message: Message): void;
  /** For the mailbox's limit in bytes; default 0. */
  messageBytes?(message: Message): number;

  /**
   * The message crashed the process `poisonMax` times, or once where a crash is the process's end,
   * and will not be tried again (S41).
   */
  onDeadLetter?(slot: number, message: Message, cause: unknown): void;
  /** `waiting` are handed back, oldest first; they will not be handled (S40). */
  onQuarantine?(slot: number, waiting: readonly Message[], cause: unknown): void;
  /** The process may run again: after the automatic retry's delay, or an operator's `reset`. */
  onRelease?(slot: number): void;
}

/** Thrown by `onContinue`: what it needs could not be had. Tried again, not held against it (S41). */
export class LoadError extends Error {
  override readonly name = "LoadError";
}
