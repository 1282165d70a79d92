// packages/cluster/src/nats-permissions.ts
// What each role may say and hear over NATS: one row per subject of contracts, nothing else (C10).
//   NP1  A subject without a row does not compile, and a role has no right but those of its rows.
//   NP2  What a member says of itself or hears for itself is bound to its region, what is asked of a
//        home to the homes that its region may host: the region's servers know only these users.
//   NP3  Replies come to an inbox of the region and role that asked. Who answers what a role asks may
//        say something to that role's inboxes, of any region, and to nothing else: whose inbox it is
//        and which request is known only from the request (96 random bits). The server's own
//        `allow_responses` is not used: it lets whoever hears a message publish to the subject that
//        the sender named for the reply, and nothing checks that subject.
// What NATS cannot express for a user that several members share: "its own member id only". A worker
// may hear the pokes of other workers of its region; it has their database anyway. A beat tells the
// region truly, not the member.
import { homeSubjects, ROLES, subjects } from "@carillon/contracts";
import { assert } from "@carillon/kernel";

/** `agent`: discovery on a NATS machine. It hears who is there and says nothing. */
export const NATS_ROLES = [...ROLES, "agent"] as const;
export type NatsRole = (typeof NATS_ROLES)[number];

export interface NatsPlace {
  readonly region: string;
  /** Homes that this region's members may host; default its own. After a failover also others. */
  readonly homes?: readonly string[];
}

export interface NatsPermissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** `permissions`: natsPermissionsOf; absent: all. */
export type NatsUser = (
  | { readonly nkey: string } // public: U…
  | { readonly user: string; readonly password: string }
) & { readonly permissions?: NatsPermissions };

type Scope = "anywhere" | "region" | "homes";
type Grants = Partial<Record<NatsRole, Scope>>;

interface Row {
  readonly pattern: string; // of all regions: its second token is the region or home
  readonly publish: Grants;
  readonly subscribe: Grants;
  /** Who hears it answers those who say it (NP3). */
  readonly isAsked?: true;
}

const ofMembers = (scope: Scope): Grants => ({ ingest: scope, worker: scope, gateway: scope });
/** Asked by any ingest, answered by those of the home. */
const ofIngest = (pattern: string): Row => ({
  pattern,
  publish: { ingest: "anywhere" },
  subscribe: { ingest: "homes" },
  isAsked: true,
});

const ROWS: Readonly<Record<keyof typeof subjects | keyof typeof homeSubjects, Row>> = {
  regionNotify: ofIngest(subjects.regionNotify("*")),
  regionHomes: ofIngest(subjects.regionHomes("*")),
  regionLocate: ofIngest(subjects.regionLocate("*")),
  regionClaim: ofIngest(subjects.regionClaim("*")),
  regionDirectory: ofIngest(subjects.regionDirectory("*")),
  regionMembers: ofIngest(subjects.regionMembers("*")),
  regionPreferences: ofIngest(subjects.regionPreferences("*")),
  regionGroups: ofIngest(subjects.regionGroups("*")),
  regionTemplates: ofIngest(subjects.regionTemplates("*")),
  regionPlan: ofIngest(subjects.regionPlan("*")),
  regionRecipient: ofIngest(subjects.regionRecipient("*")),
  regionStatus: ofIngest(subjects.regionStatus("*")),
  regionExplain: ofIngest(subjects.regionExplain("*")),
  regionRecipients: ofIngest(subjects.regionRecipients("*")),
  regionInbox: ofIngest(subjects.regionInbox("*")),
  regionAcked: {
    pattern: subjects.regionAcked("*"),
    publish: { worker: "anywhere" },
    subscribe: { ingest: "homes" },
    isAsked: true,
  },
  beat: { pattern: subjects.beat("*", "*"), publish: ofMembers("region"), subscribe: {} },
  beats: {
    pattern: subjects.beats,
    publish: {},
    subscribe: { ...ofMembers("anywhere"), agent: "anywhere" },
  },
  nearBeat: { pattern: subjects.nearBeat("*", "*"), publish: ofMembers("region"), subscribe: {} },
  nearBeats: {
    pattern: subjects.nearBeats("*"),
    publish: {},
    subscribe: { ...ofMembers("region"), agent: "region" },
  },
  memberPoke: {
    pattern: subjects.memberPoke("*"),
    publish: { ingest: "anywhere" },
    subscribe: { worker: "region" },
  },
  memberPlan: {
    pattern: subjects.memberPlan("*"),
    publish: { ingest: "anywhere" },
    subscribe: { worker: "region" },
    isAsked: true,
  },
  memberDeliver: {
    pattern: subjects.memberDeliver("*"),
    publish: { worker: "anywhere" },
    subscribe: { gateway: "region" },
  },
  memberAdmin: {
    pattern: subjects.memberAdmin("*"),
    publish: { ingest: "anywhere" },
    subscribe: ofMembers("region"),
    isAsked: true,
  },
  memberRoute: {
    pattern: subjects.memberRoute("*"),
    publish: { ingest: "anywhere", worker: "anywhere" }, // a worker hands on what it lost
    subscribe: { worker: "region" },
    isAsked: true,
  },
  partitionSessions: {
    pattern: subjects.partitionSessions("*", "*"),
    publish: { gateway: "anywhere" },
    subscribe: { worker: "homes" },
    isAsked: true,
  },
  homeAt: {
    pattern: homeSubjects.homeAt("*", "*"),
    publish: { ingest: "anywhere" },
    subscribe: { ingest: "homes", worker: "homes" },
    isAsked: true,
  },
  homesKnown: {
    pattern: homeSubjects.homesKnown("*"),
    publish: { ingest: "anywhere", worker: "anywhere" },
    subscribe: { ingest: "region", worker: "region" },
    isAsked: true,
  },
};

