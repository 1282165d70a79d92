// packages/delivery/src/chain-firing.ts
// One firing of a chain: takes the step for a page of people, and for whom it cannot be done the next one, and so
// on (FL5), up to a webhook, which is another firing's: each may take as long as one may. What it did is committed, or known to its receiver under its id, when it answers; when it rejects, all
// of it may be taken again.
import { recipientIdSchema, type StoredStep } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import type { DeliveryJournal, JournalNote } from "./delivery-journal.ts";
import type { FlowLimits } from "./delivery-limits.ts";
import type { EscalationStore, RegionAcks } from "./escalation-ports.ts";
import {
  type Chain,
  isForPerson,
  isWebhook,
  stepIdOf,
  stepNotificationOf,
  webhookBodyOf,
} from "./escalation-step.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { LedgerRow, WebhookPort } from "./ports.ts";

export interface FiringDeps {
  readonly home: string;
  readonly escalations: EscalationStore;
  readonly regions: RegionAcks;
  /** Undefined: none can be called here. */
  readonly webhooks: WebhookPort | undefined;
  readonly clock: Clock;
  readonly journal: DeliveryJournal | undefined;
  readonly limits: FlowLimits;
}

/** Of a firing, to write what came of it. */
const SPARE_MS = 1_000;

export interface PageOf {
  readonly chain: Chain;
  readonly row: LedgerRow;
  readonly owned: Partition;
  /** The row as it was read; for the journal's rule. */
  readonly entry: LedgerEntry;
}

export type PageOutcome =
  /** A region did not say who has acknowledged: nothing was done. */
  | { readonly kind: "unheard" }
  | {
      readonly kind: "taken";
      /** Whose webhook is to be called again. */
      readonly failed: readonly number[];
      readonly retryAfterMs: number;
      /** A webhook was called, and took it. */
      readonly isTaken: boolean;
      /** Who has come to a webhook that is another firing's; undefined: nobody. */
      readonly passed: { readonly step: number; readonly indexes: readonly number[] } | undefined;
      /** By later step, who needs no more of it. */
      readonly settled: ReadonlyMap<number, readonly number[]>;
    };

/** What a firing begins with. */
export interface FiringAt {
  readonly step: number;
  /** How often the webhook of that step has failed. */
  readonly tries: number;
  readonly unheard: number;
  /** The others of the row come to this step later: who has had it then needs no more of it. */
  readonly isAhead: boolean;
  /** Monotonic: it has answered by then. */
  readonly endsAtMs: number;
}

type Person = Awaited<ReturnType<EscalationStore["readPeople"]>>[number];

export class ChainFiring {
  readonly #deps: FiringDeps;
  readonly #of: PageOf & { readonly at: FiringAt };
  readonly #failed: number[] = [];
  readonly #settled = new Map<number, number[]>();
  #retryAfterMs = 0;
  #isTaken = false;

  constructor(deps: FiringDeps, of: PageOf & { readonly at: FiringAt }) {
    this.#deps = deps;
    this.#of = of;
  }

  /** Ascending indexes of people who have not acknowledged, as far as the row says. Throws Fault. */
  async take(indexes: readonly number[]): Promise<PageOutcome> {
    const { at, chain } = this.#of;
    const isAsked = await this.#withoutAcknowledged(indexes);
    if (isAsked === undefined) return { kind: "unheard" };
    let people = await this.#people(isAsked);
    let passedAt = at.step;
    for (; people.length > 0 && passedAt <= chain.steps.length; passedAt++) {
      if (passedAt > at.step && isWebhook(chain.steps[passedAt - 1])) break; // it takes a firing's time
      // oxlint-disable-next-line no-await-in-loop -- who passes a step comes to the next one
      const passed = await this.#step(passedAt, people);
      if (at.isAhead || passedAt > at.step) this.#settle(passedAt, people);
      people = passed;
    }
    const indexesLeft = passedAt > chain.steps.length ? [] : people.map(({ index }) => index);
    return {
      kind: "taken",
      failed: this.#failed,
      passed: indexesLeft.length > 0 ? { step: passedAt, indexes: indexesLeft } : undefined,
      retryAfterMs: this.#retryAfterMs,
      isTaken: this.#isTaken,
      settled: this.#settled,
    };
  }

