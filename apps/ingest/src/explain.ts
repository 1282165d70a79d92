// apps/ingest/src/explain.ts
// Explain this delivery (A4): what became of one recipient's notification, from whatever region is asked;
// read in the recipient's home region, whose ledger and journal say it. Only ids leave that region (D8).
//   IN58 What is said of a recipient is what its home region's ledger says; the journal tells how it came
//        to that, and the answer says when it was not kept.
//   IN59 Who was not meant is told why, as far as that can be told afterwards; a region that is silent
//        is 503, never "not targeted" and never "unknown".
import type { Bus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  type ExplainReply,
  explainReplySchema,
  type ExplainRequest,
  fieldErrorsOf,
  LIMITS,
  type NotTargetedReason,
  recipientIdSchema,
  type RecipientExplanation,
  subjects,
  TERMINAL_COUNT_NAMES,
} from "@carillon/contracts";
import { isInAudience, isKeptWhole, isSampled } from "@carillon/delivery";
import { assertNever } from "@carillon/kernel";
import type { NotificationDetails, Store, StoryEvent } from "@carillon/store";
import { type Answer, ok, problem } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import { reasonOf, timelineOf } from "./explain-texts.ts";
import type { Homes } from "./homes.ts";
import type { Call } from "./http-server.ts";
import { notificationIdOf, type Statuses, targetsOf } from "./status.ts";

export interface Explanations {
  get(call: Call<KeyCaller>): Promise<Answer>;
  /** For recipients whose home is here. Throws Fault. */
  readHere(request: ExplainRequest): Promise<ExplainReply>;
}

export interface ExplanationsOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly requestTimeoutMs: number;
  /** As the region's workers have it: of large audiences one recipient in so many is kept. */
  readonly journalOneIn: number;
}

interface ExplanationsDeps {
  readonly store: Store;
  readonly bus: Bus;
  readonly homes: Homes;
  readonly statuses: Statuses;
}

type Explained = Extract<ExplainReply, { kind: "explained" }>;

export function createExplanations(
  options: ExplanationsOptions,
  deps: ExplanationsDeps,
): Explanations {
  const { region, regions } = options;
  const { store, bus, homes, statuses } = deps;

  const readHere: Explanations["readHere"] = async ({ tenantId, notificationId, recipientId }) => {
    const [row, details] = await Promise.all([
      store.directory.rowOf(region, tenantId, recipientId),
      store.notifications.get(tenantId, notificationId),
    ]);
    if (row === undefined) return { kind: "unknown_recipient" };
    if (details === undefined || details.audience === null) return { kind: "no_copy" };
    const place = { home: region, partition: row.partition, index: row.index, notificationId };
    const [ledgerRows, wait, story] = await Promise.all([
      store.notifications.rowsOf(place),
      store.notifications.waitOf(place),
      store.journal.storyOf(place, LIMITS.explainEventsMax + 1),
    ]);
    const rows = ledgerRows.filter(({ sets }) => sets.length > 0);
    const isPlanned = ledgerRows.some(({ state }) => state === "planned");
    const { audience } = details;
    const meant = { notification: details.notification, audience };
    const waitsUntilMs = isWaitFor(recipientId, wait, meant, row) ? wait?.untilMs : undefined;
    const isMeant = rows.length > 0 || isPlanned || waitsUntilMs !== undefined;
    return {
      kind: "explained",
      reason: isMeant ? null : reasonFor(recipientId, meant, row),
      rows: rows.map(({ offset, sets }) => ({ offset, sets: [...sets] })),
      isPlanned,
      ...(waitsUntilMs === undefined ? {} : { waitsUntilMs }),
      isKept:
        rows.length === 0 ||
        rows.some(({ targetedCount }) => isKeptWhole(audience, targetedCount)) ||
        isSampled(place, options.journalOneIn) ||
        story.some(isOfWhole),
      events: story.slice(0, LIMITS.explainEventsMax),
      isCut: story.length > LIMITS.explainEventsMax,
    };
  };

  const readThere = async (home: string, request: ExplainRequest): Promise<ExplainReply> => {
    const data = encodeMessage(request);
    const subject = subjects.regionExplain(home);
    const outcome = await bus.request(subject, data, options.requestTimeoutMs);
    if (outcome.kind !== "reply") return { kind: "failed", code: outcome.kind };
    const decoded = decodeMessage(explainReplySchema, outcome.data);
    return decoded.kind === "message" ? decoded.message : { kind: "failed", code: "malformed" };
  };

  /** The home region has no copy: not relayed yet, not a target, or no such notification. */
  const withoutCopy = async (request: ExplainRequest, homeRegion: string): Promise<Answer> => {
    const replies = await statuses.ask(request.tenantId, request.notificationId);
    const targets = targetsOf(replies, regions);
    if ("kind" in targets) return targets;
    const isTarget = targets.includes(homeRegion);
    const nothing = { reason: null, rows: [], isPlanned: false, isKept: true };
    const explained = explanationOf(request, homeRegion, {
      ...nothing,
      kind: "explained",
      events: [],
      isCut: false,
    });
    return ok(200, {
      ...explained,
      state: isTarget ? "waiting" : "not_targeted",
      reason: isTarget ? null : reasonOf("region_not_targeted"),
    } satisfies RecipientExplanation);
  };

  return {
    readHere,
    async get({ caller, params }) {
      const notificationId = notificationIdOf(params["id"]);
      if (typeof notificationId !== "string") return notificationId;
      const parsed = recipientIdSchema.safeParse(params["rid"]);
      if (!parsed.success)
        return problem("invalid_field", {
          errors: fieldErrorsOf(parsed.error, params["rid"], "recipientId"),
        });
      const { tenantId } = caller;
      const recipientId = parsed.data;
      const found = await homes.find(tenantId, [recipientId]);
      const home = found.homes.get(recipientId);
      if (home === undefined)
        return found.isPartial
          ? unreachable()
          : problem("not_found", { detail: UNKNOWN_RECIPIENT });
      const request = { tenantId, notificationId, recipientId };
      const reply = home === region ? await readHere(request) : await readThere(home, request);
      switch (reply.kind) {
        case "explained":
          return ok(200, explanationOf(request, home, reply));
        case "no_copy":
          return await withoutCopy(request, home);
        case "unknown_recipient":
          return problem("not_found", { detail: UNKNOWN_RECIPIENT });
        case "failed":
          return reply.code === "tenant_withheld"
            ? problem("tenant_withheld", { headers: { "retry-after": "60" } })
            : unreachable();
        default:
          return assertNever(reply);
      }
    },
  };
}

