// packages/store/src/quarantine.ts
// Recipients that no owner may run for a while, whoever it is (spec P16).
//   ST21 What was put is seen by every later owner of the partition until its time is over.
import { intsOf } from "./arrays.ts";
import type { Pool, Statements } from "./pool.ts";

export interface RecipientInPartition {
  readonly partition: number;
  readonly index: number;
}

export interface QuarantinedRecipient extends RecipientInPartition {
  readonly reason: string;
  readonly remainingMs: number;
}

export interface QuarantineTimes {
  readonly firstMs: number;
  /** Each further time within a day of the last it is twice as long, up to this. */
  readonly maxMs: number;
}

const REASON_CHARACTERS_MAX = 200;

export class SqlQuarantine {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  put(
    home: string,
    recipient: RecipientInPartition & { readonly reason: string },
    times: QuarantineTimes,
  ): Promise<void> {
    return this.#pool.run("quarantine.put", (sql) => putQuarantine(sql, home, recipient, times));
  }

  /** Of these partitions, those whose time is not over. */
  list(home: string, partitions: readonly number[]): Promise<QuarantinedRecipient[]> {
    return this.#pool.run("quarantine.list", async (sql) => [
      ...(await sql<QuarantinedRecipient[]>`
        select partition, idx as index, reason,
          (extract(epoch from until - now()) * 1000)::float8 as "remainingMs"
        from quarantine
        where home = ${home} and partition = any(${intsOf(partitions)}::int[]) and until > now()
        order by partition, idx`),
    ]);
  }

  /** An operator has looked at it. Idempotent. */
  async remove(home: string, partition: number, index: number): Promise<void> {
    await this.#pool.run(
      "quarantine.remove",
      (sql) => sql`
      delete from quarantine where home = ${home} and partition = ${partition} and idx = ${index}`,
    );
  }
}

export async function putQuarantine(
  sql: Statements,
  home: string,
  { partition, index, reason }: RecipientInPartition & { readonly reason: string },
  { firstMs, maxMs }: QuarantineTimes,
): Promise<void> {
  await sql`
    insert into quarantine (home, partition, idx, reason, until)
    values (${home}, ${partition}, ${index}, ${reason.slice(0, REASON_CHARACTERS_MAX)},
      now() + ${firstMs}::float8 * interval '1 ms')
    on conflict (home, partition, idx) do update
    set reason = excluded.reason, since = now(), until = case
      when quarantine.until < now() - interval '1 day' then excluded.until
      else now()
        + least(2 * (quarantine.until - quarantine.since), ${maxMs}::float8 * interval '1 ms') end`;
}
