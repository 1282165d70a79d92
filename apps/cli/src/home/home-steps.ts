// apps/cli/src/home/home-steps.ts
// The steps of a declared failover as this place does them, asked for over NATS (ADR 0015). Each one
// reads what is so first: a step that was done already, by whomever, is answered as done.
//   HP1  A copy is promoted only as a copy of whoever hosts the home now, planned only with the whole
//        log up to the fence; it gets a higher epoch than anybody has heard of.
//   HP2  Each step that changes something is a line in the log, with who asked for what.
//   HP3  A home is drained for, and a tenant's residency names, regions of this cluster only.
import { type Bus, ownBus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  type HomeClaim,
  type HomeRefusal,
  type HomeReply,
  type HomeRequest,
  homeRequestSchema,
  HOMES_QUEUE,
  homeSubjects,
} from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import type { OwnRun } from "@carillon/process";
import type { Store, StoredHome } from "@carillon/store";
import type { Logger } from "@carillon/telemetry";
import { reasonOf } from "../node-telemetry.ts";
import type { HomeKeeper } from "./home-keeper.ts";

export interface HomeStepsDeps {
  readonly home: string;
  readonly place: string;
  readonly regions: readonly string[];
  readonly memberId: string;
  readonly keeper: HomeKeeper;
  readonly store: Store;
  readonly bus: Bus;
  readonly log: Logger;
}

type Refused = Extract<HomeReply, { kind: "refused" }>;

export function serveHomeSteps(deps: HomeStepsDeps, run: OwnRun): void {
  const bus = ownBus(run, deps.bus);
  bus.subscribe(
    homeSubjects.homeAt(deps.home, deps.place),
    (message) => {
      const reply = (answer: HomeReply): void => message.reply(encodeMessage(answer));
      const decoded = decodeMessage(homeRequestSchema, message.data);
      if (decoded.kind === "malformed") return reply(refused("internal", "malformed"));
      const request = decoded.message;
      answerTo(request, deps).then(reply, (cause: unknown) => {
        deps.log.warn("home.step_failed", { step: request.kind, reason: reasonOf(cause) });
        const code = cause instanceof Fault ? "store_unavailable" : "internal";
        reply(refused(code, cause instanceof Fault ? cause.message : "see the node's log"));
      });
    },
    { queue: HOMES_QUEUE },
  );
}

async function answerTo(request: HomeRequest, deps: HomeStepsDeps): Promise<HomeReply> {
  const { home, store, keeper } = deps;
  switch (request.kind) {
    case "look":
      return lookOf(await keeper.settle(), deps);
    case "drain":
      return drain(request.to, deps);
    case "fence":
      return fence(request.to, deps);
    case "take":
      return take(request.fenceLsn, deps);
    case "resume":
      return resume(deps);
    case "residency": {
      if (keeper.standing !== "serving") return notHost(deps);
      const { tenantId, failoverTo } = request;
      const unknown = unknownOf(failoverTo, deps);
      if (unknown !== undefined) return unknown;
      if (!(await store.home.setResidency(tenantId, failoverTo)))
        return refused("not_found", `home ${home} has no tenant ${tenantId}`);
      audit(deps, "residency", { tenantId, failoverTo: failoverTo.join(",") });
      await keeper.settleAnew();
      return { kind: "done", isChanged: true };
    }
    case "report": {
      if (keeper.standing !== "fenced")
        return refused("not_fenced", `${deps.place} is ${keeper.standing}; a report needs a fence`);
      const { salt = null } = request;
      const rows = await store.homeReport.read({ home, ...request, salt });
      return {
        kind: "report",
        rows,
        isLast: rows.length < request.limit,
        isSalted: salt !== null,
      };
    }
    case "compare": {
      if (keeper.standing !== "serving") return notHost(deps);
      const { table, rows, salt = null } = request;
      const compared = await store.homeReport.compare({ home, table, rows, salt });
      return { kind: "compared", ...compared, isSalted: salt !== null };
    }
  }
}

async function drain(to: string, deps: HomeStepsDeps): Promise<HomeReply> {
  const { home, place, store, keeper } = deps;
  const unknown = unknownOf([to], deps);
  if (unknown !== undefined) return unknown;
  const stored = await keeper.settleAnew();
  if (stored.isInRecovery || stored.claim?.host !== place) return notHost(deps);
  if (stored.supersededBy !== null) return refused("superseded", textOf(stored.supersededBy));
  if (to === place) return refused("not_standby", "it is here already");
  if (!(await store.home.drain(home, to)))
    return refused("busy", `a failover to ${stored.movingTo ?? "another region"} is under way`);
  if (stored.state === "serving") audit(deps, "drain", { to });
  return lookOf(await keeper.settleAnew(), deps);
}

