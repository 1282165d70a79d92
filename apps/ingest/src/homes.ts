// apps/ingest/src/homes.ts
// Which region is a recipient's home (DESIGN §4): memory, this region's table, the other regions;
// and who says it for an id that is new (ADR 0009).
//   IN12 Look-ups that come together are one query per tenant; ids known nowhere here are asked for
//        once in every other region, all at the same time, and what is learned is kept.
//   IN13 What is remembered is limited in number and age; that an id is unknown is not remembered.
//   IN30 Before a new id is created its home is settled in one region, the same for whoever asks:
//        of several wishes at once one wins, and all learn which.
import type { Bus } from "@carillon/bus";
import { chunksOf } from "@carillon/cluster";
import {
  arbiterOf,
  claimReplySchema,
  decodeMessage,
  locateReplySchema,
  subjects,
} from "@carillon/contracts";
import { type Clock, createBatcher, Fault } from "@carillon/kernel";
import type { Store } from "@carillon/store";
import { BoundedCache } from "./bounded-cache.ts";

export interface FoundHomes {
  readonly homes: ReadonlyMap<string, string>; // recipient → region; unknown ids are left out
  /** Some region did not answer in time: what is missing may live there. */
  readonly isPartial: boolean;
}

export interface Homes {
  /** Ids must not repeat. Throws Fault; at the limit of waiting look-ups too. */
  find(tenantId: string, recipientIds: readonly string[]): Promise<FoundHomes>;
  /**
   * Settles the homes of ids that `find` did not know: the wished one, or what another caller
   * settled before. Those whose arbiter did not answer are left out: they must not be created.
   */
  claim(tenantId: string, wishes: ReadonlyMap<string, string>): Promise<Map<string, string>>;
  /** They were just stored there. */
  note(tenantId: string, recipientIds: readonly string[], home: string): void;
}

export interface HomesOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly locateTimeoutMs: number; // 1,000: the caller of POST waits for it
  readonly claimTimeoutMs: number;
  readonly entriesMax: number;
  readonly believedMs: number;
  readonly onFault: (operation: string, cause: unknown) => void;
}

interface LookUp {
  readonly tenantId: string;
  readonly recipientIds: readonly string[];
}

const LOOK_UPS_TOGETHER_MAX = 64;
const LOOK_UPS_WAITING_MAX = 4_096;
/** Whatever comes while two are under way goes together; nobody waits for company. */
const LOOK_UP_WAIT_MS = 0;
const NOTHING: ReadonlyMap<string, string> = new Map();

