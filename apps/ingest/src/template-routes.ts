// apps/ingest/src/template-routes.ts
// Templates over HTTP (A12): PUT makes a version, from any region; a preview renders without sending.
import {
  fieldErrorsOf,
  LIMITS,
  previewRequestSchema,
  templateIdSchema,
  type TemplateRecord,
  templateRequestSchema,
  type TemplateResource,
} from "@carillon/contracts";
import { localeFor } from "@carillon/delivery";
import type { Store } from "@carillon/store";
import { type Answer, invalidField, ok, problem, type ProblemAnswer } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import type { Call } from "./http-server.ts";
import type { Templates } from "./templates.ts";

export interface TemplateRoutes {
  list(call: Call<KeyCaller>): Promise<Answer>;
  put(call: Call<KeyCaller>): Promise<Answer>;
  get(call: Call<KeyCaller>): Promise<Answer>;
  delete(call: Call<KeyCaller>): Promise<Answer>;
  preview(call: Call<KeyCaller>): Promise<Answer>;
}

export function createTemplateRoutes({
  store,
  templates,
}: {
  readonly store: Store;
  readonly templates: Templates;
}): TemplateRoutes {
  return {
    async list({ caller, query }) {
      const page = pageOf(query);
      if (page.kind === "problem") return page;
      const listed = await store.templates.list(caller.tenantId, page);
      const isLast = listed.length < page.limitCount;
      const nextAfter = isLast ? null : (listed.at(-1)?.templateId ?? null);
      return ok(200, { templates: listed, nextAfter });
    },
    async put({ caller, params, body }) {
      const id = parseTemplateId(params["id"]);
      if (id.kind === "problem") return id;
      const parsed = templateRequestSchema.safeParse(body);
      if (!parsed.success)
        return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
      const checked = templates.check(parsed.data);
      if (checked.kind === "refused") return problem("invalid_field", { errors: checked.errors });
      const changed = await templates.change(caller.tenantId, id.templateId, parsed.data);
      if (changed === "partial" || changed === undefined) return unreachable();
      return resourceAnswer(changed.isCreated ? 201 : 200, changed.record);
    },
    async get({ caller, params, query }) {
      const id = parseTemplateId(params["id"]);
      if (id.kind === "problem") return id;
      const asked = versionOf(query);
      if (asked.kind === "problem") return asked;
      const { version } = asked;
      const found = await templates.read({ ...id, tenantId: caller.tenantId, version });
      if (found.kind === "partial") return unreachable();
      if (found.kind === "missing") return problem("not_found");
      return resourceAnswer(200, found.record);
    },
    async delete({ caller, params }) {
      const id = parseTemplateId(params["id"]);
      if (id.kind === "problem") return id;
      const changed = await templates.change(caller.tenantId, id.templateId, undefined);
      if (changed === "partial") return unreachable();
      return changed === undefined ? problem("not_found") : ok(204, "");
    },
    async preview({ caller, params, body }) {
      const id = parseTemplateId(params["id"]);
      if (id.kind === "problem") return id;
      const parsed = previewRequestSchema.safeParse(body);
      if (!parsed.success)
        return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
      const { payload, locale, version = null } = parsed.data;
      const found = await templates.use({ ...id, tenantId: caller.tenantId, version });
      if (found.kind === "partial") return unreachable();
      if (found.kind === "missing") return problem("not_found");
      if (found.kind === "refused") return problem("invalid_field", { errors: found.errors });
      const { locales, fallbacks } = found.template;
      const wanted = locale === undefined ? locales : [localeFor(locale, locales, fallbacks)];
      const rendered = found.template.render(payload, wanted);
      if (rendered.kind === "refused") return problem("invalid_field", { errors: rendered.errors });
      const { templateId } = id;
      return ok(200, { templateId, version: found.version, content: rendered.content });
    },
  };
}

function unreachable(): ProblemAnswer {
  return problem("region_unreachable", { headers: { "retry-after": "5" } });
}

function resourceAnswer(status: number, record: TemplateRecord): Answer {
  const { templateId, version, definition, changedAtMs } = record;
  if (definition === null) return problem("not_found"); // deleted meanwhile
  const updatedAt = new Date(changedAtMs).toISOString();
  return ok(status, {
    templateId,
    version,
    updatedAt,
    ...definition,
  } satisfies TemplateResource);
}

function parseTemplateId(
  text: string | undefined,
): { readonly kind: "id"; readonly templateId: string } | ProblemAnswer {
  const parsed = templateIdSchema.safeParse(text);
  if (parsed.success) return { kind: "id", templateId: parsed.data };
  return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, text, "templateId") });
}

type Query = Readonly<Record<string, unknown>>;

function versionOf(
  query: Query,
): { readonly kind: "version"; readonly version: number | null } | ProblemAnswer {
  for (const name of Object.keys(query))
    if (name !== "version") return invalidField(name, "is not a known field");
  const text = query["version"];
  if (text === undefined) return { kind: "version", version: null };
  if (typeof text !== "string" || !/^[1-9]\d{0,8}$/.test(text))
    return invalidField("version", "must be a whole number from 1");
  return { kind: "version", version: Number(text) };
}

function pageOf(
  query: Query,
):
  | { readonly kind: "page"; readonly afterId: string; readonly limitCount: number }
  | ProblemAnswer {
  const { limit = String(LIMITS.templatesPageMax), after = "", ...others } = query;
  for (const name of Object.keys(others)) return invalidField(name, "is not a known field");
  const limitCount = typeof limit === "string" && /^\d{1,4}$/.test(limit) ? Number(limit) : 0;
  if (limitCount < 1 || limitCount > LIMITS.templatesPageMax)
    return invalidField("limit", `must be a whole number from 1 to ${LIMITS.templatesPageMax}`);
  if (after !== "" && !templateIdSchema.safeParse(after).success)
    return invalidField("after", "must be a template's id");
  return { kind: "page", afterId: String(after), limitCount };
}
