// packages/process/src/endings.ts
// How an incarnation ends: quietly, by kill, or with its table (P7, P10, P11).
import type { Down } from "./behaviour.ts";
import { type Exit, isQuiet, KILLED } from "./exit.ts";
import type { CrashReport } from "./limits.ts";
import {
  ACTIVATE,
  BUSY,
  CONTINUED,
  CRASHED,
  HELD,
  LOAD_WAITING,
  QUARANTINED,
  SPAWNED,
} from "./rows.ts";
import type { CallOutcome } from "./table-api.ts";
import type { TableCore } from "./table-core.ts";

type Core<State, Message extends object, Reply> = TableCore<State, Message, Reply>;

/** What an incarnation leaves behind goes: its state, its timer, its monitors, its right to write. */
export function endIncarnation<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  exit: Exit,
): void {
  const { rows } = core;
  const down = core.monitors.has(slot) ? downOf(core, slot, exit) : undefined;
  rows.generation[slot] = (rows.generation[slot] ?? 0) + 1;
  if (core.exits.size > 0) core.exits.delete(slot);
  core.setState(slot, undefined);
  core.clearTimer(slot);
  core.unwatchAll(slot);
  core.closeOwed(slot, exit);
  rows.clearBits(slot, BUSY | ACTIVATE | CONTINUED | LOAD_WAITING);
  if (down !== undefined) core.monitors.fire(down);
  core.onForgotten?.(slot);
  core.engine.schedule(); // the slice's end looks what became possible, also when nobody is told
}

export function downOf<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  exit: Exit,
): Down {
  return { table: core.name, slot, generation: core.rows.generation[slot] ?? 0, exit };
}

/**
 * Quietly, by a crash for good, or because `init` answered IGNORE (`noproc`). No handler of it runs.
 * `isReady`: it could have handled a message. One that could not takes with it what waits, since it
 * would begin and end for ever. Callbacks come last, when all has changed: they may do anything.
 */
export function endProcess<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  { exit, isReady }: { readonly exit: Exit; readonly isReady: boolean },
): void {
  const { rows, engine, behaviour } = core;
  const state = rows.states[slot];
  const isRebuilt = core.isOnDemand && isReady;
  endHolds(core, slot);
  rows.clearBits(slot, SPAWNED);
  const lost = isRebuilt ? [] : takeWaiting(core, slot, { kind: "exit", exit });
  endIncarnation(core, slot, exit);
  if (isRebuilt) core.queueIfNeeded(slot);
  if (state !== undefined && isQuiet(exit))
    engine.guard("onStop", () => behaviour.onStop?.(slot, state, exit));
  tellDropped(core, slot, lost);
}

function tellDropped<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  lost: readonly Message[],
): void {
  const { engine, behaviour, isTellingDropped } = core;
  core.isTellingDropped = true;
  for (const message of lost) {
    engine.counters.dropped++;
    engine.guard("onDrop", () => behaviour.onDrop?.(slot, message));
  }
  core.isTellingDropped = isTellingDropped;
}

/**
 * P11: forgets the process with all it has, its mailbox too, as OTP's `exit(Pid, kill)` does. What is
 * lost so is counted and told to `onDrop`, the message that was begun first; returns how many, calls
 * among them.
 */
export function killProcess<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
): number {
  const { engine, rows } = core;
  const record = core.crashes.get(slot);
  const isThere =
    rows.states[slot] !== undefined ||
    rows.waitingCountOf(slot) > 0 ||
    rows.hasBits(slot, BUSY | SPAWNED | ACTIVATE | LOAD_WAITING) ||
    (record !== undefined && record.holdHandle !== 0);
  if (!isThere) return 0;
  const isBusy = rows.hasBits(slot, BUSY);
  const turn = core.asyncTurns.get(slot);
  if (turn !== undefined) core.endAsync(turn);
  turn?.callMark?.close({ kind: "exit", exit: KILLED });
  core.closeWaiting(slot, { kind: "exit", exit: KILLED });
  const items = core.takeAllItems(slot);
  const begun = turn?.message === undefined ? [] : [turn.message];
  endHolds(core, slot);
  rows.clearBits(slot, SPAWNED);
  endIncarnation(core, slot, KILLED); // QUEUED stays: its entry is in the ready queue
  engine.counters.crashes++;
  const report: CrashReport = {
    table: core.name,
    slot,
    key: core.keyOf(slot),
    reason: "killed",
    during: turn?.during ?? (isBusy ? "cast" : "idle"),
    messageKind: kindOf(turn?.message),
    cause: undefined,
    recentCrashCount: 0,
    next: "forgotten",
    delayMs: 0,
  };
  engine.guard("onCrash", () => engine.observer.onCrash?.(report));
  const lost = [...begun, ...core.messagesOf(items)];
  if (core.isTellingDropped) engine.counters.dropped += lost.length;
  else tellDropped(core, slot, lost);
  return begun.length + items.length;
}

/** Back-off, quarantine and the memory of crashes. */
export function endHolds<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
): void {
  const { engine, rows } = core;
  const record = core.crashes.get(slot);
  if (rows.hasBits(slot, QUARANTINED)) engine.counters.quarantined--;
  rows.clearBits(slot, HELD | QUARANTINED);
  if (record === undefined) return;
  engine.wheel.cancel(record.holdHandle);
  forgetCrashes(core, slot);
}

export function forgetCrashes<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
): void {
  core.crashes.delete(slot);
  if (core.crashes.size === 0) core.crashSweep.stop();
  core.rows.clearBits(slot, CRASHED);
  core.onForgotten?.(slot);
}

export function kindOf(message: object | undefined): string | undefined {
  try {
    const kind = message !== undefined && "kind" in message ? message.kind : undefined;
    return typeof kind === "string" ? kind : undefined;
  } catch {
    return undefined; // a getter may throw, and the crash has to be told all the same (P10)
  }
}

/** Empties the mailbox: the messages are the caller's to hand back, calls get `outcome`. */
export function takeWaiting<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  outcome: CallOutcome<never>,
): Message[] {
  core.closeWaiting(slot, outcome);
  return core.messagesOf(core.takeAllItems(slot));
}

/** With its table: all go at once. Returns what tells them (`onStop`), when the table is gone too. */
export function stopProcesses<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  exit: Exit,
): () => void {
  const { engine, rows, behaviour } = core;
  const { states } = rows;
  core.isStopped = true; // from here on no turn of it is current
  for (const turn of core.asyncTurns.values()) core.endAsync(turn);
  engine.calls.closeAll(core, { kind: "exit", exit });
  core.monitors.fireAll((slot) => downOf(core, slot, exit));
  core.unwatchEverybody();
  for (const record of core.crashes.values()) engine.wheel.cancel(record.holdHandle);
  for (let slot = 0; slot < rows.status.length; slot++) {
    if (rows.timerOf(slot) !== 0) engine.wheel.cancel(rows.timerOf(slot));
    if (rows.hasBits(slot, QUARANTINED)) engine.counters.quarantined--;
  }
  engine.counters.resident -= core.residentCount;
  core.residentCount = 0;
  core.countWaiting(-core.waitingCount);
  core.clear();
  return () => {
    if (!isQuiet(exit) || behaviour.onStop === undefined) return;
    for (const [slot, state] of states.entries())
      if (state !== undefined) engine.guard("onStop", () => behaviour.onStop?.(slot, state, exit));
  };
}
