// Goal: IN1 of intake.ts, one object for each row. Method: a partition that has one of the rows in memory
// before intake comes to it; a pacer that notes what it is offered.
import { createSeededRandom } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { DELIVERY_DEFAULTS } from "./delivery-limits.ts";
import { EnvelopeCache } from "./envelope.ts";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import { Intake } from "./intake.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import { Partition } from "./partition.ts";
import { ThreadSlices } from "./thread-slices.ts";

function start(store: FakeLedgerStore) {
  const clock = new FakeClock();
  const offered: LedgerEntry[] = [];
  const committedOffsets: number[] = [];
  const withdrawn: string[] = [];
  const partition = new Partition(
    {
      partition: 0,
      epoch: 1,
      ledgerEpoch: "e1",
      knownOffset: 0,
      graceEndsAtMs: 0,
      tailMax: 10,
      tailMaxBytes: 10_000,
      ownRowsMax: 64,
    },
    () => undefined as unknown as Partition["table"],
  );
  const intake = new Intake({
    store,
    clock,
    random: createSeededRandom(1),
    home: "fra",
    envelopes: new EnvelopeCache(10),
    limits: DELIVERY_DEFAULTS,
    slices: new ThreadSlices({ clock, scheduler: clock, sliceMs: 4 }),
    pacer: { hurry: () => undefined, offer: (_, entry) => void offered.push(entry) },
    onWithdrawal: (id) => void withdrawn.push(id),
    async commitExpansion(_, entry) {
      committedOffsets.push(entry.offset);
      entry.expansionCommitted();
      return true;
    },
    onCrash(cause) {
      throw cause;
    },
    onFault(cause) {
      throw cause;
    },
  });
  return { clock, committedOffsets, intake, offered, partition, withdrawn };
}

test("IN1, D2 — a row that is in memory before its turn is handed as it is there, and expanded no more", async () => {
  const store = new FakeLedgerStore();
  store.addRecipient(0, "ada");
  for (const id of ["first", "second"])
    store.plan(0, notificationOf({ id }), { kind: "broadcast" });
  const { clock, committedOffsets, intake, offered, partition } = start(store);
  partition.wantedDirectoryVersion = 1;
  await intake.refreshDirectory(partition);
  const rows = await store.readRows("fra", 0, { afterOffset: 0, limitCount: 2 });
  const waiting = await intake.entriesOf(rows);
  const [, second] = await intake.entriesOf(rows);
  second!.expand(partition.directory.select("acme", { kind: "broadcast" }, []));
  second!.expansionCommitted();
  partition.adopt(second!);
  second!.receive(0, "read");
  intake.begin(partition, waiting, () => undefined);
  await clock.advance(0);
  expect(committedOffsets).toEqual([1]);
  expect(offered.map((entry) => [waiting[0], second].indexOf(entry))).toEqual([0, 1]);
  expect([partition.entry(2) === second, partition.openCount]).toEqual([true, 2]);
});
