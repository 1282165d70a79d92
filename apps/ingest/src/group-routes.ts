// apps/ingest/src/group-routes.ts
// Groups (A6): PUT replaces what a group is, from any region; members are added and removed in their
// home regions. With a filter a group is dynamic, and its filter says who is in it.
import {
  fieldErrorsOf,
  groupIdSchema,
  type GroupMembersAnswer,
  groupMembersRequestSchema,
  type GroupRecord,
  groupRequestSchema,
  type GroupResource,
  groupTagOf,
} from "@carillon/contracts";
import { type Answer, invalidField, ok, problem, type ProblemAnswer } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import type { GroupMembers } from "./group-members.ts";
import type { Groups } from "./groups.ts";
import type { Homes } from "./homes.ts";
import type { Call } from "./http-server.ts";
import { push } from "./poke.ts";

export interface GroupRoutes {
  put(call: Call<KeyCaller>): Promise<Answer>;
  get(call: Call<KeyCaller>): Promise<Answer>;
  delete(call: Call<KeyCaller>): Promise<Answer>;
  addMembers(call: Call<KeyCaller>): Promise<Answer>;
  removeMembers(call: Call<KeyCaller>): Promise<Answer>;
}

export interface GroupRoutesDeps {
  readonly regions: readonly string[];
  readonly groups: Groups;
  readonly members: GroupMembers;
  readonly homes: Homes;
}

type Found = { readonly kind: "group"; readonly record: GroupRecord } | ProblemAnswer;

export function createGroupRoutes(deps: GroupRoutesDeps): GroupRoutes {
  const { groups } = deps;

  const found = async ({ caller, params }: Call<KeyCaller>): Promise<Found> => {
    const id = parseGroupId(params["id"]);
    if (id.kind === "problem") return id;
    const look = await groups.find(caller.tenantId, [id.groupId]);
    const record = look.groups.get(id.groupId);
    if (record !== undefined) return { kind: "group", record };
    return look.isPartial ? unreachable() : problem("not_found");
  };

  const setMembers = async (call: Call<KeyCaller>, isMember: boolean): Promise<Answer> => {
    const parsed = groupMembersRequestSchema.safeParse(call.body);
    if (!parsed.success)
      return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, call.body) });
    const group = await found(call);
    if (group.kind === "problem") return group;
    if (group.record.filter !== null)
      return invalidField("groupId", "must be a static group: a filter says who is in this one");
    const { tenantId } = call.caller;
    const tag = groupTagOf(group.record);
    return await writeMembers({ tenantId, tag, isMember }, parsed.data.recipients, deps);
  };

  return {
    async put({ caller, params, body }) {
      const id = parseGroupId(params["id"]);
      if (id.kind === "problem") return id;
      const parsed = groupRequestSchema.safeParse(body);
      if (!parsed.success)
        return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
      const changed = await groups.change(caller.tenantId, id.groupId, parsed.data);
      if (changed === "partial" || changed === undefined) return unreachable();
      return ok(changed.isCreated ? 201 : 200, resourceOf(changed.record));
    },
    async get(call) {
      const group = await found(call);
      return group.kind === "problem" ? group : ok(200, resourceOf(group.record));
    },
    async delete({ caller, params }) {
      const id = parseGroupId(params["id"]);
      if (id.kind === "problem") return id;
      const changed = await groups.change(caller.tenantId, id.groupId, undefined);
      if (changed === "partial") return unreachable();
      return changed === undefined ? problem("not_found") : ok(204, "");
    },
    addMembers: (call) => setMembers(call, true),
    removeMembers: (call) => setMembers(call, false),
  };
}

async function writeMembers(
  change: { readonly tenantId: string; readonly tag: string; readonly isMember: boolean },
  recipients: readonly string[],
  { regions, homes, members }: GroupRoutesDeps,
): Promise<Answer> {
  const wanted = [...new Set(recipients)];
  const located = await homes.find(change.tenantId, wanted);
  const byHome = new Map<string, string[]>();
  const unknown: string[] = [];
  for (const id of wanted) {
    const home = located.homes.get(id);
    if (home === undefined || !regions.includes(home)) unknown.push(id);
    else push(byHome, home, id);
  }
  // One of them may live in the region that did not answer: nothing is half-done (A13).
  if (unknown.length > 0 && located.isPartial) return unreachable();
  const answer = { changed: 0, unchanged: 0, unknown, full: [] as string[] };
  for (const [home, recipientIds] of byHome) {
    const written = await members.write(home, { ...change, recipientIds });
    if (written === "unreachable") return unreachable(); // a repeat does the rest
    if (written === "withheld")
      return problem("tenant_withheld", { headers: { "retry-after": "60" } });
    answer.changed += written.changed;
    answer.unchanged += written.unchanged;
    answer.unknown.push(...written.missing);
    answer.full.push(...written.full);
  }
  return ok(200, answer satisfies GroupMembersAnswer);
}

function unreachable(): ProblemAnswer {
  return problem("region_unreachable", { headers: { "retry-after": "5" } });
}

function parseGroupId(
  text: string | undefined,
): { readonly kind: "id"; readonly groupId: string } | ProblemAnswer {
  const parsed = groupIdSchema.safeParse(text);
  if (parsed.success) return { kind: "id", groupId: parsed.data };
  return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, text, "groupId") });
}

function resourceOf({ groupId, name, filter, changedAtMs }: GroupRecord): GroupResource {
  const kind = filter === null ? "static" : "dynamic";
  return { groupId, kind, name, filter, updatedAt: new Date(changedAtMs).toISOString() };
}
