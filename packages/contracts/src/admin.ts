// packages/contracts/src/admin.ts
// What operators may ask a node about its processes, over NATS and over the admin API. Answers hold
// keys, counts and error texts, and no state, message or attribute (D8).
import { z } from "zod";
import { recipientIdSchema, regionSchema, tenantIdSchema } from "./places.ts";

/** A table's process: by what people call it, or by its slot. */
const processTarget = z.object({
  table: z.string().min(1).max(200),
  key: z.string().min(1).max(600),
});

const timerIdSchema = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER);

export const adminRequestSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("tree") }),
  /** Those that are not idle; only those in quarantine; or idle ones, too, if they have a state. */
  z.object({
    kind: z.literal("processes"),
    table: z.string().max(200).nullable(),
    isQuarantinedOnly: z.boolean(),
    isIdleToo: z.boolean().default(false), // nodes before it do not ask for that
    limit: z.number().int().min(1).max(1_000),
  }),
  processTarget.extend({ kind: z.literal("inspect") }),
  /** Ends its back-off or quarantine, and forgives its crashes. */
  processTarget.extend({ kind: z.literal("reset") }),
  /** Ends the pause of a table. */
  z.object({ kind: z.literal("resume"), table: z.string().min(1).max(200) }),
  /** Timers of the node's home that were given up, the last one first. */
  z.object({
    kind: z.literal("buried_timers"),
    home: regionSchema,
    limit: z.number().int().min(1).max(1_000),
  }),
  z.object({ kind: z.literal("revive_timer"), home: regionSchema, id: timerIdSchema }),
  z.object({ kind: z.literal("delete_timer"), home: regionSchema, id: timerIdSchema }),
]);
export type AdminRequest = z.infer<typeof adminRequestSchema>;

export interface SupervisorNode {
  readonly id: string;
  readonly type: string;
  readonly status: string;
  readonly restartsCount: number;
  readonly lastExit?: string | undefined;
  readonly childrenCount: number;
  readonly children: readonly SupervisorNode[];
}
export const supervisorNodeSchema: z.ZodType<SupervisorNode> = z.lazy(() =>
  z.object({
    id: z.string(),
    type: z.string(),
    status: z.string(),
    restartsCount: z.number(),
    lastExit: z.string().optional(),
    childrenCount: z.number(),
    children: z.array(supervisorNodeSchema),
  }),
);

export const tableSumsSchema = z.object({
  name: z.string(),
  residentCount: z.number(),
  waitingCount: z.number(),
  busyCount: z.number(),
  crashedCount: z.number(),
  quarantinedCount: z.number(),
  isPaused: z.boolean(),
});

export const processViewSchema = z.object({
  table: z.string(),
  key: z.string(),
  slot: z.number(),
  phase: z.string(),
  generation: z.number(),
  hasState: z.boolean(),
  waitingCount: z.number(),
  waitingBytes: z.number(),
  isTimerArmed: z.boolean(),
  restartCount: z.number(),
  recentCrashCount: z.number(),
  lastError: z.string().nullable(),
  current: z.string().nullable(),
  ageMs: z.number().nullable(),
  retryInMs: z.number().nullable(),
});
export type ProcessView = z.infer<typeof processViewSchema>;

/** Of a durable timer that was given up; never what it holds. */
export const buriedTimerSchema = z.object({
  id: z.number(),
  partition: z.number(),
  kind: z.string(),
  key: z.string(),
  tenantId: z.string(),
  attemptCount: z.number(),
  failureCount: z.number(),
  lostCount: z.number(),
  buriedAt: z.string(),
  reason: z.string(),
});
export type BuriedTimer = z.infer<typeof buriedTimerSchema>;

export const adminReplySchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("tree"),
    tree: supervisorNodeSchema,
    tables: z.array(tableSumsSchema),
    /** Sums over all tables, and counters since the start. */
    stats: z.record(z.string(), z.number()),
  }),
  z.object({
    kind: z.literal("processes"),
    processes: z.array(processViewSchema),
    /** Not everything was looked at, or there were more than `limit`. */
    isCut: z.boolean().default(false), // nodes before it do not say it
  }),
  z.object({ kind: z.literal("process"), process: processViewSchema }),
  z.object({
    kind: z.literal("buried_timers"),
    timers: z.array(buriedTimerSchema),
    isCut: z.boolean(),
  }),
  /** `isChanged` false: there was nothing to end. */
  z.object({ kind: z.literal("done"), isChanged: z.boolean() }),
  z.object({ kind: z.literal("not_found") }), // no such table or process in this node
  z.object({ kind: z.literal("failed"), code: z.string() }),
]);
export type AdminReply = z.infer<typeof adminReplySchema>;

// --- the admin API ---------------------------------------------------------------------------

function isRecipientName(text: string): boolean {
  const [tenantId, recipientId, ...more] = text.split("/");
  const isTenant = tenantIdSchema.safeParse(tenantId).success;
  return isTenant && recipientIdSchema.safeParse(recipientId).success && more.length === 0;
}

/** A process by its table and key, or the recipient's by `tenant/recipient`. */
export const processAddressSchema = z.union([
  z.strictObject({ recipient: z.string().refine(isRecipientName, "must be tenant/recipient") }),
  z.strictObject({
    table: z.string().min(1).max(200),
    key: z.string().min(1).max(600),
    node: z.string().min(1).max(200).optional(),
  }),
]);
export type ProcessAddress = z.infer<typeof processAddressSchema>;

export const tableAddressSchema = z.strictObject({
  table: z.string().min(1).max(200),
  node: z.string().min(1).max(200).optional(),
});

/** A buried timer of a home region. */
export const timerAddressSchema = z.strictObject({ region: regionSchema, id: timerIdSchema });

export interface AdminTimers {
  readonly node: string; // that was asked
  readonly timers: readonly BuriedTimer[];
  readonly isCut: boolean;
}

export interface AdminNode {
  readonly memberId: string;
  readonly region: string;
  readonly roles: readonly string[];
  readonly isDraining: boolean;
  readonly build: string;
  readonly ownedCount: number;
  readonly home?: string | undefined; // that it serves, or waits to
  readonly standing?: string | undefined;
  /** As the node that was asked sees it: alive, draining or suspect. */
  readonly state?: string | undefined;
  readonly phi?: number | undefined; // how unlikely its silence is, as −log10
  readonly silentMs?: number | undefined; // since its last beat
  readonly load?: number | undefined; // of its thread, 0 to 1
  readonly weight?: number | undefined;
}
export interface AdminProcesses {
  readonly processes: readonly (ProcessView & { readonly node: string })[];
  /** Nodes that did not answer: their processes are not in the list. */
  readonly unreachable: readonly string[];
  /** There are more than were asked for. */
  readonly isCut: boolean;
}
