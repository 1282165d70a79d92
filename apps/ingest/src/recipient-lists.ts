// apps/ingest/src/recipient-lists.ts
// Who is in a state of a notification (A4): pages of recipient ids, region after region, each from its own
// ledger's bits (DESIGN §5 step 7).
//   IN73 Pages go through all target regions, or the one that is asked for; a region that is silent is 503
//        at its turn, and never a list without its people.
import type { Bus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  LIMITS,
  RECIPIENT_STATES,
  type RecipientList,
  type RecipientState,
  recipientsReplySchema,
  type RecipientsReply,
  type RecipientsRequest,
  subjects,
} from "@carillon/contracts";
import { assertNever } from "@carillon/kernel";
import type { RecipientsCursor, Store } from "@carillon/store";
import { type Answer, invalidField, ok, problem, type ProblemAnswer } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import { unreachable } from "./explain.ts";
import type { Call } from "./http-server.ts";
import { notificationIdOf, type Statuses, targetsOf } from "./status.ts";

export interface RecipientLists {
  get(call: Call<KeyCaller>): Promise<Answer>;
  /** For recipients whose home is here. Throws Fault. */
  readHere(request: RecipientsRequest): Promise<RecipientsReply>;
}

export interface RecipientListsOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly requestTimeoutMs: number;
}

type Place = NonNullable<RecipientsRequest["after"]>;

/** What was asked for; `from` null: from the first region's first recipient. */
interface Asked {
  readonly kind: "asked";
  readonly state: RecipientState;
  readonly region: string | null;
  readonly limitCount: number;
  readonly from: { readonly region: string; readonly after: Place | null } | null;
}

export function createRecipientLists(
  options: RecipientListsOptions,
  deps: { readonly store: Store; readonly bus: Bus; readonly statuses: Statuses },
): RecipientLists {
  const { region, regions } = options;
  const { store, bus, statuses } = deps;

  const readHere: RecipientLists["readHere"] = async (request) => {
    const { tenantId, notificationId } = request;
    const state = stateOf(request.state);
    if (state === undefined) return { kind: "failed", code: "unknown_state" }; // of a newer build
    const limit = Math.min(Math.max(1, Math.trunc(request.limitCount)), LIMITS.recipientsPageMax);
    const after = request.after === null ? null : cursorOf(request.after);
    const page = await store.notifications.recipientsIn({
      home: region,
      tenantId,
      notificationId,
      state,
      after,
      limit,
    });
    const { next } = page;
    return {
      kind: "page",
      recipientIds: [...page.recipientIds],
      next: next === null ? null : [next.partition, 0, next.index],
    };
  };

  const readThere = async (home: string, request: RecipientsRequest): Promise<RecipientsReply> => {
    const data = encodeMessage(request);
    const subject = subjects.regionRecipients(home);
    const outcome = await bus.request(subject, data, options.requestTimeoutMs);
    if (outcome.kind !== "reply") return { kind: "failed", code: outcome.kind };
    const decoded = decodeMessage(recipientsReplySchema, outcome.data);
    return decoded.kind === "message" ? decoded.message : { kind: "failed", code: "malformed" };
  };

  return {
    readHere,
    async get({ caller, params, query }) {
      const notificationId = notificationIdOf(params["id"]);
      if (typeof notificationId !== "string") return notificationId;
      const asked = parseQuery(query, regions);
      if (asked.kind === "problem") return asked;
      const { tenantId } = caller;
      const targets = targetsOf(await statuses.ask(tenantId, notificationId), regions);
      if ("kind" in targets) return targets;
      const { state, from } = asked;
      const wanted = targets.filter((target) => (asked.region ?? target) === target);
      const left = from === null ? wanted : wanted.slice(wanted.indexOf(from.region));
      if (from !== null && !wanted.includes(from.region))
        return invalidField("cursor", "is of a region that the notification is not for");
      const recipientIds: string[] = [];
      for (const [at, home] of left.entries()) {
        const after = at === 0 && from !== null ? from.after : null;
        const limitCount = asked.limitCount - recipientIds.length;
        if (limitCount === 0) return ok(200, listOf(recipientIds, `${home}.`));
        const request = {
          tenantId,
          notificationId,
          state,
          after,
          limitCount,
        };
        // oxlint-disable-next-line no-await-in-loop -- a region's turn comes when the page has room
        const reply = home === region ? await readHere(request) : await readThere(home, request);
        switch (reply.kind) {
          case "page":
            recipientIds.push(...reply.recipientIds);
            if (reply.next !== null)
              return ok(200, listOf(recipientIds, [home, ...reply.next].join(".")));
            break;
          case "failed":
            return reply.code === "tenant_withheld"
              ? problem("tenant_withheld", { headers: { "retry-after": "60" } })
              : unreachable();
          default:
            assertNever(reply);
        }
      }
      return ok(200, listOf(recipientIds, null));
    },
  };
}

function listOf(recipientIds: readonly string[], nextCursor: string | null): RecipientList {
  return { recipientIds, nextCursor };
}

const FIELDS: ReadonlySet<string> = new Set(["state", "region", "limit", "cursor"]);
/** A region; and the place of its last recipient, unless it begins there. */
const CURSOR = /^([a-z][a-z0-9]{1,15})\.(?:(\d{1,3})\.(\d{1,15})\.(\d{1,10}))?$/;

function parseQuery(
  query: Readonly<Record<string, unknown>>,
  regions: readonly string[],
): Asked | ProblemAnswer {
  const unknown = Object.keys(query).find((name) => !FIELDS.has(name));
  if (unknown !== undefined) return invalidField(unknown, "is not a known field");
  const state = stateOf(query["state"]);
  if (state === undefined)
    return invalidField("state", `must be one of ${RECIPIENT_STATES.join(", ")}`);
  const region = query["region"] ?? null;
  if (region !== null && (typeof region !== "string" || !regions.includes(region)))
    return invalidField("region", `must be one of ${regions.join(", ")}`);
  const limit = query["limit"] ?? String(LIMITS.recipientsPageMax);
  const limitCount = typeof limit === "string" && /^\d{1,4}$/.test(limit) ? Number(limit) : 0;
  if (limitCount < 1 || limitCount > LIMITS.recipientsPageMax)
    return invalidField("limit", `must be a whole number from 1 to ${LIMITS.recipientsPageMax}`);
  const { cursor } = query;
  if (cursor === undefined) return { kind: "asked", state, region, limitCount, from: null };
  const parts = typeof cursor === "string" ? CURSOR.exec(cursor) : null;
  if (parts?.[1] === undefined)
    return invalidField("cursor", "must be a nextCursor as it was given");
  const [, of, partition, offset, index] = parts;
  const after: Place | null =
    partition === undefined ? null : [Number(partition), Number(offset), Number(index)];
  return { kind: "asked", state, region, limitCount, from: { region: of, after } };
}

function stateOf(text: unknown): RecipientState | undefined {
  return RECIPIENT_STATES.find((state) => state === text);
}

function cursorOf([partition, , index]: Place): RecipientsCursor {
  return { partition, index };
}
