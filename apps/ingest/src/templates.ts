// apps/ingest/src/templates.ts
// What templates are (A12, ADR 0025): this region's versions, and the other regions' where it is behind; and
// those in use, compiled. Groups are kept in the same way: groups.ts.
//   IN65 A template or a version that is unknown or deleted here is asked for once in each other region,
//        and what is learned is kept. A change is committed here with what tells the others.
//   IN66 A change holds for the next request of its region: what is kept in memory is a version's text,
//        which never changes, and never more of them than a limit (D6).
import type { Bus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  type FieldError,
  subjects,
  type TemplateDefinition,
  type TemplateRecord,
  templatesReplySchema,
} from "@carillon/contracts";
import { type Clock, Fault } from "@carillon/kernel";
import type { ChangedTemplate, Store, TemplatesKnown, TemplateStamp } from "@carillon/store";
import { BoundedCache } from "./bounded-cache.ts";
import { FormatterCache } from "./icu-formats.ts";
import type { Relay } from "./relay.ts";
import { type Compiled, type CompiledTemplate, compileTemplate } from "./template-renderer.ts";

/** `version` null: the newest. */
export interface TemplateQuestion {
  readonly tenantId: string;
  readonly templateId: string;
  readonly version: number | null;
}

type Lacking =
  | { readonly kind: "missing" }
  /** Missing here, and some region did not answer in time: it may know it. */
  | { readonly kind: "partial" };

export interface Templates {
  /** Throws Fault. */
  read(question: TemplateQuestion): Promise<{ kind: "record"; record: TemplateRecord } | Lacking>;
  /** Ready to be rendered. `refused`: another build stored what this one cannot render. Throws Fault. */
  use(
    question: TemplateQuestion,
  ): Promise<
    | { readonly kind: "template"; readonly template: CompiledTemplate; readonly version: number }
    | { readonly kind: "refused"; readonly errors: readonly FieldError[] }
    | Lacking
  >;
  /** Whether it can be stored (IN61). */
  check(definition: TemplateDefinition): Compiled;
  /** Undefined: there is no such template to delete. Throws Fault. */
  change(
    tenantId: string,
    templateId: string,
    definition: TemplateDefinition | undefined,
  ): Promise<ChangedTemplate | "partial" | undefined>;
}

export interface TemplatesOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly timeoutMs: number;
  readonly compiledMax: number;
  readonly formattersMax: number;
  readonly onFault: (operation: string, cause: unknown) => void;
}

export function createTemplates(
  options: TemplatesOptions,
  deps: {
    readonly store: Store;
    readonly bus: Bus;
    readonly clock: Clock;
    readonly relay: Relay;
  },
): Templates {
  const { region } = options;
  const { store, bus, clock, relay } = deps;
  const otherRegions = options.regions.filter((other) => other !== region);
  const compiled = new BoundedCache<Compiled>(options.compiledMax);
  const formatters = new FormatterCache(options.formattersMax);

  const askRegion = async (
    other: string,
    question: TemplateQuestion,
  ): Promise<readonly TemplateRecord[] | null> => {
    const data = encodeMessage(question);
    const outcome = await bus.request(subjects.regionTemplates(other), data, options.timeoutMs);
    if (outcome.kind !== "reply") return null;
    const decoded = decodeMessage(templatesReplySchema, outcome.data);
    return decoded.kind === "message" ? decoded.message.templates : null;
  };

  const learn = async (tenantId: string, templates: TemplateRecord[]): Promise<void> => {
    try {
      await store.templates.learn([{ tenantId, templates }]);
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      options.onFault("templates.learn", cause); // asked for again next time
    }
  };

  const find = async (
    question: TemplateQuestion,
  ): Promise<{ readonly kind: "stamp"; readonly stamp: TemplateStamp } | Lacking> => {
    const { tenantId, templateId, version } = question;
    const here = liveOf(await store.templates.find(tenantId, templateId, version));
    if (here !== undefined) return { kind: "stamp", stamp: here };
    const answers = await Promise.all(otherRegions.map((other) => askRegion(other, question)));
    const told = answers.flatMap((records) => [...(records ?? [])]);
    if (told.length > 0) {
      await learn(tenantId, told);
      const stamp = liveOf(await store.templates.find(tenantId, templateId, version));
      if (stamp !== undefined) return { kind: "stamp", stamp };
    }
    return { kind: answers.includes(null) ? "partial" : "missing" };
  };

  const read: Templates["read"] = async (question) => {
    const found = await find(question);
    if (found.kind !== "stamp") return found;
    const { tenantId, templateId } = question;
    const record = await store.templates.read(tenantId, templateId, found.stamp.version);
    return record === undefined ? { kind: "missing" } : { kind: "record", record };
  };

  const compiledOf = async (
    { tenantId, templateId }: TemplateQuestion,
    stamp: TemplateStamp,
  ): Promise<Compiled | undefined> => {
    const keyOf = ({ version, changedAtMs, changedIn }: Omit<TemplateStamp, "isDeleted">): string =>
      `${tenantId}/${templateId}/${version}/${changedAtMs}/${changedIn}`;
    const known = compiled.get(keyOf(stamp), 0);
    if (known !== undefined) return known;
    const record = await store.templates.read(tenantId, templateId, stamp.version);
    if (record === undefined || record.definition === null) return undefined; // gone meanwhile
    const made = compileTemplate(record.definition, formatters);
    compiled.set(keyOf(record), made, Number.POSITIVE_INFINITY);
    return made;
  };

  return {
    read,
    check: (definition) => compileTemplate(definition, formatters),
    async use(question) {
      const found = await find(question);
      if (found.kind !== "stamp") return found;
      const made = await compiledOf(question, found.stamp);
      if (made === undefined) return { kind: "missing" };
      if (made.kind === "refused") return made;
      return { kind: "template", template: made.template, version: found.stamp.version };
    },
    async change(tenantId, templateId, definition) {
      // Its newest version may be known elsewhere only: this one must be later than that (ST51).
      const found = await find({ tenantId, templateId, version: null });
      if (found.kind === "partial") return "partial";
      const nowMs = Math.trunc(clock.wallClockMs());
      const change = { tenantId, templateId, definition, nowMs, region, otherRegions };
      const changed = await store.templates.change(change);
      if (changed?.isChanged === true) relay.sweepSoon(); // rows for the other regions, due at once
      return changed;
    },
  };
}

/** A deleted template has no versions any more. */
function liveOf({ newest, asked }: TemplatesKnown): TemplateStamp | undefined {
  if (newest === undefined || newest.isDeleted || asked?.isDeleted === true) return undefined;
  return asked;
}
