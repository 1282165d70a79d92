// apps/ingest/src/accept.ts
// The way in (DESIGN §5, steps 1 and 2): who is meant where, one group commit, then pokes and relay.
// Before a refusal the Idempotency-Key is looked up (IN60): repeats.ts. What it says: contents.ts.
//   IN14 An answer 202 is given only after the commit (D1); everything after it, poke and relay,
//        may be lost without loss: rows in Postgres stand for it.
// Whom it means in which region: audiences.ts.
import type { Bus } from "@carillon/bus";
import type { Notification, NotificationRequest } from "@carillon/contracts";
import {
  assert,
  assertNever,
  type Batcher,
  type Clock,
  createBatcher,
  createUuidV7,
  Fault,
  ItemFailure,
  type Random,
} from "@carillon/kernel";
import type { AcceptItem, AcceptResult, Store } from "@carillon/store";
import { type Answer, invalidField, ok, problem, type ProblemAnswer } from "./answer.ts";
import {
  audiencesOf,
  type AudiencesDeps,
  type AudiencesOutcome,
  type TargetAudiences,
} from "./audiences.ts";
import { contentOf } from "./contents.ts";
import { type Poker, type PokeSource, push } from "./poke.ts";
import { relayItemJson } from "./relay-outbox.ts";
import type { RelayEntry } from "./relay-sender.ts";
import type { Relay } from "./relay.ts";
import type { Plans } from "./plan.ts";
import { sendAtProblemOf, sendTimesOf } from "./send-at.ts";
import { type Keyed, repeatOf } from "./repeats.ts";
import type { Templates } from "./templates.ts";
import { webhookErrorsOf, type Webhooks } from "./webhooks.ts";

export interface AcceptLimits {
  readonly batchItemsMax: number;
  readonly batchWaitMs: number;
  readonly batchesAtOnceMax: number;
  readonly queueMax: number;
}

export type AcceptRequest = {
  readonly tenantId: string;
  readonly idempotency: AcceptItem["idempotency"];
} & (
  | { readonly request: NotificationRequest }
  /** `meant`: of what says its audience otherwise. */
  | {
      readonly request: Omit<NotificationRequest, "audience" | "exclude">;
      readonly meant: TargetAudiences;
    }
);

export interface Acceptor {
  accept(request: AcceptRequest): Promise<Answer>;
  /** As it is, with the others of its time. */
  commit(item: AcceptItem): Promise<Answer>;
  /** IN60. Undefined: it is no repeat. */
  repeatOf(request: Keyed): Promise<Answer | undefined>;
  readonly waitingCount: number;
  drain(): Promise<void>;
}

export interface AcceptOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly limits: AcceptLimits;
  readonly onCommit: (itemCount: number, durationMs: number) => void;
  readonly onAccepted: (outcome: AcceptResult["kind"] | "overloaded") => void;
}

