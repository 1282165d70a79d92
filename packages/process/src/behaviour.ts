// packages/process/src/behaviour.ts
// What a process does, and what its owner and its handlers can ask: the public types.

/** Where a message waits. `control` has its own places and is served first (P14). */
export type Lane = "normal" | "control";

/**
 * `overloaded` is backpressure: the mailbox is full, nothing was kept. `quarantined`: the process
 * crashed too often and takes nothing for now (S40). `stopped`: the table drains or has stopped.
 */
export type SendOutcome = "accepted" | "overloaded" | "quarantined" | "stopped";
export type Refusal = Exclude<SendOutcome, "accepted">;

/** A Bitset, an array, a typed array or a Set of slots. */
export interface Slots {
  forEach(visit: (slot: number) => void): void;
}

/**
 * A handler's view of its own process. One object is reused for all processes of a table: use it
 * inside the handler (to its last `await`), never keep it.
 */
export interface ProcessContext<State, Message extends object> {
  readonly slot: number;
  /** Rises when the process crashes, is killed or is reset; the same for a whole turn. */
  readonly generation: number;
  readonly table: ProcessTable<State, Message>;
  /**
   * Undefined: the process may be forgotten at once. It then costs nothing but its row, its timer
   * is cancelled, and the next message rebuilds it by `init`. After an abandoned turn (P11) reads
   * give undefined and writes are refused and counted.
   */
  state: State | undefined;
  /** False in a turn that was abandoned, killed or stopped: nothing it does counts any more. */
  readonly isCurrent: boolean;
  /** One timer per process: arms it anew. Fires `onTimer` once, never early (P21). */
  setTimer(delayMs: number): void;
  /** As `setTimer`, but any message that is handled before it cancels it (P13). */
  setIdleTimer(delayMs: number): void;
  clearTimer(): void;
}

/**
 * Turns of one process never overlap (P2). A throw or a rejection is a crash. Return a promise only
 * when there is something to wait for; it must settle within `handlerMaxMs`.
 */
export interface Behaviour<State, Message extends object> {
  /**
   * Rebuilds the state from what the table's owner has committed: before the first message and
   * after every crash. No I/O. Undefined: nothing to remember, handlers may still set a state.
   */
  init(slot: number): State | undefined;
  /**
   * Right after `init` gave a state and before any message (P12); after a crash also when no message
   * waits. The place to arm the timer that the rebuilt state needs, or to load more.
   */
  onContinue?(context: ProcessContext<State, Message>): void | Promise<void>;
  onMessage(context: ProcessContext<State, Message>, message: Message): void | Promise<void>;
  onTimer?(context: ProcessContext<State, Message>): void | Promise<void>;
  /** Asked of a process that had no turn for `idleMs` and no timer armed. True: forget it. */
  mayPassivate?(state: State): boolean;
  /** Best effort; not after a crash or a kill. Must not throw (it is reported, no more). */
  onStop?(slot: number, state: State, reason: "passivated" | "stopped"): void;
  /** The message crashed the process `poisonMax` times and will not be tried again (S41). */
  onDeadLetter?(slot: number, message: Message, cause: unknown): void;
  /** `waiting` are handed back, oldest first; they will not be handled (S40). */
  onQuarantine?(slot: number, waiting: readonly Message[], cause: unknown): void;
  /** The process may run again: after the automatic retry's delay, or an operator's `reset`. */
  onRelease?(slot: number): void;
}

export type ProcessPhase =
  | "idle" // nothing to do; with or without a state
  | "queued"
  | "running"
  | "backing_off"
  | "quarantined"
  | "stopped";

export interface ProcessInspection<State> {
  readonly slot: number;
  readonly phase: ProcessPhase;
  readonly generation: number;
  /** In quarantine: the state that it crashed with. */
  readonly state: State | undefined;
  readonly waitingCount: number;
  readonly isTimerArmed: boolean;
  readonly recentCrashCount: number;
  /** Until it runs or is released again; undefined when it does not wait for that. */
  readonly retryInMs: number | undefined;
}

export type DrainOutcome =
  | { readonly kind: "drained" }
  | { readonly kind: "timeout"; readonly waitingCount: number; readonly busyCount: number };

/** The processes of one partition, addressed by slot 0, 1, 2 … (a recipient's dense index). */
export interface ProcessTable<State, Message extends object> {
  readonly name: string;
  readonly residentCount: number;
  /** Waiting messages of all its processes. */
  readonly waitingCount: number;
  readonly isStopped: boolean;
  /** Never waits. Order of acceptance is kept per process and lane (P1). */
  send(slot: number, message: Message, lane?: Lane): SendOutcome;
  /** One shared message to many: returns how many accepted; the others are told to `onRefused`. */
  sendEach(
    slots: Slots,
    message: Message,
    onRefused?: (slot: number, why: Refusal) => void,
  ): number;
  stateOf(slot: number): State | undefined;
  generationOf(slot: number): number;
  inspect(slot: number): ProcessInspection<State>;
  /** Resident processes in ascending order of slot. */
  forEachResident(visit: (slot: number, state: State) => void): void;
  /**
   * Forgets the process now: state, timer, waiting messages; a running handler is abandoned and
   * `onStop` is not called (P11). Makes one crash report when there was anything. Returns the
   * number of messages lost. The next message starts it anew, also out of quarantine.
   */
  kill(slot: number): number;
  /** Ends a back-off or a quarantine at once and forgives all crashes. False: there was none. */
  reset(slot: number): boolean;
  /** Accepts nothing more and finishes what was accepted. Never rejects; safe to call twice. */
  drain(maxMs: number): Promise<DrainOutcome>;
  /** Drops everything; running handlers are abandoned. Safe to call twice. */
  stop(): void;
}

