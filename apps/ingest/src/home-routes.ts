// apps/ingest/src/home-routes.ts
// Who hosts which home region, and the steps of a declared failover, for operators (ADR 0015). Each step
// is done by a node of the home at the place named, asked over NATS; `carillon region` puts them in order.
//   IN37 A step changes nothing when it is repeated; one that cannot be done as things are is answered
//        409 with the reason.
import { HomeClaims } from "@carillon/cluster";
import {
  type AdminHomes,
  decodeMessage,
  encodeMessage,
  fieldErrorsOf,
  type HomeClaim,
  type HomeLook,
  type HomeReply,
  homeReplySchema,
  type HomeRequest,
  homeStepSchema,
  homeSubjects,
} from "@carillon/contracts";
import { type AdminDeps, type Operator, operatorAuth } from "./admin-routes.ts";
import { type Answer, invalidField, ok, problem } from "./answer.ts";
import type { Call, Route } from "./http-server.ts";

/** Promotion and a fence that waits for writers take seconds; anything else answers at once. */
const SLOW_STEP_MAX_MS = 55_000;

export function homeRoutesOf(deps: AdminDeps): Route<Operator>[] {
  const authenticate = operatorAuth(deps.operatorKey);
  return [
    {
      method: "GET",
      path: "/v1/admin/homes",
      body: "none",
      isWrite: false,
      authenticate,
      handle: async () => ok(200, await homesOf(deps)),
    },
    {
      method: "POST",
      path: "/v1/admin/homes/:home/steps",
      body: "json",
      isWrite: false,
      authenticate,
      handle: (call) => step(call, deps),
    },
  ];
}

async function homesOf(deps: AdminDeps): Promise<AdminHomes> {
  const { regions } = deps;
  const homes = await Promise.all(
    regions.map(async (home) => {
      const looks = await Promise.all(
        regions.map((place) => ask({ home, place }, { kind: "look" }, deps)),
      );
      const places = looks.flatMap((look) => (look?.kind === "look" ? look : []));
      return { home, claim: newestOf(home, places, deps), places };
    }),
  );
  return { homes };
}

/** Of what the databases say and what anybody has heard. */
function newestOf(home: string, places: readonly HomeLook[], deps: AdminDeps): HomeClaim | null {
  const claims = new HomeClaims(deps.regions);
  for (const { claim } of places) claims.hear(home, claim);
  for (const { homes } of deps.members()) claims.hear(home, homes?.[home] ?? null);
  return claims.of(home) ?? null;
}

async function step({ params, body }: Call<Operator>, deps: AdminDeps): Promise<Answer> {
  const parsed = homeStepSchema.safeParse(body);
  if (!parsed.success)
    return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
  const { place, request } = parsed.data;
  const home = params["home"] ?? "";
  if (!deps.regions.includes(home))
    return problem("not_found", {
      detail: `There is no home region ${home}. There are ${deps.regions.join(", ")}.`,
    });
  if (!deps.regions.includes(place))
    return invalidField("place", `must be one of ${deps.regions.join(", ")}`);
  const reply = await ask({ home, place }, request, deps);
  if (reply === null)
    return problem("node_unreachable", {
      detail: `No node of home ${home} answers in ${place}.`,
      headers: { "retry-after": "1" },
    });
  if (reply.kind !== "refused") return ok(200, reply);
  return problem("failover_refused", { detail: `${reply.code}: ${reply.detail}` });
}

async function ask(
  where: { readonly home: string; readonly place: string },
  request: HomeRequest,
  { bus, requestTimeoutMs }: AdminDeps,
): Promise<HomeReply | null> {
  const isSlow = request.kind !== "look";
  const subject = homeSubjects.homeAt(where.home, where.place);
  const timeoutMs = isSlow ? SLOW_STEP_MAX_MS : requestTimeoutMs;
  const outcome = await bus.request(subject, encodeMessage(request), timeoutMs);
  if (outcome.kind !== "reply") return null;
  const decoded = decodeMessage(homeReplySchema, outcome.data);
  return decoded.kind === "message" ? decoded.message : null;
}