export interface AcceptDeps extends AudiencesDeps {
  readonly store: Store;
  readonly bus: Bus;
  readonly templates: Templates;
  readonly plans: Pick<Plans, "targetedCount">;
  readonly poker: Poker;
  readonly relay: Relay;
  readonly webhooks?: Webhooks | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

interface Pending {
  readonly item: AcceptItem;
  readonly notificationJson: string;
}

const RETRY_AFTER = { "retry-after": "1" };
const RELAY_ENVELOPE_BYTES = 512;

export function createAcceptor(options: AcceptOptions, deps: AcceptDeps): Acceptor {
  const { region } = options;
  const { store, bus, clock } = deps;

  const commit = async (batch: readonly Pending[]): Promise<AcceptResult[]> => {
    const startedAtMs = clock.monotonicMs();
    const items = batch.map(({ item }) => item);
    const results = await store.notifications.accept(region, items);
    options.onCommit(batch.length, clock.monotonicMs() - startedAtMs);
    announce(batch, results, deps);
    return results;
  };

  const batcher: Batcher<Pending, AcceptResult> = createBatcher(
    {
      itemsMax: options.limits.batchItemsMax,
      waitMs: options.limits.batchWaitMs,
      concurrencyMax: options.limits.batchesAtOnceMax,
      queueMax: options.limits.queueMax,
      async run(batch) {
        try {
          return await commit(batch);
        } catch (cause) {
          // Refused, not lost: one of them is at fault, and must not take the others with it.
          if (!(cause instanceof Fault) || cause.isRetryable || batch.length === 1) throw cause;
          return await oneByOne(batch, commit);
        }
      },
    },
    clock,
  );

  const add = async (pending: Pending): Promise<Answer> => {
    const result = await batcher.add(pending);
    options.onAccepted(result.kind === "full" ? "overloaded" : result.kind);
    return answerOf(result);
  };

  const replayOf = async (request: Keyed): Promise<Answer | undefined> => {
    const repeated = await repeatOf(request, store);
    if (repeated === undefined) return undefined;
    options.onAccepted(repeated.kind);
    return answerOf(repeated);
  };

  return {
    get waitingCount() {
      return batcher.waitingCount;
    },
    drain: () => batcher.drain(),
    commit: (item) => add({ item, notificationJson: JSON.stringify(item.notification) }),
    repeatOf: replayOf,
    async accept(request) {
      const tooFar = sendAtProblemOf(request.request, clock.wallClockMs());
      if (tooFar !== undefined) return tooFar;
      const pending = await pendingOf(request, options, deps, bus.payloadMaxBytes);
      if ("kind" in pending) return (await replayOf(request)) ?? pending;
      return await add(pending);
    },
  };
}

/** Why it is not known whom a request means. */
type Unmeant = Exclude<AudiencesOutcome, { kind: "audiences" }>;

export function problemOfAudience(unmeant: Unmeant): ProblemAnswer {
  switch (unmeant.kind) {
    case "unlocated":
      // Their home may be the region that did not answer: counted as unknown they would be lost.
      return problem("region_unreachable", { headers: { "retry-after": "5" } });
    case "unknown_groups":
    case "too_complex":
      return problem("invalid_field", { errors: unmeant.errors });
    default:
      return assertNever(unmeant);
  }
}

function answerOf(result: AcceptResult | { kind: "full" }): Answer {
  switch (result.kind) {
    case "accepted":
      return ok(202, result.answer);
    case "replayed":
      return ok(202, result.answer, { "idempotency-replayed": "true" });
    case "mismatch":
      return problem("idempotency_mismatch", {
        errors: [{ field: "Idempotency-Key", message: "was used with another body" }],
      });
    case "unstorable":
      return invalidField(result.field, "must not hold NUL or half a surrogate pair");
    case "full":
      return problem("overloaded", { headers: RETRY_AFTER });
    default:
      return assertNever(result);
  }
}

async function pendingOf(
  asked: AcceptRequest,
  { region, regions }: AcceptOptions,
  deps: AcceptDeps,
  busMaxBytes: number,
): Promise<Pending | ProblemAnswer> {
  const { tenantId, request, idempotency } = asked;
  const steps = request.requireAck?.escalation ?? [];
  const field = "requireAck.escalation";
  const errors = webhookErrorsOf(steps, { field, webhooks: deps.webhooks });
  if (errors.length > 0) return problem("invalid_field", { errors });
  const found =
    "meant" in asked
      ? asked.meant
      : await audiencesOf({ tenantId, ...asked.request }, regions, deps);
  if (found.kind !== "audiences") return problemOfAudience(found);
  const said = await contentOf(tenantId, request, deps.templates);
  if (said.kind === "problem") return said;
  assert(said.kind === "content", "IN67 what is accepted has content");
  const { audiences, unknownCount, exclude } = found;
  const throttle = request.throttle && {
    ...request.throttle,
    targetedCount: await deps.plans.targetedCount(tenantId, found), // ADR 0033
  };
  const acceptedAtMs = deps.clock.wallClockMs();
  const { sendAtMs, sendAtLocalMs, expiresAtMs } = sendTimesOf(request, acceptedAtMs);
  const notification: Notification = {
    id: createUuidV7(deps.clock, deps.random),
    tenantId,
    acceptedRegion: region,
    acceptedAtMs,
    expiresAtMs,
    priority: request.priority,
    ...(request.category !== undefined && { category: request.category }),
    content: said.content,
    exclude,
    ...(said.fallbacks !== undefined && { fallbacks: said.fallbacks }),
    ...(sendAtMs === undefined ? {} : { sendAtMs }),
    ...(sendAtLocalMs === undefined ? {} : { sendAtLocalMs }),
    ...(request.collapseKey === undefined ? {} : { collapseKey: request.collapseKey }),
    ...(throttle === undefined ? {} : { throttle }),
    ...(request.requireAck === undefined ? {} : { requireAck: request.requireAck }),
  };
  const remotes = [...audiences].filter(([target]) => target !== region);
  const item: AcceptItem = {
    notification,
    audience: audiences.get(region) ?? null,
    remotes: remotes.map(([target, audience]) => ({ region: target, audience })),
    idempotency,
    answer: {
      id: notification.id,
      acceptedAt: new Date(acceptedAtMs).toISOString(),
      regions: [...audiences.keys()],
      ...(unknownCount === undefined ? {} : { unknownCount }),
    },
  };
  const pending = { item, notificationJson: JSON.stringify(notification) };
  if (remotes.length > 0 && !fitsBus(pending, busMaxBytes))
    return problem("body_too_large", { detail: "It does not fit a message between regions." });
  return pending;
}

function fitsBus({ item, notificationJson }: Pending, maxBytes: number): boolean {
  const roomBytes = maxBytes - RELAY_ENVELOPE_BYTES - Buffer.byteLength(notificationJson);
  return item.remotes.every(
    ({ audience }) => Buffer.byteLength(JSON.stringify(audience)) <= roomBytes,
  );
}

/** Pokes of one commit are merged per owner, relay rows per target. */
function announce(
  batch: readonly Pending[],
  results: readonly AcceptResult[],
  { poker, relay }: AcceptDeps,
): void {
  const sources: PokeSource[] = [];
  const entries = new Map<string, RelayEntry[]>();
  let backlogs: readonly string[] = []; // one statement: the same for all of them
  for (const [index, { item, notificationJson }] of batch.entries()) {
    const result = results[index];
    if (result?.kind !== "accepted") continue;
    if (item.audience !== null && result.ledgerEntries.length > 0)
      sources.push({
        tenantId: item.notification.tenantId,
        notificationJson,
        audience: item.audience,
        entries: result.ledgerEntries,
      });
    backlogs = result.backlogs;
    for (const { region, audience } of item.remotes) {
      const outboxId = result.outboxIds[region];
      if (outboxId === undefined) continue;
      const json = relayItemJson(notificationJson, audience);
      push(entries, region, { outboxId, kind: "notification", json });
    }
  }
  poker.notifications(sources);
  for (const [target, queued] of entries)
    relay.offer(target, queued, backlogs.includes(target) ? "backlog" : "direct");
}

async function oneByOne(
  batch: readonly Pending[],
  commit: (batch: readonly Pending[]) => Promise<AcceptResult[]>,
): Promise<(AcceptResult | ItemFailure)[]> {
  const results: (AcceptResult | ItemFailure)[] = [];
  for (const pending of batch) {
    try {
      const [result] = await commit([pending]);
      results.push(result ?? new ItemFailure(undefined));
    } catch (cause) {
      results.push(new ItemFailure(cause));
    }
  }
  return results;
}
