// packages/delivery/src/audience-count.ts
// How many an audience comes to in the partitions that are served here (A3).
//   AC1  Counted by what expands a ledger row, on a directory as new as was asked for: at the same
//        version, `targeted` of the row is what was counted.
//   AC2  A partition that is not served here, or whose directory cannot be read now, is left out; all are
//        when the tenant's policy is older here than asked for, and cannot be read.
//   AC4  `optedOut` of a plan are those whom a send would hold back so, by policy and preferences as they are.
//   AC3  The thread is left to others every `sliceMs`.
import type { OwnerPlanReply, OwnerPlanRequest } from "@carillon/contracts";
import { type Bitset, type Clock, Fault } from "@carillon/kernel";
import type { Partition } from "./partition.ts";
import type { PolicyDesk } from "./policy-desk.ts";
import type { TenantRulesBook } from "./tenant-rules-book.ts";
import type { UnreadAudience } from "./unread-audience.ts";

export interface CountDeps {
  readonly clock: Clock;
  readonly sliceMs: number;
  /** Undefined: not served here. */
  partition(number: number): Partition | undefined;
  refreshDirectory(partition: Partition): Promise<void>;
  readonly rules: Pick<TenantRulesBook, "isAsNewAs">;
  readonly policy: Pick<PolicyDesk, "optedOutIn">;
  /** Throws Fault. */
  readUnread(partition: Partition, audience: UnreadAudience): Promise<Bitset>;
  /** Resolves in a later turn of the loop. */
  laterTurn(): Promise<void>;
  onFault(cause: unknown): void;
}

export async function countAudience(
  request: OwnerPlanRequest,
  deps: CountDeps,
): Promise<OwnerPlanReply> {
  const { tenantId, priority = "normal", category } = request;
  const kind = { tenantId, priority, category };
  if (!(await hasPolicy(request, deps)))
    return { partitions: [], targeted: 0, optedOut: 0, locales: [] };
  const counted: number[] = [];
  const locales = new Map<string | null, number>();
  let targeted = 0;
  let optedOut = 0;
  let sliceEndsAtMs = deps.clock.monotonicMs() + deps.sliceMs;
  for (const [number, version] of request.partitions) {
    const partition = await freshPartition(number, version, deps);
    if (partition === undefined) continue; // AC2
    const { directory } = partition;
    const selected = await selectedIn(partition, request, deps);
    if (selected === undefined) continue; // AC2
    counted.push(number);
    targeted += selected.count();
    optedOut += deps.policy.optedOutIn(partition, selected, kind); // AC4
    for (const [locale, count] of directory.localesIn(tenantId, selected))
      locales.set(locale, (locales.get(locale) ?? 0) + count);
    if (deps.clock.monotonicMs() < sliceEndsAtMs) continue;
    await deps.laterTurn(); // AC3
    sliceEndsAtMs = deps.clock.monotonicMs() + deps.sliceMs;
  }
  return { partitions: counted, targeted, optedOut, locales: [...locales] };
}

async function hasPolicy(
  { tenantId, policyVersion }: OwnerPlanRequest,
  deps: CountDeps,
): Promise<boolean> {
  if (policyVersion === undefined) return true;
  try {
    return await deps.rules.isAsNewAs(tenantId, policyVersion);
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    deps.onFault(cause);
    return false;
  }
}

/** AC1. Undefined: the store is away. */
async function selectedIn(
  partition: Partition,
  { tenantId, audience, exclude }: OwnerPlanRequest,
  deps: CountDeps,
): Promise<Bitset | undefined> {
  if (audience.kind !== "unread") return partition.directory.select(tenantId, audience, exclude);
  try {
    return await deps.readUnread(partition, audience);
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    deps.onFault(cause);
    return undefined;
  }
}

async function freshPartition(
  number: number,
  version: number,
  deps: CountDeps,
): Promise<Partition | undefined> {
  const partition = deps.partition(number);
  if (partition === undefined || partition.directory.version >= version) return partition;
  partition.wantedDirectoryVersion = Math.max(partition.wantedDirectoryVersion, version);
  try {
    await deps.refreshDirectory(partition);
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    deps.onFault(cause);
  }
  return !partition.isLost && partition.directory.version >= version ? partition : undefined;
}
