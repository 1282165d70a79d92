// packages/delivery/src/node-sweep.ts
// Every `sweepEveryMs`: finds what lost pokes left behind, gives refused recipients what they were refused,
// and reads what has no poke (policies).
import type { Clock, Timer } from "@carillon/kernel";
import type { DeliveryLimits } from "./delivery-limits.ts";
import type { Intake } from "./intake.ts";
import type { Partition } from "./partition.ts";
import type { LedgerStore } from "./ports.ts";
import type { ShelfReader } from "./shelf-reader.ts";
import type { TenantRulesBook } from "./tenant-rules-book.ts";

export interface NodeSweepDeps {
  readonly home: string;
  readonly store: Pick<LedgerStore, "readHeads">;
  readonly clock: Clock;
  readonly limits: Pick<DeliveryLimits, "sweepEveryMs" | "graceMs">;
  readonly intake: Pick<Intake, "onHead">;
  readonly rules: Pick<TenantRulesBook, "refresh">;
  readonly shelves: Pick<ShelfReader, "sweep">;
  /** By number, those that are being loaded, too. */
  partitions(): ReadonlyMap<number, Partition>;
  readonly onFault: (cause: unknown) => void;
  readonly onCrash: (cause: unknown) => void;
}

export class NodeSweep {
  readonly #deps: NodeSweepDeps;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(deps: NodeSweepDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { clock, limits, onCrash } = this.#deps;
    const sweep = (): void => {
      if (this.#isStopped) return;
      this.#sweep()
        .finally(() => {
          if (!this.#isStopped) this.#timer = clock.setTimer(limits.sweepEveryMs, sweep);
        })
        .catch(onCrash);
    };
    sweep();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  async #sweep(): Promise<void> {
    const { home, store, clock, limits, intake, rules, shelves, onFault } = this.#deps;
    const numbers = [...this.#deps.partitions().keys()];
    if (numbers.length === 0) return;
    const nowMs = clock.monotonicMs();
    for (const partition of this.#deps.partitions().values()) {
      partition.sessions.forgetClosed(nowMs - limits.graceMs);
      partition.resumeSpilled();
    }
    shelves.sweep();
    await rules.refresh().catch(onFault);
    try {
      for (const head of await store.readHeads(home, numbers)) {
        const partition = this.#deps.partitions().get(head.partition);
        if (partition?.isLoading === false) intake.onHead(partition, head);
      }
    } catch (cause) {
      onFault(cause);
    }
  }
}
