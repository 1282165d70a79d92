// packages/delivery/src/recipient.ts
// The behaviour of a recipient's process: asks `decide`, then does what it says.
//   RE1  Its state is only what is pending; everything else is in the partition, so that a crashed
//        process comes back with the last committed state.
//   RE2  A recipient that cannot be reached costs no object: its outcome is recorded straight away.
// What throws while one row is looked at is put down to that row, too: in the end it fails, and not whoever was
// sent it (poison.ts).
import type { Behaviour, ProcessContext } from "@carillon/process";
import type { Clock } from "@carillon/kernel";
import type { DeliveryJournal } from "./delivery-journal.ts";
import type { GatewayOutbox } from "./gateway-outbox.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Outcomes } from "./outcomes.ts";
import type { Partition } from "./partition.ts";
import {
  decide,
  type Effect,
  type RecipientEvent,
  type RecipientSituation,
  type RecipientState,
} from "./recipient-decision.ts";
import type { Verdict } from "./verdict.ts";

export interface RecipientLimits {
  readonly ackMaxMs: number; // W3: 30,000
  readonly resendMax: number; // W3: 3
  readonly graceMs: number; // how long a lost session may take to come back
}

export interface RecipientDeps {
  readonly clock: Clock;
  readonly outbox: GatewayOutbox;
  readonly limits: RecipientLimits;
  readonly outcomes: Outcomes;
  readonly journal: DeliveryJournal | undefined;
}

type Context = ProcessContext<RecipientState, RecipientEvent>;

