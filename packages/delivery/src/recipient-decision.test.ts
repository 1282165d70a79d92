// packages/delivery/src/recipient-decision.test.ts
// Goal: RD1–RD4, D2. Method: a table of (state, event, situation) → effects, then random histories.
import { expect, test } from "vitest";
import { entryOf } from "./fake-ledger-store.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import {
  decide,
  type Pending,
  type RecipientEvent,
  type RecipientSituation,
} from "./recipient-decision.ts";
import { ALLOW, type Verdict } from "./verdict.ts";

const situation: RecipientSituation = {
  nowMs: 1_000,
  wallClockMs: 0,
  hasSession: true,
  sentOffset: 0,
  ackedOffset: 0,
  graceEndsAtMs: 0,
  isTakenOver: false,
  ackMaxMs: 30_000,
  resendMax: 3,
  isMoving: () => false,
  isSettling: false,
  endOf: () => undefined,
  verdictOf: () => ALLOW,
};
const quiet: Verdict = { kind: "defer", untilMs: 77, reason: "ownQuietHours" };
const only = (offset: number, verdict: Verdict) => ({
  verdictOf: (asked: LedgerEntry) => (asked.offset === offset ? verdict : ALLOW),
});
const entry = (offset: number, expiresAtMs = 1e9) => entryOf({ offset, members: [0], expiresAtMs });
const pending = (offset: number, sendCount: number, dueAtMs = 31_000): Pending => ({
  entry: entry(offset),
  sendCount,
  dueAtMs,
});

interface Row {
  name: string;
  state?: Pending[];
  event: RecipientEvent;
  situation?: Partial<RecipientSituation>;
  effects: string[];
  left: string[]; // offset×sendCount@due
  timerMs: number | undefined;
}

