// apps/ingest/src/groups.ts
// What groups are (A6, ADR 0021): this region's register, and the other regions' where it is behind.
//   IN43 A group that is unknown or deleted here is asked for once in each other region, and what is
//        learned is kept: who made it anywhere may use it everywhere at once.
//   IN44 A change is committed here with what tells the other regions; of several at once the same one
//        stays in all of them.
import type { Bus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  type GroupRecord,
  type GroupRequest,
  groupsReplySchema,
  subjects,
} from "@carillon/contracts";
import { type Clock, Fault } from "@carillon/kernel";
import type { ChangedGroup, Store } from "@carillon/store";
import type { Relay } from "./relay.ts";

export interface FoundGroups {
  readonly groups: ReadonlyMap<string, GroupRecord>; // by id; those that exist
  /** Some are missing, and some region did not answer in time: it may know them. */
  readonly isPartial: boolean;
}

export interface Groups {
  /** Throws Fault. */
  find(tenantId: string, groupIds: readonly string[]): Promise<FoundGroups>;
  /** Undefined: there is no such group to delete. Throws Fault. */
  change(
    tenantId: string,
    groupId: string,
    definition: GroupRequest | undefined,
  ): Promise<ChangedGroup | "partial" | undefined>;
}

export interface GroupsOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly timeoutMs: number;
  readonly onFault: (operation: string, cause: unknown) => void;
}

export function createGroups(
  options: GroupsOptions,
  deps: {
    readonly store: Store;
    readonly bus: Bus;
    readonly clock: Clock;
    readonly relay: Relay;
  },
): Groups {
  const { region } = options;
  const { store, bus, clock, relay } = deps;
  const otherRegions = options.regions.filter((other) => other !== region);

  const askRegion = async (
    other: string,
    tenantId: string,
    groupIds: readonly string[],
  ): Promise<readonly GroupRecord[] | null> => {
    const data = encodeMessage({ tenantId, groupIds });
    const outcome = await bus.request(subjects.regionGroups(other), data, options.timeoutMs);
    if (outcome.kind !== "reply") return null;
    const decoded = decodeMessage(groupsReplySchema, outcome.data);
    return decoded.kind === "message" ? decoded.message.groups : null;
  };

  const learn = async (tenantId: string, groups: GroupRecord[]): Promise<void> => {
    try {
      await store.groups.learn([{ tenantId, groups }]);
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      options.onFault("groups.learn", cause); // asked for again next time
    }
  };

  const find: Groups["find"] = async (tenantId, groupIds) => {
    const here = await store.groups.find(tenantId, groupIds);
    const missing = groupIds.filter((id) => here.get(id)?.isDeleted !== false);
    if (missing.length === 0) return { groups: here, isPartial: false };
    const answers = await Promise.all(
      otherRegions.map((other) => askRegion(other, tenantId, missing)),
    );
    const told = answers.flatMap((records) => [...(records ?? [])]);
    if (told.length > 0) await learn(tenantId, told);
    const now = told.length > 0 ? await store.groups.find(tenantId, groupIds) : here;
    const groups = new Map([...now].filter(([, { isDeleted }]) => !isDeleted));
    const isComplete = groupIds.every((id) => groups.has(id));
    return { groups, isPartial: answers.includes(null) && !isComplete };
  };

  return {
    find,
    async change(tenantId, groupId, definition) {
      // Its last life may be known elsewhere only: what is made of an older one would be lost (IN44).
      if ((await find(tenantId, [groupId])).isPartial) return "partial";
      const nowMs = Math.trunc(clock.wallClockMs());
      const change = { tenantId, groupId, definition, nowMs, region, otherRegions };
      const changed = await store.groups.change(change);
      if (changed !== undefined) relay.sweepSoon(); // rows for the other regions, due at once
      return changed;
    },
  };
}
