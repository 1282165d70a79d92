// packages/store/src/accept.ts
// Accepting notifications: a batch in, one outcome per item out (DESIGN §5, steps 1 to 3).
//   ST15 Of several requests with one Idempotency-Key, in this batch, in others at the same time or
//        earlier, one is accepted; the others replay its answer or, with another body, mismatch.
//   ST16 One bad item refuses itself only: what Postgres cannot keep is found before the statement.
import {
  ackSecondsOf,
  type DeferredMembers,
  deferredPayloadOf,
  type Notification,
  type NotificationAccepted,
  type PokeEntry,
  type RegionAudience,
  type RelayItem,
} from "@carillon/contracts";
import { assert } from "@carillon/kernel";
import { type AcceptColumns, type AcceptedRecord, insertAccepted } from "./accept-statement.ts";
import {
  bitsetBytesOf,
  isSmall,
  resolveAudiences,
  type ResolvedAudience,
} from "./accept-audience.ts";
import { booleansOf, bytesOf, intsOf } from "./arrays.ts";
import { unavailable } from "./faults.ts";
import { optionsOf } from "./notification-rows.ts";
import { type IdempotencyClaim, type Repeat, repeatOf } from "./idempotency.ts";
import type { Statements } from "./pool.ts";
import { unstorableFieldOf, unstorableFieldOfJson } from "./text.ts";

export interface AcceptItem {
  readonly notification: Notification; // its id is new (assert)
  /** Who is meant in this region; null: this region only accepts. */
  readonly audience: RegionAudience | null;
  readonly remotes: readonly { readonly region: string; readonly audience: RegionAudience }[];
  readonly idempotency: IdempotencyClaim | null;
  /** What is answered; `unknownCount` grows by explicit recipients that turn out to be missing. */
  readonly answer: NotificationAccepted;
}

export type AcceptResult =
  | {
      readonly kind: "accepted";
      readonly answer: NotificationAccepted;
      readonly ledgerEntries: readonly PokeEntry[]; // ascending by partition
      readonly outboxIds: Readonly<Record<string, number>>; // by target region
      /** Regions with a backlog: what is for them goes out by it, in turn (ST22). */
      readonly backlogs: readonly string[];
    }
  | Repeat
  /** Text with NUL or half a surrogate pair, which Postgres cannot keep. */
  | { readonly kind: "unstorable"; readonly field: string };

export type RelayResult =
  | { readonly kind: "accepted"; readonly ledgerEntries: readonly PokeEntry[] }
  | { readonly kind: "repeated" } // was here already
  | { readonly kind: "unstorable"; readonly field: string };

interface Candidate {
  readonly place: number; // in the caller's array
  readonly item: AcceptItem;
  readonly content: string; // JSON
}

/** Results in the order of `items`. */
export async function accept(
  sql: Statements,
  home: string,
  items: readonly AcceptItem[],
): Promise<AcceptResult[]> {
  const results = new Map<number, AcceptResult>();
  const { leaders, followers } = triage(items, results);
  const outcomes = await commit(sql, { home, isAcceptedHere: true }, leaders);
  const contested: Candidate[] = [...followers];
  for (const [index, candidate] of leaders.entries()) {
    const outcome = outcomes[index];
    if (outcome === undefined) contested.push(candidate);
    else results.set(candidate.place, outcome);
  }
  await settleContested(sql, contested, results);
  return items.map((_, place) => {
    const result = results.get(place);
    assert(result !== undefined, "ST15 every item has an outcome");
    return result;
  });
}

/** Commits this region's copies of notifications that another region accepted. */
export function acceptRelayed(
  sql: Statements,
  home: string,
  items: readonly RelayItem[],
): Promise<RelayResult[]> {
  const meant = items.map(({ notification, audience }) => {
    const answer = { id: notification.id, acceptedAt: "", regions: [] };
    return { notification, audience, remotes: [], idempotency: null, answer };
  });
  return acceptOnce(sql, { home, isAcceptedHere: false }, meant);
}

/** Of each id the first: whoever asks again for the same is told `repeated`, and nothing is changed (D5). */
export async function acceptOnce(
  sql: Statements,
  place: { readonly home: string; readonly isAcceptedHere: boolean },
  items: readonly AcceptItem[],
): Promise<RelayResult[]> {
  const results: RelayResult[] = items.map(() => ({ kind: "repeated" }));
  const seen = new Set<string>();
  const candidates: Candidate[] = [];
  for (const [at, item] of items.entries()) {
    const { notification } = item;
    if (seen.has(notification.id)) continue;
    seen.add(notification.id);
    const content = JSON.stringify(notification.content);
    const field = unstorableFieldOfItem(item, content);
    if (field === undefined) candidates.push({ place: at, item, content });
    else results[at] = { kind: "unstorable", field };
  }
  const outcomes = await commit(sql, place, candidates);
  for (const [index, candidate] of candidates.entries()) {
    const ledgerEntries = outcomes[index]?.ledgerEntries;
    if (ledgerEntries !== undefined) results[candidate.place] = { kind: "accepted", ledgerEntries };
  }
  return results;
}

