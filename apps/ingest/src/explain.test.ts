// Goal: IN58, the answer made of what a home region says. Pure.
import { expect, test } from "vitest";
import { explanationOf } from "./explain.ts";
import { timelineOf } from "./explain-texts.ts";

const REQUEST = { tenantId: "acme", notificationId: "n", recipientId: "cyd" };
const NOTHING = {
  kind: "explained" as const,
  reason: null,
  rows: [],
  isPlanned: false,
  isKept: true,
  events: [],
  isCut: false,
};

test("IN58 — with several rows for one recipient, as when it is put off, the last one says how it stands", () => {
  const rows = [
    { offset: 4, sets: ["targeted", "moved"] },
    { offset: 9, sets: ["targeted"] },
  ];
  expect(explanationOf(REQUEST, "lon", { ...NOTHING, rows })).toMatchObject({
    state: "pending",
    offset: 9,
    rows,
  });
  const ended = [...rows.slice(0, 1), { offset: 9, sets: ["targeted", "expired"] }];
  expect(explanationOf(REQUEST, "lon", { ...NOTHING, rows: ended }).state).toBe("expired");
});

test("IN58 — an end, a receipt or a reason that this build does not know is told as it is", () => {
  const event = (kind: string, code: string | null, detail: Record<string, unknown> | null) => ({
    atMs: 0,
    node: "w",
    epoch: 1,
    kind,
    code,
    detail,
  });
  const told = timelineOf([
    event("deferred", "quiet_hours", { until: "2026-12-01T08:00:00Z" }),
    event("attempt", "429", { channel: "webpush" }),
    event("outcome", "evaporated", null),
    event("receipt", "smiled", null),
    event("paused", null, null),
  ]);
  expect(told.map(({ attempt, text }) => `${attempt} ${text}`)).toEqual([
    "0 It was put off until 2026-12-01T08:00:00Z: quiet_hours.",
    "1 It was sent over webpush, which answered 429.",
    "1 It ended: evaporated.",
    "1 It was told: smiled.",
    "1 paused.",
  ]);
});

test("IN77 — each step of a chain is told, and why one was not taken", () => {
  const event = (kind: string, code: string, detail: Record<string, unknown>) => ({
    ...{ atMs: 0, node: "w", epoch: 1 },
    ...{ kind, code, detail },
  });
  const told = timelineOf([
    event("escalated", "recipient", { step: 1, isRepeat: false }),
    event("notEscalated", "no_attribute", { step: 2 }),
    event("escalated", "webhook", { step: 3 }),
    event("escalated", "attribute", { step: 4, isRepeat: true }),
    event("notEscalated", "http_410", { step: 5 }),
    event("unheard", "lon", { step: 4 }),
    event("escalationEnded", "acknowledged", { step: 4 }),
  ]);
  expect(told.map(({ text }) => text)).toEqual([
    "It was not acknowledged in time. Step 1: the recipient was told once more.",
    "Step 2 could not be taken: the recipient has no such attribute.",
    "It was not acknowledged in time. Step 3: the webhook was told.",
    "It was not acknowledged in time. Step 4: the next person was told, and had been before an interruption.",
    "Step 5 could not be taken: http_410.",
    "Region lon did not say whether step 4 was acknowledged there.",
    "Step 4 was acknowledged: the chain ends.",
  ]);
});
