// apps/ingest/src/admin-routes.ts
// What operators see and do of the processes of any node of any region (spec O8): asked here, done
// there, over NATS. Operators are known by a key of their own, since they belong to no tenant.
//   IN31 Without an operator key in the configuration there are no operators; a tenant's key, its
//        scope `admin` included, opens nothing here.
import { createHash, timingSafeEqual } from "node:crypto";
import type { Bus } from "@carillon/bus";
import type { CallRouteOutcome, Owners, Router } from "@carillon/cluster";
import {
  type AdminNode,
  type AdminProcesses,
  adminReplySchema,
  type AdminReply,
  type AdminRequest,
  type Beat,
  decodeMessage,
  encodeMessage,
  fieldErrorsOf,
  LIMITS,
  PROCESS_INSPECT,
  PROCESS_RESET,
  type ProcessAddress,
  processAddressSchema,
  type RecipientKey,
  subjects,
  tableAddressSchema,
} from "@carillon/contracts";
import { type Answer, invalidField, ok, problem, type ProblemAnswer } from "./answer.ts";
import type { Homes } from "./homes.ts";
import type { Authenticated, Call, Route } from "./http-server.ts";
import { uncalledDetail } from "./uncalled.ts";

export interface Operator {
  readonly kind: "operator";
}

/** A member's last beat, and how it looks from here. */
export type KnownMember = Beat & Partial<Pick<AdminNode, "state" | "phi" | "silentMs">>;

export interface AdminDeps {
  readonly operatorKey: string | undefined;
  readonly requestTimeoutMs: number;
  readonly bus: Bus;
  /** To a recipient's process, wherever its owner is. */
  readonly router: Router;
  readonly owners: Owners;
  readonly homes: Homes;
  readonly regions: readonly string[];
  readonly members: () => readonly KnownMember[];
}

const NOBODY_YET = "Nobody is known to own the partition now; after a failure that takes seconds.";
export const LIST_MAX = 1_000;
export const LIST_DEFAULT = 100;
const NAMES_SHOWN_MAX = 20;
const TABLE_OF_PARTITION = /^([a-z][a-z0-9]{1,15})\/(\d{1,3})$/;

type OnNode = { readonly kind: "node"; readonly node: string } | ProblemAnswer;
type Target =
  | { readonly kind: "target"; readonly node: string; readonly table: string; readonly key: string }
  | { readonly kind: "recipient"; readonly key: RecipientKey }
  | ProblemAnswer;

export function adminRoutesOf(deps: AdminDeps): Route<Operator>[] {
  const authenticate = operatorAuth(deps.operatorKey);
  const read = { method: "GET", body: "none", isWrite: false, authenticate } as const;
  const write = { method: "POST", body: "json", isWrite: false, authenticate } as const;
  return [
    { ...read, path: "/v1/admin/nodes", handle: async () => ok(200, { nodes: nodesOf(deps) }) },
    { ...read, path: "/v1/admin/nodes/:node/tree", handle: (call) => readTree(call, deps) },
    { ...read, path: "/v1/admin/processes", handle: (call) => listProcesses(call, deps) },
    { ...read, path: "/v1/admin/process", handle: (call) => inspectProcess(call, deps) },
    { ...write, path: "/v1/admin/process/reset", handle: (call) => resetProcess(call, deps) },
    { ...write, path: "/v1/admin/tables/resume", handle: (call) => resumeTable(call, deps) },
  ];
}

export function operatorAuth(
  operatorKey: string | undefined,
): (authorization: string | undefined) => Promise<Authenticated<Operator>> {
  const expected = operatorKey === undefined ? undefined : sha256(operatorKey);
  return async (authorization) => {
    const given = /^Bearer (\S{1,512})$/i.exec(authorization ?? "")?.[1];
    if (expected !== undefined && given !== undefined && timingSafeEqual(sha256(given), expected))
      return { kind: "caller", caller: { kind: "operator" } };
    return problem("unauthenticated", { headers: { "www-authenticate": "Bearer" } });
  };
}

function nodesOf({ members }: AdminDeps): AdminNode[] {
  return members()
    .map(({ memberId, region, roles, isDraining, build, owned, ...seen }) => ({
      memberId,
      region,
      roles,
      isDraining,
      build,
      home: seen.home ?? region,
      standing: seen.standing ?? "serving",
      state: seen.state,
      phi: seen.phi,
      silentMs: seen.silentMs,
      load: seen.load,
      weight: seen.weight,
      ownedCount: Object.values(owned).reduce((sum, epochs) => sum + epochs.length, 0),
    }))
    .toSorted((a, b) => (a.memberId < b.memberId ? -1 : 1));
}

