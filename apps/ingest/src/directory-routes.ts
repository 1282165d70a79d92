// apps/ingest/src/directory-routes.ts
// One recipient (A6): PUT replaces, GET reads, both from whatever region was asked; and tokens for
// employees of tenants without an issuer of their own.
import type { Bus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  fieldErrorsOf,
  recipientIdSchema,
  recipientReadReplySchema,
  type RecipientRequest,
  recipientRequestSchema,
  type RecipientResource,
  subjects,
  type TokensAnswer,
  tokensRequestSchema,
} from "@carillon/contracts";
import { assertNever } from "@carillon/kernel";
import type { Store, StoredRecipient } from "@carillon/store";
import { type Answer, invalidField, ok, problem, type ProblemAnswer } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import { type DirectoryWriter, type HomeChoice, homeChoiceOf } from "./directory-writer.ts";
import type { Homes } from "./homes.ts";
import type { Call } from "./http-server.ts";
import type { IssuedToken, Tokens } from "./tokens.ts";

export interface DirectoryRoutesDeps {
  readonly region: string;
  readonly regions: readonly string[];
  readonly requestTimeoutMs: number;
  readonly store: Store;
  readonly bus: Bus;
  readonly homes: Homes;
  readonly writer: DirectoryWriter;
  readonly tokens: Tokens;
}

export interface DirectoryRoutes {
  put(call: Call<KeyCaller>): Promise<Answer>;
  get(call: Call<KeyCaller>): Promise<Answer>;
  issueTokens(call: Call<KeyCaller>): Promise<Answer>;
}

type ReadOutcome =
  | { readonly kind: "recipient"; readonly recipient: StoredRecipient }
  | { readonly kind: "absent" }
  | { readonly kind: "unreachable" };

export function createDirectoryRoutes(deps: DirectoryRoutesDeps): DirectoryRoutes {
  const { region, regions, homes, writer } = deps;
  return {
    async put({ caller, params, body }) {
      const id = parseRecipientId(params["id"]);
      if (id.kind === "problem") return id;
      const parsed = recipientRequestSchema.safeParse(body);
      if (!parsed.success)
        return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
      const { tenantId } = caller;
      const located = await homes.find(tenantId, [id.recipientId]);
      const wished = parsed.data.homeRegion;
      const question = { wished, here: region, regions };
      let known = located.homes.get(id.recipientId);
      let choice = homeChoiceOf({ ...question, known });
      if (known === undefined && choice.kind === "home") {
        const wish = new Map([[id.recipientId, choice.home]]);
        known = (await homes.claim(tenantId, wish)).get(id.recipientId);
        if (known === undefined) return unreachable(); // a second home could be made (D2)
        choice = homeChoiceOf({ ...question, known });
      }
      if (choice.kind !== "home") return problemOfChoice(choice, regions);
      const change = changeOf(id.recipientId, parsed.data);
      const written = await writer.write(choice.home, tenantId, [change]);
      if (written.kind === "unreachable") return unreachable();
      if (written.kind === "withheld")
        return problem("tenant_withheld", { headers: { "retry-after": "60" } });
      const read = await readAt(choice.home, tenantId, id.recipientId, deps);
      if (read.kind !== "recipient") return unreachable(); // stored; a PUT may be repeated
      const status = written.created > 0 ? 201 : 200;
      return ok(status, resourceOf(choice.home, read.recipient));
    },

    async get({ caller, params }) {
      const id = parseRecipientId(params["id"]);
      if (id.kind === "problem") return id;
      const found = await homes.find(caller.tenantId, [id.recipientId]);
      const home = found.homes.get(id.recipientId);
      if (home === undefined) return found.isPartial ? unreachable() : problem("not_found");
      const read = await readAt(home, caller.tenantId, id.recipientId, deps);
      if (read.kind === "unreachable") return unreachable();
      if (read.kind === "absent") return problem("not_found");
      return ok(200, resourceOf(home, read.recipient));
    },

    async issueTokens({ caller, body }) {
      const parsed = tokensRequestSchema.safeParse(body);
      if (!parsed.success)
        return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
      const { tenantId } = caller;
      const recipientIds = [...new Set(parsed.data.recipientIds)];
      const found = await homes.find(tenantId, recipientIds);
      const issued: IssuedToken[] = [];
      for (const recipientId of recipientIds) {
        const home = found.homes.get(recipientId);
        if (home === undefined) continue;
        const employee = { tenantId, recipientId, home };
        const token = await deps.tokens.sign(employee, parsed.data.ttlSeconds);
        issued.push({ recipientId, homeRegion: home, token });
      }
      const unknown = recipientIds.filter((recipientId) => !found.homes.has(recipientId));
      if (unknown.length > 0 && found.isPartial) return unreachable();
      return ok(200, { tokens: issued, unknown } satisfies TokensAnswer);
    },
  };
}

/** What the wire and the store take; absent fields are null, since a PUT replaces. */
export function changeOf(recipientId: string, request: RecipientRequest) {
  const { locale, timeZone, attributes } = request;
  return { recipientId, locale: locale ?? null, timeZone: timeZone ?? null, attributes };
}

export function unknownRegionMessage(regions: readonly string[]): string {
  return `must be one of ${regions.join(", ")}`;
}

export const HOME_CONFLICT_MESSAGE = "differs from where the recipient lives";

function problemOfChoice(
  choice: Exclude<HomeChoice, { kind: "home" }>,
  regions: readonly string[],
): ProblemAnswer {
  switch (choice.kind) {
    case "unknown_region":
      return invalidField("homeRegion", unknownRegionMessage(regions));
    case "conflict":
      return problem("home_region_conflict", {
        errors: [{ field: "homeRegion", message: HOME_CONFLICT_MESSAGE }],
      });
    default:
      return assertNever(choice);
  }
}

function unreachable(): ProblemAnswer {
  return problem("region_unreachable", { headers: { "retry-after": "5" } });
}

function parseRecipientId(
  text: string | undefined,
): { readonly kind: "id"; readonly recipientId: string } | ProblemAnswer {
  const parsed = recipientIdSchema.safeParse(text);
  if (parsed.success) return { kind: "id", recipientId: parsed.data };
  return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, text, "recipientId") });
}

async function readAt(
  home: string,
  tenantId: string,
  recipientId: string,
  { region, requestTimeoutMs, store, bus }: DirectoryRoutesDeps,
): Promise<ReadOutcome> {
  if (home === region) {
    const recipient = await store.directory.read(tenantId, recipientId);
    return recipient === undefined ? { kind: "absent" } : { kind: "recipient", recipient };
  }
  const data = encodeMessage({ tenantId, recipientId });
  const outcome = await bus.request(subjects.regionRecipient(home), data, requestTimeoutMs);
  if (outcome.kind !== "reply") return { kind: "unreachable" };
  const decoded = decodeMessage(recipientReadReplySchema, outcome.data);
  if (decoded.kind === "malformed") return { kind: "unreachable" };
  const { recipient } = decoded.message;
  return recipient === null ? { kind: "absent" } : { kind: "recipient", recipient };
}

function resourceOf(homeRegion: string, recipient: StoredRecipient): RecipientResource {
  const { recipientId, locale, timeZone, attributes, updatedAtMs } = recipient;
  const updatedAt = new Date(updatedAtMs).toISOString();
  return { recipientId, homeRegion, locale, timeZone, attributes, updatedAt };
}
