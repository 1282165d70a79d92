// test/sim/oracle-end.ts
// What must be so in the end, when all faults are over and time has passed.
import type { Oracle } from "./oracle.ts";
import { hasReceipt, outcomesOf } from "./oracle.ts";
import type { Device } from "./people.ts";
import { type Senders, TENANT } from "./senders.ts";

/** What is still missing, in words; empty: everything has come to its end. */
export function leftOver(oracle: Oracle, senders: Senders, devices: readonly Device[]): string[] {
  const left: string[] = [];
  for (const post of senders.posts)
    if (post.id === undefined) left.push(`${post.key} was never answered`);
  for (const database of oracle.databases.values()) {
    for (const [partition, record] of database.partitions.entries())
      for (const row of record.ledger)
        if (row.state !== "closed")
          left.push(`D1 ${database.home}/${partition}@${row.offset} is ${row.state}`);
    for (const { id, targetRegion } of database.outbox.values())
      left.push(`outbox row ${id} of ${database.home} for ${targetRegion}`);
  }
  for (const device of devices) {
    if (!device.isOpen) continue;
    if (!device.isLive) left.push(`${device.name} is not live`);
    const [missed] = device.position ? oracle.missedBy(device, device.position.offset) : [];
    if (missed !== undefined) left.push(`D1 ${device.name} has not seen ${missed.offset}`);
    left.push(...notTold(oracle, device));
  }
  return left;
}

/** What a device that is live has shown or read, and the ledger does not say so. */
function notTold(oracle: Oracle, device: Device): string[] {
  const { evidence, databases } = oracle;
  const { name, identity, partition } = device;
  const database = databases.get(identity.home);
  const index = database?.recipients.get(`${TENANT}/${identity.recipientId}`)?.index;
  if (database === undefined || index === undefined) return [];
  const { ledger } = database.partition(partition);
  const left: string[] = [];
  for (const row of ledger) {
    const moment = evidence.shows.get(`${name}/${row.notificationId}`);
    if (moment === undefined || !oracle.isTold(device, moment)) continue;
    const outcome = outcomesOf(row).get(index);
    if (outcome !== "deliveredSocket" && !hasReceipt(row, "receivedLate", index))
      left.push(`D1 ${name} has shown ${row.offset}, which is ${outcome ?? "open"}`);
  }
  for (const read of evidence.reads) {
    const row = ledger[read.offset - 1];
    if (read.device !== name || row === undefined || !oracle.isTold(device, read.moment)) continue;
    if (!hasReceipt(row, "read", index)) left.push(`D1 ${name} has read ${read.offset}, untold`);
  }
  return left;
}

/** D1, D2: each 202 has one terminal outcome for everyone it was meant for, and for nobody else. */
export function checkAccepted(oracle: Oracle, senders: Senders): void {
  const { world } = oracle;
  for (const { key, id, expected } of senders.posts) {
    if (id === undefined) continue;
    for (const { home, recipientId } of expected) {
      const database = oracle.databases.get(home);
      const recipient = database?.recipients.get(`${TENANT}/${recipientId}`);
      if (database === undefined || recipient === undefined) continue;
      const rows = database
        .partition(recipient.partition)
        .ledger.filter(({ notificationId }) => notificationId === id);
      const outcomes = rows.filter((row) => outcomesOf(row).has(recipient.index));
      if (outcomes.length !== 1)
        world.violate("D1", `${key} has ${outcomes.length} outcomes for ${recipientId}`);
    }
  }
  for (const database of oracle.databases.values()) {
    const known = new Set(senders.posts.map(({ id }) => id));
    for (const id of database.notifications.keys())
      if (!known.has(id))
        world.violate("D2", `${id} is in ${database.home} and was never answered`);
  }
}
