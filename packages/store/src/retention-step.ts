// packages/store/src/retention-step.ts
// One step of a sweep: a transaction that waits for no lock longer than LOCK_MAX_MS, since whoever comes
// after it waits as long (RT3), and that leaves its work to another node that is at a step just now.
import type { Fault } from "@carillon/kernel";
import type { Pool, Statements } from "./pool.ts";
import type { HeldPart } from "./retention-policy.ts";

export interface StepOutcome {
  readonly added: readonly string[];
  readonly dropped: readonly string[];
  readonly held: readonly HeldPart[];
  readonly isBusy: boolean;
}

export const NOTHING: StepOutcome = { added: [], dropped: [], held: [], isBusy: false };

/** A try, once a minute at most; longer than nearly every statement of a node. */
const LOCK_MAX_MS = 100;
const LOCK_KEY = 0x6361_7270; // next to that of the migrations

export async function step(
  pool: Pool,
  operation: string,
  work: (sql: Statements) => Promise<StepOutcome>,
): Promise<StepOutcome> {
  try {
    return await pool.transaction(operation, async (sql) => {
      const [lock] = await sql<{ is_ours: boolean }[]>`
        select pg_try_advisory_xact_lock(${LOCK_KEY}::bigint) as is_ours`;
      if (lock?.is_ours !== true) return NOTHING;
      await sql`select set_config('lock_timeout', ${String(LOCK_MAX_MS)}, true)`;
      return work(sql);
    });
  } catch (error) {
    if (isLockTimeout(error)) return { ...NOTHING, isBusy: true };
    throw error;
  }
}

/** Fault of `lock_timeout`, or of a deadlock that Postgres ended: nothing was done. */
function isLockTimeout(error: unknown): boolean {
  const { message = "" } = (error ?? {}) as Partial<Fault>;
  return /\((?:55P03|40P01)\b/.test(message);
}
