// packages/delivery/src/policy-verdict.ts
// What policy and preferences say to one notification for one recipient, now: pure (A6, A11, ADR 0024).
//   PV1  A critical one is neither deferred nor suppressed; one of a mandatory category is not suppressed.
//   PV2  Suppressed is who opted out of the category on every channel that there is; else deferred is who
//        is left alone now; else suppressed is who had as many as the cap allows.
//   PV3  A deferral ends later than now and at the latest when the notification expires, or
//        `deferralMaxSeconds` after it was due: from then on it is not quiet for it.
import {
  type Channel,
  LIMITS,
  type Policy,
  policyRequestSchema,
  type Preferences,
  type Priority,
} from "@carillon/contracts";
import type { LocalTimes } from "./local-time.ts";
import { type QuietReason, QuietTimes } from "./quiet-times.ts";

/** A tenant's policy, ready to be asked. Of one owner: what it keeps between questions is in it. */
export interface TenantRules {
  readonly policy: Policy;
  readonly quiet: QuietTimes;
  readonly mandatory: ReadonlySet<string>;
  readonly capped: ReadonlySet<Priority>; // none: there is no cap
}

export interface PolicyQuestion {
  readonly priority: Priority;
  readonly category: string | undefined;
  /** Accepted, or the time for which it was asked (`sendAt`). */
  readonly dueAtMs: number;
  readonly expiresAtMs: number; // later than now: what is expired is asked no more
  readonly preferences: Preferences | undefined;
  readonly timeZone: string | null;
  readonly country: string | undefined; // countryOf
  /** Delivered within the cap's window, and on their way now. Looked at only if `isCapped`. */
  readonly recentCount: number;
}

export type OptOutQuestion = Pick<PolicyQuestion, "priority" | "category" | "preferences">;

export type PolicyVerdict =
  | { readonly kind: "allow" }
  | { readonly kind: "defer"; readonly untilMs: number; readonly reason: QuietReason }
  | { readonly kind: "suppress"; readonly outcome: "optedOut" | "capped" };

const ALLOW: PolicyVerdict = { kind: "allow" };
const OPTED_OUT: PolicyVerdict = { kind: "suppress", outcome: "optedOut" };
const CAPPED: PolicyVerdict = { kind: "suppress", outcome: "capped" };
const DEFERRAL_MAX_MS = LIMITS.deferralMaxSeconds * 1_000;

export function createTenantRules(policy: Policy, times: LocalTimes): TenantRules {
  return {
    policy,
    quiet: new QuietTimes(policy, times),
    mandatory: new Set(policy.mandatoryCategories),
    capped: new Set(policy.frequencyCap?.priorities),
  };
}

/** Of a tenant that has set none: for people who have preferences. */
export function createEmptyRules(times: LocalTimes): TenantRules {
  return createTenantRules(policyRequestSchema.parse({}), times);
}

/** Whether it counts for the cap and is held back by it. */
export function isCapped(
  { priority, category }: Pick<PolicyQuestion, "priority" | "category">,
  rules: TenantRules,
): boolean {
  return rules.capped.has(priority) && !isMandatory(category, rules);
}

/** The country of a recipient, if the attribute that the policy names holds one. */
export function countryOf(
  attributes: Readonly<Record<string, unknown>>,
  { policy }: TenantRules,
): string | undefined {
  const country = attributes[policy.countryAttribute];
  return typeof country === "string" ? country : undefined;
}

/** PV1, PV2: he wants it on none of the channels that there are, and nothing overrides that. */
export function isOptedOut(
  { priority, category, preferences }: OptOutQuestion,
  rules: TenantRules,
  channels: readonly Channel[],
): boolean {
  if (preferences === undefined || category === undefined) return false;
  if (priority === "critical" || isMandatory(category, rules)) return false;
  return !channels.some((channel) => isWanted(preferences, category, channel));
}

/** `channels`: those that there are. Cost: three look-ups where quiet hours or holidays may apply. */
export function policyVerdict(
  question: PolicyQuestion,
  rules: TenantRules,
  options: { readonly channels: readonly Channel[]; readonly nowMs: number },
): PolicyVerdict {
  if (question.priority === "critical") return ALLOW; // PV1
  const { channels, nowMs } = options;
  if (isOptedOut(question, rules, channels)) return OPTED_OUT;
  const deferral = deferralOf(question, rules, nowMs);
  if (deferral !== undefined) return deferral;
  const { frequencyCap } = rules.policy;
  if (frequencyCap === undefined || !isCapped(question, rules)) return ALLOW;
  return question.recentCount >= frequencyCap.maxCount ? CAPPED : ALLOW;
}

/** Of the channels that there are those which the recipient wants it on. */
export function isWanted(
  preferences: Preferences | undefined,
  category: string | undefined,
  channel: Channel,
): boolean {
  if (preferences === undefined || category === undefined) return true;
  // A category is a caller's text: what every object has is none of the preferences.
  if (!Object.hasOwn(preferences.categories, category)) return true;
  return preferences.categories[category]?.[channel] !== false;
}

function isMandatory(category: string | undefined, rules: TenantRules): boolean {
  return category !== undefined && rules.mandatory.has(category);
}

function deferralOf(
  question: PolicyQuestion,
  { policy, quiet }: TenantRules,
  nowMs: number,
): PolicyVerdict | undefined {
  const own = question.preferences?.quietHours;
  if (own === undefined && policy.quietHours === undefined && policy.holidays === undefined)
    return undefined;
  const { country, timeZone } = question;
  const end = quiet.endOf({ own, country, timeZone }, nowMs);
  if (end === undefined) return undefined;
  const latestMs = Math.min(question.expiresAtMs, question.dueAtMs + DEFERRAL_MAX_MS);
  const untilMs = Math.min(end.untilMs, latestMs);
  return untilMs > nowMs ? { kind: "defer", untilMs, reason: end.reason } : undefined; // PV3
}
