// Goal: PV1–PV3. Method: a table of what applies at once and what is said, and any question at any time.
import {
  CHANNELS,
  PRIORITIES,
  policyRequestSchema,
  preferencesRequestSchema,
} from "@carillon/contracts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { LocalTimes } from "./local-time.ts";
import {
  countryOf,
  createEmptyRules,
  createTenantRules,
  isCapped,
  isWanted,
  type PolicyQuestion,
  policyVerdict,
} from "./policy-verdict.ts";

const DAY_MS = 86_400_000;
const NIGHT_MS = Date.parse("2027-01-12T23:00:00Z");
const DAYTIME_MS = Date.parse("2027-01-12T12:00:00Z");
const MORNING_MS = Date.parse("2027-01-13T07:00:00Z");
const night = [{ from: "22:00", until: "07:00" }];
const days = { mon: night, tue: night, wed: night, thu: night, fri: night, sat: night, sun: night };

const times = new LocalTimes();
const rules = createTenantRules(
  policyRequestSchema.parse({
    quietHours: { forAll: { days } },
    frequencyCap: { maxCount: 2, perSeconds: 3_600, priorities: ["low", "normal"] },
    mandatoryCategories: ["safety"],
  }),
  times,
);
const optedOut = preferencesRequestSchema.parse({
  categories: { news: { socket: false }, safety: { socket: false }, push: { webpush: false } },
});

function ask(more: Partial<PolicyQuestion> = {}): PolicyQuestion {
  return {
    priority: "normal",
    category: "news",
    dueAtMs: DAYTIME_MS,
    expiresAtMs: DAYTIME_MS + 7 * DAY_MS,
    preferences: undefined,
    timeZone: null,
    country: undefined,
    recentCount: 0,
    ...more,
  };
}
const verdict = (question: PolicyQuestion, nowMs: number, of = rules) =>
  policyVerdict(question, of, { channels: ["socket"], nowMs });

const ALLOW = { kind: "allow" };
const DEFER = { kind: "defer", untilMs: MORNING_MS, reason: "tenantQuietHours" };
const OPTED_OUT = { kind: "suppress", outcome: "optedOut" };
const CAPPED = { kind: "suppress", outcome: "capped" };

test.each([
  ["nothing", {}, DAYTIME_MS, ALLOW],
  ["night", {}, NIGHT_MS, DEFER],
  ["a full budget", { recentCount: 2 }, DAYTIME_MS, CAPPED],
  ["nearly a full budget", { recentCount: 1 }, DAYTIME_MS, ALLOW],
  ["an opt-out", { preferences: optedOut }, DAYTIME_MS, OPTED_OUT],
  ["all three", { preferences: optedOut, recentCount: 2 }, NIGHT_MS, OPTED_OUT],
  ["night and a full budget", { recentCount: 2 }, NIGHT_MS, DEFER],
  ["a full budget, of a priority without", { priority: "high", recentCount: 2 }, DAYTIME_MS, ALLOW],
  ["an opt-out of another category", { preferences: optedOut, category: "hr" }, DAYTIME_MS, ALLOW],
  [
    "an opt-out, and no category",
    { preferences: optedOut, category: undefined },
    DAYTIME_MS,
    ALLOW,
  ],
  ["an opt-out of another channel", { preferences: optedOut, category: "push" }, DAYTIME_MS, ALLOW],
  [
    "a category as any object has",
    { preferences: optedOut, category: "constructor" },
    DAYTIME_MS,
    ALLOW,
  ],
] as const)("PV2 — %s", (_, more, nowMs, expected) => {
  expect(verdict(ask(more), nowMs)).toEqual(expected);
});

test("PV1 — a critical one is let through at night, to who has opted out and had too many", () => {
  const critical = ask({ priority: "critical", preferences: optedOut, recentCount: 9 });
  expect(verdict(critical, NIGHT_MS)).toEqual(ALLOW);
});

test("PV1 — a mandatory one knows no opt-out and no cap, and waits for the morning", () => {
  const mandatory = ask({ category: "safety", preferences: optedOut, recentCount: 9 });
  expect(verdict(mandatory, DAYTIME_MS)).toEqual(ALLOW);
  expect(verdict(mandatory, NIGHT_MS)).toEqual(DEFER);
});

