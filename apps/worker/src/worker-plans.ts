// apps/worker/src/worker-plans.ts
// Answers how many an audience comes to in the partitions of this node (A3). At most `PLANS_MAX` at once
// (D6): the next is answered as if nothing were served here, and its caller asks again or says so.
import type { Bus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  type OwnerPlanReply,
  ownerPlanRequestSchema,
  subjects,
} from "@carillon/contracts";
import type { DeliveryNode } from "@carillon/delivery";
import type { OwnRun } from "@carillon/process";
import type { Metrics } from "@carillon/telemetry";

export interface PlansDeps {
  readonly run: OwnRun;
  readonly bus: Bus;
  readonly delivery: DeliveryNode;
  readonly metrics: Metrics;
  readonly mayServe: () => boolean;
  readonly withholds: (tenantId: string) => boolean;
}

/** Each has the thread for some milliseconds in turn: more at once would all be late. */
const PLANS_MAX = 8;
const NOTHING: OwnerPlanReply = { partitions: [], targeted: 0, optedOut: 0, locales: [] };

export function servePlans(memberId: string, deps: PlansDeps): void {
  const { run, bus, delivery, metrics } = deps;
  let runningCount = 0;
  bus.subscribe(
    subjects.memberPlan(memberId),
    (message) => {
      const decoded = decodeMessage(ownerPlanRequestSchema, message.data);
      if (decoded.kind === "malformed") {
        metrics.messagesMalformed.inc({ subject: "plan" });
        return;
      }
      const mayCount = deps.mayServe() && !deps.withholds(decoded.message.tenantId); // WK1
      const outcome = !mayCount ? "not_served" : runningCount >= PLANS_MAX ? "refused" : "counted";
      metrics.plans.inc({ outcome });
      if (outcome !== "counted") {
        message.reply(encodeMessage(NOTHING));
        return;
      }
      runningCount++;
      metrics.plansRunning.set(runningCount);
      const count = async (): Promise<void> => {
        const reply = await delivery.count(decoded.message).finally(() => {
          runningCount--;
          metrics.plansRunning.set(runningCount);
        });
        message.reply(encodeMessage(reply));
      };
      run.watch(count());
    },
    { isSole: true },
  );
}