  async #people(indexes: readonly number[]): Promise<Person[]> {
    if (indexes.length === 0) return [];
    const { home, escalations } = this.#deps;
    const people = await escalations.readPeople(home, this.#of.row.partition, indexes);
    return people.toSorted((a, b) => a.index - b.index);
  }

  #settle(step: number, people: readonly { readonly index: number }[]): void {
    const those = this.#settled.get(step) ?? [];
    for (const { index } of people) if (!this.#failed.includes(index)) those.push(index);
    this.#settled.set(step, those);
  }

  // --- who has acknowledged (FL4) -----------------------------------------------------------

  /** Undefined: not known, and it is too early to go on without. */
  async #withoutAcknowledged(indexes: readonly number[]): Promise<readonly number[] | undefined> {
    const { at, chain } = this.#of;
    const before = chain.steps
      .slice(0, at.step - 1)
      .flatMap((step, number) => (isForPerson(step) ? number + 1 : []));
    if (before.length === 0 || indexes.length === 0) return indexes;
    const asked = new Map<string, { readonly index: number; readonly step: number }>();
    for (const index of indexes)
      for (const step of before) asked.set(this.#idOf(index, step), { index, step });
    const found = await this.#acknowledgedOf([...asked.keys()]);
    if (found.silent.size > 0 && at.unheard < this.#deps.limits.unheardMax) return undefined;
    for (const [id, region] of found.silent) {
      const about = asked.get(id);
      if (about !== undefined)
        this.#note(about.index, { kind: "unheard", code: region, detail: { step: about.step } });
    }
    const stopped = new Set<number>();
    for (const id of found.acknowledged) {
      const about = asked.get(id);
      if (about === undefined || stopped.has(about.index)) continue;
      stopped.add(about.index);
      this.#note(about.index, {
        kind: "escalationEnded",
        code: "acknowledged",
        detail: { step: about.step },
      });
      const first = at.isAhead ? at.step : at.step + 1;
      for (let step = first; step <= chain.steps.length; step++) this.#settle(step, [about]);
    }
    return indexes.filter((index) => !stopped.has(index));
  }

  async #acknowledgedOf(ids: readonly string[]): Promise<{
    readonly acknowledged: ReadonlySet<string>;
    readonly silent: ReadonlyMap<string, string>; // id → region
  }> {
    const { home, escalations, regions } = this.#deps;
    const { tenantId } = this.#of.chain.notification;
    const acknowledged = new Set<string>();
    const elsewhere = new Map<string, string[]>();
    for (const step of await escalations.readSteps(home, ids)) {
      if (step.isAcknowledged) acknowledged.add(step.notificationId);
      for (const region of step.targetRegions)
        if (region !== home)
          elsewhere.set(region, [...(elsewhere.get(region) ?? []), step.notificationId]);
    }
    const silent = new Map<string, string>();
    await Promise.all(
      Array.from(elsewhere, async ([region, those]) => {
        const told = await regions.acknowledged(region, tenantId, those);
        if (told === undefined) for (const id of those) silent.set(id, region);
        else for (const id of told) acknowledged.add(id);
      }),
    );
    return { acknowledged, silent };
  }

  // --- the step -----------------------------------------------------------------------------

  /** Those for whom it cannot be done. */
  async #step(number: number, people: readonly Person[]): Promise<Person[]> {
    const step = this.#of.chain.steps[number - 1];
    if (step === undefined) {
      for (const person of people) this.#pass(person, number, "unknown_step");
      return [...people];
    }
    if (step.to === "recipient" || "attribute" in step.to)
      return await this.#tell(number, people, step.to);
    return await this.#call(number, people, step.to.webhook);
  }

  async #tell(
    number: number,
    people: readonly Person[],
    to: Exclude<StoredStep["to"], { webhook: string }>,
  ): Promise<Person[]> {
    const { clock, home, escalations } = this.#deps;
    const passed: Person[] = [];
    const told: { person: Person; recipientId: string; id: string }[] = [];
    for (const person of people) {
      const recipientId = to === "recipient" ? person.recipientId : person.attributes[to.attribute];
      const isId = recipientIdSchema.safeParse(recipientId);
      if (isId.success)
        told.push({ person, recipientId: isId.data, id: this.#idOf(person.index, number) });
      else passed.push(this.#pass(person, number, "no_attribute"));
    }
    const nowMs = clock.wallClockMs();
    const results = await escalations.accept(
      home,
      told.map(({ person, recipientId, id }) => ({
        recipientId,
        notification: stepNotificationOf(this.#of.chain, {
          ...{ id, recipientId: person.recipientId, step: number, region: home, nowMs },
        }),
      })),
    );
    for (const [at, { person, id }] of told.entries()) {
      const result = results[at] ?? "unknown";
      if (result === "unknown" || result === "unstorable")
        passed.push(
          this.#pass(person, number, result === "unknown" ? "unknown_recipient" : result),
        );
      else
        this.#note(person.index, {
          kind: "escalated",
          code: to === "recipient" ? "recipient" : "attribute",
          detail: { step: number, notificationId: id, isRepeat: result === "repeated" },
        });
    }
    return passed;
  }

  async #call(number: number, people: readonly Person[], url: string): Promise<Person[]> {
    const { clock, limits } = this.#deps;
    // The last call to begin has to end within the firing.
    const lastAtMs = Math.min(
      clock.monotonicMs() + limits.postMaxMs,
      this.#of.at.endsAtMs - limits.postMaxMs - SPARE_MS,
    );
    const passed: Person[] = [];
    const queue = people.values();
    const caller = async (): Promise<void> => {
      for (const person of queue)
        if (clock.monotonicMs() > lastAtMs) this.#failed.push(person.index);
        // oxlint-disable-next-line no-await-in-loop -- one call after the other
        else if (!(await this.#post(number, person, url))) passed.push(person);
    };
    await Promise.all(Array.from({ length: limits.webhooksAtOnceMax }, caller));
    return passed.toSorted((a, b) => a.index - b.index);
  }

  /** False: it will not be called any more for this step. */
  async #post(step: number, person: Person, url: string): Promise<boolean> {
    const { clock, limits } = this.#deps;
    const { chain, at } = this.#of;
    const { index, recipientId } = person;
    const nowMs = clock.wallClockMs();
    const id = this.#idOf(index, step);
    const answer = await this.#answerOf({
      ...{ id, url, tenantId: chain.notification.tenantId, timestampMs: nowMs },
      body: webhookBodyOf(chain, { recipientId, step, nowMs }),
    });
    if (answer.kind === "accepted") {
      this.#isTaken = true;
      this.#note(index, { kind: "escalated", code: "webhook", detail: { step, eventId: id } });
      return true;
    }
    if (answer.kind === "failed" && at.tries + 1 < limits.webhookTriesMax) {
      this.#failed.push(index);
      this.#retryAfterMs = Math.max(this.#retryAfterMs, answer.retryAfterMs ?? 0);
      return true;
    }
    this.#pass(person, step, answer.code);
    return false;
  }

  async #answerOf(event: Parameters<WebhookPort["post"]>[0]): ReturnType<WebhookPort["post"]> {
    const { clock, webhooks, limits } = this.#deps;
    if (webhooks === undefined) return { kind: "refused", code: "no_webhooks" };
    const late = Promise.withResolvers<{ readonly kind: "failed"; readonly code: string }>();
    const timer = clock.setTimer(limits.postMaxMs, () =>
      late.resolve({ kind: "failed", code: "timeout" }),
    );
    try {
      return await Promise.race([webhooks.post(event), late.promise]);
    } finally {
      timer.cancel();
    }
  }

  #pass(person: Person, step: number, code: string): Person {
    this.#note(person.index, { kind: "notEscalated", code, detail: { step } });
    return person;
  }

  #idOf(index: number, step: number): string {
    const { row } = this.#of;
    const { notificationId, partition } = row;
    return stepIdOf({ notificationId, home: this.#deps.home, partition, index, step });
  }

  #note(index: number, note: JournalNote): void {
    this.#deps.journal?.note(this.#of.owned, index, this.#of.entry, note);
  }
}
