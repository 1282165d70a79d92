// packages/delivery/src/recipient-decision.ts
// What a recipient's process does with an event: pure, no I/O, no clock (DESIGN §5 step 5).
//   RD1  Notifications are sent in offset order; one that was not sent is not passed (D3).
//   RD2  An outcome is decided once per pending notification, and the notification is then
//        forgotten (D2).
//   RD4  Whether it may be handed is asked when it would be sent first, or given up unsent, also since it has
//        expired. What is put off waits for its write, and nothing unsent passes it meanwhile (DL4); nor
//        what is not to be handed at all, where there is a session (DL5).
//   RD3  Nothing waits without a limit: an ack `ackMaxMs`, resends `resendMax`, a session that may
//        come back `graceMs`, everything the notification's expiry.
import type { DeferReason } from "@carillon/contracts";
import type { LedgerEntry, Outcome, Suppression } from "./ledger-entry.ts";
import { ALLOW, type Verdict } from "./verdict.ts";

export interface Pending {
  readonly entry: LedgerEntry;
  readonly sendCount: number; // 0: no session has had it
  readonly dueAtMs: number; // monotonic: resend, or give up
  /** Put off, or not to be handed at all; it leaves when that is written. */
  readonly isMoving?: boolean;
}

/** Ascending by offset. A recipient without pending notifications has no state at all. */
export type RecipientState = readonly Pending[];

export type RecipientEvent =
  | { readonly kind: "entry"; readonly entry: LedgerEntry }
  /** A session opened and has been sent everything up to now. */
  | { readonly kind: "opened" }
  /** A session closed; the recipient may have others. */
  | { readonly kind: "closed" }
  /** The client has everything up to `offset`. */
  | { readonly kind: "acked"; readonly offset: number }
  /** The mailbox had been full: these are all that are open for the recipient. */
  | { readonly kind: "resume"; readonly entries: readonly LedgerEntry[] }
  /** What was put off has been written, or what may be done with a notification has changed. */
  | { readonly kind: "changed" }
  /** These have expired before they were handed (SH4): an end without a turn in the order. */
  | { readonly kind: "lapsed"; readonly entries: readonly LedgerEntry[] }
  | { readonly kind: "due" };

export interface RecipientSituation {
  readonly nowMs: number; // monotonic
  readonly wallClockMs: number; // for expiry
  readonly hasSession: boolean;
  /** Up to it a session has been sent everything, maybe by an earlier owner; 0: nothing. */
  readonly sentOffset: number;
  /** Highest cumulative ack of a session; 0: none. */
  readonly ackedOffset: number;
  /** Until then a session may come back: monotonic; at or before nowMs: no grace. */
  readonly graceEndsAtMs: number;
  /** An earlier owner may have sent what is open here. */
  readonly isTakenOver: boolean;
  readonly ackMaxMs: number;
  readonly resendMax: number;
  /** It is put off, or not to be handed at all, and that is not written. */
  isMoving(entry: LedgerEntry): boolean;
  /** Something that he has not been handed has ended outside of his turns, and that is not written (DL5). */
  readonly isSettling: boolean;
  /** Its sender has ended it: this is the outcome of who has not been handed it; who was is not sent it again. */
  endOf(entry: LedgerEntry): Suppression | undefined;
  /** RD4. `before`: what he is handed by the same decision, which a cap counts (PD1). */
  verdictOf(entry: LedgerEntry, before: readonly LedgerEntry[]): Verdict;
}

export type Effect =
  | { readonly kind: "send"; readonly entry: LedgerEntry; readonly isResend: boolean }
  | {
      readonly kind: "outcome";
      readonly entry: LedgerEntry;
      readonly outcome: Outcome;
      /** A session has had it. */
      readonly isSent: boolean;
      /** What comes after it waits until it is written (DL5). */
      readonly isAwaited: boolean;
    }
  | {
      readonly kind: "defer";
      readonly entry: LedgerEntry;
      readonly untilMs: number; // wall clock
      readonly reason: DeferReason;
    };

export interface Decision {
  readonly state: RecipientState;
  readonly effects: readonly Effect[];
  /** Until `due` is wanted; undefined: no timer. */
  readonly timerMs: number | undefined;
}

/** Pure. Cost O(pending notifications of this recipient). */
export function decide(
  state: RecipientState,
  event: RecipientEvent,
  now: RecipientSituation,
): Decision {
  const effects: Effect[] = [];
  const next: Pending[] = [];
  let isBlocked = now.isSettling; // or by one that is on its way elsewhere
  for (const merged of merge(state, event)) {
    const pending = now.isMoving(merged.entry) ? { ...merged, isMoving: true } : merged;
    const isWaiting: boolean = pending.isMoving === true || (isBlocked && pending.sendCount === 0);
    const kept: Pending | undefined = isWaiting
      ? { ...pending, dueAtMs: Infinity }
      : decideOne(pending, event, now, effects);
    if (kept === undefined) continue;
    isBlocked ||= kept.isMoving === true;
    next.push(kept);
  }
  return { state: next, effects, timerMs: timerOf(next, now) };
}

