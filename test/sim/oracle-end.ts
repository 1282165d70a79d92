// test/sim/oracle-end.ts
// What must be so in the end, when all faults are over and time has passed.
import type { Oracle } from "./oracle.ts";
import type { LedgerRow } from "@carillon/store";
import { isWrongSend } from "./oracle-moves.ts";
import { notTold } from "./oracle-told.ts";
import type { Device } from "./people.ts";
import { type Senders, TENANT } from "./senders.ts";

/** What is still missing, in words; nothing: everything has come to its end. */
export function* leftOver(
  oracle: Oracle,
  senders: Senders,
  devices: readonly Device[],
): Generator<string> {
  for (const post of senders.posts)
    if (post.id === undefined) yield `${post.key} was never answered`;
  for (const database of oracle.databases.values()) {
    for (const [partition, record] of database.partitions.entries())
      for (const row of record.ledger)
        if (row.state !== "closed")
          yield `D1 ${database.home}/${partition}@${row.offset} is ${row.state}`;
    for (const { partition, key } of database.timers.rows.values())
      yield `D1 ${database.home}/${partition} waits for ${key}`;
    for (const { id, targetRegion } of database.outbox.values())
      yield `outbox row ${id} of ${database.home} for ${targetRegion}`;
  }
  for (const device of devices) {
    if (!device.isOpen) continue;
    if (!device.isLive) yield `${device.name} is not live`;
    const missed = device.position && oracle.firstMissedBy(device, device.position.offset);
    if (missed) yield `D1 ${device.name} has not seen ${missed.offset}`;
    yield* notTold(oracle, device);
  }
}

/** Then it is in a ledger at once, and ended there. */
function isCancelledAnywhere({ controls, databases }: Oracle, id: string): boolean {
  return [...databases.keys()].some((home) => controls?.isCancelled(home, id) === true);
}

/** D1, D2: each 202 has one terminal outcome for everyone it was meant for, and for nobody else. */
export function checkAccepted(oracle: Oracle, senders: Senders): void {
  const { world } = oracle;
  const rowsOf = new Map<string, LedgerRow[]>(); // "home/partition/notification"
  for (const { home, partitions } of oracle.databases.values())
    for (const row of partitions.flatMap(({ ledger }) => ledger)) {
      const key = `${home}/${row.partition}/${row.notificationId}`;
      rowsOf.set(key, [...(rowsOf.get(key) ?? []), row]);
    }
  for (const { key, id, expected, request, region } of senders.posts) {
    if (id === undefined) continue;
    // The node that accepts it decides by its own clock whether its time has come.
    const plannedMs = oracle.firstPlannedMs.get(id) ?? Infinity;
    if (request.sendAt !== undefined && plannedMs < Date.parse(request.sendAt))
      if (oracle.isOnTime(region) && !isCancelledAnywhere(oracle, id))
        world.violate("A2", `${key} is in a ledger before its time`);
    for (const { home, recipientId } of expected) {
      const database = oracle.databases.get(home);
      const recipient = database?.recipients.get(`${TENANT}/${recipientId}`);
      if (database === undefined || recipient === undefined) continue;
      const rows = rowsOf.get(`${home}/${recipient.partition}/${id}`) ?? [];
      const outcomes = rows.filter((row) => oracle.outcomesOf(row).has(recipient.index));
      if (outcomes.length !== 1)
        world.violate("D1", `${key} has ${outcomes.length} outcomes for ${recipientId}`);
    }
  }
  for (const early of oracle.earlySends)
    if (isWrongSend(early)) world.violate("RD4", `was sent ${early.what}`);
  for (const database of oracle.databases.values()) {
    const known = new Set(senders.posts.map(({ id }) => id));
    for (const id of database.notifications.keys())
      if (!known.has(id))
        world.violate("D2", `${id} is in ${database.home} and was never answered`);
  }
}
