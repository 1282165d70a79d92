// packages/store/src/escalations.ts
// What the chains of unacknowledged notifications ask of a region's database (ADR 0030): EscalationStore of
// @carillon/delivery. The timers that they wait in are set where ledger rows are made (ST37).
//   ST38 A step's notification is accepted once, by its id, however often it is asked for; whom it is for is
//        reached where his home is, over the outbox, or told to be unknown, and then nothing is accepted.
//   ST39 Whether a step was acknowledged is told by the ledger of the region where it was delivered; of a step
//        that went to another region it is told which one.
// Plan (256 of each): recipient_pkey or recipient_home_pkey, a nested loop; notification by id in each part, and
// ledger_notification of each part for those found.
import type { Notification } from "@carillon/contracts";
import { type AcceptItem, acceptOnce } from "./accept.ts";
import { intsOf } from "./arrays.ts";
import type { Pool, Statements } from "./pool.ts";

export interface EscalatedPerson {
  readonly index: number;
  readonly recipientId: string;
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** A step that was accepted here. */
export interface EscalationStep {
  readonly notificationId: string;
  /** Somebody of this region has acknowledged it. */
  readonly isAcknowledged: boolean;
  readonly targetRegions: readonly string[];
}

export interface StepToAccept {
  readonly notification: Notification; // accepted here
  readonly recipientId: string;
}

export type StepResult = "accepted" | "repeated" | "unknown" | "unstorable";

export class SqlEscalations {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Those of the partition who have these indexes, in any order. */
  readPeople(
    home: string,
    partition: number,
    indexes: readonly number[],
  ): Promise<EscalatedPerson[]> {
    return this.#pool.run("escalations.readPeople", async (sql) => [
      ...(await sql<EscalatedPerson[]>`
        select r.idx as index, r.recipient_id as "recipientId", r.attributes
        from unnest(${intsOf(indexes)}::int[]) as wanted(idx)
        join recipient r on r.home = ${home} and r.partition = ${partition}::int
          and r.idx = wanted.idx`),
    ]);
  }

  /** ST39. Those of these that were accepted here; the others were not, or not yet. */
  readSteps(home: string, notificationIds: readonly string[]): Promise<EscalationStep[]> {
    return this.#pool.run("escalations.readSteps", async (sql) => [
      ...(await sql<EscalationStep[]>`
        select n.id as "notificationId", n.target_regions as "targetRegions",
          exists (
            select from ledger l
            where l.notification_id = n.id and l.home is not distinct from ${home}
              and l.acknowledged <> ''
          ) as "isAcknowledged"
        from notification n where n.id = any(${notificationIds}::uuid[])`),
    ]);
  }

  /** For other regions: which of these the tenant's people here have acknowledged. */
  acknowledgedOf(
    home: string,
    tenantId: string,
    notificationIds: readonly string[],
  ): Promise<string[]> {
    return this.#pool.run("escalations.acknowledgedOf", async (sql) => {
      const rows = await sql<{ id: string }[]>`
        select n.id from notification n
        where n.id = any(${notificationIds}::uuid[]) and n.tenant_id = ${tenantId}
          and exists (
            select from ledger l
            where l.notification_id = n.id and l.home is not distinct from ${home}
              and l.acknowledged <> ''
          )`;
      return rows.map(({ id }) => id);
    });
  }

  /** ST38. Results in the order of `steps`, which are one tenant's. */
  accept(home: string, steps: readonly StepToAccept[]): Promise<StepResult[]> {
    if (steps.length === 0) return Promise.resolve([]);
    return this.#pool.run("escalations.accept", async (sql) => {
      const homes = await homesOf(sql, steps);
      const items = steps.map((step) => itemOf(step, home, homes.get(step.recipientId)));
      const known = items.filter((item) => item !== undefined);
      const results = await acceptOnce(sql, { home, isAcceptedHere: true }, known);
      const next = results.values();
      return items.map((item) =>
        item === undefined ? "unknown" : (next.next().value?.kind ?? "repeated"),
      );
    });
  }
}

async function homesOf(
  sql: Statements,
  steps: readonly StepToAccept[],
): Promise<Map<string, string>> {
  const rows = await sql<{ recipient_id: string; home: string }[]>`
    select h.recipient_id, h.home
    from unnest(${steps.map(({ notification }) => notification.tenantId)}::text[],
      ${steps.map(({ recipientId }) => recipientId)}::text[]) as wanted(tenant_id, recipient_id)
    join recipient_home h on h.tenant_id = wanted.tenant_id
      and h.recipient_id = wanted.recipient_id`;
  return new Map(rows.map((row) => [row.recipient_id, row.home]));
}

function itemOf(
  { notification, recipientId }: StepToAccept,
  home: string,
  target: string | undefined,
): AcceptItem | undefined {
  if (target === undefined) return undefined;
  const audience = { kind: "recipients" as const, recipientIds: [recipientId] };
  const isHere = target === home;
  return {
    notification,
    audience: isHere ? audience : null,
    remotes: isHere ? [] : [{ region: target, audience }],
    idempotency: null,
    answer: {
      id: notification.id,
      acceptedAt: new Date(notification.acceptedAtMs).toISOString(),
      regions: [target],
    },
  };
}
