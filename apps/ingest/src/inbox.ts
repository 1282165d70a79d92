// apps/ingest/src/inbox.ts
// The employee's inbox (A7), from whatever region was asked; read in the home region (D8).
//   IN27 Nothing up to the page's head is missing in the pages; what lies above it the socket brings,
//        rows that are still planned included. Both are read in one statement.
import type { Bus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  INBOX_LIMIT_DEFAULT,
  INBOX_LIMIT_MAX,
  type InboxItem,
  inboxReplySchema,
  type InboxReply,
  type InboxRequest,
  subjects,
} from "@carillon/contracts";
import { localeFor } from "@carillon/delivery";
import { assertNever } from "@carillon/kernel";
import type { Store, InboxItem as StoredItem } from "@carillon/store";
import { type Answer, invalidField, ok, problem, type ProblemAnswer } from "./answer.ts";
import type { Call } from "./http-server.ts";
import type { Employee } from "./tokens.ts";

export interface Inbox {
  get(call: Call<Employee>): Promise<Answer>;
  /** For recipients whose home is here. Throws Fault. */
  readHere(request: InboxRequest): Promise<InboxReply>;
}

export interface InboxOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly requestTimeoutMs: number;
}

export function createInbox(
  options: InboxOptions,
  deps: { readonly store: Store; readonly bus: Bus },
): Inbox {
  const { region, regions } = options;
  const { store, bus } = deps;

  const readHere: Inbox["readHere"] = async (request) => {
    const { tenantId, recipientId } = request;
    const [places, recipient] = await Promise.all([
      store.directory.locate(region, tenantId, [recipientId]),
      store.directory.read(tenantId, recipientId),
    ]);
    const place = places.get(recipientId);
    if (place === undefined || recipient === undefined) return { kind: "unknown_recipient" };
    const limit = Math.min(Math.max(1, Math.trunc(request.limitCount)), INBOX_LIMIT_MAX);
    const page = await store.notifications.inboxOf(
      { home: region, ...place },
      { limit, beforeOffset: request.before },
    );
    return {
      kind: "page",
      page: {
        epoch: page.ledgerEpoch,
        offset: page.headOffset, // IN27
        items: page.items.map((item) => itemOf(item, recipient.locale)),
        nextBefore: page.nextBeforeOffset,
      },
    };
  };

  const readThere = async (home: string, request: InboxRequest): Promise<InboxReply> => {
    const subject = subjects.regionInbox(home);
    const data = encodeMessage(request);
    const outcome = await bus.request(subject, data, options.requestTimeoutMs);
    if (outcome.kind !== "reply") return { kind: "failed", code: outcome.kind };
    const decoded = decodeMessage(inboxReplySchema, outcome.data);
    return decoded.kind === "message" ? decoded.message : { kind: "failed", code: "malformed" };
  };

  return {
    readHere,
    async get({ caller, query }) {
      const { tenantId, recipientId, home } = caller;
      const range = parseRange(query);
      if (range.kind === "problem") return range;
      if (!regions.includes(home)) return problem("unauthenticated");
      const { before, limitCount } = range;
      const request = { tenantId, recipientId, before, limitCount };
      const reply = home === region ? await readHere(request) : await readThere(home, request);
      switch (reply.kind) {
        case "page":
          return ok(200, reply.page);
        case "unknown_recipient":
          return problem("not_found");
        case "failed":
          return problem("region_unreachable", { headers: { "retry-after": "5" } });
        default:
          return assertNever(reply);
      }
    },
  };
}

function itemOf(item: StoredItem, recipientLocale: string | null): InboxItem {
  const { notification } = item;
  const locale = localeFor(
    recipientLocale,
    Object.keys(notification.content),
    notification.fallbacks,
  );
  const content = notification.content[locale];
  return {
    offset: item.offset,
    id: notification.id,
    priority: notification.priority,
    acceptedAt: new Date(notification.acceptedAtMs).toISOString(),
    expiresAt: new Date(notification.expiresAtMs).toISOString(),
    locale,
    title: content?.title ?? "",
    body: content?.body ?? null,
    link: content?.link ?? null,
    data: content?.data ?? {},
    read: item.isRead,
    acknowledged: item.isAcknowledged,
    ...(notification.requireAck && {
      requireAck: { deadlineSeconds: notification.requireAck.deadlineSeconds },
    }),
    ...(notification.escalation && { escalation: notification.escalation }),
  };
}

type Range =
  | { readonly kind: "range"; readonly before: number | null; readonly limitCount: number }
  | ProblemAnswer;

function parseRange(query: Readonly<Record<string, unknown>>): Range {
  for (const name of Object.keys(query))
    if (name !== "limit" && name !== "before") return invalidField(name, "is not a known field");
  const limitCount = wholeNumberOf(query["limit"] ?? String(INBOX_LIMIT_DEFAULT));
  if (limitCount === undefined || limitCount < 1 || limitCount > INBOX_LIMIT_MAX)
    return invalidField("limit", `must be a whole number from 1 to ${INBOX_LIMIT_MAX}`);
  const before = query["before"] === undefined ? null : wholeNumberOf(query["before"]);
  if (before === undefined || before === 0)
    return invalidField("before", "must be an offset, a whole number from 1");
  return { kind: "range", before, limitCount };
}

function wholeNumberOf(text: unknown): number | undefined {
  return typeof text === "string" && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
