// test/sim/oracle-told.ts
// What a device that is live has shown or read and the ledger must say so: as far as it follows for
// certain that its owner has heard of it.
import type { Oracle, TruthRow } from "./oracle.ts";
import { hasReceipt } from "./oracle-rows.ts";
import type { Moment, Read } from "./oracle-outcome.ts";
import type { Device } from "./people.ts";
import { TENANT } from "./senders.ts";

/** Closed rows that an owner has in memory for certain; the oracle's own number. */
const IN_MEMORY_COUNT = 100;
/** By then an ack is at the gateway, if the socket lasts. */
const ACK_AT_GATEWAY_MS = 2_000;

/** In words, what is missing; nothing: all that must be told is told. */
export function* notTold(oracle: Oracle, device: Device): Generator<string> {
  const { evidence, databases } = oracle;
  const { name, identity, partition } = device;
  const database = databases.get(identity.home);
  const index = database?.recipients.get(`${TENANT}/${identity.recipientId}`)?.index;
  if (database === undefined || index === undefined) return;
  if (oracle.poison?.victim.device === device) return; // it may have thrown at any word of it
  const { ledger } = database.partition(partition);
  const truth = oracle.rowsOf(identity.home, partition);
  for (const row of ledger) {
    const moment = evidence.shows.get(`${name}/${row.offset}`);
    const known = truth[row.offset - 1];
    if (moment === undefined || known === undefined) continue;
    const isInMemory = row.offset > ledger.length - IN_MEMORY_COUNT;
    const isHeard =
      (oracle.isTold(device, moment) && isOfThisOwner(known, index, moment)) ||
      (isInMemory && isToldByPlace(oracle, device, { row: known, index, moment }));
    if (!isHeard) continue;
    const outcome = oracle.outcomesOf(row).get(index);
    // Sent by an owner before, or for all that this one knows passed: its place says nothing (CB4).
    if (outcome === "cancelled" || outcome === "capped" || outcome === "collapsed") continue;
    if (outcome !== "deliveredSocket" && !hasReceipt(row, "receivedLate", index))
      yield `D1 ${name} has shown ${row.offset}, which is ${outcome ?? "open"}`;
  }
  for (const read of evidence.reads) {
    const row = ledger[read.offset - 1];
    if (read.device !== name || row === undefined || !isAtGateway(oracle, read)) continue;
    if (!hasReceipt(row, "read", index)) yield `D1 ${name} has read ${read.offset}, untold`;
  }
}

/**
 * Its gateway has it and goes on, since the session does, and tells it until it is in the ledger
 * (GW34), whatever is lost and whoever owns the partition; unless more came than may wait (GW13).
 */
function isAtGateway({ evidence, hasDroppedReceipts }: Oracle, read: Read): boolean {
  const liveSinceMs = evidence.liveSinceMs.get(read.device) ?? Infinity;
  return liveSinceMs <= read.moment.atMs && !hasDroppedReceipts();
}

/**
 * Who hears the ack decided the row, or has sent it to this session for certain, which was opened
 * under it. What an earlier owner decided and sent, and what it passed, look the same to the next one.
 */
function isOfThisOwner(
  { decided }: TruthRow,
  index: number,
  { epoch, joinEpoch }: Moment,
): boolean {
  const decidedEpoch = decided.get(index)?.epoch ?? epoch;
  return decidedEpoch === epoch || joinEpoch === epoch;
}

/**
 * The owner of now decided the row, and its session goes on above it (SD4), whatever was lost before:
 * it joined there, or its gateway had the ack when this ownership began. What expired was passed
 * unsent, for all that this owner knows, unless the place names it or the session was this owner's.
 */
function isToldByPlace(
  oracle: Oracle,
  device: Device,
  shown: { readonly row: TruthRow; readonly index: number; readonly moment: Moment },
): boolean {
  const { row, index, moment } = shown;
  const { epoch, sinceMs } = oracle.ownershipOf(device);
  const decided = row.decided.get(index);
  if (decided !== undefined && decided.epoch !== epoch) return false;
  const joined = oracle.evidence.joins.get(device.name);
  const liveSinceMs = oracle.evidence.liveSinceMs.get(device.name);
  if (joined === undefined || liveSinceMs === undefined) return false;
  const isUnsent = decided?.outcome === "expired" && moment.joinEpoch !== epoch;
  const isJoinedAbove =
    joined.epoch === epoch &&
    (isUnsent ? joined.offset === row.offset : joined.offset >= row.offset);
  const isLiveBefore =
    liveSinceMs <= moment.atMs &&
    moment.atMs + ACK_AT_GATEWAY_MS < sinceMs &&
    (!isUnsent || device.position?.offset === row.offset);
  return isJoinedAbove || isLiveBefore;
}
