// packages/process/src/table-api.ts
// What the owner of a table of processes can do with it: the public types.
import type { Behaviour, Down, Lane } from "./behaviour.ts";
import type { Exit, QuietExit } from "./exit.ts";

/**
 * Why a message was not taken. `overloaded`: the mailbox is full (backpressure). `spilled`: full, and
 * the message was handed to `onSpill`. `quarantined`: the process crashed too often (S40). `paused`:
 * too many of the table's processes crash (S41). `noproc`: never spawned. `stopped`: the table
 * drains or has stopped. Nothing was kept in any of these cases.
 */
export type Refusal = "overloaded" | "spilled" | "quarantined" | "paused" | "noproc" | "stopped";
export type CastOutcome = "accepted" | Refusal;

export type CallOutcome<Reply> =
  | { readonly kind: "reply"; readonly reply: Reply }
  | { readonly kind: "timeout" } // the process lives, and may have done it
  | { readonly kind: Exclude<Refusal, "noproc"> }
  | { readonly kind: "load_failed"; readonly cause: unknown }
  /** It ended before it answered: `noproc`, `killed`, `noconnection`, `error` … */
  | { readonly kind: "exit"; readonly exit: Exit };

export interface CallOptions {
  readonly timeoutMs?: number; // default: limits.callMs, 5,000
  /** Of the call that is being handled: this one ends no later (P4). Monotonic milliseconds. */
  readonly deadlineAtMs?: number | undefined;
  readonly lane?: Lane;
}

/** An incarnation of a process. */
export interface Ref {
  readonly slot: number;
  readonly generation: number;
}

export type SpawnOutcome =
  | { readonly kind: "started"; readonly ref: Ref }
  | { readonly kind: "already_started"; readonly ref: Ref }
  | { readonly kind: "ignored" } // `init` answered IGNORE
  | { readonly kind: "failed"; readonly error: unknown } // `init` threw
  | { readonly kind: "quarantined" }
  | { readonly kind: "stopped" };

/** A DOWN that has not been told yet is taken back too: OTP's demonitor with flush (P8). */
export interface Monitor {
  demonitor(): void;
}

export interface Monitorable {
  /** Tells once when this incarnation ends; at once, with `noproc`, when there is none (P8). */
  monitor(slot: number, watcher: (down: Down) => void): Monitor;
}

export interface Callable<Message extends object, Reply> {
  /** Never rejects. At its deadline the caller gets `timeout` and a later reply is dropped (P4). */
  call(slot: number, message: Message, options?: CallOptions): Promise<CallOutcome<Reply>>;
}

/** A Bitset, an array, a typed array or a Set of slots. */
export interface Slots {
  forEach(visit: (slot: number) => void): void;
}

export type ProcessPhase =
  | "absent" // not spawned
  | "idle" // nothing to do; with or without a state
  | "queued"
  | "running"
  | "loading" // waits for its turn to load
  | "backing_off"
  | "quarantined"
  | "stopped";

export interface ProcessInspection<State> {
  readonly slot: number;
  /** How a person calls it: `keyOf`, otherwise the slot. */
  readonly key: string;
  readonly phase: ProcessPhase;
  readonly generation: number;
  /** In quarantine: the state that it crashed with. */
  readonly state: State | undefined;
  readonly waitingCount: number;
  readonly waitingBytes: number;
  readonly isTimerArmed: boolean;
  /**
   * Its generation: how often it began anew since the table was made, after ends, crashes, kills,
   * resets and failed loads; a registry's slot also when another name got it.
   */
  readonly restartCount: number;
  readonly recentCrashCount: number;
  readonly lastError: string | undefined; // while it is remembered as crashing
  /** What it handles now, or crashed on: "cast publish", "timer", "continue" … */
  readonly current: string | undefined;
  /** Since it has a state; undefined: it has none. Resolution 0.1 s. */
  readonly ageMs: number | undefined;
  /** Until it runs or is released again; undefined when it does not wait for that. */
  readonly retryInMs: number | undefined;
}

export interface TableSums {
  readonly name: string;
  readonly residentCount: number;
  readonly waitingCount: number;
  readonly busyCount: number;
  readonly crashedCount: number; // remembered as crashing lately
  readonly quarantinedCount: number;
  readonly isPaused: boolean;
}

