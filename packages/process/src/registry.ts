// packages/process/src/registry.ts
// Processes found by a text: keys over the slots of a table. A key is free again when its process is
// forgotten or has ended (P7); its slot is used again by another key, with a higher generation.
//   RG1  One key has one slot at most, and one slot one key.
//   RG2  A slot is given away only when nothing of its process is left: no state, message, turn,
//        timer or memory of a crash.
import type { Behaviour, Down, Lane } from "./behaviour.ts";
import { downOf } from "./endings.ts";
import { NOPROC, type QuietExit } from "./exit.ts";
import { KeyIndex } from "./key-index.ts";
import type { ProcessRuntime } from "./runtime.ts";
import type {
  CallOptions,
  CallOutcome,
  CastOutcome,
  Monitor,
  ProcessInspection,
  ProcessTable,
  SpawnOutcome,
  TableOptions,
} from "./table-api.ts";
import type { Table } from "./table.ts";

const NO_SLOT = -1;

export interface RegistryOptions<State, Message extends object, Reply> extends Omit<
  TableOptions<State, Message, Reply>,
  "behaviour" | "keyOf" | "slotOf"
> {
  /** Handlers see slots; `registry.keyOf(slot)` is the name. */
  readonly behaviour: (
    registry: Registry<State, Message, Reply>,
  ) => Behaviour<State, Message, Reply>;
}

export class Registry<State, Message extends object, Reply = unknown> {
  readonly #table: ProcessTable<State, Message, Reply>;
  readonly #isOnDemand: boolean;
  readonly #keys: (string | undefined)[] = [];
  readonly #slots: KeyIndex;
  readonly #free: number[] = [];
  /** Slots whose process was forgotten; they may have work again before they are looked at. */
  readonly #forgotten: number[] = [];

  constructor(runtime: ProcessRuntime, options: RegistryOptions<State, Message, Reply>) {
    this.#isOnDemand = options.activation !== "spawned";
    this.#table = runtime.createTable({
      ...options,
      behaviour: options.behaviour(this),
      keyOf: (slot) => this.#keys[slot],
      slotOf: (key) => this.#slots.get(key),
    });
    const { core } = this.#table as Table<State, Message, Reply>;
    this.#slots = new KeyIndex(this.#keys, core.engine.random);
    core.onForgotten = (slot) => this.#noteForgotten(slot);
    core.onSlice = () => this.#release();
  }

  /** The processes by slot, for what this class does not offer. */
  get table(): ProcessTable<State, Message, Reply> {
    return this.#table;
  }

  get size(): number {
    return this.#slots.size;
  }

  /** Undefined: nobody has that name. */
  whereis(key: string): number | undefined {
    return this.#slots.get(key);
  }

  keyOf(slot: number): string | undefined {
    return this.#keys[slot];
  }

  /** In the order of their slots. */
  *keys(): IterableIterator<string> {
    for (const key of this.#keys) if (key !== undefined) yield key;
  }

  spawn(key: string): SpawnOutcome {
    const slot = this.#slotFor(key);
    const outcome = this.#table.spawn(slot);
    if (outcome.kind === "started") this.#noteForgotten(slot); // it may have nothing to remember
    else if (outcome.kind !== "already_started") this.#releaseIfOver(slot); // P5: the name is free
    return outcome;
  }

  /** Of a registry that activates on demand, the first message begins the process. */
  cast(key: string, message: Message, lane?: Lane): CastOutcome {
    const known = this.#slots.get(key);
    if (known !== undefined) return this.#table.cast(known, message, lane);
    return this.#isOnDemand
      ? this.#withNew(key, (slot) => this.#table.cast(slot, message, lane))
      : "noproc";
  }

  call(key: string, message: Message, options?: CallOptions): Promise<CallOutcome<Reply>> {
    const known = this.#slots.get(key);
    if (known !== undefined) return this.#table.call(known, message, options);
    return this.#isOnDemand
      ? this.#withNew(key, (slot) => this.#table.call(slot, message, options))
      : Promise.resolve({ kind: "exit", exit: NOPROC }); // P3
  }

  /** Of a name that nobody has, DOWN tells `noproc`, soon, with the slot -1 (P8). */
  monitor(key: string, watcher: (down: Down) => void): Monitor {
    const slot = this.#slots.get(key);
    if (slot !== undefined) return this.#table.monitor(slot, watcher);
    const { core } = this.#table as Table<State, Message, Reply>;
    return core.monitors.addToNobody(downOf(core, NO_SLOT, NOPROC), watcher);
  }

  exit(key: string, exit?: QuietExit): boolean {
    const slot = this.#slots.get(key);
    return slot !== undefined && this.#table.exit(slot, exit);
  }

  kill(key: string): number {
    const slot = this.#slots.get(key);
    return slot === undefined ? 0 : this.#table.kill(slot);
  }

  inspect(key: string): ProcessInspection<State> | undefined {
    const slot = this.#slots.get(key);
    return slot === undefined ? undefined : this.#table.inspect(slot);
  }

  #slotFor(key: string): number {
    const known = this.#slots.get(key);
    if (known !== undefined) return known;
    const slot = this.#free.pop() ?? this.#keys.length;
    this.#keys[slot] = key;
    this.#slots.add(key, slot);
    return slot;
  }

  /** The name is free again when the message was not taken. */
  #withNew<Outcome>(key: string, send: (slot: number) => Outcome): Outcome {
    const slot = this.#slotFor(key);
    try {
      return send(slot);
    } finally {
      this.#releaseIfOver(slot);
    }
  }

  #noteForgotten(slot: number): void {
    this.#forgotten.push(slot);
    (this.#table as Table<State, Message, Reply>).core.wantSliceEnd();
  }

  /** At a slice's end. */
  #release(): void {
    if (this.#forgotten.length === 0) return;
    for (const slot of this.#forgotten.splice(0)) this.#releaseIfOver(slot);
  }

  #releaseIfOver(slot: number): void {
    const { core } = this.#table as Table<State, Message, Reply>;
    const key = this.#keys[slot];
    if (key === undefined || !core.isOver(slot)) return;
    this.#slots.delete(key);
    this.#keys[slot] = undefined;
    this.#free.push(slot);
    core.rows.generation[slot] = (core.rows.generation[slot] ?? 0) + 1;
  }
}