async function fence(to: string, deps: HomeStepsDeps): Promise<HomeReply> {
  const { home, place, store, keeper } = deps;
  const stored = await keeper.settleAnew();
  if (stored.isInRecovery || stored.claim?.host !== place) return notHost(deps);
  if (stored.movingTo !== to)
    return refused("busy", `it is moving to ${stored.movingTo ?? "nobody"}`);
  await store.home.fence(home, null);
  const fenced = await keeper.settleAnew();
  if (stored.fenceLsn === null) audit(deps, "fence", { to, fenceLsn: fenced.fenceLsn });
  return lookOf(fenced, deps);
}

/** HP1. */
async function take(fenceLsn: string | null, deps: HomeStepsDeps): Promise<HomeReply> {
  const { home, place, store, keeper } = deps;
  let stored = await keeper.settleAnew();
  if (stored.claim?.host === place && !stored.isInRecovery) return asItIs(stored, deps);
  await keeper.askOthers();
  const newest = keeper.claim;
  const { claim } = stored;
  if (claim === null || newest === undefined)
    return refused("not_standby", `the database in ${place} is no copy of home ${home}`);
  if (newest.epoch !== claim.epoch || newest.host !== claim.host)
    return refused(
      "superseded",
      `it is a copy of ${textOf(claim)}, and now there is ${textOf(newest)}`,
    );
  if (fenceLsn !== null && (stored.state !== "fenced" || stored.fenceLsn !== fenceLsn))
    return refused("not_fenced", `the copy has not replayed the fence at ${fenceLsn}`);
  const rights = stored.replica?.rights;
  if (rights?.mayPromote === false) return refused("promotion_failed", grantText(rights.user));
  let replayed: { lsn: string | null; snapshot: string | null } = { lsn: null, snapshot: null };
  if (stored.isInRecovery) {
    replayed = await store.home.replayed();
    if (!(await store.home.promote()))
      return refused("promotion_failed", "Postgres did not end recovery in time; see its log");
    audit(deps, "promote", { replayedLsn: replayed.lsn });
  }
  const taken = { epoch: newest.epoch + 1, host: place };
  const isPlanned = fenceLsn !== null;
  const how = { from: claim, isPlanned, replayed: replayed.lsn, snapshot: replayed.snapshot };
  if (!(await store.home.declare(home, taken, how))) {
    stored = await keeper.settleAnew(); // somebody else declared, or moved on, since we looked
    return asItIs(stored, deps);
  }
  audit(deps, "take", { ...taken, isPlanned, from: claim.host, replayedLsn: replayed.lsn });
  stored = await keeper.settleAnew();
  return lookOf(stored, deps);
}

function asItIs(stored: StoredHome, deps: HomeStepsDeps): HomeReply {
  const { place, keeper } = deps;
  return keeper.standing === "serving"
    ? lookOf(stored, deps)
    : refused("not_standby", `${place} is ${keeper.standing}`);
}

async function resume(deps: HomeStepsDeps): Promise<HomeReply> {
  const { home, place, store, keeper } = deps;
  const stored = await keeper.settleAnew();
  const { claim, isInRecovery, supersededBy } = stored;
  if (isInRecovery || claim?.host !== place) return notHost(deps);
  if (keeper.standing === "serving") return lookOf(stored, deps);
  await keeper.askOthers();
  const newest = supersededBy ?? keeper.claim ?? claim;
  if (newest.epoch !== claim.epoch || newest.host !== place)
    return refused("superseded", textOf(newest));
  await store.home.resume(home, { epoch: claim.epoch + 1, host: place });
  audit(deps, "resume", { epoch: claim.epoch + 1, movingTo: stored.movingTo });
  return lookOf(await keeper.settleAnew(), deps);
}

function lookOf(stored: StoredHome, { keeper, memberId }: HomeStepsDeps): HomeReply {
  return keeper.lookOf(stored, memberId);
}

function audit(
  { log, home, place }: HomeStepsDeps,
  step: string,
  facts: Readonly<Record<string, unknown>>,
): void {
  log.warn("home.step", { audit: true, home, place, step, ...facts }); // HP2
}

function notHost({ home, place, keeper }: HomeStepsDeps): Refused {
  return refused("not_host", `${place} is ${keeper.standing} for home ${home}`);
}

/** HP3. Others would not believe who hosts the home there, and this place would not know the way back. */
function unknownOf(
  named: readonly string[],
  { place, regions }: HomeStepsDeps,
): Refused | undefined {
  const unknown = named.filter((region) => !regions.includes(region));
  if (unknown.length === 0) return undefined;
  const what = unknown.join(", ");
  return refused(
    "not_found",
    `${place} knows of no region ${what}; there are ${regions.join(", ")}`,
  );
}

function refused(code: HomeRefusal, detail: string): Refused {
  return { kind: "refused", code, detail };
}

function grantText(user: string): string {
  return (
    `the database's user ${user} may not promote it: grant execute on function pg_promote to ${user} ` +
    "where the home is served; or promote it by hand (pg_ctl promote)"
  );
}

function textOf({ epoch, host }: HomeClaim): string {
  return `epoch ${epoch} in ${host}`;
}
