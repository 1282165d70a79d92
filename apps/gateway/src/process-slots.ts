// apps/gateway/src/process-slots.ts
// The processes of one kind (sessions, connections) of this gateway: each is about one occupant,
// which has a slot of the table from `spawn` to its process's end. Invariants:
//   GW29  What is thrown for an occupant ends its process only, in a turn of its own, and is told
//         once by `onCrash`; a quiet end is told once by `onStop` (W11).
//   GW30  A slot is dealt out again only when its process has ended; slots are not more than the
//         most occupants that were there at once, and what began within one turn of the loop.
//   GW33  A process is found by its key, also in quarantine. An operator's look-up compares all (7 to
//         31 ms of 120,000, 2026-11); an index would cost each session, and nobody else asks.
import {
  type CastOutcome,
  type CrashReport,
  IGNORE,
  NORMAL,
  type ProcessContext,
  type ProcessRuntime,
  type ProcessTable,
} from "@carillon/process";

export const NO_SLOT = -1;

/** What a process is about. `slot` belongs to ProcessSlots. */
export interface Occupant {
  slot: number; // NO_SLOT: it has no process
  /** For people: who it is, and nothing of what it says. */
  readonly processKey: string;
}

/** `bytes`: of the mailbox's limit. */
export interface SlotMessage {
  readonly kind: string;
  readonly bytes: number;
}

export interface SlotBehaviour<O extends Occupant, M extends SlotMessage> {
  onCast(occupant: O, message: M, context: Pick<Context<O, M>, "setTimer">): void | Promise<void>;
  onTimer?(occupant: O): void;
  /** It waited when its process ended, and was not handled. */
  onDrop?(message: M): void;
  /** The process has ended quietly: closes what the occupant holds. */
  onStop(occupant: O): void;
  /** The process has crashed, or was killed or quarantined. */
  onCrash(occupant: O, report: CrashReport): void;
}

type Context<O, M extends object> = ProcessContext<O, M | Failure>;

/** Something has thrown for an occupant outside of its turns; its next turn throws it again. */
class Failure {
  readonly bytes = 0;
  readonly kind: string;
  readonly cause: unknown;
  constructor(kind: string, cause: unknown) {
    this.kind = kind;
    this.cause = cause;
  }
}

export class ProcessSlots<O extends Occupant, M extends SlotMessage> {
  readonly #table: ProcessTable<O, M | Failure>;
  readonly #behaviour: SlotBehaviour<O, M>;
  readonly #occupants: (O | undefined)[] = []; // by slot
  readonly #free: number[] = [];
  readonly #failed = new Set<number>(); // slots whose Failure waits for its turn
  readonly #quarantinedKeys = new Map<number, string>(); // slots that wait for their release

  constructor(runtime: ProcessRuntime, name: string, behaviour: SlotBehaviour<O, M>) {
    this.#behaviour = behaviour;
    this.#table = runtime.createTable<O, M | Failure>({
      name,
      activation: "spawned",
      restart: "temporary", // its client begins it anew: phx_error, then phx_join
      keyOf: (slot) => this.#occupants[slot]?.processKey ?? this.#quarantinedKeys.get(slot),
      slotOf: (key) => this.#slotOf(key),
      behaviour: {
        init: (slot) => this.#occupants[slot] ?? IGNORE,
        messageBytes: (message) => message.bytes,
        onCast: (context, message) => this.#onCast(context, message),
        onTimer({ state }) {
          if (state !== undefined) behaviour.onTimer?.(state);
        },
        onDrop(_, message) {
          if (!(message instanceof Failure)) behaviour.onDrop?.(message);
        },
        onStop: (slot) => this.#onStop(slot),
        onRelease: (slot) => this.#onRelease(slot),
      },
    });
  }

  get name(): string {
    return this.#table.name;
  }

  /** False: the gateway has stopped. */
  spawn(occupant: O): boolean {
    const freed = this.#free.pop();
    if (freed !== undefined) {
      if (this.#begin(freed, occupant)) return true;
      this.#free.push(freed); // its last process has ended, and is about to leave the ready queue
    }
    return this.#begin(this.#occupants.length, occupant);
  }

  cast(occupant: O, message: M): CastOutcome {
    return occupant.slot === NO_SLOT ? "noproc" : this.#table.cast(occupant.slot, message);
  }

  /** What was done for the occupant outside of a turn has thrown: its process crashes (GW29). */
  fail(occupant: O, kind: string, cause: unknown): void {
    const { slot } = occupant;
    if (slot === NO_SLOT || this.#failed.has(slot)) return;
    this.#failed.add(slot);
    this.#table.cast(slot, new Failure(kind, cause), "control");
  }

  /** Ends its process quietly; one that has failed crashes all the same, soon. */
  exit({ slot }: O): void {
    if (slot !== NO_SLOT && !this.#failed.has(slot)) this.#table.exit(slot, NORMAL);
  }

  /** For the runtime's observer. */
  onCrash(report: CrashReport): void {
    const { slot, key } = report;
    const occupant = this.#occupants[slot];
    if (occupant === undefined) return;
    const isQuarantined = report.reason === "quarantined";
    if (isQuarantined) this.#quarantinedKeys.set(slot, key);
    this.#vacate(slot, occupant, !isQuarantined);
    this.#behaviour.onCrash(occupant, report);
  }

  #slotOf(key: string): number | undefined {
    if (key.startsWith("#")) return undefined; // a slot by its number: nobody is called so
    const slot = this.#occupants.findIndex((occupant) => occupant?.processKey === key);
    if (slot !== NO_SLOT) return slot;
    for (const [quarantined, itsKey] of this.#quarantinedKeys)
      if (itsKey === key) return quarantined;
    return undefined;
  }

  #begin(slot: number, occupant: O): boolean {
    this.#occupants[slot] = occupant;
    if (this.#table.spawn(slot).kind === "started") {
      occupant.slot = slot;
      return true;
    }
    this.#occupants[slot] = undefined;
    return false;
  }

  #onCast(context: Context<O, M>, message: M | Failure): void | Promise<void> {
    if (message instanceof Failure) throw message.cause;
    if (context.state !== undefined) return this.#behaviour.onCast(context.state, message, context);
  }

  #onStop(slot: number): void {
    const occupant = this.#occupants[slot];
    if (occupant === undefined) return;
    this.#vacate(slot, occupant, true);
    this.#behaviour.onStop(occupant);
  }

  /** A process that was quarantined is over: its occupant was told then. */
  #onRelease(slot: number): void {
    this.#table.exit(slot);
    this.#quarantinedKeys.delete(slot);
    this.#free.push(slot);
  }

  #vacate(slot: number, occupant: O, isFree: boolean): void {
    occupant.slot = NO_SLOT;
    this.#occupants[slot] = undefined;
    this.#failed.delete(slot);
    if (isFree) this.#free.push(slot);
  }
}