async function readTree({ params }: Call<Operator>, deps: AdminDeps): Promise<Answer> {
  const node = params["node"] ?? "";
  const unknown = unknownNode(node, deps);
  if (unknown !== undefined) return unknown;
  const reply = await askNode(node, { kind: "tree" }, deps);
  if (reply?.kind !== "tree") return unreachable();
  const { tree, tables, stats } = reply;
  return ok(200, { node, tree, tables, stats });
}

async function listProcesses({ query }: Call<Operator>, deps: AdminDeps): Promise<Answer> {
  const limit = Number(query["limit"] ?? LIST_DEFAULT);
  if (!Number.isInteger(limit) || limit < 1 || limit > LIST_MAX)
    return invalidField("limit", `must be a whole number from 1 to ${LIST_MAX}`);
  const { node, table = null } = query;
  if (table !== null && typeof table !== "string")
    return invalidField("table", "must be the name of one table");
  if (node !== undefined && typeof node !== "string")
    return invalidField("node", "must be the name of one node");
  if (node !== undefined) {
    const unknown = unknownNode(node, deps);
    if (unknown !== undefined) return unknown;
  }
  const isQuarantinedOnly = query["quarantined"] === "true";
  const nodes = node === undefined ? deps.members().map(({ memberId }) => memberId) : [node];
  const isIdleToo = query["all"] === "true";
  const request: AdminRequest = { kind: "processes", table, isQuarantinedOnly, isIdleToo, limit };
  const replies = await Promise.all(
    nodes.map(async (asked) => [asked, await askNode(asked, request, deps)] as const),
  );
  const processes = replies.flatMap(([asked, reply]) =>
    reply?.kind === "processes" ? reply.processes.map((one) => ({ ...one, node: asked })) : [],
  );
  const silent = replies.flatMap(([asked, reply]) => (reply === null ? [asked] : []));
  const isNowhere = replies.every(([, reply]) => reply?.kind === "not_found");
  if (table !== null && isNowhere) return noTable(table, node, deps);
  return ok(200, {
    processes: processes.slice(0, limit),
    unreachable: silent,
    isCut:
      processes.length > limit ||
      replies.some(
        ([, reply]) =>
          reply?.kind === "processes" && (reply.isCut || reply.processes.length > limit),
      ),
  } satisfies AdminProcesses);
}

async function inspectProcess({ query }: Call<Operator>, deps: AdminDeps): Promise<Answer> {
  const parsed = processAddressSchema.safeParse(query);
  if (!parsed.success) return badAddress();
  const target = await targetOf(parsed.data, deps);
  if (target.kind === "problem") return target;
  if (target.kind === "recipient") {
    const request = { kind: PROCESS_INSPECT, body: {} };
    const outcome = await deps.router.call(target.key, request, deps.requestTimeoutMs);
    return outcome.kind === "reply"
      ? ok(200, { node: outcome.ownerId, ...outcome.reply })
      : uncalled(outcome);
  }
  const { node, table, key } = target;
  const reply = await askNode(node, { kind: "inspect", table, key }, deps);
  if (reply?.kind === "process") return ok(200, { node, ...reply.process });
  return reply === null ? unreachable() : noProcess();
}

async function resetProcess({ body }: Call<Operator>, deps: AdminDeps): Promise<Answer> {
  const parsed = processAddressSchema.safeParse(body);
  if (!parsed.success) return badAddress();
  const target = await targetOf(parsed.data, deps);
  if (target.kind === "problem") return target;
  if (target.kind === "recipient") {
    const request = { kind: PROCESS_RESET, body: {} };
    const outcome = await deps.router.call(target.key, request, deps.requestTimeoutMs);
    return outcome.kind === "reply"
      ? ok(200, { node: outcome.ownerId, ...outcome.reply })
      : uncalled(outcome);
  }
  const { node, table, key } = target;
  return doneBy(await askNode(node, { kind: "reset", table, key }, deps), node);
}

async function resumeTable({ body }: Call<Operator>, deps: AdminDeps): Promise<Answer> {
  const parsed = tableAddressSchema.safeParse(body);
  if (!parsed.success)
    return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
  const { table, node } = parsed.data;
  const place = nodeOfTable(table, node, deps);
  if (place.kind === "problem") return place;
  return doneBy(await askNode(place.node, { kind: "resume", table }, deps), place.node);
}