/** For a user with all of these roles: the union of their rows, sorted. Roles: at least one. */
export function natsPermissionsOf(roles: readonly NatsRole[], place: NatsPlace): NatsPermissions {
  assert(roles.length > 0, "NP1 a user has a role");
  const publish = new Set<string>();
  const subscribe = new Set<string>([`${natsInboxPrefixOf(roles, place.region)}.>`]);
  for (const row of Object.values(ROWS)) {
    for (const role of roles) {
      for (const subject of withinScope(row.pattern, row.publish[role], place))
        publish.add(subject);
      for (const subject of withinScope(row.pattern, row.subscribe[role], place))
        subscribe.add(subject);
      if (row.isAsked && row.subscribe[role] !== undefined)
        for (const inboxes of inboxesOf(row.publish)) publish.add(inboxes);
    }
  }
  return { publish: [...publish].toSorted(), subscribe: [...subscribe].toSorted() };
}

/** `node`: one process with several of the roles, as `carillon dev` runs them. */
export type NatsUserName = NatsRole | "node";

/**
 * Public keys (U…) by user name. Several of one name: one per machine, or the old and the new one
 * while they are exchanged.
 */
export type NatsUserKeys = { readonly [name in NatsUserName]?: readonly string[] };

/** The users of a region's nats-servers. A name that is not known is a bug. */
export function natsUsersOf(keys: NatsUserKeys, place: NatsPlace): NatsUser[] {
  const names = [...NATS_ROLES, "node"] as const;
  const isKnown = (name: string): boolean => names.some((one) => one === name);
  assert(Object.keys(keys).every(isKnown), `NP1 a NATS user is one of ${names.join(", ")}`);
  return names.flatMap((name) => {
    const permissions = natsPermissionsOf(name === "node" ? ROLES : [name], place);
    return (keys[name] ?? []).map((nkey) => ({ nkey, permissions }));
  });
}

/** First tokens of the reply subjects of a client with these roles (NP3). */
export function natsInboxPrefixOf(roles: readonly NatsRole[], region: string): string {
  const [only] = roles;
  return inboxOf(region, roles.length === 1 && only !== undefined ? only : "node");
}

function inboxOf(region: string, name: NatsUserName): string {
  return `_INBOX.${region}.${name}`;
}

/** Of whoever asks, alone or as one of several roles of a node, in any region. */
function inboxesOf(askers: Grants): string[] {
  const names = NATS_ROLES.filter((role) => askers[role] !== undefined);
  return [...names, "node" as const].map((name) => `${inboxOf("*", name)}.>`);
}

function withinScope(pattern: string, scope: Scope | undefined, place: NatsPlace): string[] {
  if (scope === undefined) return [];
  if (scope === "anywhere") return [pattern];
  const { region, homes = [region] } = place;
  const tokens = pattern.split(".");
  assert(tokens[1] === "*", "NP2 the second token of a subject is its region or home");
  return (scope === "region" ? [region] : homes).map((name) => tokens.with(1, name).join("."));
}
