// packages/delivery/src/control-ends.ts
// What becomes of everybody who waits for a notification when its sender has ended it, or has done something
// else with it: at once for whom no process has it, by a turn for all others.
//   CB3  When a cancel is heard, whoever has not been handed it has its end at once, wherever he is: in his grace,
//        held back by the pacer, behind his shelf, refused, in quarantine. Nothing later passes it unwritten (DL5).
// Who is on his way to a timer, or in one, is woken when that is written (CB2); who is in a row that is not
// committed yet is asked about when he is handed it.
import type { LedgerEntry, Suppression } from "./ledger-entry.ts";
import type { Outcomes } from "./outcomes.ts";
import type { Partition } from "./partition.ts";

/** Everybody who waits for it in this row looks again; `end`: the outcome of who has not been handed it. */
export function tellOfControl(
  partition: Partition,
  entry: LedgerEntry,
  deps: { readonly end: Suppression | undefined; readonly outcomes: Pick<Outcomes, "record"> },
): void {
  const pending = entry.pending();
  const { end, outcomes } = deps;
  if (end === undefined || entry.offset > partition.handedOffset)
    return partition.tell(partition.waitingFor(entry), { kind: "changed" });
  const ended = pending.clone();
  const held = partition.heldRows().find((row) => row.entry === entry);
  ended.forEach((index) => {
    const isWaiting = held?.isLeft(index) === true || entry.offset > partition.readyUpTo(index);
    if (!isWaiting && !isInQuarantine(partition, index)) ended.remove(index);
    else if (entry.isMoving(index) || isOnSocket(partition, index, entry)) ended.remove(index);
  });
  ended.forEach((index) => {
    outcomes.record(partition, index, entry, end);
    if (partition.sessions.of(index).length > 0) partition.settling.add(index, entry);
  });
  partition.resumeSpilled();
  partition.tell(partition.waitingFor(entry), { kind: "changed" });
}

/** Its state went with the crash, so that it waits for the end of it in the ledger only. */
function isInQuarantine({ spilled, table }: Partition, index: number): boolean {
  return spilled.has(index) && table.inspect(index).phase === "quarantined";
}

function isOnSocket({ sessions }: Partition, index: number, { offset }: LedgerEntry): boolean {
  return sessions.of(index).some(({ sentOffset }) => sentOffset >= offset);
}
