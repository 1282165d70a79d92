// test/sim/oracle-places.ts
// Where everybody is whom a notification is for (ADR 0022): in a ledger row that he has not left, or in one
// timer. Looked at after every statement that may change it, as the database is then, so that it does not
// matter how he came there.
import { deferredMembersOf, deferredPayloadSchema, ROW_TIMER_KIND } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import type { Database } from "./database.ts";
import { audienceOf, readMoved } from "./oracle-rows.ts";
import type { TruthRow } from "./oracle.ts";

/** In words, who is nowhere, in two places, or where he does not belong; undefined: all is well. */
export function misplaced(
  database: Database,
  partition: number,
  notification: { readonly id: string; readonly rows: readonly TruthRow[] },
): string | undefined {
  const { id, rows } = notification;
  const expected = audienceOf(database, partition, id);
  const places = new Map<number, string[]>();
  const put = (index: number, place: string): void =>
    void places.set(index, [...(places.get(index) ?? []), place]);
  for (const { offset, targets } of rows) {
    const row = database.partition(partition).ledger[offset - 1];
    const moved = row === undefined ? new Set() : readMoved(row);
    for (const index of targets) if (!moved.has(index)) put(index, `row ${offset}`);
  }
  for (const timer of database.timers.rows.values()) {
    if (timer.partition !== partition || timer.kind !== ROW_TIMER_KIND) continue;
    const payload = deferredPayloadSchema.parse(timer.payload);
    if (payload.notificationId !== id) continue;
    for (const index of indexesOf(payload, expected)) put(index, `timer ${timer.key}`);
  }
  for (const index of expected) {
    const [first, ...others] = places.get(index) ?? [];
    if (first === undefined) return `${id}: ${index} of ${partition} is nowhere`;
    if (others.length > 0)
      return `${id}: ${index} of ${partition} is in ${[first, ...others].join(" and in ")}`;
  }
  for (const [index, [place]] of places)
    if (!expected.has(index)) return `${id}: ${index} of ${partition} is in ${place}, not meant`;
  return undefined;
}

function indexesOf(
  payload: Parameters<typeof deferredMembersOf>[0],
  everybody: ReadonlySet<number>,
): Iterable<number> {
  const members = deferredMembersOf(payload);
  switch (members?.kind) {
    case undefined:
      return [];
    case "all":
      return everybody;
    case "members":
      return members.members;
    case "set":
      return Bitset.fromBytes(members.set).toArray();
  }
}
