// apps/ingest/src/audiences.ts
// Whom a request means, per target region (DESIGN §5 step 1): homes of explicit recipients, groups by
// what they are now. The same for a notification and for its plan (A3).
//   IN15 A region's audience holds only ids whose home it is, each once, without excluded ones.
//   IN45 A group that does not exist is a 422 that names the field; nothing is accepted.
//   IN49 The filters of a whole request, dynamic groups by what they are, are together as large as one
//        filter may be: an owner evaluates all of them for each of its partitions (D7).
//   IN46 A dynamic group travels as the filter that it is when the notification is accepted, and a
//        static one as its tag: no region needs the definition to expand it.
import type {
  DirectoryAudience,
  ExcludeRequest,
  FieldError,
  Filter,
  NotificationRequest,
  RegionAudience,
} from "@carillon/contracts";
import { groupTagOf, LIMITS } from "@carillon/contracts";
import type { Groups } from "./groups.ts";
import type { Homes } from "./homes.ts";
import { push } from "./poke.ts";

export interface TargetAudiences {
  readonly kind: "audiences";
  readonly audiences: ReadonlyMap<string, RegionAudience>; // by target region
  readonly unknownCount: number | undefined; // of explicit recipients
  readonly exclude: string[];
}

export type AudiencesOutcome =
  | TargetAudiences
  /** Some are unknown, and not every region could be asked. */
  | { readonly kind: "unlocated" }
  | { readonly kind: "unknown_groups"; readonly errors: readonly FieldError[] }
  | { readonly kind: "too_complex"; readonly errors: readonly FieldError[] };

export interface AudiencesDeps {
  readonly homes: Homes;
  readonly groups: Groups;
}

type WholeAudience = Exclude<DirectoryAudience, { kind: "except" }>;

/** Whom groups and a filter take out of every region's audience. */
interface Taken {
  readonly tags: string[];
  readonly filters: Filter[];
}

export async function audiencesOf(
  request: { readonly tenantId: string } & Pick<NotificationRequest, "audience" | "exclude">,
  regions: readonly string[],
  deps: AudiencesDeps,
): Promise<AudiencesOutcome> {
  const { tenantId, audience } = request;
  const excluded = excludedOf(request.exclude);
  const named = groupsNamedIn(request, excluded.groups);
  const resolved = await resolveGroups(tenantId, named, deps.groups);
  if (resolved.kind !== "resolved") return resolved;
  const taken: Taken = { tags: [], filters: [...excluded.filters] };
  for (const id of excluded.groups) {
    const group = resolved.groups.get(id);
    if (group?.kind === "group") taken.tags.push(group.tag);
    else if (group?.kind === "filter") taken.filters.push(group.filter);
  }
  const everywhere = wholeOf(audience, resolved.groups);
  const nodesCount = nodesIn(everywhere, taken);
  if (nodesCount > LIMITS.filterNodesMax)
    return { kind: "too_complex", errors: [tooComplex(nodesCount)] };
  if (everywhere !== undefined) {
    const audiences = new Map(regions.map((target) => [target, without(everywhere, taken)]));
    const exclude = excluded.recipients;
    return { kind: "audiences", audiences, unknownCount: undefined, exclude };
  }
  const wanted = new Set("recipients" in audience ? audience.recipients : []);
  for (const recipientId of excluded.recipients) wanted.delete(recipientId);
  return await explicitOf({ tenantId, recipientIds: [...wanted], taken }, regions, deps);
}

