// packages/store/src/retention-ahead.ts
// Parts for what is to come. None of it waits for a group commit or holds one up, but for the moment in
// which the ledger's next part is opened: that waits for those under way, at most LOCK_MAX_MS.
import type { Pool, Statements } from "./pool.ts";
import { CUT_BY_TIME, partDaysOf, type RetentionPolicy } from "./retention-policy.ts";
import { NOTHING, step, type StepOutcome } from "./retention-step.ts";

/** Ids of a node whose clock is ahead are nearer than this, and those under way are of before. */
const MARGIN_HOURS = 1;

/** Until there are parts for one part's days from now on. After a long rest the next begins now. */
export async function addParts(
  pool: Pool,
  policy: RetentionPolicy,
  at: string,
): Promise<StepOutcome> {
  const added: string[] = [];
  let isBusy = false;
  for (const { table, keepDays } of CUT_BY_TIME) {
    const days = partDaysOf(keepDays(policy));
    for (let isMore = true; isMore;) {
      // oxlint-disable-next-line no-await-in-loop -- each begins where the last one ends
      const outcome = await step(pool, "retention.addPart", async (sql) => {
        const rows = await sql<{ name: string }[]>`
          with newest as (
            select max(until_at) as until_at from table_part where parent = ${table}
          ), next as (
            select greatest(until_at,
              ${at}::timestamptz + ${MARGIN_HOURS} * interval '1 hour') as from_at
            from newest where until_at < ${at}::timestamptz + ${days} * interval '1 day'
          )
          select add_time_part(${table}, from_at, from_at + ${days} * interval '1 day') as name
          from next`;
        return { ...NOTHING, added: rows.map(({ name }) => name) };
      });
      added.push(...outcome.added);
      isBusy ||= outcome.isBusy;
      isMore = outcome.added.length > 0;
    }
  }
  return { ...NOTHING, added, isBusy };
}

/**
 * Ends the ledger's part when it has its days. A part ends when the next one is there: a group commit
 * reads its part with the offset, under the lock of the partition's row, so both grow together (RT2).
 */
export async function openLedgerPart(
  pool: Pool,
  policy: RetentionPolicy,
  at: string,
): Promise<StepOutcome> {
  const days = partDaysOf(policy.notificationDays);
  const attached = await step(pool, "retention.attachLedgerPart", (sql) =>
    attachNext(sql, days, at),
  );
  if (attached.isBusy) return attached;
  return step(pool, "retention.openLedgerPart", (sql) => openNext(sql, at));
}

/** Attached beforehand, and committed: it waits for no writer and holds none up. */
async function attachNext(sql: Statements, days: number, at: string): Promise<StepOutcome> {
  const [last] = await sql<{ name: string; number: number }[]>`
    select name, number from table_part
    where parent = 'ledger' and until_at is null
      and number = (select max(number) from table_part where parent = 'ledger')
      and from_at <= ${at}::timestamptz - ${days} * interval '1 day'`;
  if (last === undefined) return NOTHING;
  const number = last.number + 1;
  const name = `ledger_${number}`;
  await sql`select create_part(${name}, ${last.name})`;
  await sql.unsafe(`alter table ledger attach partition ${name} for values in (${number})`);
  await sql`
    insert into table_part (name, parent, number, from_at)
    values (${name}, 'ledger', ${number}, 'infinity')`;
  return NOTHING;
}

/**
 * A writer that began before the part was attached does not know it, and would fail on the number: so
 * those under way end first, and others wait for them.
 */
async function openNext(sql: Statements, at: string): Promise<StepOutcome> {
  const [next] = await sql<{ name: string; number: number }[]>`
    select name, number from table_part where parent = 'ledger' and from_at = 'infinity'`;
  if (next === undefined) return NOTHING;
  const { name, number } = next;
  await sql`lock table only ledger in share mode`;
  await sql`
    update table_part set until_at = ${at}::timestamptz
    where parent = 'ledger' and number = ${number - 1}`;
  await sql`update table_part set from_at = ${at}::timestamptz where name = ${name}`;
  await sql`
    with locked as materialized (
      select home, n, next_offset from partition order by home, n for no key update
    ), moved as (
      update partition p set ledger_part = ${number}
      from locked where p.home = locked.home and p.n = locked.n
    )
    insert into ledger_part (home, partition, first_offset, part)
    select home, n, next_offset, ${number} from locked order by home, n`;
  return { ...NOTHING, added: [name] };
}
