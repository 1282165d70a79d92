// apps/ingest/src/preferences.ts
// What a recipient wants to get, and when (A6): PUT replaces, GET reads, from whatever region is asked;
// kept in the home region and nowhere else (D8): here, or by a request there.
//   IN71 Committed first, then the owner is poked with the new directory version, as in IN17.
import type { Bus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  fieldErrorsOf,
  type Preferences,
  type PreferencesReply,
  preferencesReplySchema,
  type PreferencesRequest,
  preferencesRequestSchema,
  type PreferencesResource,
  recipientIdSchema,
  subjects,
} from "@carillon/contracts";
import { assertNever } from "@carillon/kernel";
import type { Store } from "@carillon/store";
import { type Answer, ok, problem, type ProblemAnswer } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import type { Homes } from "./homes.ts";
import type { Call } from "./http-server.ts";
import type { Poker } from "./poke.ts";

export interface RecipientPreferences {
  put(call: Call<KeyCaller>): Promise<Answer>;
  get(call: Call<KeyCaller>): Promise<Answer>;
  /** Of this region's own people only; pokes their owners. Throws Fault. */
  serveHere(request: PreferencesRequest): Promise<PreferencesReply>;
}

const NONE: Preferences = preferencesRequestSchema.parse({});

export function createPreferences(
  options: { readonly region: string; readonly requestTimeoutMs: number },
  deps: {
    readonly store: Store;
    readonly bus: Bus;
    readonly homes: Homes;
    readonly poker: Poker;
  },
): RecipientPreferences {
  const { region, requestTimeoutMs } = options;
  const { store, bus, homes, poker } = deps;

  const serveHere: RecipientPreferences["serveHere"] = async (request) => {
    const { tenantId, recipientId, preferences } = request;
    if (preferences === null) {
      const stored = await store.preferences.read(tenantId, recipientId);
      return stored === undefined
        ? { kind: "absent" }
        : { kind: "preferences", preferences: stored };
    }
    const change = { home: region, tenantId, recipientId, preferences };
    const written = await store.preferences.write(change);
    if (written === undefined) return { kind: "absent" };
    if (written.partitions.length > 0) poker.directory(written.partitions);
    return { kind: "preferences", preferences };
  };

  const serveThere = async (
    home: string,
    request: PreferencesRequest,
  ): Promise<PreferencesReply | null> => {
    const subject = subjects.regionPreferences(home);
    const outcome = await bus.request(subject, encodeMessage(request), requestTimeoutMs);
    if (outcome.kind !== "reply") return null;
    const decoded = decodeMessage(preferencesReplySchema, outcome.data);
    return decoded.kind === "message" ? decoded.message : null;
  };

  /** `preferences` null: they are read. */
  const serve = async (
    { caller: { tenantId }, params }: Call<KeyCaller>,
    preferences: Preferences | null,
  ): Promise<Answer> => {
    const parsed = recipientIdSchema.safeParse(params["id"]);
    if (!parsed.success)
      return problem("invalid_field", {
        errors: fieldErrorsOf(parsed.error, params["id"], "recipientId"),
      });
    const recipientId = parsed.data;
    const found = await homes.find(tenantId, [recipientId]);
    const home = found.homes.get(recipientId);
    if (home === undefined) return found.isPartial ? unreachable() : problem("not_found");
    const request = { tenantId, recipientId, preferences };
    const reply = home === region ? await serveHere(request) : await serveThere(home, request);
    return reply === null ? unreachable() : answerOf(recipientId, reply);
  };

  return {
    serveHere,
    get: (call) => serve(call, null),
    async put(call) {
      const parsed = preferencesRequestSchema.safeParse(call.body);
      if (parsed.success) return await serve(call, parsed.data);
      return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, call.body) });
    },
  };
}

function answerOf(recipientId: string, reply: PreferencesReply): Answer {
  switch (reply.kind) {
    case "preferences": {
      const preferences = reply.preferences ?? NONE;
      return ok(200, { recipientId, ...preferences } satisfies PreferencesResource);
    }
    case "absent":
      return problem("not_found");
    case "failed":
      if (reply.code !== "tenant_withheld") return unreachable();
      return problem("tenant_withheld", { headers: { "retry-after": "60" } });
    default:
      return assertNever(reply);
  }
}

function unreachable(): ProblemAnswer {
  return problem("region_unreachable", { headers: { "retry-after": "5" } });
}