async function targetOf(address: ProcessAddress, deps: AdminDeps): Promise<Target> {
  if ("table" in address) {
    const place = nodeOfTable(address.table, address.node, deps);
    if (place.kind === "problem") return place;
    return { kind: "target", node: place.node, table: address.table, key: address.key };
  }
  const [tenantId = "", recipientId = ""] = address.recipient.split("/");
  const { homes, isPartial } = await deps.homes.find(tenantId, [recipientId]);
  const home = homes.get(recipientId);
  if (home === undefined)
    return isPartial
      ? problem("region_unreachable")
      : problem("not_found", { detail: `No region knows the recipient ${address.recipient}.` });
  return { kind: "recipient", key: { home, tenantId, recipientId } };
}

/** A partition's table is where its owner is; other tables are found only by their node. */
function nodeOfTable(table: string, node: string | undefined, deps: AdminDeps): OnNode {
  if (node !== undefined) return unknownNode(node, deps) ?? { kind: "node", node };
  const [, home, number] = TABLE_OF_PARTITION.exec(table) ?? [];
  if (home === undefined)
    return invalidField("node", `is needed for a table of no partition. ${tablesText(deps)}`);
  if (!deps.regions.includes(home) || Number(number) >= LIMITS.partitionCount)
    return problem("not_found", {
      detail: `There is no partition ${table}. ${tablesText(deps)}`,
    });
  const owner = deps.owners.ownerOf(home, Number(number));
  return owner === undefined ? ownerless() : { kind: "node", node: owner };
}

function unknownNode(node: string, deps: AdminDeps): ProblemAnswer | undefined {
  if (deps.members().some(({ memberId }) => memberId === node)) return undefined;
  const names = deps
    .members()
    .map(({ memberId }) => memberId)
    .toSorted();
  const more = names.length > NAMES_SHOWN_MAX ? " …" : "";
  const there = names.slice(0, NAMES_SHOWN_MAX).join(", ");
  return problem("not_found", { detail: `There is no node ${node}. There are ${there}${more}.` });
}

function doneBy(reply: AdminReply | null, node: string): Answer {
  if (reply?.kind === "done") return ok(200, { node, isChanged: reply.isChanged });
  if (reply?.kind === "not_found") return noProcess();
  return unreachable();
}

/** What a call to a recipient's process that has no reply is to the operator. */
function uncalled(outcome: Exclude<CallRouteOutcome<never>, { kind: "reply" }>): ProblemAnswer {
  if (outcome.kind === "noproc") return noProcess();
  const isOwnerless = outcome.kind === "noconnection" && outcome.effect === "none";
  return isOwnerless ? ownerless() : unreachable(uncalledDetail(outcome));
}

function ownerless(): ProblemAnswer {
  return problem("node_unreachable", { detail: NOBODY_YET, headers: { "retry-after": "5" } });
}

function noProcess(): ProblemAnswer {
  return problem("not_found", {
    detail: "The node has no such table, or the table no such process.",
  });
}

/** A partition may have no owner for some seconds; what is no table anywhere stays so. */
function noTable(table: string, node: string | undefined, deps: AdminDeps): ProblemAnswer {
  const { regions } = deps;
  const [, home = "", number] = TABLE_OF_PARTITION.exec(table) ?? [];
  const isPartition = regions.includes(home) && Number(number) < LIMITS.partitionCount;
  if (isPartition && node === undefined) return ownerless();
  return problem("not_found", {
    detail:
      `${node ?? "No node"} has ${node === undefined ? "the" : "no"} table ${table}. ` +
      tablesText(deps),
  });
}

function tablesText({ regions }: AdminDeps): string {
  return (
    `Recipients are in ${regions.map((region) => `${region}/0`).join(", ")} … to ` +
    `/${LIMITS.partitionCount - 1}, sessions and sockets in gateway.sessions and ` +
    "gateway.connections of a node with the role gateway."
  );
}

function badAddress(): ProblemAnswer {
  return invalidField("recipient", "must be tenant/recipient; or name a table and a key");
}

/** A node does not answer, or as an older build. */
export function unreachable(detail?: string): ProblemAnswer {
  const headers = { "retry-after": "5" };
  return problem("node_unreachable", { headers, ...(detail !== undefined && { detail }) });
}

/** Null: no answer, or one that says that it failed. */
export async function askNode(
  node: string,
  request: AdminRequest,
  { bus, requestTimeoutMs }: AdminDeps,
): Promise<AdminReply | null> {
  const subject = subjects.memberAdmin(node);
  const outcome = await bus.request(subject, encodeMessage(request), requestTimeoutMs);
  if (outcome.kind !== "reply") return null;
  const decoded = decodeMessage(adminReplySchema, outcome.data);
  return decoded.kind === "message" && decoded.message.kind !== "failed" ? decoded.message : null;
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
