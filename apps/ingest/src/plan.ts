// apps/ingest/src/plan.ts
// How many a notification comes to, before it is sent (A3): each target region asks the owners of its
// partitions, which count on their index what they would expand.
//   IN47 The number is exact, or the answer says which region it lacks: nobody is left out silently.
//   IN82 Those who have opted out are counted by owners that know the policy which this region had when it was
//        asked; while one does not say, their number is not known.
//   IN48 The owners count on a directory that has all that was stored before the plan was asked for.
import type { Bus } from "@carillon/bus";
import { groupByOwner, type Owners } from "@carillon/cluster";
import {
  decodeMessage,
  durationSecondsOf,
  encodeMessage,
  type LocaleCount,
  type NotificationPlan,
  type NotificationRequest,
  ownerPlanReplySchema,
  type OwnerPlanRequest,
  type OwnerPlanReply,
  partitionOf,
  LIMITS,
  type RegionAudience,
  type RegionPlan,
  regionPlanReplySchema,
  type RegionPlanReply,
  type RegionPlanRequest,
  subjects,
} from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import type { Store } from "@carillon/store";
import { problemOfAudience } from "./accept.ts";
import { type Answer, ok, problem } from "./answer.ts";
import { audiencesOf, type AudiencesDeps, type TargetAudiences } from "./audiences.ts";
import { contentOf, type ContentRequest } from "./contents.ts";
import type { Templates } from "./templates.ts";

export interface Plans {
  answer(
    tenantId: string,
    request: ContentRequest & {
      readonly [key in "priority" | "category" | "throttle"]?: NotificationRequest[key] | undefined;
    } & (
        | Pick<NotificationRequest, "audience" | "exclude">
        | { readonly meant: TargetAudiences } // of what says its audience otherwise
      ),
  ): Promise<Answer>;
  /**
   * How many it comes to in all regions, at least 1. Where that cannot be counted now, as many as are known to live
   * there: never too few. Throws Fault.
   */
  targetedCount(
    tenantId: string,
    meant: Pick<TargetAudiences, "audiences" | "exclude">,
  ): Promise<number>;
  /** In this region. Throws Fault. */
  countHere(request: RegionPlanRequest): Promise<Counted>;
}

export type Counted = Extract<RegionPlanReply, { kind: "counted" }>;

export interface PlansOptions {
  readonly region: string;
  readonly regions: readonly string[];
  /** Of one region's answer; above twice that of an owner's and the pause. */
  readonly regionTimeoutMs: number;
  readonly ownerTimeoutMs: number;
}

interface PlansDeps extends AudiencesDeps {
  readonly store: Store;
  readonly bus: Bus;
  readonly owners: Owners;
  readonly templates: Templates;
  readonly clock: Clock;
}

type PolicyVersion = OwnerPlanRequest["policyVersion"];
type Head = readonly [partition: number, directoryVersion: number];

/** Partitions that are handed over are served again within so long, as a rule. */
const RETRY_AFTER_MS = 500;
const ENVELOPE_BYTES = 16_384; // heads of 256 partitions, and names
const ALL = Array.from({ length: LIMITS.partitionCount }, (_, number) => number);

