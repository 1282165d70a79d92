// packages/process/src/overflow.ts
// What becomes of a message that finds the mailbox full, or one of its key in it (P14).
import { assert } from "@carillon/kernel";
import type { Lane } from "./behaviour.ts";
import { CallMark } from "./calls.ts";
import type { Item } from "./mailbox.ts";
import type { CastOutcome } from "./table-api.ts";
import type { TableCore } from "./table-core.ts";

type Core<State, Message extends object, Reply> = TableCore<State, Message, Reply>;

/** True: it has taken the place of a waiting message with the same key. */
export function coalesce<State, Message extends object, Reply>(
  { rows, behaviour, engine }: Core<State, Message, Reply>,
  slot: number,
  message: Message,
): boolean {
  if (!rows.isWaiting(slot)) return false;
  const key = behaviour.coalesceKey?.(message);
  if (key === undefined) return false;
  const isSame = (waiting: Message): boolean => behaviour.coalesceKey?.(waiting) === key;
  if (!rows.coalesce(slot, message, isSame)) return false;
  engine.counters.coalesced++;
  return true;
}

/** As the behaviour's `overflow` wants it. */
export function putInFull<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  message: Message,
  lane: Lane,
): CastOutcome {
  const { rows, behaviour, engine } = core;
  const policy = lane === "control" ? "reject" : behaviour.overflow?.(message);
  if (policy === "spill") {
    engine.counters.spilled++;
    engine.guard("onSpill", () => behaviour.onSpill?.(slot, message));
    return core.refuse("spilled");
  }
  if (policy !== "drop_oldest" || !rows.mayFit(message)) return core.refuse("overloaded");
  const dropped = dropOldest(core, slot, message);
  core.queueIfNeeded(slot);
  for (const one of dropped) engine.guard("onDrop", () => behaviour.onDrop?.(slot, one));
  return "accepted";
}

/** The oldest go until the message has its place; returns those that are no calls. */
function dropOldest<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  message: Message,
): Message[] {
  const dropped: Item<Message>[] = [];
  let isNew = false;
  core.moveFanned(slot);
  // One of its key is replaced, also here: two of a key could be handled in the wrong order.
  while (!coalesce(core, slot, message) && !(isNew = core.rows.put(slot, message, "normal"))) {
    const oldest = core.rows.takeOldest(slot);
    assert(oldest !== undefined, "P14 an empty mailbox takes a message that fits");
    if (oldest instanceof CallMark) oldest.close({ kind: "overloaded" });
    dropped.push(oldest);
  }
  core.countWaiting((isNew ? 1 : 0) - dropped.length);
  core.engine.counters.dropped += dropped.length;
  return core.messagesOf(dropped);
}