function decideOne(
  pending: Pending,
  event: RecipientEvent,
  now: RecipientSituation,
  effects: Effect[],
): Pending | undefined {
  const { entry } = pending;
  const finish = (outcome: Outcome): undefined => {
    const isSent = pending.sendCount > 0;
    effects.push({ kind: "outcome", entry, outcome, isSent, isAwaited: false });
    return undefined;
  };
  const send = (isResend: boolean): Pending => {
    effects.push({ kind: "send", entry, isResend });
    return { entry, sendCount: pending.sendCount + 1, dueAtMs: now.nowMs + now.ackMaxMs };
  };
  const verdict = (): Verdict =>
    pending.sendCount > 0 || entry.offset <= now.sentOffset
      ? ALLOW
      : now.verdictOf(entry, handedBy(effects));
  /** RD4. Undefined: it may be handed. */
  const heldBack = (asked = verdict()): { readonly kept: Pending | undefined } | undefined => {
    if (asked.kind === "allow") return undefined;
    const { outcome } = asked.kind === "suppress" ? asked : { outcome: undefined };
    if (outcome !== undefined && !now.hasSession) return { kept: finish(outcome) };
    if (outcome !== undefined)
      effects.push({ kind: "outcome", entry, outcome, isSent: false, isAwaited: true });
    else if (asked.kind === "defer")
      effects.push({ kind: "defer", entry, untilMs: asked.untilMs, reason: asked.reason });
    return { kept: { ...pending, isMoving: true, dueAtMs: Infinity } };
  };
  const ackedOffset = event.kind === "acked" ? event.offset : now.ackedOffset;
  if (entry.offset <= ackedOffset) return finish("deliveredSocket");
  if (entry.envelope.notification.expiresAtMs <= now.wallClockMs) {
    const asked = verdict(); // who is not to be handed it is not sent it later, as one that he has missed (SD1)
    const held = asked.kind === "suppress" ? heldBack(asked) : undefined;
    return held === undefined ? finish("expired") : held.kept;
  }
  if (now.hasSession) {
    if (pending.sendCount === 0) {
      const held = heldBack();
      return held === undefined ? send(false) : held.kept;
    }
    if (event.kind === "opened") return { ...pending, dueAtMs: now.nowMs + now.ackMaxMs };
    if (event.kind !== "due" || pending.dueAtMs > now.nowMs) return pending;
    const isOver = pending.sendCount > now.resendMax || now.endOf(entry) !== undefined; // RC2, CB3
    return isOver ? finish("unacked") : send(true);
  }
  if (now.graceEndsAtMs > now.nowMs) {
    const end = pending.sendCount > 0 || now.isTakenOver ? undefined : now.endOf(entry);
    return end === undefined ? { ...pending, dueAtMs: now.graceEndsAtMs } : finish(end); // CB3
  }
  const held = heldBack();
  if (held !== undefined) return held.kept;
  return finish(pending.sendCount === 0 ? "noDevice" : "unacked");
}

/** By this decision, as new to him, or by an earlier owner. */
function handedBy(effects: readonly Effect[]): readonly LedgerEntry[] {
  return effects.flatMap((effect) =>
    (effect.kind === "send" && !effect.isResend) ||
    (effect.kind === "outcome" && effect.outcome === "deliveredSocket")
      ? [effect.entry]
      : [],
  );
}

function merge(state: RecipientState, event: RecipientEvent): readonly Pending[] {
  if (event.kind === "entry") {
    const last = state.at(-1);
    if (last === undefined || last.entry.offset < event.entry.offset)
      return [...state, unsent(event.entry)];
    return insert(state, event.entry);
  }
  if (event.kind === "resume") return event.entries.reduce(insert, state);
  return state;
}

function insert(state: RecipientState, entry: LedgerEntry): RecipientState {
  if (state.some((pending) => pending.entry.offset === entry.offset)) return state;
  return [...state, unsent(entry)].toSorted((a, b) => a.entry.offset - b.entry.offset);
}

function unsent(entry: LedgerEntry): Pending {
  return { entry, sendCount: 0, dueAtMs: 0 };
}

function timerOf(state: RecipientState, now: RecipientSituation): number | undefined {
  let timerMs: number | undefined;
  for (const { entry, dueAtMs, isMoving } of state) {
    if (isMoving === true || dueAtMs === Infinity) continue; // the write that it waits for tells
    const expiryMs = entry.envelope.notification.expiresAtMs - now.wallClockMs;
    const delayMs = Math.max(1, Math.min(dueAtMs - now.nowMs, expiryMs));
    timerMs = timerMs === undefined ? delayMs : Math.min(timerMs, delayMs);
  }
  return timerMs;
}