export function createPlans(options: PlansOptions, deps: PlansDeps): Plans {
  const { region, regions } = options;
  const { store, bus, owners, clock } = deps;

  const askOwner = async (
    memberId: string,
    heads: readonly Head[],
    request: RegionPlanRequest & { readonly policyVersion: PolicyVersion },
  ): Promise<OwnerPlanReply | undefined> => {
    const data = encodeMessage({ home: region, ...request, partitions: heads });
    const subject = subjects.memberPlan(memberId);
    const outcome = await bus.request(subject, data, options.ownerTimeoutMs);
    if (outcome.kind !== "reply") return undefined;
    const decoded = decodeMessage(ownerPlanReplySchema, outcome.data);
    return decoded.kind === "message" ? decoded.message : undefined;
  };

  const askOwners = async (heads: readonly Head[], request: Parameters<typeof askOwner>[2]) => {
    const { byOwner } = groupByOwner(heads, ([partition]) => owners.ownerOf(region, partition));
    const replies = await Promise.all(
      [...byOwner].map(([memberId, owned]) => askOwner(memberId, owned, request)),
    );
    return replies.flatMap((reply) => reply ?? []);
  };

  /** Without a category nobody has opted out, whatever the policy says. */
  const policyVersionOf = async ({
    tenantId,
    category,
  }: RegionPlanRequest): Promise<PolicyVersion> => {
    const policy = category === undefined ? undefined : await store.policies.find(tenantId);
    return policy && [policy.changedAtMs, policy.changedIn];
  };

  const countHere: Plans["countHere"] = async (request) => {
    const [wanted, policyVersion] = await Promise.all([
      store.ledger.readHeads(region, partitionsOf(request)), // IN48
      policyVersionOf(request),
    ]);
    const heads = wanted.map((head): Head => [head.partition, head.directoryVersion]);
    const asked = { ...request, policyVersion };
    const replies = await askOwners(heads, asked);
    const missing = without(heads, replies);
    if (missing.length > 0) {
      await clock.sleep(RETRY_AFTER_MS); // perhaps they have another owner then
      replies.push(...(await askOwners(missing, asked)));
    }
    const locales = sumOf(replies.flatMap((reply) => reply.locales));
    const targeted = replies.reduce((sum, reply) => sum + reply.targeted, 0);
    const optedOut = sumIfAll(replies.map((reply) => reply.optedOut));
    const missingCount = without(heads, replies).length;
    return {
      ...{ kind: "counted", targeted, locales, missingCount },
      ...(optedOut !== undefined && { optedOut }),
    };
  };

  const countThere = async (
    target: string,
    request: RegionPlanRequest,
  ): Promise<RegionPlanReply | undefined> => {
    const subject = subjects.regionPlan(target);
    const outcome = await bus.request(subject, encodeMessage(request), options.regionTimeoutMs);
    if (outcome.kind !== "reply") return undefined;
    const decoded = decodeMessage(regionPlanReplySchema, outcome.data);
    return decoded.kind === "message" ? decoded.message : undefined;
  };

  const countIn = async (target: string, request: RegionPlanRequest): Promise<RegionPlan> =>
    regionPlanOf(
      target,
      target === region ? await countHere(request) : await countThere(target, request),
    );

  const mayAsk = (request: RegionPlanRequest): boolean =>
    sizeOf(request) <= bus.payloadMaxBytes - ENVELOPE_BYTES;

  /** Never too few. */
  const atMostIn = async (target: string, request: RegionPlanRequest): Promise<number> => {
    const { audience } = request;
    if (audience.kind === "recipients") return audience.recipientIds.length;
    const plan = mayAsk(request) ? await countIn(target, request) : undefined;
    if (plan?.state === "counted") return plan.targeted;
    const homeCount = await store.directory.countOf(request.tenantId, target);
    const whole = audience.kind === "except" ? audience.of : audience;
    if (whole.kind !== "recipients") return homeCount;
    return Math.min(homeCount, whole.recipientIds.length);
  };

  return {
    countHere,
    async targetedCount(tenantId, { audiences, exclude }) {
      const counts = await Promise.all(
        [...audiences].map(([target, audience]) =>
          atMostIn(target, { tenantId, audience, exclude }),
        ),
      );
      return Math.max(
        1,
        counts.reduce((sum, count) => sum + count, 0),
      );
    },
    async answer(tenantId, request) {
      const meant =
        "meant" in request
          ? request.meant
          : await audiencesOf({ tenantId, ...request }, regions, deps);
      if (meant.kind !== "audiences") return problemOfAudience(meant);
      const said = await contentOf(tenantId, request, deps.templates);
      if (said.kind === "problem") return said; // as the notification would be refused
      const { exclude, unknownCount } = meant;
      const { priority, category } = request;
      const asked = [...meant.audiences].map(([target, audience]) => ({
        target,
        request: { tenantId, audience, exclude, priority, ...(category && { category }) },
      }));
      if (!asked.every((one) => mayAsk(one.request)))
        return problem("body_too_large", { detail: "It does not fit a message between nodes." });
      const plans = await Promise.all(
        asked.map(({ target, request: its }) => countIn(target, its)),
      );
      return ok(200, planOf(plans, { unknownCount, throttle: request.throttle }));
    },
  };
}

