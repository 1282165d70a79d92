// test/sim/oracle-moves.ts
// What somebody was shown, or sent, though he was to wait for it, did not want it, or had it already: as far as it
// follows for certain. What an earlier owner put on its way comes whatever the owner of now has decided.
import type { Database } from "./database.ts";
import type { Moment } from "./oracle-outcome.ts";
import type { Oracle, TruthRow } from "./oracle.ts";
import type { Device } from "./people.ts";
import type { Quiet } from "./quiet.ts";

/** A verdict is asked for in the turn that sends, and the message leaves with its slice. */
const SLICE_MS = 50;

/** Why it must not have been shown, in words; undefined: nothing for certain. */
export function tooEarly(
  oracle: Oracle,
  device: Device,
  shown: { readonly row: TruthRow; readonly moment: Moment },
): string | undefined {
  const { row, moment } = shown;
  const { home, recipientId } = device.identity;
  const [database, index] = [oracle.databases.get(home), oracle.indexOf(device)];
  if (oracle.quiet === undefined || database === undefined || index === undefined) return undefined;
  if (oracle.quiet.hasOptedOut(recipientId, row.notificationId)) return "and has opted out";
  const left = row.moved.get(index);
  // Its socket was opened under the owner that put him off, or a later one: nobody before has sent it there.
  if (left !== undefined && moment.joinEpoch >= left.epoch) return "which he had left";
  if (!oracle.isOnTime(home)) return undefined;
  // Planned in his quiet time: whoever has sent it since was told to wait.
  const nowMs = database.nowMs();
  const plannedMs = nowMs - (oracle.world.nowMs - row.plannedAtMs);
  const span = oracle.quiet.spanAt(recipientId, plannedMs);
  if (span === undefined || nowMs >= span.toMs) return undefined;
  // A session that goes on is sent what it has missed, also what has ended.
  if (row.expiresAtMs <= nowMs || oracle.mayFail(device.name, row)) return undefined;
  return `in quiet time, of which ${Math.ceil(span.toMs - nowMs)} ms were left`;
}

/**
 * D2: he was shown the notification in an earlier row, by the owner that has put him off since. Undefined:
 * an earlier owner may have sent it, of which the next one knows nothing; or its process was restarted.
 */
export function takenBack(oracle: Oracle, device: Device, row: TruthRow): string | undefined {
  const index = oracle.indexOf(device);
  if (index === undefined) return undefined;
  for (const earlier of oracle.rowsFor(
    device.identity.home,
    device.partition,
    row.notificationId,
  )) {
    const moment = oracle.evidence.shows.get(`${device.name}/${earlier.offset}`);
    if (moment === undefined || earlier.offset === row.offset) continue;
    const left = earlier.moved.get(index);
    if (left === undefined) return `he was shown ${earlier.offset}, and has not left it`;
    if (oracle.mayFail(device.name, earlier)) continue;
    if (moment.joinEpoch >= left.epoch || earlier.plannedEpoch >= left.epoch)
      return `he was shown ${earlier.offset} under the owner that put him off`;
  }
  return undefined;
}

/** A row left its owner though, by the owner's own clock, nobody of it was to be handed it. */
export interface EarlySend {
  readonly row: TruthRow;
  readonly epoch: number;
  readonly what: string;
}

/** RD4, of the first time that a row leaves. Undefined: somebody was to be handed it. */
export function earlySend(
  quiet: Quiet,
  sent: { readonly row: TruthRow; readonly partition: number; readonly wallMs: number },
  database: Database,
): EarlySend | undefined {
  const { row, partition, wallMs } = sent;
  const { recipients, epoch } = database.partition(partition);
  const mayBeHanded = [...row.targets].some((index) => {
    const recipientId = recipients[index]?.recipientId ?? "";
    if (quiet.hasOptedOut(recipientId, row.notificationId)) return false;
    const [then, now] = [wallMs - SLICE_MS, wallMs].map((ms) => quiet.spanAt(recipientId, ms));
    return then === undefined || now === undefined;
  });
  const what = `${partition}@${row.offset} though all its people waited or had opted out`;
  return mayBeHanded ? undefined : { row, epoch, what };
}

/**
 * Known in the end: a session that goes on is sent what it has missed, and so what had an outcome before, which
 * nobody saw if it was not written yet.
 */
export function isWrongSend({ row, epoch }: EarlySend): boolean {
  return [...row.targets].every((index) => {
    const [ended, left] = [row.decided.get(index), row.moved.get(index)];
    if (ended === undefined) return left?.epoch === epoch;
    return ended.epoch === epoch && /^(deliveredSocket|optedOut)$/.test(ended.outcome);
  });
}
