// apps/ingest/src/follow-ups.ts
// What follows a notification that is out (A5, ADR 0032): POST …/recall takes it away from everybody, …/remind sends
// another one to those who have not read it. In any region.
//   IN78 A recall is answered when the record and the withdrawal are committed here, with what tells the other regions.
//        The withdrawal's id follows from the notification's: whoever repeats it, or recalls in two regions at once,
//        makes one withdrawal.
//   IN79 A reminder is a notification of its own, with the content, priority and category of the first where it does
//        not say otherwise; nobody is reminded of what was cancelled or recalled (409), but a repeat of an accepted
//        reminder is replayed.
import {
  fieldErrorsOf,
  isStopped,
  LIMITS,
  type Notification,
  type RegionAudience,
  remindRequestSchema,
  withdrawalIdOf,
} from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import type { AcceptItem, Store } from "@carillon/store";
import type { Acceptor } from "./accept.ts";
import { type Answer, problem, type ProblemAnswer } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import type { TargetAudiences } from "./audiences.ts";
import { fingerprintOf } from "./canonical-json.ts";
import { stoppedProblem, type Controls } from "./controls.ts";
import type { Call } from "./http-server.ts";
import { idempotencyKeyOf } from "./notification-routes.ts";
import type { Plans } from "./plan.ts";
import { notificationIdOf, type Statuses, targetsOf, wholeOf } from "./status.ts";

export interface FollowUps {
  recall(call: Call<KeyCaller>): Promise<Answer>;
  remind(call: Call<KeyCaller>): Promise<Answer>;
}

export interface FollowUpsDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly statuses: Statuses;
  readonly controls: Controls;
  readonly acceptor: Acceptor;
  readonly plans: Plans;
}

export function createFollowUps(
  place: { readonly region: string; readonly regions: readonly string[] },
  deps: FollowUpsDeps,
): FollowUps {
  const { region, regions } = place;
  const { store, clock, statuses, controls, acceptor, plans } = deps;

  /** Where it may have been sent; all regions rather than waiting for one that is silent. */
  const regionsOf = async (
    tenantId: string,
    id: string,
  ): Promise<readonly string[] | ProblemAnswer> => {
    const { summary } = await statuses.readHere(tenantId, id);
    if ((summary ?? null) !== null) return summary?.targetRegions ?? regions;
    return targetsOf(await statuses.ask(tenantId, id), regions);
  };

  const withdrawalOf = (tenantId: string, id: string, targets: readonly string[]): AcceptItem => {
    const acceptedAtMs = clock.wallClockMs();
    const notification: Notification = {
      id: withdrawalIdOf(id),
      withdraws: id,
      tenantId,
      acceptedRegion: region,
      acceptedAtMs,
      expiresAtMs: acceptedAtMs + LIMITS.ttlDefaultSeconds * 1_000,
      priority: "critical", // no quiet hours, opt-out or cap (PV1)
      content: {},
      exclude: [],
    };
    const audiences = audiencesAbout(id, "sent", targets);
    const remotes = targets.filter((target) => target !== region);
    return {
      notification,
      audience: audiences.get(region) ?? null,
      remotes: remotes.map((target) => ({ region: target, audience: aboutIt(id, "sent") })),
      // No caller's key holds a space. One that has the withdrawal from another region replays, too (ST15).
      idempotency: { key: `recall ${id}`, fingerprint: fingerprintOf({ recall: id }) },
      answer: {
        id: notification.id,
        acceptedAt: new Date(acceptedAtMs).toISOString(),
        regions: [...targets],
      },
    };
  };

  return {
    async recall({ caller: { tenantId }, params }) {
      const id = notificationIdOf(params["id"]);
      if (typeof id !== "string") return id;
      const targets = await regionsOf(tenantId, id);
      if ("kind" in targets) return targets;
      const answer = await controls.apply(tenantId, id, "recalled");
      const withdrawn = await acceptor.commit(withdrawalOf(tenantId, id, targets));
      return withdrawn.kind === "problem" ? withdrawn : answer; // IN78
    },

    async remind({ caller: { tenantId }, params, body, header }) {
      const id = notificationIdOf(params["id"]);
      if (typeof id !== "string") return id;
      const key = idempotencyKeyOf(header);
      if (key !== null && typeof key !== "string") return key;
      const parsed = remindRequestSchema.safeParse(body ?? {});
      if (!parsed.success)
        return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
      const request = parsed.data;
      const idempotency =
        key === null ? null : { key, fingerprint: fingerprintOf({ remind: id, ...request }) };
      const first = await firstOf(tenantId, id);
      if (first.kind === "problem")
        return (await acceptor.repeatOf({ tenantId, idempotency })) ?? first;
      const { notification, targets } = first;
      const audiences = audiencesAbout(id, "unread", targets);
      const meant: TargetAudiences = {
        ...{ kind: "audiences", audiences, unknownCount: undefined, exclude: [] },
      };
      const { category } = notification;
      const priority = request.priority ?? notification.priority;
      if (request.dryRun === true)
        return await plans.answer(tenantId, { ...request, priority, category, meant });
      const said =
        request.content === undefined && request.template === undefined
          ? {
              content: notification.content,
              fallbacks: request.fallbacks ?? notification.fallbacks,
            }
          : {};
      const whole = { ...request, ...said, priority, ...(category !== undefined && { category }) };
      return await acceptor.accept({ tenantId, idempotency, request: whole, meant });
    },
  };

  /** The notification that a reminder is about, from whichever region has it. */
  async function firstOf(tenantId: string, id: string): Promise<First | ProblemAnswer> {
    const [here, control] = await Promise.all([
      store.notifications.get(tenantId, id),
      store.controls.find(tenantId, id),
    ]);
    if (control !== undefined && isStopped(control.state)) return stoppedProblem(control.state);
    if (here?.isAcceptedHere === true)
      return { kind: "first", notification: here.notification, targets: here.targetRegions };
    const replies = await statuses.ask(tenantId, id, { isWhole: true });
    const targets = targetsOf(replies, regions);
    if ("kind" in targets) return targets;
    const { notification, control: state } = wholeOf(replies);
    if (state !== undefined && isStopped(state)) return stoppedProblem(state);
    if (notification === undefined)
      return problem("region_unreachable", {
        detail: "No region that answered has its content.",
        headers: { "retry-after": "5" },
      });
    return { kind: "first", notification, targets };
  }
}

interface First {
  readonly kind: "first";
  readonly notification: Notification;
  readonly targets: readonly string[];
}

type Who = Extract<RegionAudience, { kind: "unread" }>["who"];

function audiencesAbout(
  id: string,
  who: Who,
  targets: readonly string[],
): ReadonlyMap<string, RegionAudience> {
  return new Map(targets.map((target) => [target, aboutIt(id, who)]));
}

function aboutIt(notificationId: string, who: Who): RegionAudience {
  return { kind: "unread", notificationId, who };
}
