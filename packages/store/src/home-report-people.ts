// packages/store/src/home-report-people.ts
// For the report of a loss (ADR 0015): where the people of a notification are, of one partition. Rows of
// the two databases cannot be compared one by one: the new host deals the same offsets out again, and who
// is put off comes back in another row (ADR 0022). So all that holds somebody of a notification in a partition,
// ledger rows and waiting ones, is one thing to compare, by people: everybody is in one place at a time.
//   HM9  Whoever is targeted in the fenced database and in nothing of the other is counted, and nobody else,
//        whatever offsets rows have and however often he was put off.
// Plan: ledger_notification of each part, and timer_row → a page of keys in order; then both again by those ids.
import { createHash } from "node:crypto";
import {
  deferredMembersOf,
  type DeferredPayload,
  type ReportRow,
  ROW_TIMER_KIND,
} from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { intsOf } from "./arrays.ts";
import {
  IS_CANDIDATE,
  NEXT_XID,
  type ReportComparison,
  type ReportDifference,
  type ReportPage,
} from "./home-report-page.ts";
import { type LedgerRecord, ledgerRowOf, type LedgerSets, setByIndex } from "./ledger-rows.ts";
import type { Statements } from "./pool.ts";

interface Place {
  notification_id: string;
  partition: number;
}

/** Of one notification, in one partition. */
interface People {
  readonly offsets: number[]; // ascending
  /** In a row and not put off from it, or waiting by number. */
  readonly everybody: Bitset;
  readonly waiting: Bitset;
  /** A row says only when it is expanded whom it is for: who that will be is not in `everybody`. */
  isWhole: boolean;
  /** Outcomes and receipts. */
  readonly sets: Map<keyof LedgerSets, Bitset>;
}

/** Candidates by notification and partition: where something was written that the snapshot did not see. */
export async function readPeople(
  sql: Statements,
  { home, snapshot, after, limit, salt }: ReportPage,
): Promise<ReportRow[]> {
  const from = after === null ? "" : "and (t.notification_id, t.partition) > ($3::uuid, $4::int)";
  const arm = (table: string) => `(select distinct t.notification_id, t.partition::int
      from ${table} t, ${NEXT_XID}
      where t.home = $2 and t.notification_id is not null and ${IS_CANDIDATE} ${from}
      order by 1, 2 limit ${Math.trunc(limit)})`;
  const places = await sql.unsafe<Place[]>(
    `${arm("ledger")} union ${arm("timer")} order by 1, 2 limit ${Math.trunc(limit)}`,
    [snapshot, home, ...(after ?? [])],
  );
  const found = await findPeople(sql, home, places);
  return places.map(({ notification_id: notificationId, partition }) => {
    const people = found.get(keyOf(notificationId, partition)) ?? nobody();
    return {
      key: [notificationId, String(partition)],
      digest: digestOf(people, salt),
      about: {
        offsets: people.offsets.join(","),
        peopleCount: people.everybody.count(),
        waitingCount: people.waiting.count(),
        isWhole: people.isWhole,
        everybody: Buffer.from(people.everybody.toBytes()).toString("base64"),
      },
    };
  });
}

/** `lacking`: of each of `different`, how many of its people are in no row here, nor waiting. */
export async function comparePeople(
  sql: Statements,
  { home, rows, salt }: ReportComparison,
): Promise<ReportDifference> {
  const places = rows.map(({ key: [notification_id = "", partition] }) => ({
    notification_id,
    partition: Number(partition),
  }));
  const found = await findPeople(sql, home, places);
  const missing: number[] = [];
  const different: number[] = [];
  const lacking: number[] = [];
  rows.forEach(({ key: [notificationId = "", partition], digest, about }, at) => {
    const here = found.get(keyOf(notificationId, Number(partition)));
    if (here === undefined) missing.push(at);
    else if (digestOf(here, salt) !== digest) {
      const there = Bitset.fromBytes(Buffer.from(String(about["everybody"]), "base64"));
      different.push(at);
      lacking.push(here.isWhole ? 0 : there.andNot(here.everybody).count());
    }
  });
  return { missing, different, lacking };
}

async function findPeople(
  sql: Statements,
  home: string,
  places: readonly Place[],
): Promise<Map<string, People>> {
  const ids = [...new Set(places.map(({ notification_id: id }) => id))];
  const partitions = intsOf([...new Set(places.map(({ partition }) => partition))]);
  const rows = await sql<LedgerRecord[]>`
    select l.* from ledger l
    where l.notification_id = any(${ids}::uuid[]) and l.home is not distinct from ${home}
      and l.partition = any(${partitions}::int[])
    order by l.partition, l.offset`;
  const timers = await sql<(Place & { payload: DeferredPayload })[]>`
    select t.notification_id, t.partition::int, t.payload from timer t
    where t.notification_id = any(${ids}::uuid[]) and t.home = ${home} and t.kind = ${ROW_TIMER_KIND}
      and t.partition = any(${partitions}::int[])`;
  const found = new Map<string, People>();
  const at = ({ notification_id: id, partition }: Place): People => {
    const key = keyOf(id, partition);
    const people = found.get(key) ?? nobody();
    found.set(key, people);
    return people;
  };
  for (const record of rows) addRow(at(record), record);
  for (const timer of timers) addWait(at(timer), timer.payload);
  return found;
}

function addRow(people: People, record: LedgerRecord): void {
  const row = ledgerRowOf(record);
  people.offsets.push(row.offset);
  if (row.state === "planned" && row.members === null) people.isWhole = true;
  const moved = setByIndex(row, "moved");
  people.everybody.or(setByIndex(row, "targeted").andNot(moved));
  for (const name of Object.keys(row.sets) as (keyof LedgerSets)[]) {
    if (name === "targeted" || name === "moved") continue;
    people.sets.set(name, setByIndex(row, name).or(people.sets.get(name) ?? new Bitset()));
  }
}

function addWait(people: People, payload: DeferredPayload): void {
  const members = deferredMembersOf(payload);
  if (members?.kind === "all") people.isWhole = true;
  if (members === undefined || members.kind === "all") return;
  const waiting =
    members.kind === "set" ? Bitset.fromBytes(members.set) : Bitset.of(members.members);
  people.waiting.or(waiting);
  people.everybody.or(waiting);
}

function nobody(): People {
  return {
    offsets: [],
    everybody: new Bitset(),
    waiting: new Bitset(),
    isWhole: false,
    sets: new Map(),
  };
}

function keyOf(notificationId: string, partition: number): string {
  return `${notificationId}/${partition}`;
}

/** HM8. Of what became of whom, and not of the rows in which it stands. */
function digestOf({ everybody, sets }: People, salt: string | null): string {
  const hash = createHash("md5").update(`${salt ?? ""}/`);
  hash.update(everybody.toBytes());
  for (const [name, set] of [...sets].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    if (!set.isEmpty) hash.update(`/${name}/`).update(set.toBytes());
  return hash.digest("hex");
}