/** The first of each key leads; those behind it are settled by what the leader leaves. */
function triage(
  items: readonly AcceptItem[],
  results: Map<number, AcceptResult>,
): { leaders: Candidate[]; followers: Candidate[] } {
  const seenKeys = new Set<string>();
  const leaders: Candidate[] = [];
  const followers: Candidate[] = [];
  for (const [place, item] of items.entries()) {
    const content = JSON.stringify(item.notification.content);
    const field = unstorableFieldOfItem(item, content);
    if (field !== undefined) {
      results.set(place, { kind: "unstorable", field });
      continue;
    }
    const key = item.idempotency && `${item.notification.tenantId}/${item.idempotency.key}`;
    if (key !== null && seenKeys.has(key)) {
      followers.push({ place, item, content });
      continue;
    }
    if (key !== null) seenKeys.add(key);
    leaders.push({ place, item, content });
  }
  return { leaders, followers };
}

/** Undefined where the statement did not take the item: its key, or its id, was there already. */
async function commit(
  sql: Statements,
  place: { readonly home: string; readonly isAcceptedHere: boolean },
  candidates: readonly Candidate[],
): Promise<(Extract<AcceptResult, { kind: "accepted" }> | undefined)[]> {
  if (candidates.length === 0) return [];
  const resolved = await resolveAudiences(
    sql,
    place.home,
    candidates.map(({ item }) => item),
  );
  const answers = candidates.map(({ item }, index) =>
    answerOf(item, resolved[index]?.missingCount ?? 0),
  );
  const columns = columnsOf(candidates, resolved, answers);
  const records = await insertAccepted(sql, place, columns);
  const byOrd = new Map(records.map((record) => [record.ord, record]));
  return candidates.map((_, index) => {
    const record = byOrd.get(index + 1);
    const answer = answers[index];
    if (record === undefined || answer === undefined) return undefined;
    const ledgerEntries = entriesOf(record, resolved[index]);
    const outboxIds = outboxIdsOf(record);
    return { kind: "accepted", answer, ledgerEntries, outboxIds, backlogs: record.backlogs ?? [] };
  });
}

async function settleContested(
  sql: Statements,
  contested: readonly Candidate[],
  results: Map<number, AcceptResult>,
): Promise<void> {
  if (contested.length === 0) return;
  const rows = await sql<
    { place: number; fingerprint: Uint8Array; answer: NotificationAccepted }[]
  >`
    select wanted.place, i.fingerprint, i.answer
    from unnest(${intsOf(contested.map(({ place }) => place))}::int[],
      ${contested.map(({ item }) => item.notification.tenantId)}::text[],
      ${contested.map(({ item }) => item.idempotency?.key ?? null)}::text[])
      as wanted(place, tenant_id, key)
    join idempotency i using (tenant_id, key)`;
  const records = new Map(rows.map((row) => [row.place, row]));
  for (const { place, item } of contested) {
    assert(item.idempotency !== null, "ST15 an accepted notification has an id of its own");
    const record = records.get(place);
    if (record === undefined) throw unavailable("notifications.accept", "a key expired meanwhile");
    results.set(place, repeatOf(record, item.idempotency));
  }
}

