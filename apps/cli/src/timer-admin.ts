// apps/cli/src/timer-admin.ts
// What operators see and do of timers that were given up, in the database of this node's home (PA1).
import type { AdminReply, AdminRequest, BuriedTimer } from "@carillon/contracts";

export interface BuriedTimers {
  readonly home: string;
  /** Those buried last first. */
  list(home: string, limitCount: number): Promise<BuriedTimer[]>;
  /** False: none of this id is buried. */
  revive(home: string, id: number): Promise<boolean>;
  remove(home: string, id: number): Promise<boolean>;
}

export type TimerRequest = Extract<
  AdminRequest,
  { kind: "buried_timers" | "revive_timer" | "delete_timer" }
>;

export async function answerOfTimers(
  request: TimerRequest,
  timers: BuriedTimers,
): Promise<AdminReply> {
  const { home } = request;
  if (home !== timers.home) return { kind: "not_found" };
  if (request.kind === "revive_timer")
    return { kind: "done", isChanged: await timers.revive(home, request.id) };
  if (request.kind === "delete_timer")
    return { kind: "done", isChanged: await timers.remove(home, request.id) };
  const found = await timers.list(home, request.limit + 1); // one more tells that there are more
  const isCut = found.length > request.limit;
  return { kind: "buried_timers", timers: found.slice(0, request.limit), isCut };
}
