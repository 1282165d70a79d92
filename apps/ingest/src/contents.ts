// apps/ingest/src/contents.ts
// What a request says, in every locale: as it was posted, or rendered of a template (A12, ADR 0025).
//   IN67 After the accept nobody sees a template: what is stored, sent and shown is content, rendered once
//        per locale (EN1), whatever becomes of the template.
import type { LocaleFallbacks, LocalizedContent, NotificationRequest } from "@carillon/contracts";
import { assertNever } from "@carillon/kernel";
import { invalidField, problem, type ProblemAnswer } from "./answer.ts";
import type { Templates } from "./templates.ts";

export type ContentOutcome =
  | {
      readonly kind: "content";
      readonly content: LocalizedContent;
      readonly fallbacks?: LocaleFallbacks;
    }
  /** It names none: only a plan may. */
  | { readonly kind: "none" }
  | ProblemAnswer;

export type ContentRequest = Pick<
  NotificationRequest,
  "content" | "fallbacks" | "template" | "payload"
>;

/** Throws Fault. */
export async function contentOf(
  tenantId: string,
  { content, fallbacks, template: reference, payload = {} }: ContentRequest,
  templates: Templates,
): Promise<ContentOutcome> {
  if (reference === undefined) {
    if (content === undefined) return { kind: "none" };
    return { kind: "content", content, ...declared(fallbacks) };
  }
  const { id, version } = typeof reference === "string" ? { id: reference } : reference;
  const found = await templates.use({ tenantId, templateId: id, version: version ?? null });
  switch (found.kind) {
    case "missing":
      return invalidField("template", "must be a template, and a version of it, that exists");
    case "partial":
      return problem("region_unreachable", { headers: { "retry-after": "5" } });
    case "refused":
      return problem("invalid_field", { errors: found.errors });
    case "template": {
      const { template } = found;
      const rendered = template.render(payload, template.locales);
      if (rendered.kind === "refused") return problem("invalid_field", { errors: rendered.errors });
      return { kind: "content", content: rendered.content, ...declared(template.fallbacks) };
    }
    default:
      return assertNever(found);
  }
}

function declared(fallbacks: LocaleFallbacks | undefined): { fallbacks?: LocaleFallbacks } {
  if (fallbacks === undefined || Object.keys(fallbacks).length === 0) return {};
  return { fallbacks };
}
