// apps/ingest/src/controls.ts
// What a sender does with a notification under way (A5): POST …/pause, /resume and /cancel, in any region.
//   IN75 A change is committed here with what tells the other regions before it is answered; cancelled stays so,
//        whatever is asked later, in any region. What is recalled besides (follow-ups.ts) stays recalled.
import { type ControlAnswer, type ControlState, isStopped } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import type { Store } from "@carillon/store";
import { type Answer, ok, problem, type ProblemAnswer } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import type { Call } from "./http-server.ts";
import type { Relay } from "./relay.ts";
import type { Statuses } from "./status.ts";

export interface Controls {
  set(call: Call<KeyCaller>, state: ControlState): Promise<Answer>;
  /** Of a notification that is known to be the tenant's. */
  apply(tenantId: string, notificationId: string, state: ControlState): Promise<Answer>;
}

export function createControls(
  place: { readonly region: string; readonly regions: readonly string[] },
  deps: {
    readonly store: Store;
    readonly clock: Clock;
    readonly relay: Relay;
    readonly statuses: Statuses;
  },
): Controls {
  const { region } = place;
  const { store, clock, relay, statuses } = deps;
  const otherRegions = place.regions.filter((other) => other !== region);
  const apply: Controls["apply"] = async (tenantId, notificationId, state) => {
    const change = { tenantId, notificationId, state, region, otherRegions };
    const nowMs = Math.trunc(clock.wallClockMs());
    const record = await store.controls.change({ ...change, nowMs });
    if (record.state !== state && isStopped(record.state)) return stoppedProblem(record.state);
    relay.sweepSoon(); // rows for the other regions, due at once
    const changedAt = new Date(record.changedAtMs).toISOString();
    const answer: ControlAnswer = { id: notificationId, control: record.state, changedAt };
    return ok(202, answer);
  };
  return {
    apply,
    async set(call, state) {
      const { tenantId } = call.caller;
      const notificationId = call.params["id"]?.toLowerCase() ?? "";
      const here = await statuses.readHere(tenantId, notificationId);
      if ((here.summary ?? null) === null) {
        const known = await statuses.get(call); // whether there is one of his, in any region
        if (known.kind === "problem") return known;
      }
      return await apply(tenantId, notificationId, state);
    },
  };
}

export function stoppedProblem(state: ControlState): ProblemAnswer {
  return state === "recalled"
    ? problem("already_recalled", { detail: "It was recalled: that stays." })
    : problem("already_cancelled", { detail: "It was cancelled: it cannot go on." });
}
