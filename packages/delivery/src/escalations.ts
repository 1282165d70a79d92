// packages/delivery/src/escalations.ts
// Chains: what follows when a notification is not acknowledged in time (ADR 0030). A durable timer per ledger row
// is the process of all of its recipients; it is set with the row, and each step replaces it by the next one's.
//   FL3  A step is over in the statement that sets the next timer under the same key: who dies before it takes
//        the step again, under the same ids, and who dies after it does not (D1).
//   FL4  Before a step it is asked who has acknowledged, of the row and of all steps before, in any region. A region
//        that stays silent is passed over after some time: once too often is safer than never. A new owner first
//        waits for receipts that were told to the one before, and not confirmed by it.
//   FL5  A step that cannot be done for somebody is told in his story, and his next one is taken at once.
//   FL6  A webhook is called until it answers, for a time, under one id; who has been told is not told again.
//   FL7  A cancelled notification's chain ends; a paused one's waits.
// At most `peopleMax` of a row are worked on in a firing, `firingMax` firings at a time (D6).
import {
  type ControlState,
  FLOW_TIMER_KIND,
  type FlowPayload,
  flowPayloadSchema,
  LIMITS,
} from "@carillon/contracts";
import { assert, backoffDelayMs, Bitset, Fault, type Random } from "@carillon/kernel";
import { ChainFiring, type FiringDeps, type PageOf, type PageOutcome } from "./chain-firing.ts";
import type { RecipientProcesses } from "./delivery-node-api.ts";
import type { TimerHandler } from "./durable-timers.ts";
import { Envelope } from "./envelope.ts";
import { chainOf, mayCallWebhook, unacknowledgedOf, waitSecondsOf } from "./escalation-step.ts";
import { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { ClaimedTimer, LedgerStore } from "./ports.ts";
import { Slots } from "./slots.ts";

export interface EscalationsDeps extends FiringDeps {
  readonly ledger: Pick<LedgerStore, "readRows" | "readNotifications">;
  readonly random: Random;
  readonly graceMs: number;
  /** What its sender did with it, as far as was heard. */
  controlOf(notificationId: string): ControlState;
  /** Writes what is dirty now; false: something is left. */
  flush(): Promise<boolean>;
  partitionOf(partition: number): Partition | undefined;
}

/** Set again: the same step later, its next page, or the next step; undefined: the chain is over. */
type Next = { readonly payload: FlowPayload; readonly inMs: number } | undefined;

export class Escalations {
  readonly #deps: EscalationsDeps;
  readonly #slots: Slots;

  constructor(deps: EscalationsDeps) {
    this.#deps = deps;
    this.#slots = new Slots(deps.limits, deps.clock);
  }

  readonly handler: TimerHandler<RecipientProcesses> = {
    kind: FLOW_TIMER_KIND,
    fire: async (timer, served) => {
      const { clock, limits } = this.#deps;
      const at = flowPayloadSchema.parse(timer.payload);
      const endsAtMs = clock.monotonicMs() + limits.actMaxMs;
      let next: Next = { payload: at, inMs: limits.lookAgainMs };
      if (await this.#slots.take())
        try {
          next = await this.#fire(timer, at, served.partition);
        } finally {
          this.#slots.give();
        }
      if (next === undefined) return; // its timer is deleted
      // Somebody may be firing it again: what is set now would take the place of what that one sets.
      if (clock.monotonicMs() > endsAtMs) throw late();
      const { key, kind, tenantId } = timer;
      const { payload, inMs } = next;
      await served.timers.set({ kind, key, tenantId, due: { inMs }, payload: bounded(payload) }); // FL3
    },
  };

  async #fire({ tenantId }: ClaimedTimer, at: FlowPayload, partition: number): Promise<Next> {
    const { ledger, limits, home } = this.#deps;
    const again: Next = { payload: at, inMs: limits.lookAgainMs };
    const owned = this.#deps.partitionOf(partition);
    if (owned === undefined) throw unwritten(); // its next owner has the timer
    const lateMs = this.#deps.graceMs - limits.lateReceiptsMs; // of the grace that is left
    const waitMs = owned.graceEndsAtMs - this.#deps.clock.monotonicMs() - Math.max(0, lateMs);
    if (waitMs > 0) return { payload: at, inMs: waitMs }; // FL4
    const control = this.#deps.controlOf(at.notificationId);
    if (control === "paused") return again; // FL7
    if (control !== "running") return undefined;
    const [stored] = await ledger.readNotifications([at.notificationId]);
    if (stored?.notification.tenantId !== tenantId) return undefined; // it is older than what is kept
    const chain = chainOf(stored.notification);
    if (at.step > chain.steps.length) return undefined;
    if (!(await this.#deps.flush())) throw unwritten(); // FL4
    const [row] = await ledger.readRows(home, partition, {
      afterOffset: at.offset - 1,
      limitCount: 1,
    });
    if (row?.offset !== at.offset || row.notificationId !== at.notificationId) return undefined;
    if (row.state === "planned") return again; // nobody could have acknowledged yet
    const entry = new LedgerEntry(row, new Envelope(stored.notification, stored.audience));
    return await this.#page(at, { chain, row, owned, entry });
  }

  async #page(at: FlowPayload, of: PageOf): Promise<Next> {
    const { limits } = this.#deps;
    const { chain, row } = of;
    const settled = new Map(
      Object.entries(at.settled).map(([step, set]) => [Number(step), bitsOf(set)]),
    );
    const unacknowledged = unacknowledgedOf(row);
    if (unacknowledged.isEmpty) return undefined; // all have
    const needing = unacknowledged
      .andNot(settled.get(at.step) ?? new Bitset())
      .andNot(Bitset.of(at.had))
      .toArray()
      .filter((index) => index >= at.from && index <= (at.until ?? Infinity));
    const peopleMax = mayCallWebhook(chain, at.step) ? limits.webhookPeopleMax : limits.peopleMax;
    const indexes = needing.slice(0, peopleMax);
    const firing = new ChainFiring(this.#deps, { ...of, at });
    const outcome = await firing.take(indexes);
    return this.#after(at, {
      ...of,
      outcome,
      settled,
      indexes,
      isLast: needing.length <= peopleMax,
    });
  }

  #after(
    at: FlowPayload,
    of: PageOf & {
      readonly outcome: PageOutcome;
      readonly settled: Map<number, Bitset>;
      readonly indexes: readonly number[];
      readonly isLast: boolean;
    },
  ): Next {
    const { limits, random } = this.#deps;
    const { outcome, chain, indexes } = of;
    if (outcome.kind === "unheard") {
      const unheard = at.unheard + 1;
      return { payload: { ...at, unheard }, inMs: backoffDelayMs(limits.retry, unheard, random) };
    }
    for (const [step, those] of outcome.settled)
      of.settled.set(step, (of.settled.get(step) ?? new Bitset()).or(Bitset.of(those)));
    const settled = Object.fromEntries(
      Array.from(of.settled, ([step, set]) => [String(step), textOf(set)]),
    );
    const until = at.until ?? indexes.at(-1);
    const tries = outcome.isTaken ? 0 : at.tries;
    const wasTaken = at.wasTaken || outcome.isTaken;
    if (outcome.failed.length > 0) {
      const had = [...at.had, ...indexes.filter((index) => !outcome.failed.includes(index))];
      const backOffMs = backoffDelayMs(limits.retry, tries + 1, random);
      const inMs = Math.min(Math.max(backOffMs, outcome.retryAfterMs), RETRY_AFTER_MAX_MS);
      return { payload: { ...at, settled, until, had, wasTaken, tries: tries + 1 }, inMs };
    }
    const { notificationId, offset, step } = at;
    const row = { notificationId, offset, settled, had: [] };
    if (!of.isLast || at.until !== undefined) {
      // What was given up is not waited for again, page by page.
      const { unheard } = at;
      const from = (until ?? at.from) + 1;
      const left = wasTaken ? 0 : tries;
      return { payload: { ...row, step, tries: left, unheard, wasTaken: false, from }, inMs: 0 };
    }
    if (step >= chain.steps.length) return undefined;
    const inMs = waitSecondsOf(chain, step) * 1_000;
    const first = { from: 0, tries: 0, unheard: 0, wasTaken: false };
    return { payload: { ...row, ...first, step: step + 1 }, inMs };
  }
}

/** A webhook may ask for more patience; the others of its row have to have it, too. */
const RETRY_AFTER_MAX_MS = 600_000;

function bitsOf(base64: string): Bitset {
  return Bitset.fromBytes(Buffer.from(base64, "base64"));
}

function textOf(set: Bitset): string {
  return Buffer.from(set.toBytes()).toString("base64");
}

/** Of some 25,000 people of one partition it no longer fits who needs no more: they are asked about again (FL1). */
function bounded(payload: FlowPayload): FlowPayload {
  if (JSON.stringify(payload).length <= LIMITS.timerPayloadMaxCharacters) return payload;
  const rest = { ...payload, settled: {} };
  assert(JSON.stringify(rest).length <= LIMITS.timerPayloadMaxCharacters, "FL3 a page is small");
  return rest;
}

function late(): Fault {
  return new Fault("a step took too long", { code: "overloaded", isRetryable: true });
}

function unwritten(): Fault {
  return new Fault("not all is written", { code: "store_unavailable", isRetryable: true });
}
