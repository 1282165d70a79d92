// apps/ingest/src/rates.ts
// At what rate a notification under way is handed out (A5): POST …/rate, in any region (ADR 0033).
//   IN81 A change is committed here with what tells the other regions before it is answered; of two the newer
//        stays. A rate comes with the number of people that it is of: as counted when the notification was
//        accepted, else as its regions tell now, and where one cannot as many as are known to live there. So a
//        region that is silent makes it slower, and never faster than was asked.
import {
  isStopped,
  fieldErrorsOf,
  type RateAnswer,
  rateRequestSchema,
  type StatusReply,
} from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import type { Store } from "@carillon/store";
import { type Answer, ok, problem } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import { stoppedProblem } from "./controls.ts";
import type { Call } from "./http-server.ts";
import type { Relay } from "./relay.ts";
import { notificationIdOf, type Replies, type Statuses, summaryOf, targetsOf } from "./status.ts";

export interface Rates {
  set(call: Call<KeyCaller>): Promise<Answer>;
}

export function createRates(
  place: { readonly region: string; readonly regions: readonly string[] },
  deps: {
    readonly store: Store;
    readonly clock: Clock;
    readonly relay: Relay;
    readonly statuses: Statuses;
  },
): Rates {
  const { region, regions } = place;
  const { store, clock, relay, statuses } = deps;
  const otherRegions = regions.filter((other) => other !== region);

  const countNow = async (
    tenantId: string,
    targets: readonly string[],
    replies: Replies,
  ): Promise<number> => {
    const counts = targets.map((target) =>
      countOf(replies.get(target) ?? null, () => store.directory.countOf(tenantId, target)),
    );
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  };

  return {
    async set({ body, caller: { tenantId }, params }) {
      const parsed = rateRequestSchema.safeParse(body);
      if (!parsed.success)
        return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
      const notificationId = notificationIdOf(params["id"]);
      if (typeof notificationId !== "string") return notificationId;
      const replies = await statuses.ask(tenantId, notificationId);
      const targets = targetsOf(replies, regions);
      if ("kind" in targets) return targets; // there is no such one
      const control = summaryOf(replies)?.control;
      if (control !== undefined && isStopped(control)) return stoppedProblem(control);
      const targetedCount =
        summaryOf(replies)?.rate?.targetedCount ?? (await countNow(tenantId, targets, replies));
      const record = await store.rates.change({
        ...{ tenantId, notificationId, region, otherRegions },
        ratePerMinute: parsed.data.ratePerMinute,
        targetedCount: Math.max(1, targetedCount),
        nowMs: Math.trunc(clock.wallClockMs()),
      });
      relay.sweepSoon(); // rows for the other regions, due at once
      const { ratePerMinute, changedAtMs } = record;
      const changedAt = new Date(changedAtMs).toISOString();
      return ok(202, { id: notificationId, ratePerMinute, changedAt } satisfies RateAnswer);
    },
  };
}

/** What a region has counted itself; or as many as it may be. */
async function countOf(reply: StatusReply | null, atMost: () => Promise<number>): Promise<number> {
  const isCounted =
    reply?.state === "delivering" ||
    reply?.state === "finished" ||
    (reply?.state === "scheduled" && reply.counts.targeted > 0); // an audience is counted when its time comes
  return isCounted ? reply.counts.targeted : await atMost();
}
