// test/sim/poison.ts
// A recipient whose handler throws, as a bug in the product's code would have it: the worker's clock
// throws when it is asked for the time in a turn of that recipient's process. Which process runs is told
// by the pulse that a watchdog has. `init` does not ask for the wall clock; everything else does.
import type { Clock } from "@carillon/kernel";
import type { TurnPulse } from "@carillon/process";
import type { Machine } from "./machine.ts";
import type { Device } from "./people.ts";
import type { SimNode } from "./node.ts";
import type { Dice } from "./world.ts";

export interface Victim {
  readonly device: Device;
  readonly index: number;
}

export class Poison {
  readonly victim: Victim;
  readonly #table: string;
  readonly #dice: Dice;
  /** Of its turns: in each of them everything throws, or nothing. */
  readonly #share: number;
  #isOn = false;
  /** What was meant for the victim before that may fail. */
  endedAtMs = Infinity;

  constructor(victim: Victim, { dice, share }: { readonly dice: Dice; readonly share: number }) {
    this.victim = victim;
    this.#table = `${victim.device.identity.home}/${victim.device.partition}`;
    this.#dice = dice;
    this.#share = share;
  }

  begin(): void {
    this.#isOn = true;
  }

  /** The bug is mended, and an operator has reset its process wherever it is in quarantine. */
  end(nowMs: number, nodes: readonly SimNode[]): void {
    this.#isOn = false;
    this.endedAtMs = nowMs;
    for (const { worker } of nodes)
      for (const table of worker?.runtime?.tables() ?? [])
        if (table.name === this.#table) table.reset(this.victim.index);
  }

  /** What a worker is given in place of the machine's clock, and the pulse that belongs to it. */
  partsOf(machine: Machine): { readonly clock: Clock; readonly pulse: TurnPulse } {
    const names: string[] = [];
    let isVictims = false;
    const { monotonicMs, setTimer, sleep } = machine;
    const wallClockMs = (): number => {
      if (isVictims) throw new Error("poison");
      return machine.wallClockMs();
    };
    return {
      clock: { monotonicMs, setTimer, sleep, wallClockMs },
      pulse: {
        newTableId: () => names.push("") - 1,
        nameTable: (tableId, name) => void (names[tableId] = name),
        forgetTable: () => undefined,
        enter: (tableId, slot) => {
          isVictims =
            this.#isOn &&
            slot === this.victim.index &&
            names[tableId] === this.#table &&
            this.#dice.isHit(this.#share);
        },
        leave: () => void (isVictims = false),
      },
    };
  }
}