const rows: Row[] = [
  {
    name: "RD1 — a session is open: sent, and its ack awaited",
    event: { kind: "entry", entry: entry(5) },
    effects: ["send 5"],
    left: ["5×1@31000"],
    timerMs: 30_000,
  },
  {
    name: "RD2 — no session and no grace: no device, nothing is kept",
    event: { kind: "entry", entry: entry(5) },
    situation: { hasSession: false },
    effects: ["noDevice 5"],
    left: [],
    timerMs: undefined,
  },
  {
    name: "RD3 — no session but grace: waits to the end of the grace",
    event: { kind: "entry", entry: entry(5) },
    situation: { hasSession: false, graceEndsAtMs: 9_000 },
    effects: [],
    left: ["5×0@9000"],
    timerMs: 8_000,
  },
  {
    name: "CB3 — its sender ends it in the grace, of an earlier owner that may have sent it: he may have it",
    state: [pending(5, 0, 9_000)],
    event: { kind: "changed" },
    situation: {
      ...{ hasSession: false, graceEndsAtMs: 9_000, isTakenOver: true },
      endOf: () => "cancelled",
    },
    effects: [],
    left: ["5×0@9000"],
    timerMs: 8_000,
  },
  {
    name: "RD1 — a session opens: what waited goes out in order of offset",
    state: [pending(5, 0, 9_000), pending(7, 0, 9_000)],
    event: { kind: "opened" },
    effects: ["send 5", "send 7"],
    left: ["5×1@31000", "7×1@31000"],
    timerMs: 30_000,
  },
  {
    name: "SD3 — a cumulative ack delivers everything up to it, and nothing above",
    state: [pending(5, 1), pending(6, 1), pending(9, 1)],
    event: { kind: "acked", offset: 6 },
    effects: ["deliveredSocket 5", "deliveredSocket 6"],
    left: ["9×1@31000"],
    timerMs: 30_000,
  },
  {
    name: "RD3 — no ack in time: sent again",
    state: [pending(5, 1, 1_000)],
    event: { kind: "due" },
    effects: ["resend 5"],
    left: ["5×2@31000"],
    timerMs: 30_000,
  },
  {
    name: "RD3 — the third resend without an ack is the last: unacked",
    state: [pending(5, 4, 1_000)],
    event: { kind: "due" },
    effects: ["unacked 5"],
    left: [],
    timerMs: undefined,
  },
  {
    name: "RD3 — the last session closes: everything waits for the grace",
    state: [pending(5, 1)],
    event: { kind: "closed" },
    situation: { hasSession: false, graceEndsAtMs: 21_000 },
    effects: [],
    left: ["5×1@21000"],
    timerMs: 20_000,
  },
  {
    name: "RD3 — the grace ends: handed but never acked is unacked, never handed is no device",
    state: [pending(5, 2, 1_000), pending(6, 0, 1_000)],
    event: { kind: "due" },
    situation: { hasSession: false, graceEndsAtMs: 1_000 },
    effects: ["unacked 5", "noDevice 6"],
    left: [],
    timerMs: undefined,
  },
  {
    name: "RD3 — past its expiry it expires, session or not",
    state: [{ entry: entry(5, 10), sendCount: 1, dueAtMs: 31_000 }],
    event: { kind: "due" },
    situation: { wallClockMs: 10 },
    effects: ["expired 5"],
    left: [],
    timerMs: undefined,
  },
  {
    name: "RD3 — the timer is due at the expiry when that comes first",
    event: { kind: "entry", entry: entry(5, 700) },
    effects: ["send 5"],
    left: ["5×1@31000"],
    timerMs: 700,
  },
  {
    name: "RD2 — an entry that the session has acked already is delivered, not sent",
    event: { kind: "entry", entry: entry(5) },
    situation: { ackedOffset: 5 },
    effects: ["deliveredSocket 5"],
    left: [],
    timerMs: undefined,
  },
  {
    name: "PA4 — resume: only what is not pending yet is added, in order",
    state: [pending(5, 1)],
    event: { kind: "resume", entries: [entry(3), entry(5), entry(8)] },
    effects: ["send 3", "send 8"],
    left: ["3×1@31000", "5×1@31000", "8×1@31000"],
    timerMs: 30_000,
  },
  {
    name: "RD4 — what may not be handed yet is put off, with a session",
    event: { kind: "entry", entry: entry(5) },
    situation: { verdictOf: () => quiet },
    effects: ["defer 5 until 77"],
    left: ["5×0@Infinity moving"],
    timerMs: undefined,
  },
  {
    name: "RD4 — and without one, when the grace is over and not before",
    state: [pending(4, 0, 0)],
    event: { kind: "due" },
    situation: { hasSession: false, graceEndsAtMs: 9_000, verdictOf: () => quiet },
    effects: [],
    left: ["4×0@9000"],
    timerMs: 8_000,
  },
  {
    name: "RD4 — the grace is over: put off, not given up",
    state: [pending(4, 0, 0)],
    event: { kind: "due" },
    situation: { hasSession: false, verdictOf: () => quiet },
    effects: ["defer 4 until 77"],
    left: ["4×0@Infinity moving"],
    timerMs: undefined,
  },
  {
    name: "RD4 — nothing unsent passes one that is on its way elsewhere; what was sent goes on",
    state: [pending(3, 1), { ...pending(4, 0), isMoving: true }],
    event: { kind: "entry", entry: entry(5) },
    effects: [],
    left: ["3×1@31000", "4×0@Infinity moving", "5×0@Infinity"],
    timerMs: 30_000,
  },
  {
    name: "CB3 — its sender ends it in the grace: that is the outcome of what was not sent",
    state: [pending(3, 1, 9_000), pending(4, 0, 9_000), pending(5, 0, 9_000)],
    event: { kind: "changed" },
    situation: {
      ...{ hasSession: false, graceEndsAtMs: 9_000 },
      endOf: ({ offset }) => (offset < 5 ? "cancelled" : undefined),
    },
    effects: ["cancelled 4"],
    left: ["3×1@9000", "5×0@9000"],
    timerMs: 8_000,
  },
  {
    name: "CB3 — ended by its sender, and sent without an ack: it is not sent again",
    state: [pending(3, 1, 1_000), pending(4, 1, 1_000)],
    event: { kind: "due" },
    situation: { endOf: ({ offset }) => (offset === 3 ? "cancelled" : undefined) },
    effects: ["unacked 3", "resend 4"],
    left: ["4×2@31000"],
    timerMs: 30_000,
  },
  {
    name: "DL5 — nothing unsent passes what has ended outside of his turns, until that is written",
    state: [pending(3, 1)],
    event: { kind: "entry", entry: entry(5) },
    situation: { isSettling: true },
    effects: [],
    left: ["3×1@31000", "5×0@Infinity"],
    timerMs: 30_000,
  },
  {
    name: "RD4 — what a session's opening has put off is not asked about again",
    event: { kind: "resume", entries: [entry(4), entry(5)] },
    situation: { isMoving: ({ offset }) => offset === 4 },
    effects: [],
    left: ["4×0@Infinity moving", "5×0@Infinity"],
    timerMs: undefined,
  },
  {
    name: "RD4 — what expires behind one that is on its way wakes nobody",
    state: [{ ...pending(4, 0), isMoving: true }],
    event: { kind: "entry", entry: entry(5, 1) },
    situation: { wallClockMs: 5 },
    effects: [],
    left: ["4×0@Infinity moving", "5×0@Infinity"],
    timerMs: undefined,
  },
  {
    name: "RD4 — when it has left, those behind it are sent",
    state: [pending(5, 0, Infinity), pending(6, 0, Infinity)],
    event: { kind: "changed" },
    effects: ["send 5", "send 6"],
    left: ["5×1@31000", "6×1@31000"],
    timerMs: 30_000,
  },
  {
    name: "RD4 — what is on a socket already is not asked about",
    state: [pending(4, 1)],
    event: { kind: "entry", entry: entry(5) },
    situation: { sentOffset: 5, verdictOf: () => quiet },
    effects: ["send 5"],
    left: ["4×1@31000", "5×1@31000"],
    timerMs: 30_000,
  },
  {
    name: "RD4 — what was sent and came to nothing is unacked, whatever may be now",
    state: [pending(4, 2, 0)],
    event: { kind: "closed" },
    situation: { hasSession: false, verdictOf: () => quiet },
    effects: ["unacked 4"],
    left: [],
    timerMs: undefined,
  },
  {
    name: "RD4, DL5 — what may not be handed at all has that outcome, and the next waits until it is written",
    state: [pending(4, 0, 0)],
    event: { kind: "entry", entry: entry(5) },
    situation: only(4, { kind: "suppress", outcome: "cancelled" }),
    effects: ["cancelled 4"],
    left: ["4×0@Infinity moving", "5×0@Infinity"],
    timerMs: undefined,
  },
  {
    name: "RD4 — without a session it has that outcome, and nothing is kept: a session that opens waits (SD7)",
    event: { kind: "entry", entry: entry(4) },
    situation: { hasSession: false, ...only(4, { kind: "suppress", outcome: "cancelled" }) },
    effects: ["cancelled 4"],
    left: [],
    timerMs: undefined,
  },
  {
    name: "RD4 — what has expired and may not be handed at all is not expired: nobody is sent it later",
    state: [pending(4, 0, 0)],
    event: { kind: "due" },
    situation: { wallClockMs: 2e9, ...only(4, { kind: "suppress", outcome: "optedOut" }) },
    effects: ["optedOut 4"],
    left: ["4×0@Infinity moving"],
    timerMs: undefined,
  },
  {
    name: "RD4 — nobody is put off beyond its expiry",
    state: [pending(4, 0, 0)],
    event: { kind: "due" },
    situation: { wallClockMs: 2e9, verdictOf: () => quiet },
    effects: ["expired 4"],
    left: [],
    timerMs: undefined,
  },
  {
    name: "RD4 — who has it by his place has it, and is not put off",
    event: { kind: "entry", entry: entry(5) },
    situation: { ackedOffset: 5, verdictOf: () => quiet },
    effects: ["deliveredSocket 5"],
    left: [],
    timerMs: undefined,
  },
];

test.each(rows)("$name", (row) => {
  const decision = decide(row.state ?? [], row.event, { ...situation, ...row.situation });
  const effects = decision.effects.map((effect) => {
    if (effect.kind === "outcome") return `${effect.outcome} ${effect.entry.offset}`;
    if (effect.kind === "defer") return `defer ${effect.entry.offset} until ${effect.untilMs}`;
    return `${effect.isResend ? "resend" : "send"} ${effect.entry.offset}`;
  });
  const left = decision.state.map(
    ({ entry: { offset }, sendCount, dueAtMs, isMoving }) =>
      `${offset}×${sendCount}@${dueAtMs}${isMoving === true ? " moving" : ""}`,
  );
  expect({ effects, left, timerMs: decision.timerMs }).toEqual({
    effects: row.effects,
    left: row.left,
    timerMs: row.timerMs,
  });
});