export type CrashReason = "error" | "killed" | "handler_timeout";

/** One per crash (P10). Carries no state and no message, so that it may be logged. */
export interface CrashReport {
  readonly table: string;
  readonly slot: number;
  readonly reason: CrashReason;
  readonly during: "init" | "continue" | "message" | "timer" | "idle";
  /** The message's `kind`, when it has one that is a text. */
  readonly messageKind: string | undefined;
  readonly cause: unknown;
  readonly recentCrashCount: number;
  readonly next: "retry" | "dead_letter" | "quarantine" | "forgotten";
  /** Until the retry, or the release from quarantine; 0 when there is nothing to wait for. */
  readonly delayMs: number;
}

/** Logged and counted by the node; the owner's part is in the behaviour. */
export interface RuntimeObserver {
  onCrash?(report: CrashReport): void;
  onQuarantine?(report: CrashReport): void;
  onDeadLetter?(report: CrashReport): void;
  /** A callback that must not throw did: onStop, onDeadLetter, a slice listener. Also counted. */
  onCallbackError?(callback: string, cause: unknown): void;
}

export interface RuntimeLimits {
  /** Waiting messages per process; a 257th is refused. Source: spec P14. */
  readonly mailboxMax: number;
  /** Further places for the control lane. */
  readonly controlMax: number;
  /** Messages of one process before the next one has its turn. */
  readonly turnMessagesMax: number;
  /** Then I/O gets the thread. */
  readonly sliceMs: number;
  /** The clock is read once in so many messages. */
  readonly sliceCheckCount: number;
  /** An async handler is abandoned after this; it counts as a crash. */
  readonly handlerMaxMs: number;
  /** More crashes than this inside `crashWindowMs` lead to quarantine. */
  readonly crashMax: number;
  readonly crashWindowMs: number;
  /** So many crashes by one message dead-letter it. */
  readonly poisonMax: number;
  readonly backoffBaseMs: number;
  readonly backoffFactor: number;
  readonly backoffJitterShare: number;
  readonly quarantineMs: number;
  readonly quarantineMaxMs: number;
  /** A resident process without a turn for so long is asked whether it may passivate. */
  readonly idleMs: number;
}

export const DEFAULT_RUNTIME_LIMITS: RuntimeLimits = {
  mailboxMax: 256,
  controlMax: 32,
  turnMessagesMax: 16,
  sliceMs: 3,
  sliceCheckCount: 32,
  handlerMaxMs: 30_000,
  crashMax: 3,
  crashWindowMs: 60_000,
  poisonMax: 3,
  backoffBaseMs: 100,
  backoffFactor: 4,
  backoffJitterShare: 0.5,
  quarantineMs: 300_000,
  quarantineMaxMs: 3_600_000,
  idleMs: 60_000,
};

export interface RuntimeStats {
  readonly residentCount: number; // processes with a state
  readonly busyCount: number; // async handlers that have not settled
  readonly queuedCount: number; // processes in the ready queue
  readonly waitingCount: number; // messages in mailboxes
  readonly quarantinedCount: number;
  readonly timersCount: number;
  readonly handledTotal: number; // messages and timers that went through
  readonly crashesTotal: number;
  readonly restartsTotal: number; // ends of a back-off or a quarantine
  readonly deadLetteredTotal: number;
  readonly refusedTotal: number; // sends
  readonly staleWritesTotal: number; // state written by an abandoned turn
  readonly callbackErrorsTotal: number; // callbacks that must not throw and did
  /** Longest stretch of the thread between two looks at the clock; since the last `stats()`. */
  readonly longestTurnMs: number;
}

export interface TableOptions<State, Message extends object> {
  readonly name: string;
  readonly behaviour: Behaviour<State, Message>;
  /** Slots to make room for at once; grows with use. */
  readonly capacityCount?: number;
}

/** The process runtime of one thread. */
export interface ProcessRuntime {
  createTable<State, Message extends object>(
    options: TableOptions<State, Message>,
  ): ProcessTable<State, Message>;
  /**
   * Called after each slice of turns, before I/O gets the thread: the place to flush what the
   * turns have put out. Returns what removes the listener.
   */
  onSliceEnd(listener: () => void): () => void;
  stats(): RuntimeStats;
  /** Accepts nothing more and finishes what was accepted in all tables. Safe to call twice. */
  drain(maxMs: number): Promise<DrainOutcome>;
  /** Stops all tables. Safe to call twice. */
  stop(): void;
}
