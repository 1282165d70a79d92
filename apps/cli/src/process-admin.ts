// apps/cli/src/process-admin.ts
// What runs in this node, and what was given up in its home, for operators: answers over NATS (admin routes of apps/ingest ask).
//   PA1  Answers hold keys, counts and error texts; no state, no message, no attribute (D8).
import type { Bus } from "@carillon/bus";
import {
  adminRequestSchema,
  type AdminReply,
  type AdminRequest,
  decodeMessage,
  encodeMessage,
  type ProcessView,
  subjects,
} from "@carillon/contracts";
import type {
  InspectableTable,
  ProcessInspection,
  ProcessRuntime,
  TreeNode,
} from "@carillon/process";
import { answerOfTimers, type BuriedTimers } from "./timer-admin.ts";

export interface ProcessAdminDeps {
  readonly memberId: string;
  readonly bus: Bus;
  readonly tree: () => TreeNode;
  readonly runtimes: () => readonly ProcessRuntime[];
  /** What the store remembers of a process that held a node's thread is forgotten, too. */
  readonly forgetQuarantine: (table: string, slot: number) => Promise<void>;
  readonly timers: BuriedTimers;
  readonly onFault: (cause: unknown) => void;
}

const ERROR_CHARACTERS_MAX = 300;
/** Slots that one question for idle ones looks at; more would hold the thread (D7). */
const LOOKS_MAX = 20_000;

/** Returns what ends it. */
export function serveProcessAdmin(deps: ProcessAdminDeps): () => void {
  const subscription = deps.bus.subscribe(
    subjects.memberAdmin(deps.memberId),
    (message) => {
      const decoded = decodeMessage(adminRequestSchema, message.data);
      const reply = (answer: AdminReply): void => message.reply(encodeMessage(answer));
      if (decoded.kind === "malformed") return reply({ kind: "failed", code: "malformed" });
      answerTo(decoded.message, deps).then(reply, (cause: unknown) => {
        deps.onFault(cause);
        reply({ kind: "failed", code: "internal" });
      });
    },
    { isSole: true },
  );
  return () => subscription.unsubscribe();
}

export async function answerTo(
  request: AdminRequest,
  deps: Omit<ProcessAdminDeps, "bus" | "memberId" | "onFault">,
): Promise<AdminReply> {
  const tables = deps.runtimes().flatMap((runtime) => runtime.tables());
  switch (request.kind) {
    case "tree":
      return {
        kind: "tree",
        tree: deps.tree(),
        tables: tables.map((table) => table.sums()),
        stats: statsOf(deps.runtimes()),
      };
    case "buried_timers":
    case "revive_timer":
    case "delete_timer":
      return answerOfTimers(request, deps.timers);
    case "processes":
      return listOf(tables, request);
    case "resume": {
      const found = tables.find(({ name }) => name === request.table);
      return found === undefined
        ? { kind: "not_found" }
        : { kind: "done", isChanged: found.resume() };
    }
    default: {
      const table = tables.find(({ name }) => name === request.table);
      const slot = table?.find(request.key);
      if (table === undefined || slot === undefined) return { kind: "not_found" };
      if (request.kind === "inspect")
        return { kind: "process", process: viewOf(table.name, table.inspect(slot)) };
      const isChanged = table.reset(slot); // also while the store is away
      await deps.forgetQuarantine(table.name, slot);
      return { kind: "done", isChanged };
    }
  }
}

/** Not found: a table was named, and is not here. */
function listOf(
  tables: readonly InspectableTable[],
  request: Extract<AdminRequest, { kind: "processes" }>,
): AdminReply {
  const { table, limit } = request;
  const wanted = table === null ? tables : tables.filter(({ name }) => name === table);
  if (table !== null && wanted.length === 0) return { kind: "not_found" };
  const processes: ProcessView[] = [];
  let looksLeft = LOOKS_MAX;
  for (const one of wanted) {
    const room = limit + 1 - processes.length; // one more tells that there are more
    if (room === 0 || looksLeft === 0) break;
    if (request.isIdleToo && isEmpty(one)) continue;
    const some = request.isIdleToo
      ? residentOf(one, room, looksLeft)
      : { found: request.isQuarantinedOnly ? one.quarantined(room) : one.active(room), looksLeft };
    looksLeft = some.looksLeft;
    processes.push(...some.found.map((inspection) => viewOf(one.name, inspection)));
  }
  const isCut = processes.length > limit || looksLeft === 0;
  return { kind: "processes", processes: processes.slice(0, limit), isCut };
}

function isEmpty(table: InspectableTable): boolean {
  const { residentCount, waitingCount, crashedCount } = table.sums();
  return residentCount + waitingCount + crashedCount === 0;
}

/** Those that have a state or something to do, in the order of their slots. */
function residentOf(
  table: InspectableTable,
  limit: number,
  looksMax: number,
): { readonly found: ProcessInspection<unknown>[]; readonly looksLeft: number } {
  const found: ProcessInspection<unknown>[] = [];
  let looksLeft = looksMax;
  const slotsCount = slotsCountOf(table);
  for (let slot = 0; slot < slotsCount && found.length < limit && looksLeft > 0; slot++) {
    const inspection = table.inspect(slot);
    looksLeft--;
    const isThere = inspection.phase !== "idle" && inspection.phase !== "absent";
    if (isThere || inspection.state !== undefined) found.push(inspection);
  }
  return { found, looksLeft };
}

/** `find` knows the slots that a table has: how many is found by halving. */
function slotsCountOf(table: InspectableTable): number {
  let [low, high] = [0, 1];
  while (table.find(`#${high - 1}`) !== undefined) [low, high] = [high, high * 2];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (table.find(`#${middle}`) === undefined) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function viewOf(table: string, inspection: ProcessInspection<unknown>): ProcessView {
  const { state, lastError, current, ageMs, retryInMs, ...rest } = inspection;
  return {
    table,
    ...rest,
    hasState: state !== undefined,
    lastError: lastError?.slice(0, ERROR_CHARACTERS_MAX) ?? null,
    current: current ?? null,
    ageMs: ageMs ?? null,
    retryInMs: retryInMs ?? null,
  };
}

/** Sums, but for the longest turn. */
function statsOf(runtimes: readonly ProcessRuntime[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const runtime of runtimes)
    for (const [name, value] of Object.entries(runtime.stats()) as [string, number][])
      sums[name] =
        name === "longestTurnMs" ? Math.max(sums[name] ?? 0, value) : (sums[name] ?? 0) + value;
  return sums;
}
