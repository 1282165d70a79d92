// packages/store/src/retention-drop.ts
// Parts over their time. First a part is detached, which takes a lock that keeps out everybody, for as
// long as the catalogue takes; then, when nobody sees it, its table is dropped, whose files take longer.
//   RT1  Whether anything in it is open, or named, is asked before that lock, so that it is not taken in
//        vain, and for the ledger again under it.
import type { Pool, Statements } from "./pool.ts";
import { CUT_BY_TIME, type CutTable, type RetentionPolicy } from "./retention-policy.ts";
import { NOTHING, step, type StepOutcome } from "./retention-step.ts";

interface OldPart {
  name: string;
  number: number;
  low: string;
  high: string;
}

/** The ledger's oldest part only: what is kept has no gap (RT2). */
export function dropLedgerPart(
  pool: Pool,
  policy: RetentionPolicy,
  at: string,
): Promise<StepOutcome> {
  return step(pool, "retention.dropLedgerPart", async (sql) => {
    const [part] = await oldParts(sql, "ledger", policy.notificationDays, at);
    if (part === undefined) return NOTHING;
    const held = [{ table: "ledger", name: part.name, by: "ledger" } as const];
    if (await hasUnclosed(sql, part)) return { ...NOTHING, held };
    await lock(sql, "ledger", part);
    if (await hasUnclosed(sql, part)) return { ...NOTHING, held };
    await detach(sql, "ledger", part);
    await sql`delete from ledger_part where part = ${part.number}`;
    return { ...NOTHING, dropped: [part.name] };
  });
}

/** One transaction per part, so that the lock is not held for several. */
export async function dropTimeParts(
  pool: Pool,
  policy: RetentionPolicy,
  at: string,
): Promise<StepOutcome> {
  const outcomes: StepOutcome[] = [];
  for (const cut of CUT_BY_TIME) {
    const parts = await pool.run("retention.oldParts", (sql) =>
      oldParts(sql, cut.table, cut.keepDays(policy), at),
    );
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    for (const part of parts) outcomes.push(await dropTimePart(pool, cut, part));
  }
  return {
    added: [],
    dropped: outcomes.flatMap(({ dropped }) => dropped),
    held: outcomes.flatMap(({ held }) => held),
    isBusy: outcomes.some(({ isBusy }) => isBusy),
  };
}

function dropTimePart(
  pool: Pool,
  cut: (typeof CUT_BY_TIME)[number],
  part: OldPart,
): Promise<StepOutcome> {
  return step(pool, "retention.dropTimePart", async (sql) => {
    const by = await namedBy(sql, cut, part);
    if (by !== undefined) return { ...NOTHING, held: [{ table: cut.table, name: part.name, by }] };
    await lock(sql, cut.table, part);
    await detach(sql, cut.table, part);
    return { ...NOTHING, dropped: [part.name] };
  });
}

/** Tables that were detached, in this sweep or in one that did not come to its end. */
export async function dropDetached(pool: Pool): Promise<void> {
  await step(pool, "retention.dropDetached", async (sql) => {
    const parts = await sql<{ name: string }[]>`
      delete from table_part where detached_at is not null returning name`;
    for (const { name } of parts)
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await sql.unsafe(`drop table ${name}`);
    return NOTHING;
  });
}

async function oldParts(
  sql: Statements,
  table: CutTable,
  keepDays: number,
  at: string,
): Promise<OldPart[]> {
  return sql<OldPart[]>`
    select name, number, cut_value(${table}, from_at) as low, cut_value(${table}, until_at) as high
    from (
      select *, min(number) filter (where detached_at is null) over () as lowest
      from table_part where parent = ${table}
    ) as p
    where detached_at is null and until_at <= ${at}::timestamptz - ${keepDays} * interval '1 day'
      and (parent <> 'ledger' or number = lowest)
    order by number`;
}

/** By `ledger_unclosed` of the part: an entry, or none. */
async function hasUnclosed(sql: Statements, { name }: OldPart): Promise<boolean> {
  const rows = await sql.unsafe(`select from ${name} where state <> 2 limit 1`);
  return rows.length > 0;
}

async function namedBy(
  sql: Statements,
  cut: (typeof CUT_BY_TIME)[number],
  { low, high }: OldPart,
): Promise<string | undefined> {
  for (const { table, column } of cut.namedBy) {
    // oxlint-disable-next-line no-await-in-loop -- seldom more than one
    const rows = await sql.unsafe(
      `select from ${table} where ${column} >= $1 and ${column} < $2 limit 1`,
      [low, high],
    );
    if (rows.length > 0) return table;
  }
  return undefined;
}

/** The parent first, as everybody else: whoever waits behind us waits LOCK_MAX_MS and no longer. */
async function lock(sql: Statements, table: CutTable, { name }: OldPart): Promise<void> {
  await sql.unsafe(`lock table only ${table} in access exclusive mode`);
  await sql.unsafe(`lock table only ${name} in access exclusive mode`);
}

async function detach(sql: Statements, table: CutTable, { name }: OldPart): Promise<void> {
  await sql.unsafe(`alter table ${table} detach partition ${name}`);
  // Nobody writes to it: a fence that waits for the writers of each guarded table leaves it alone (HM1).
  await sql.unsafe(`drop trigger fence on ${name}`);
  await sql`update table_part set detached_at = clock_timestamp() where name = ${name}`;
}