export function createRecipientBehaviour(
  partition: Partition,
  deps: RecipientDeps,
): Behaviour<RecipientState, RecipientEvent> {
  const { clock, limits, outbox, outcomes, journal } = deps;

  /** The row that is looked at: whose fault it is when that throws. */
  let at: LedgerEntry | undefined;

  const graceEndsAtMs = (index: number): number => {
    const closedAtMs = partition.sessions.closedAtMs(index);
    const own = closedAtMs === undefined ? 0 : closedAtMs + limits.graceMs;
    return Math.max(own, partition.graceEndsAtMs);
  };

  const situationOf = (index: number): RecipientSituation => {
    const sessions = partition.sessions.of(index);
    return {
      nowMs: clock.monotonicMs(),
      wallClockMs: clock.wallClockMs(),
      hasSession: sessions.length > 0,
      sentOffset: sessions.reduce((max, session) => Math.max(max, session.sentOffset), 0),
      ackedOffset: sessions.reduce((max, session) => Math.max(max, session.ackedOffset), 0),
      graceEndsAtMs: graceEndsAtMs(index),
      isTakenOver: partition.graceEndsAtMs > clock.monotonicMs(),
      ackMaxMs: limits.ackMaxMs,
      resendMax: limits.resendMax,
      isMoving: (entry) => entry.isLeaving(index),
      isSettling: partition.settling.has(index),
      endOf: (entry) => outcomes.endOf(entry),
      verdictOf: (entry, before) => verdictOf(index, entry, before),
    };
  };

  const verdictOf = (
    index: number,
    entry: LedgerEntry,
    before: readonly LedgerEntry[] = [],
  ): Verdict => {
    at = entry;
    const verdict = outcomes.verdictOf(partition, index, entry, before);
    at = undefined;
    return verdict;
  };

  const send = (index: number, entry: LedgerEntry, isResend: boolean): void => {
    at = entry;
    const payload = entry.envelope.payloadFor(partition.directory.localeOf(index));
    for (const session of partition.sessions.of(index)) {
      if (session.sentOffset >= entry.offset && !isResend) continue; // SE2
      session.sentOffset = Math.max(session.sentOffset, entry.offset);
      journal?.sent(partition, entry, { index, session, isResend });
      outbox.queue({
        gatewayId: session.gatewayId,
        event: entry.envelope.event,
        payload,
        partition: partition.partition,
        ledgerEpoch: partition.ledgerEpoch,
        offset: entry.offset,
        isResend,
        sid: session.sid,
      });
    }
    at = undefined;
  };

  /** Rethrows what is a crash of the process, which may try again. */
  const failRowOr = (index: number, cause: unknown): void => {
    const entry = at;
    at = undefined;
    if (entry === undefined || !outcomes.failIfPoison(partition, index, entry)) throw cause;
  };

  const apply = (index: number, effect: Effect): void => {
    if (effect.kind === "send") {
      send(index, effect.entry, effect.isResend);
      if (!effect.isResend) outcomes.handed(partition, index, effect.entry);
    } else if (effect.kind === "defer") outcomes.defer(partition, index, effect.entry, effect);
    else {
      if (effect.isSent && effect.outcome === "expired") effect.entry.markSent(index); // SD4
      outcomes.record(partition, index, effect.entry, effect.outcome);
      if (effect.isAwaited) partition.settling.add(index, effect.entry);
    }
  };

  const run = (context: Context, event: RecipientEvent): void => {
    try {
      decideAndApply(context, event);
    } catch (cause) {
      failRowOr(context.slot, cause);
      run(context, withoutDecided(event, context.slot));
    }
  };

  const decideAndApply = (context: Context, event: RecipientEvent): void => {
    const index = context.slot;
    at = undefined;
    const state = standing(context.state ?? [], index);
    const decision = decide(state, event, situationOf(index));
    for (const effect of decision.effects) apply(index, effect);
    context.state = decision.state.length > 0 ? decision.state : undefined;
    if (decision.timerMs === undefined) context.clearTimer();
    else context.setTimer(decision.timerMs);
  };

  /** Undefined: it has the outcome `failed` now. */
  const verdictIfAny = (index: number, entry: LedgerEntry): Verdict | undefined => {
    try {
      return verdictOf(index, entry);
    } catch (cause) {
      failRowOr(index, cause);
      return undefined;
    }
  };

  const isUnreachable = (index: number): boolean =>
    partition.sessions.of(index).length === 0 && graceEndsAtMs(index) <= clock.monotonicMs();

  return {
    /**
     * After a crash: what was sent is awaited again, without being sent again. What was not sent is
     * still in the mailbox, the message that crashed included, or is given back by the sweep.
     */
    init(index) {
      if (!partition.crashed.remove(index)) return undefined;
      const sessions = partition.sessions.of(index);
      const sentOffset = Math.max(0, ...sessions.map((session) => session.sentOffset));
      const dueAtMs = clock.monotonicMs() + limits.ackMaxMs;
      const open = partition.openEntriesOf(index);
      if (open.some((entry) => entry.isMoving(index))) partition.spilled.add(index); // and what it blocked
      return open
        .filter((entry) => sessions.length === 0 || entry.offset <= sentOffset)
        .map((entry) => ({ entry, sendCount: sessions.length === 0 ? 0 : 1, dueAtMs }));
    },
    onCast(context, event) {
      if (event.kind === "entry") {
        if (!event.entry.isPending(context.slot)) return; // it has an outcome already (D2)
        journal?.handed(partition, context.slot, event.entry);
        if (context.state === undefined && isUnreachable(context.slot)) {
          const isExpired = event.entry.envelope.notification.expiresAtMs <= clock.wallClockMs();
          const kind = verdictIfAny(context.slot, event.entry)?.kind;
          if (kind === undefined) return;
          if (kind === "allow" || (isExpired && kind === "defer")) {
            const outcome = isExpired ? "expired" : "noDevice";
            outcomes.record(partition, context.slot, event.entry, outcome); // RE2
            return;
          }
        }
      } else if (event.kind === "lapsed") {
        for (const entry of event.entries) {
          const verdict = verdictIfAny(context.slot, entry); // as in decide (RD4)
          const outcome = verdict?.kind === "suppress" ? verdict.outcome : "expired";
          outcomes.record(partition, context.slot, entry, outcome);
        }
        return;
      } else if (context.state === undefined && event.kind !== "resume") return;
      run(context, event);
    },
    /** After a crash: the timer of what init gave back is armed again. */
    onContinue(context) {
      if (context.state !== undefined) run(context, { kind: "due" });
    },
    onTimer(context) {
      run(context, { kind: "due" });
    },
    onDeadLetter(index, event) {
      if (event.kind === "entry") {
        journal?.deadLettered(partition, index, event.entry);
        outcomes.record(partition, index, event.entry, "failed");
      } else partition.spilled.add(index); // what is open is looked at again by the sweep
    },
    onQuarantine(index) {
      partition.spilled.add(index); // what is open stays open, and is given back on release
    },
    onRelease(index) {
      partition.spilled.add(index);
    },
  };
}

/** One of its rows has got an outcome since. */
function withoutDecided(event: RecipientEvent, index: number): RecipientEvent {
  if (event.kind === "entry" && !event.entry.isPending(index)) return { kind: "due" };
  if (event.kind !== "resume") return event;
  return { kind: "resume", entries: event.entries.filter((entry) => entry.isPending(index)) };
}

/**
 * Without those that have left for another row, or have an outcome since a session was opened; who is on
 * his way is marked (DL4, DL5).
 */
function standing(state: RecipientState, index: number): RecipientState {
  const isChanged = ({ entry, isMoving }: RecipientState[number]): boolean =>
    isMoving === true || entry.isLeaving(index) || !entry.isPending(index);
  if (!state.some(isChanged)) return state;
  return state.flatMap((pending) => {
    const { entry } = pending;
    const isMoving = entry.isLeaving(index);
    return isMoving || entry.isPending(index) ? [{ ...pending, isMoving }] : [];
  });
}