test("PV2 — who wants it on one of the channels that there are has not opted out", () => {
  const both = { channels: ["socket", "webpush"], nowMs: DAYTIME_MS } as const;
  expect(policyVerdict(ask({ preferences: optedOut }), rules, both)).toEqual(ALLOW);
  expect(CHANNELS.filter((channel) => isWanted(optedOut, "news", channel))).toEqual([
    "webpush",
    "fcm",
    "apns",
  ]);
});

test("PV2 — without a policy there are opt-outs and own quiet hours", () => {
  const empty = createEmptyRules(times);
  const preferences = { ...optedOut, quietHours: { days } };
  expect(verdict(ask(), NIGHT_MS, empty)).toEqual(ALLOW);
  expect(verdict(ask({ preferences }), NIGHT_MS, empty)).toEqual(OPTED_OUT);
  expect(verdict(ask({ preferences, category: "hr", recentCount: 99 }), NIGHT_MS, empty)).toEqual({
    ...DEFER,
    reason: "ownQuietHours",
  });
});

test("PV3 — what expires in the night is deferred to its end, and expires", () => {
  const expiresAtMs = NIGHT_MS + 1_000;
  expect(verdict(ask({ expiresAtMs }), NIGHT_MS)).toEqual({ ...DEFER, untilMs: expiresAtMs });
});

test("PV3 — after 14 days it is not quiet for it", () => {
  const longAgo = ask({ dueAtMs: NIGHT_MS - 14 * DAY_MS + 1_000, expiresAtMs: NIGHT_MS + DAY_MS });
  expect(verdict(longAgo, NIGHT_MS)).toEqual({ ...DEFER, untilMs: NIGHT_MS + 1_000 });
  expect(verdict(longAgo, NIGHT_MS + 1_000)).toEqual(ALLOW);
  expect(verdict({ ...longAgo, recentCount: 2 }, NIGHT_MS + 1_000)).toEqual(CAPPED);
});

test("PV1, PV3 — whatever is asked, a deferral is later and ends, and critical is allowed", () => {
  const question = fc.record<PolicyQuestion>({
    priority: fc.constantFrom(...PRIORITIES),
    category: fc.constantFrom(undefined, "news", "safety", "hr"),
    dueAtMs: fc.integer({ min: NIGHT_MS - 20 * DAY_MS, max: NIGHT_MS }),
    expiresAtMs: fc.integer({ min: NIGHT_MS + 2 * DAY_MS + 1, max: NIGHT_MS + 28 * DAY_MS }),
    preferences: fc.constantFrom(undefined, optedOut, { ...optedOut, quietHours: { days } }),
    timeZone: fc.constantFrom(null, "Europe/Berlin", "Asia/Kolkata", "Mars/Olympus"),
    country: fc.constantFrom(undefined, "DE", "nowhere"),
    recentCount: fc.nat({ max: 4 }),
  });
  const now = fc.integer({ min: NIGHT_MS, max: NIGHT_MS + 2 * DAY_MS });
  fc.assert(
    fc.property(question, now, (asked, nowMs) => {
      const said = verdict(asked, nowMs);
      const isCritical = asked.priority === "critical";
      expect(isCritical && said.kind !== "allow").toBe(false);
      expect(asked.category === "safety" && said.kind === "suppress").toBe(false);
      const isHeldBack = said.kind === "suppress" && said.outcome === "capped";
      expect(isHeldBack && !isCapped(asked, rules)).toBe(false);
      const untilMs = said.kind === "defer" ? said.untilMs : nowMs + 1;
      expect(untilMs).toBeGreaterThan(nowMs);
      const latestMs = Math.min(asked.expiresAtMs, asked.dueAtMs + 14 * DAY_MS);
      expect(said.kind === "defer" && untilMs > latestMs).toBe(false);
    }),
    { numRuns: 2_000 },
  );
});

test("PV2 — the country is what the policy's attribute holds, if it is text", () => {
  expect(countryOf({ country: "DE" }, rules)).toBe("DE");
  expect(countryOf({ country: 49 }, rules)).toBeUndefined();
  expect(countryOf({}, rules)).toBeUndefined();
});