async function explicitOf(
  wanted: { readonly tenantId: string; readonly recipientIds: string[]; readonly taken: Taken },
  regions: readonly string[],
  deps: AudiencesDeps,
): Promise<AudiencesOutcome> {
  const { tenantId, recipientIds, taken } = wanted;
  const { homes, isPartial } = await deps.homes.find(tenantId, recipientIds);
  const byRegion = new Map<string, string[]>();
  let unknownCount = 0;
  for (const recipientId of recipientIds) {
    const home = homes.get(recipientId);
    if (home === undefined || !regions.includes(home)) unknownCount++;
    else push(byRegion, home, recipientId);
  }
  if (isPartial && unknownCount > 0) return { kind: "unlocated" };
  const audiences = new Map<string, RegionAudience>();
  for (const target of regions) {
    const ids = byRegion.get(target);
    if (ids !== undefined)
      audiences.set(target, without({ kind: "recipients", recipientIds: ids }, taken));
  }
  return { kind: "audiences", audiences, unknownCount, exclude: [] }; // those are gone already
}

function excludedOf(exclude: ExcludeRequest | undefined) {
  if (exclude === undefined) return { recipients: [], groups: [], filters: [] };
  if (Array.isArray(exclude)) return { recipients: [...new Set(exclude)], groups: [], filters: [] };
  return {
    recipients: [...new Set(exclude.recipients)],
    groups: [...new Set(exclude.groups)],
    filters: exclude.filter === undefined ? [] : [exclude.filter],
  };
}

/** Ids, each with the first field that names it. */
function groupsNamedIn(
  { audience, exclude }: Pick<NotificationRequest, "audience" | "exclude">,
  excluded: readonly string[],
): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  if ("group" in audience) fields.set(audience.group, "audience.group");
  const listed = exclude === undefined || Array.isArray(exclude) ? [] : (exclude.groups ?? []);
  for (const id of excluded)
    if (!fields.has(id)) fields.set(id, `exclude.groups[${listed.indexOf(id)}]`);
  return fields;
}

async function resolveGroups(
  tenantId: string,
  named: ReadonlyMap<string, string>,
  groups: Groups,
): Promise<
  | { readonly kind: "resolved"; readonly groups: ReadonlyMap<string, WholeAudience> }
  | Exclude<AudiencesOutcome, TargetAudiences>
> {
  if (named.size === 0) return { kind: "resolved", groups: new Map() };
  const found = await groups.find(tenantId, [...named.keys()]);
  if (found.isPartial) return { kind: "unlocated" };
  const errors = [...named]
    .filter(([id]) => !found.groups.has(id))
    .map(([, field]) => ({ field, message: "must be a group that exists" }));
  if (errors.length > 0) return { kind: "unknown_groups", errors };
  const resolved = [...found.groups].map(([id, record]): [string, WholeAudience] => [
    id,
    record.filter === null
      ? { kind: "group", tag: groupTagOf(record) }
      : { kind: "filter", filter: record.filter }, // IN46
  ]);
  return { kind: "resolved", groups: new Map(resolved) };
}

/** The same in every region; undefined for explicit recipients. */
function wholeOf(
  audience: NotificationRequest["audience"],
  groups: ReadonlyMap<string, WholeAudience>,
): WholeAudience | undefined {
  if ("broadcast" in audience) return { kind: "broadcast" };
  if ("filter" in audience) return { kind: "filter", filter: audience.filter };
  if ("group" in audience) return groups.get(audience.group);
  return undefined;
}

function nodesIn(whole: WholeAudience | undefined, { filters }: Taken): number {
  const all = whole?.kind === "filter" ? [whole.filter, ...filters] : filters;
  return all.reduce((total, filter) => total + nodesOf(filter), 0);
}

function nodesOf(filter: Filter): number {
  return "nodes" in filter ? filter.nodes.reduce((total, node) => total + nodesOf(node), 1) : 1;
}

function tooComplex(nodesCount: number): FieldError {
  const message =
    `must hold, with the audience and with dynamic groups by their filters, at most ` +
    `${LIMITS.filterNodesMax} nodes; these are ${nodesCount}`;
  return { field: "exclude", message };
}

function without(audience: WholeAudience, { tags, filters }: Taken): RegionAudience {
  if (tags.length === 0 && filters.length === 0) return audience;
  return { kind: "except", of: audience, tags, filters };
}
