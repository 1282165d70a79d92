// apps/ingest/src/timer-routes.ts
// Buried timers for operators: asked here, done by a node of the timers' home over NATS, since only it has
// the database.
//   IN72 What is told of a buried timer is where it stands and why it was given up, not what it holds (D8);
//        it is revived or deleted by its id, once.
import {
  type AdminReply,
  type AdminRequest,
  type AdminTimers,
  fieldErrorsOf,
  timerAddressSchema,
} from "@carillon/contracts";
import {
  type AdminDeps,
  askNode,
  LIST_DEFAULT,
  LIST_MAX,
  type Operator,
  operatorAuth,
  unreachable,
} from "./admin-routes.ts";
import { type Answer, invalidField, ok, problem } from "./answer.ts";
import type { Call, Route } from "./http-server.ts";

type Change = "revive_timer" | "delete_timer";

export function timerRoutesOf(deps: AdminDeps): Route<Operator>[] {
  const authenticate = operatorAuth(deps.operatorKey);
  const change = (path: string, kind: Change): Route<Operator> => ({
    ...{ method: "POST", path, body: "json", isWrite: false, authenticate },
    handle: (call) => changeTimer(call, kind, deps),
  });
  return [
    {
      ...{ method: "GET", path: "/v1/admin/timers", body: "none", isWrite: false, authenticate },
      handle: (call) => listTimers(call, deps),
    },
    change("/v1/admin/timers/revive", "revive_timer"),
    change("/v1/admin/timers/delete", "delete_timer"),
  ];
}

async function listTimers({ query }: Call<Operator>, deps: AdminDeps): Promise<Answer> {
  const limit = Number(query["limit"] ?? LIST_DEFAULT);
  if (!Number.isInteger(limit) || limit < 1 || limit > LIST_MAX)
    return invalidField("limit", `must be a whole number from 1 to ${LIST_MAX}`);
  const { region } = query;
  if (typeof region !== "string" || !deps.regions.includes(region)) return badRegion(deps);
  const asked = await askHome(region, { kind: "buried_timers", home: region, limit }, deps);
  if (asked?.reply.kind !== "buried_timers") return unreachable();
  const { timers, isCut } = asked.reply;
  return ok(200, { node: asked.node, timers, isCut } satisfies AdminTimers);
}

async function changeTimer(
  { body }: Call<Operator>,
  kind: Change,
  deps: AdminDeps,
): Promise<Answer> {
  const parsed = timerAddressSchema.safeParse(body);
  if (!parsed.success)
    return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
  const { region, id } = parsed.data;
  if (!deps.regions.includes(region)) return badRegion(deps);
  const asked = await askHome(region, { kind, home: region, id }, deps);
  if (asked?.reply.kind !== "done") return unreachable();
  return ok(200, { node: asked.node, isChanged: asked.reply.isChanged });
}

/** Any worker that serves the home; one that looks alive rather than one that is suspect. */
async function askHome(
  home: string,
  request: AdminRequest,
  deps: AdminDeps,
): Promise<{ readonly node: string; readonly reply: AdminReply } | undefined> {
  const serving = deps
    .members()
    .filter(
      (member) =>
        (member.home ?? member.region) === home &&
        (member.standing ?? "serving") === "serving" &&
        member.roles.includes("worker"),
    );
  const node = (serving.find(({ state }) => state !== "suspect") ?? serving[0])?.memberId;
  if (node === undefined) return undefined;
  const reply = await askNode(node, request, deps);
  return reply === null ? undefined : { node, reply };
}

function badRegion({ regions }: AdminDeps): Answer {
  return invalidField("region", `must be one of ${regions.join(", ")}`);
}