const UNKNOWN_RECIPIENT = "No region knows this recipient.";

export function unreachable() {
  return problem("region_unreachable", { headers: { "retry-after": "5" } });
}

/** What only a story that is kept whole has. */
function isOfWhole({ kind }: StoryEvent): boolean {
  return kind === "handed" || kind === "sent" || kind === "resent";
}

/** Pure. */
export function explanationOf(
  { notificationId, recipientId }: ExplainRequest,
  homeRegion: string,
  { reason, rows, isPlanned, waitsUntilMs, isKept, events, isCut }: Explained,
): RecipientExplanation {
  const last = rows.at(-1);
  const has = (name: string): boolean => rows.some(({ sets }) => sets.includes(name));
  const outcome = TERMINAL_COUNT_NAMES.find((name) => last?.sets.includes(name) === true);
  const unsettled = isPlanned ? "planned" : reason === null ? "pending" : "not_targeted";
  return {
    notificationId,
    recipientId,
    homeRegion,
    state: outcome ?? (waitsUntilMs !== undefined ? "scheduled" : last ? "pending" : unsettled),
    ...(waitsUntilMs === undefined ? {} : { dueAt: new Date(waitsUntilMs).toISOString() }),
    reason: reason === null ? null : reasonOf(reason),
    read: has("read"),
    acknowledged: has("acknowledged"),
    offset: last?.offset ?? null,
    rows,
    journal: isKept ? "kept" : "sampled_out",
    timeline: timelineOf(events),
    isCut,
  };
}

interface Meant {
  readonly notification: NotificationDetails["notification"];
  readonly audience: NonNullable<NotificationDetails["audience"]>;
}

/** What waits for an audience waits for who is in it, as far as is known now. */
function isWaitFor(
  recipientId: string,
  wait: { readonly isForAudience: boolean } | undefined,
  { notification, audience }: Meant,
  row: NonNullable<Awaited<ReturnType<Store["directory"]["rowOf"]>>>,
): boolean {
  if (wait?.isForAudience !== true) return wait !== undefined;
  return !notification.exclude.includes(recipientId) && isInAudience(row, audience, []);
}

/** Rows are there, and none has the recipient; or none is there, since its audience named others. */
function reasonFor(
  recipientId: string,
  { notification, audience }: Meant,
  row: NonNullable<Awaited<ReturnType<Store["directory"]["rowOf"]>>>,
): NotTargetedReason {
  if (notification.exclude.includes(recipientId)) return "excluded";
  const isExcept = audience.kind === "except";
  const whole = isExcept ? audience.of : audience;
  if (whole.kind === "recipients" && !whole.recipientIds.includes(recipientId)) return "not_named";
  if (isInAudience(row, audience, [])) return "did_not_match";
  return isExcept && isInAudience(row, whole, []) ? "excluded" : "does_not_match";
}
