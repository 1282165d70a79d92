// packages/process/src/inspect.ts
// What a person may know of a process and of a table. Reads only; costs nothing while nobody asks.
import { kindOf } from "./endings.ts";
import { TICK_MS } from "./engine.ts";
import type { Phase } from "./limits.ts";
import { type CrashRecord, recentCrashCount } from "./restart.ts";
import {
  BUSY,
  CANNOT_RUN_NOW,
  CRASHED,
  HELD,
  LOAD_WAITING,
  QUARANTINED,
  QUEUED,
  SPAWNED,
} from "./rows.ts";
import type { ProcessInspection, ProcessPhase, TableSums } from "./table-api.ts";
import type { TableCore } from "./table-core.ts";
import type { Turn } from "./turn.ts";

export function inspectProcess<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  slot: number,
): ProcessInspection<State> {
  const { rows, crashes, engine, asyncTurns } = core;
  const record = crashes.get(slot);
  const nowMs = engine.clock.monotonicMs();
  const isHeld = record !== undefined && record.holdHandle !== 0;
  const state = rows.states[slot];
  const turn = asyncTurns.get(slot);
  const bornMs = (rows.bornTick[slot] ?? 0) * TICK_MS;
  return {
    slot,
    key: core.keyOf(slot),
    phase: phaseOf(core, slot),
    generation: rows.generation[slot] ?? 0,
    state: state ?? record?.keptState,
    waitingCount: rows.waitingCountOf(slot),
    waitingBytes: rows.waitingBytesOf(slot),
    isTimerArmed: rows.timerOf(slot) !== 0,
    restartCount: rows.generation[slot] ?? 0,
    recentCrashCount: record === undefined ? 0 : recentCrashCount(record, nowMs, engine.limits),
    lastError: record?.loadFailure?.message ?? record?.lastError,
    current: turn === undefined ? lastDoingOf(record) : doingOf(turn),
    ageMs: state === undefined ? undefined : Math.max(0, nowMs - bornMs),
    retryInMs: isHeld ? Math.max(0, record.holdUntilMs - nowMs) : undefined,
  };
}

/** In quarantine, at most so many. */
export function quarantinedOf<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  limitCount: number,
): ProcessInspection<State>[] {
  return [...core.crashes.keys()]
    .filter((slot) => core.rows.hasBits(slot, QUARANTINED))
    .slice(0, limitCount)
    .map((slot) => inspectProcess(core, slot));
}

/** Not idle, at most so many. Looks at every slot. */
export function activeOf<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  limitCount: number,
): ProcessInspection<State>[] {
  const { rows } = core;
  const found: ProcessInspection<State>[] = [];
  for (let slot = 0; slot < rows.status.length && found.length < limitCount; slot++)
    if (rows.hasBits(slot, CANNOT_RUN_NOW | CRASHED) || rows.isWaiting(slot))
      found.push(inspectProcess(core, slot));
  return found;
}

export function sumsOf<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
): TableSums {
  let quarantinedCount = 0;
  for (const slot of core.crashes.keys())
    if (core.rows.hasBits(slot, QUARANTINED)) quarantinedCount++;
  return {
    name: core.name,
    residentCount: core.residentCount,
    waitingCount: core.waitingCount,
    busyCount: core.asyncTurns.size,
    crashedCount: core.crashes.size,
    quarantinedCount,
    isPaused: core.isPaused,
  };
}

function phaseOf<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  slot: number,
): ProcessPhase {
  const { rows } = core;
  if (core.isStopped) return "stopped";
  if (rows.hasBits(slot, QUARANTINED)) return "quarantined";
  if (!core.isOnDemand && !rows.hasBits(slot, SPAWNED)) return "absent";
  if (rows.hasBits(slot, HELD)) return "backing_off";
  if (rows.hasBits(slot, LOAD_WAITING)) return "loading";
  if (rows.hasBits(slot, BUSY)) return "running";
  return rows.hasBits(slot, QUEUED) ? "queued" : "idle";
}

/** "cast publish", "timer": what a turn does, for people. */
function doingOf<State, Message extends object, Reply>(turn: Turn<State, Message, Reply>): string {
  return doing(turn.during, kindOf(turn.callMark?.message ?? turn.message));
}

/** What it did when it crashed. */
function lastDoingOf(record: CrashRecord<unknown> | undefined): string | undefined {
  if (record?.lastPhase === undefined) return undefined;
  return doing(record.lastPhase, record.lastKind);
}

function doing(phase: Phase, kind: string | undefined): string {
  return kind === undefined ? phase : `${phase} ${kind}`;
}
