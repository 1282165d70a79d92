// packages/store/src/journal.ts
// The journal of deliveries: JournalStore of @carillon/delivery, and one story to be read (ADR 0026).
//   JR1  Events are added, and never changed: one that is there already stays as it is, so that a batch
//        whose answer was lost may be written again. No fence: nobody takes state from them (D4).
//   JR2  A story is read in the order it happened: by epoch, since an epoch has one owner, then by that
//        owner's count. Clocks do not decide.
// Plan: append: unnest → insert, one descent of attempt_pkey per event. Read: a range of attempt_pkey.
import { intsOf } from "./arrays.ts";
import type { Pool } from "./pool.ts";

/** As the port of @carillon/delivery has it. */
export type JournalEvent = readonly [
  partition: number,
  epoch: number,
  notificationId: string,
  index: number,
  atMs: number,
  seq: number,
  kind: string,
  code: string | null,
  detail: string | null, // JSON
];

export interface StoryPlace {
  readonly home: string;
  readonly partition: number;
  readonly index: number;
  readonly notificationId: string;
}

export interface StoryEvent {
  readonly atMs: number;
  readonly node: string;
  readonly epoch: number;
  readonly kind: string;
  readonly code: string | null;
  readonly detail: Readonly<Record<string, unknown>> | null;
}

export class SqlJournal {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** One statement. */
  async append(home: string, node: string, events: readonly JournalEvent[]): Promise<void> {
    if (events.length === 0) return;
    const column = <At extends keyof JournalEvent & number>(at: At): JournalEvent[At][] =>
      events.map((event) => event[at]);
    await this.#pool.run(
      "journal.append",
      (sql) => sql`
      insert into attempt (home, partition, epoch, notification_id, idx, at, seq, node, kind, code,
        detail)
      select ${home}, e.n, e.epoch, e.notification_id, e.idx, to_timestamp(e.at_ms / 1000), e.seq,
        ${node}, e.kind, e.code, e.detail::jsonb
      from unnest(
        ${intsOf(column(0))}::int[], ${intsOf(column(1))}::bigint[], ${column(2)}::uuid[],
        ${intsOf(column(3))}::int[], ${intsOf(column(4))}::float8[], ${intsOf(column(5))}::bigint[],
        ${column(6)}::text[], ${column(7)}::text[], ${column(8)}::text[]
      ) as e(n, epoch, notification_id, idx, at_ms, seq, kind, code, detail)
      on conflict do nothing`,
    );
  }

  /** JR2. The first `limitCount`. */
  storyOf(
    { home, partition, index, notificationId }: StoryPlace,
    limitCount: number,
  ): Promise<StoryEvent[]> {
    return this.#pool.run("journal.storyOf", async (sql) => [
      ...(await sql<StoryEvent[]>`
        select (extract(epoch from at) * 1000)::float8 as "atMs", node, epoch, kind, code, detail
        from attempt
        where home = ${home} and partition = ${partition}::int
          and notification_id = ${notificationId}::uuid and idx = ${index}::int
        order by epoch, seq limit ${limitCount}::int`),
    ]);
  }
}