function columnsOf(
  candidates: readonly Candidate[],
  resolved: readonly ResolvedAudience[],
  answers: readonly NotificationAccepted[],
): AcceptColumns {
  const items = candidates.map(({ item }) => item);
  const notifications = items.map(({ notification }) => notification);
  const remotes = items.flatMap((item, index) =>
    item.remotes.map((remote) => ({ ord: index + 1, ...remote })),
  );
  const wanted = resolved.flatMap(({ partitions, isDecided }, index) =>
    partitions.map(({ partition, members }) => ({
      ord: index + 1,
      isLater: notifications[index]?.sendAtMs !== undefined,
      partition,
      members: isDecided ? members : null,
    })),
  );
  return {
    ids: notifications.map(({ id }) => id),
    tenantIds: notifications.map(({ tenantId }) => tenantId),
    acceptedRegions: notifications.map(({ acceptedRegion }) => acceptedRegion),
    acceptedAtMs: intsOf(notifications.map(({ acceptedAtMs }) => acceptedAtMs)),
    expiresAtMs: intsOf(notifications.map(({ expiresAtMs }) => expiresAtMs)),
    priorities: notifications.map(({ priority }) => priority),
    categories: notifications.map(({ category }) => category ?? null),
    contents: candidates.map(({ content }) => content),
    excludes: notifications.map(({ exclude }) => JSON.stringify(exclude)),
    audiences: items.map(({ audience }) => audience && JSON.stringify(audience)),
    targetRegions: answers.map(({ regions }) => regions.join(",")),
    unknownCounts: answers.map(({ unknownCount }) => unknownCount ?? null),
    isForAll: booleansOf(resolved.map(({ isForAll }) => isForAll)),
    options: notifications.map((notification) => JSON.stringify(optionsOf(notification))),
    sendAtMs: `{${notifications.map(({ sendAtMs }) => sendAtMs ?? "null").join(",")}}`,
    ackSeconds: `{${notifications.map(({ requireAck }) => ackSecondsOf(requireAck) ?? "null").join(",")}}`,
    keys: items.map(({ idempotency }) => idempotency?.key ?? null),
    fingerprints: bytesOf(items.map(({ idempotency }) => idempotency?.fingerprint ?? null)),
    answers: items.map(({ idempotency }, index) => idempotency && JSON.stringify(answers[index])),
    remoteOrds: intsOf(remotes.map(({ ord }) => ord)),
    remoteRegions: remotes.map(({ region }) => region),
    remotePayloads: remotes.map(({ audience }) => JSON.stringify(audience)),
    wantedOrds: intsOf(wanted.map(({ ord }) => ord)),
    wantedPartitions: intsOf(wanted.map(({ partition }) => partition)),
    wantedStates: intsOf(wanted.map(({ members }) => (members === null ? PLANNED : OPEN))),
    wantedMembers: wanted.map(({ members }) =>
      members !== null && isSmall(members) ? intsOf(members) : null,
    ),
    wantedTargeted: bytesOf(
      wanted.map(({ members }) =>
        members === null || isSmall(members) ? EMPTY : bitsetBytesOf(members),
      ),
    ),
    wantedPayloads: wanted.map(({ members, isLater }) =>
      isLater
        ? JSON.stringify(deferredPayloadOf({ reason: "sendAt", members: laterOf(members) }))
        : null,
    ),
  };
}

const EMPTY = new Uint8Array();
/** Of ledger rows: the audience decides, or has been decided. */
const [PLANNED, OPEN] = [0, 1];

function laterOf(members: readonly number[] | null): DeferredMembers {
  if (members === null) return { kind: "all" };
  if (isSmall(members)) return { kind: "members", members };
  return { kind: "set", set: bitsetBytesOf(members), count: members.length };
}

function answerOf(item: AcceptItem, missingCount: number): NotificationAccepted {
  if (missingCount === 0) return item.answer;
  return { ...item.answer, unknownCount: (item.answer.unknownCount ?? 0) + missingCount };
}

function entriesOf(record: AcceptedRecord, resolved: ResolvedAudience | undefined): PokeEntry[] {
  const { partitions, offsets, versions } = record;
  if (partitions === null || offsets === null || versions === null) return [];
  const decided = resolved?.isDecided === true ? resolved.partitions : [];
  const members = new Map(decided.map((entry) => [entry.partition, entry.members]));
  return partitions.map((partition, index) => {
    const named = members.get(partition);
    return {
      partition,
      offset: offsets[index] ?? 0,
      directoryVersion: versions[index] ?? 0,
      members: named !== undefined && isSmall(named) ? [...named] : null,
    };
  });
}

function outboxIdsOf({ outbox_ids: ids, outbox_regions: regions }: AcceptedRecord) {
  return Object.fromEntries((regions ?? []).map((region, index) => [region, ids?.[index] ?? 0]));
}

/** Ids were checked for control characters at the edge; again here, since one would fail them all. */
function unstorableFieldOfItem(item: AcceptItem, contentJson: string): string | undefined {
  const { notification } = item;
  return (
    unstorableFieldOfJson(contentJson, notification.content, "content") ??
    unstorableFieldOf(notification.exclude, "exclude") ??
    unstorableFieldOf(notification.collapseKey, "collapseKey") ??
    unstorableFieldOf(notification.category, "category") ??
    unstorableFieldOf(notification.fallbacks, "fallbacks") ??
    unstorableFieldOf(notification.requireAck, "requireAck") ??
    unstorableFieldOf(item.audience, "audience") ??
    unstorableFieldOf(item.remotes, "audience") ??
    unstorableFieldOf(item.idempotency?.key, "Idempotency-Key")
  );
}
