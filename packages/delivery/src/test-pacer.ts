// packages/delivery/src/test-pacer.ts
// A pacer for tests, with the real process runtime, whose slices run when the test says so; it notes which turns come
// in which order.
import { createSeededRandom, type Scheduler } from "@carillon/kernel";
import { createRuntime } from "@carillon/process";
import { FakeClock } from "@carillon/testkit";
import type { LedgerEntry } from "./ledger-entry.ts";
import { Pacer, type PacerDeps } from "./pacer.ts";
import { Partition } from "./partition.ts";
import type { RecipientEvent, RecipientState } from "./recipient-decision.ts";

interface Turned {
  readonly partition: number;
  readonly index: number;
  readonly entry: LedgerEntry;
}

interface StartOptions {
  turnsMax?: number;
  quantumCount?: number;
  ratedRowsMax?: number;
  paceOf?: PacerDeps["paceOf"];
  onTurn?: (turned: Turned) => void;
}

export function startPacer({
  turnsMax = 4,
  quantumCount = 2,
  ratedRowsMax = 100,
  paceOf = () => undefined,
  onTurn,
}: StartOptions = {}) {
  const deferred: (() => void)[] = [];
  const scheduler: Scheduler = { defer: (run) => void deferred.push(run) };
  const clock = new FakeClock();
  const runtime = createRuntime({ clock, scheduler, random: createSeededRandom(1) });
  const turns: string[] = []; // offset→index, in the order of turns
  const createPartition = (number: number): Partition =>
    new Partition(
      {
        partition: number,
        epoch: 1,
        ledgerEpoch: "e",
        knownOffset: 0,
        graceEndsAtMs: 0,
        tailMax: 10,
        tailMaxBytes: 1e9,
        ownRowsMax: 64,
      },
      () =>
        runtime.createTable<RecipientState, RecipientEvent>({
          name: `t/${number}`,
          behaviour: {
            init: () => undefined,
            onCast: ({ slot }, event) => {
              if (event.kind !== "entry") return;
              turns.push(`${event.entry.offset}→${slot}`);
              onTurn?.({ partition: number, index: slot, entry: event.entry });
            },
          },
        }),
    );
  const limits = { turnsMax, quantumCount, ratedRowsMax };
  const pacer = new Pacer({
    ...{ home: "fra", clock, scheduler, limits, paceOf },
    runnableCount: () => runtime.runnableCount(),
  });
  runtime.onSliceEnd(() => pacer.onSliceEnd());
  /** Of the turns that are to come: at most this many at a time so far. */
  let turnsToComeMax = 0;
  const offer = (partition: Partition, entry: LedgerEntry): void => {
    partition.adopt(entry);
    partition.handedOffset = entry.offset;
    pacer.offer(partition, entry);
    turnsToComeMax = Math.max(turnsToComeMax, runtime.runnableCount());
  };
  /** One turn of the loop. False: there was nothing to do. */
  const slice = (): boolean => {
    const run = deferred.shift();
    run?.();
    turnsToComeMax = Math.max(turnsToComeMax, runtime.runnableCount());
    return run !== undefined;
  };
  const finish = (): string[] => {
    while (slice());
    return turns;
  };
  return {
    clock,
    createPartition,
    finish,
    offer,
    pacer,
    runtime,
    slice,
    toCome: () => turnsToComeMax,
    turns,
  };
}