export type DrainOutcome =
  | { readonly kind: "drained" }
  | { readonly kind: "timeout"; readonly waitingCount: number; readonly busyCount: number };

export interface TableOptions<State, Message extends object, Reply = unknown> {
  readonly name: string;
  readonly behaviour: Behaviour<State, Message, Reply>;
  /** Slots to make room for at once; grows with use. */
  readonly capacityCount?: number;
  /**
   * `on_demand` (default): every slot has its process, which begins with its first message (Orleans'
   * grains). `spawned`: only those that were spawned and have not ended (OTP).
   */
  readonly activation?: "on_demand" | "spawned";
  /** `permanent` (default): restarted after a crash, S40. `temporary`: a crash ends it. */
  readonly restart?: "permanent" | "temporary";
  /** For reports and inspection. */
  readonly keyOf?: (slot: number) => string | undefined;
  /** The other way round: operators name processes by their key. */
  readonly slotOf?: (key: string) => number | undefined;
}

/** The processes of one partition, addressed by slot 0, 1, 2 … (a recipient's dense index). */
export interface ProcessTable<State, Message extends object, Reply = unknown>
  extends Monitorable, Callable<Message, Reply> {
  readonly name: string;
  readonly residentCount: number;
  /** Waiting messages of all its processes. */
  readonly waitingCount: number;
  readonly isStopped: boolean;
  /** S41: too many of its processes crashed; nothing runs, the normal lane refuses. */
  readonly isPaused: boolean;

  /** Starts the process now: `init` runs before it answers, `onContinue` soon. */
  spawn(slot: number): SpawnOutcome;
  /** Never waits. Order of acceptance is kept per process and lane (P1). */
  cast(slot: number, message: Message, lane?: Lane): CastOutcome;
  /** One shared message to many: returns how many accepted; the others are told to `onRefused`. */
  castEach(
    slots: Slots,
    message: Message,
    onRefused?: (slot: number, why: Refusal) => void,
  ): number;
  /**
   * Asks a process to end: its running handler finishes, `onStop` is called, what waits in a
   * spawned one is lost (`onDrop`, calls get `exit`); one on demand begins anew with it, unless it
   * had not handled anything and was in `onContinue` still. False: there was none.
   */
  exit(slot: number, exit?: QuietExit): boolean;
  /**
   * Forgets the process now: state, timer, waiting messages; a running handler is abandoned and
   * `onStop` is not called (P11). Makes one crash report when there was anything. Messages are
   * lost, as with OTP's `exit(Pid, kill)`, whatever `overflow` says: counted as dropped and told to
   * `onDrop`, first the one that was begun (not what `onDrop` itself sends and kills). Returns how
   * many, calls among them, which get `exit`. The next message starts it anew, also out of quarantine.
   */
  kill(slot: number): number;

  isAlive(ref: Ref): boolean;
  stateOf(slot: number): State | undefined;
  generationOf(slot: number): number;
  inspect(slot: number): ProcessInspection<State>;
  /** Resident processes in ascending order of slot. */
  forEachResident(visit: (slot: number, state: State) => void): void;
  /** By key; `#17` is the slot 17, as is `17` in a table whose processes have no keys. */
  find(key: string): number | undefined;
  /** Those that are not idle, at most `limitCount`. Cost: looks at every slot. */
  active(limitCount: number): ProcessInspection<State>[];
  /** Those that are in quarantine, at most `limitCount`. */
  quarantined(limitCount: number): ProcessInspection<State>[];
  sums(): TableSums;

  /**
   * An operator's, or the watchdog's: no message for it until `reset` or the automatic retry: after
   * `forMs`, by default as an automatic one, `quarantineMs` and twice as long each time in a row.
   */
  quarantine(slot: number, cause: unknown, forMs?: number): void;
  /** Ends a back-off or a quarantine at once and forgives all crashes. False: there was none. */
  reset(slot: number): boolean;
  /** Ends a pause at once. False: there was none. */
  resume(): boolean;

  /** Accepts nothing more and finishes what was accepted. Never rejects; safe to call twice. */
  drain(maxMs: number): Promise<DrainOutcome>;
  /** Drops everything; running handlers are abandoned. Safe to call twice. Default: `shutdown`. */
  stop(exit?: Exit): void;
}
