// packages/process/src/spawning.ts
// How a process is started by hand, and whether there is one (P5, P6).
import { IGNORE } from "./behaviour.ts";
import { TICK_MS } from "./engine.ts";
import { ACTIVATE, BUSY, FANNED, HELD, LOAD_WAITING, QUARANTINED, SPAWNED } from "./rows.ts";
import type { Ref, SpawnOutcome } from "./table-api.ts";
import type { TableCore } from "./table-core.ts";

type Core<State, Message extends object, Reply> = TableCore<State, Message, Reply>;

/** Hot: a node that starts begins with many of these. */
export function spawnProcess<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
): SpawnOutcome {
  const { rows, behaviour, engine } = core;
  rows.ensure(slot);
  const ref: Ref = { slot, generation: rows.generation[slot] ?? 0 };
  if (rows.hasBits(slot, QUARANTINED)) return { kind: "quarantined" };
  if (isStarted(core, slot)) return { kind: "already_started", ref };
  if (slot >= core.processCount) core.processCount = slot + 1;
  engine.nowTick = Math.floor(engine.clock.monotonicMs() / TICK_MS); // maybe outside a slice
  let state: State | undefined | typeof IGNORE;
  try {
    state = behaviour.init(slot);
  } catch (error) {
    return { kind: "failed", error }; // P5: the name is free; its starter knows, no report
  }
  if (core.isStopped) return { kind: "stopped" };
  if (state === IGNORE) return { kind: "ignored" };
  core.setState(slot, state);
  engine.schedule(); // the slice's end begins to look for idle ones
  if (!core.isOnDemand) rows.setBits(slot, SPAWNED);
  if (state !== undefined && behaviour.onContinue !== undefined) {
    rows.setBits(slot, ACTIVATE);
    core.queueIfNeeded(slot);
  }
  return { kind: "started", ref };
}

function isStarted<State, Message extends object, Reply>(
  { isOnDemand, rows }: Core<State, Message, Reply>,
  slot: number,
): boolean {
  if (!isOnDemand) return rows.hasBits(slot, SPAWNED);
  if (rows.states[slot] !== undefined || rows.isWaiting(slot)) return true;
  return rows.hasBits(slot, HELD | BUSY | LOAD_WAITING | ACTIVATE | FANNED);
}

/** A table that has stopped has no process; one that does not start on demand only the spawned. */
export function isAbsent<State, Message extends object, Reply>(
  { isStopped, isOnDemand, rows }: Core<State, Message, Reply>,
  slot: number,
): boolean {
  return isStopped || (!isOnDemand && !rows.hasBits(slot, SPAWNED));
}