/** Those that an audience can have anybody in. */
function partitionsOf({ tenantId, audience }: RegionPlanRequest): readonly number[] {
  const whole = audience.kind === "except" ? audience.of : audience;
  if (whole.kind !== "recipients") return ALL;
  return [...new Set(whole.recipientIds.map((id) => partitionOf(tenantId, id)))];
}

function without(heads: readonly Head[], replies: readonly OwnerPlanReply[]): Head[] {
  const counted = new Set(replies.flatMap(({ partitions }) => partitions));
  return heads.filter(([partition]) => !counted.has(partition));
}

function sizeOf(request: { readonly audience: RegionAudience; readonly exclude: string[] }) {
  return Buffer.byteLength(JSON.stringify(request));
}

function regionPlanOf(region: string, reply: RegionPlanReply | undefined): RegionPlan {
  const nobody = { region, targeted: 0, noDevice: null, optedOut: null, locales: [] };
  if (reply === undefined) return { ...nobody, state: "unreachable" };
  if (reply.kind === "failed")
    return { ...nobody, state: reply.code === "tenant_withheld" ? "withheld" : "unreachable" };
  const { targeted, optedOut = null, missingCount } = reply;
  const state = missingCount === 0 ? "counted" : "partial";
  const locales = countsOf(sumOf(reply.locales));
  return { region, state, targeted, noDevice: null, optedOut, locales };
}

function planOf(
  regions: readonly RegionPlan[],
  {
    unknownCount,
    throttle,
  }: { unknownCount: number | undefined } & Pick<NotificationRequest, "throttle">,
): NotificationPlan {
  const targeted = regions.reduce((sum, plan) => sum + plan.targeted, 0);
  const locales = regions.flatMap((plan) =>
    plan.locales.map((one): [string | null, number] => [one.locale, one.targeted]),
  );
  const counted = regions.filter(({ state }) => state === "counted" || state === "partial");
  return {
    isComplete: regions.every(({ state }) => state === "counted"),
    targeted,
    noDevice: null, // no device is registered anywhere yet
    optedOut: sumIfAll(counted.map(({ optedOut }) => optedOut ?? undefined)) ?? null,
    locales: countsOf(sumOf(locales)),
    regions,
    ...(unknownCount === undefined ? {} : { unknownCount }),
    ...(throttle && {
      durationSeconds: durationSecondsOf({ ...throttle, targetedCount: targeted }),
    }),
  };
}

/** Undefined: one of them is. */
function sumIfAll(counts: readonly (number | undefined)[]): number | undefined {
  return counts.reduce<number | undefined>(
    (sum, count) => (sum === undefined || count === undefined ? undefined : sum + count),
    0,
  );
}

function sumOf(counts: readonly (readonly [string | null, number])[]): [string | null, number][] {
  const sums = new Map<string | null, number>();
  for (const [locale, count] of counts) sums.set(locale, (sums.get(locale) ?? 0) + count);
  return [...sums];
}

/** The most first; of as many, by name. */
function countsOf(sums: readonly (readonly [string | null, number])[]): LocaleCount[] {
  return sums
    .map(([locale, targeted]) => ({ locale, targeted }))
    .toSorted((a, b) => b.targeted - a.targeted || ((a.locale ?? "") < (b.locale ?? "") ? -1 : 1));
}