export function createHomes(
  options: HomesOptions,
  deps: { readonly store: Store; readonly bus: Bus; readonly clock: Clock },
): Homes {
  const { store, bus, clock } = deps;
  const { directory } = store;
  const others = options.regions.filter((region) => region !== options.region);
  const cache = new BoundedCache<string>(options.entriesMax);

  const note = (tenantId: string, recipientIds: Iterable<string>, home: string): void => {
    const untilMs = clock.monotonicMs() + options.believedMs;
    for (const recipientId of recipientIds) cache.set(`${tenantId}/${recipientId}`, home, untilMs);
  };

  const stored = createBatcher<LookUp, ReadonlyMap<string, string>>(
    {
      itemsMax: LOOK_UPS_TOGETHER_MAX,
      waitMs: LOOK_UP_WAIT_MS,
      concurrencyMax: 2,
      queueMax: LOOK_UPS_WAITING_MAX,
      async run(lookUps) {
        const byTenant = new Map<string, Set<string>>();
        for (const { tenantId, recipientIds } of lookUps) {
          const wanted = byTenant.get(tenantId) ?? new Set();
          for (const recipientId of recipientIds) wanted.add(recipientId);
          byTenant.set(tenantId, wanted);
        }
        const found = new Map<string, ReadonlyMap<string, string>>();
        for (const [tenantId, wanted] of byTenant)
          found.set(tenantId, await directory.homesOf(tenantId, [...wanted]));
        return lookUps.map(({ tenantId }) => found.get(tenantId) ?? NOTHING);
      },
    },
    clock,
  );

  const locateIn = async (
    region: string,
    tenantId: string,
    recipientIds: readonly string[],
  ): Promise<{ located: string[]; isComplete: boolean }> => {
    const ids = recipientIds.map((recipientId) => JSON.stringify(recipientId));
    const replies = await Promise.all(
      chunksOf(ids, bus.payloadMaxBytes).map(async (chunk) => {
        const text = `{"tenantId":${JSON.stringify(tenantId)},"recipientIds":[${chunk.join(",")}]}`;
        const data = new TextEncoder().encode(text);
        const subject = subjects.regionLocate(region);
        const outcome = await bus.request(subject, data, options.locateTimeoutMs);
        if (outcome.kind !== "reply") return null;
        const decoded = decodeMessage(locateReplySchema, outcome.data);
        return decoded.kind === "message" ? decoded.message.recipientIds : null;
      }),
    );
    const located = replies.flatMap((reply) => reply ?? []);
    return { located, isComplete: !replies.includes(null) };
  };

  const claimIn = async (
    arbiter: string,
    tenantId: string,
    wishes: readonly [recipientId: string, home: string][],
  ): Promise<ReadonlyMap<string, string>> => {
    if (arbiter === options.region) return await directory.claimHomes(tenantId, new Map(wishes));
    const settled = new Map<string, string>();
    for (const chunk of chunksOf(
      wishes.map((wish) => JSON.stringify(wish)),
      bus.payloadMaxBytes,
    )) {
      const text = `{"tenantId":${JSON.stringify(tenantId)},"wishes":[${chunk.join(",")}]}`;
      const data = new TextEncoder().encode(text);
      const subject = subjects.regionClaim(arbiter);
      const outcome = await bus.request(subject, data, options.claimTimeoutMs);
      if (outcome.kind !== "reply") return settled;
      const decoded = decodeMessage(claimReplySchema, outcome.data);
      if (decoded.kind === "malformed") return settled; // `failed`, too: overloaded, store down
      for (const [recipientId, home] of decoded.message.homes) settled.set(recipientId, home);
    }
    return settled;
  };

  const learn = async (region: string, tenantId: string, recipientIds: string[]): Promise<void> => {
    try {
      await directory.learnHomes({ from: region, tenants: [{ tenantId, recipientIds }] });
    } catch (cause) {
      options.onFault("directory.learnHomes", cause); // asked for again next time
    }
  };

  return {
    note,
    async claim(tenantId, wishes) {
      const byArbiter = Map.groupBy(wishes, ([recipientId]) =>
        arbiterOf(options.regions, tenantId, recipientId),
      );
      const answers = await Promise.all(
        [...byArbiter].map(([arbiter, some]) => claimIn(arbiter, tenantId, some)),
      );
      return new Map(answers.flatMap((settled) => [...settled]));
    },
    async find(tenantId, recipientIds) {
      const homes = new Map<string, string>();
      const nowMs = clock.monotonicMs();
      const take = (home: string | undefined, recipientId: string): boolean => {
        if (home !== undefined) homes.set(recipientId, home);
        return home === undefined;
      };
      const unseen = recipientIds.filter((id) => take(cache.get(`${tenantId}/${id}`, nowMs), id));
      if (unseen.length === 0) return { homes, isPartial: false };
      const found = await stored.add({ tenantId, recipientIds: unseen });
      if ("kind" in found)
        throw new Fault("too many look-ups wait", { code: "overloaded", isRetryable: true });
      const missing = unseen.filter((id) => take(found.get(id), id));
      for (const id of unseen) {
        const home = found.get(id);
        if (home !== undefined) note(tenantId, [id], home);
      }
      if (missing.length === 0) return { homes, isPartial: false };
      const answers = await Promise.all(
        others.map(async (region) => ({
          region,
          ...(await locateIn(region, tenantId, missing)),
        })),
      );
      for (const { region, located } of answers) {
        if (located.length === 0) continue;
        for (const recipientId of located) homes.set(recipientId, region);
        note(tenantId, located, region);
        await learn(region, tenantId, located);
      }
      return { homes, isPartial: answers.some(({ isComplete }) => !isComplete) };
    },
  };
}
