// Goal: LF4. Method: a store that fails as told, one changed row, fake time.
import { createSeededRandom, Fault } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { LedgerFlusher } from "./ledger-flusher.ts";
import type { Partition } from "./partition.ts";
import type { LedgerStore } from "./ports.ts";

function start() {
  const clock = new FakeClock();
  const log: string[] = [];
  const plan = { failure: undefined as unknown };
  const entry = { toUpdate: () => ({}), writeSucceeded: () => undefined };
  const dirty = new Set([entry]);
  const partition = {
    epoch: 1,
    takeDirty: () => [...dirty].filter((one) => dirty.delete(one)),
    wrote: (one: typeof entry) => one.writeSucceeded(),
    putBackDirty: (one: typeof entry) => void dirty.add(one),
  };
  const store = {
    async writeRows() {
      if (plan.failure !== undefined) throw plan.failure;
      log.push(`written at ${clock.monotonicMs()}`);
      return { fencedPartitions: [] };
    },
  };
  const flusher = new LedgerFlusher({
    store: store as unknown as LedgerStore,
    clock,
    random: createSeededRandom(1),
    home: "fra",
    flushEveryMs: 100,
    rowsMax: 10,
    retry: { baseMs: 100, factor: 2, maxMs: 1_000, jitterShare: 0 },
    partitions: () => [partition as unknown as Partition],
    onFenced: () => undefined,
    onFlushed: () => undefined,
    onFault: (cause) => log.push(`fault ${String(cause)}`),
    onMoved: () => undefined,
    onRoom: () => undefined,
  });
  const run = (name: string): void =>
    flusher.runBy({ clock, onCrash: (cause) => log.push(`${name} crashed: ${String(cause)}`) });
  return { clock, log, plan, run };
}

test("LF4 — a bug is its runner's crash and is not tried again; the next runner writes what is left", async () => {
  const { clock, log, plan, run } = start();
  run("first");
  plan.failure = new TypeError("bug");
  await clock.advance(60_000);
  expect(log.splice(0)).toEqual(["first crashed: TypeError: bug"]);
  plan.failure = undefined;
  run("second");
  await clock.advance(100);
  expect(log).toEqual(["written at 60100"]);
});

test("LF4, LF3 — a store that is away is no bug: tried again", async () => {
  const { clock, log, plan, run } = start();
  run("first");
  plan.failure = new Fault("down", { code: "store_unavailable", isRetryable: true });
  await clock.advance(250);
  plan.failure = undefined;
  await clock.advance(1_000);
  expect(log).toEqual(["fault Fault: down", "fault Fault: down", "written at 400"]);
});
