// apps/ingest/src/region-services.ts
// What this region does for the others: keeps copies of notifications, learns homes, stores and
// reads its own people, tells counts (DESIGN §5.2, §5.7).
//   IN24 `committed` is answered after the commit only; a repeat is `committed` too (D1, D2).
import {
  ackedRequestSchema,
  claimRequestSchema,
  directoryRequestSchema,
  explainRequestSchema,
  groupsRequestSchema,
  homesBatchSchema,
  inboxRequestSchema,
  locateRequestSchema,
  membersRequestSchema,
  preferencesMessageSchema,
  recipientReadRequestSchema,
  recipientsRequestSchema,
  regionPlanRequestSchema,
  relayBatchSchema,
  type AckedReply,
  type RelayItem,
  type RelayReply,
  type StatusReply,
  statusRequestSchema,
  subjects,
  templatesRequestSchema,
  zeroCounts,
} from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import type { RelayResult, Store } from "@carillon/store";
import type { DirectoryWriter } from "./directory-writer.ts";
import type { GroupMembers } from "./group-members.ts";
import type { Inbox } from "./inbox.ts";
import type { Explanations } from "./explain.ts";
import type { Intake } from "./intake.ts";
import type { Plans } from "./plan.ts";
import type { Poker } from "./poke.ts";
import type { RecipientPreferences } from "./preferences.ts";
import type { RecipientLists } from "./recipient-lists.ts";
import type { Statuses } from "./status.ts";

export interface RegionServicesDeps {
  readonly region: string;
  readonly intake: Intake;
  readonly store: Store;
  readonly poker: Poker;
  readonly writer: DirectoryWriter;
  readonly members: GroupMembers;
  readonly plans: Plans;
  readonly preferences: RecipientPreferences;
  readonly statuses: Statuses;
  readonly explanations: Explanations;
  readonly recipientLists: RecipientLists;
  readonly inbox: Inbox;
  /** IN36: the tenant's residency does not allow the region that hosts this home now. */
  readonly withholds: (tenantId: string) => boolean;
  /** Ids that two regions made at once, or rows that cannot be stored: a person should look. */
  readonly onOddity: (event: "homes.conflict" | "relay.unstorable", count: number) => void;
}

export function serveRegion(deps: RegionServicesDeps): void {
  const { region, intake, store, poker } = deps;
  const served = (tenantId: string): void => {
    if (!deps.withholds(tenantId)) return;
    throw new Fault("the tenant is withheld", { code: "tenant_withheld", isRetryable: true });
  };

  intake.serve(subjects.regionNotify(region), relayBatchSchema, async ({ items }) => {
    const withheld = items.flatMap(({ notification }, at) =>
      deps.withholds(notification.tenantId) ? at : [],
    );
    const taken = withheld.length === 0 ? items : items.filter((_, at) => !withheld.includes(at));
    const results =
      taken.length === 0 ? [] : await store.notifications.acceptRelayed(region, taken);
    poker.notifications(pokesOf(taken, results));
    const unstorableCount = results.filter(({ kind }) => kind === "unstorable").length;
    if (unstorableCount === 0)
      return withheld.length === 0
        ? ({ kind: "committed" } satisfies RelayReply)
        : ({ kind: "partly", withheld } satisfies RelayReply);
    deps.onOddity("relay.unstorable", unstorableCount);
    return { kind: "failed", code: "store_rejected" } satisfies RelayReply;
  });

  intake.serve(subjects.regionHomes(region), homesBatchSchema, async (batch) => {
    const conflictCount = await store.directory.learnHomes(batch);
    if (conflictCount > 0) deps.onOddity("homes.conflict", conflictCount);
    await store.groups.learn(batch.tenants);
    await store.policies.learn(batch.tenants);
    await store.controls.learn(batch.tenants);
    await store.rates.learn(batch.tenants);
    await store.templates.learn(batch.tenants);
    return { kind: "committed" } satisfies RelayReply;
  });

  intake.serve(
    subjects.regionLocate(region),
    locateRequestSchema,
    async ({ tenantId, recipientIds }) => {
      const homes = await store.directory.homesOf(tenantId, recipientIds);
      return { recipientIds: recipientIds.filter((id) => homes.get(id) === region) };
    },
  );

  intake.serve(subjects.regionClaim(region), claimRequestSchema, async ({ tenantId, wishes }) => ({
    homes: [...(await store.directory.claimHomes(tenantId, new Map(wishes)))],
  }));

  intake.serve(
    subjects.regionDirectory(region),
    directoryRequestSchema,
    async ({ tenantId, changes }) => {
      served(tenantId);
      return { kind: "stored", ...(await deps.writer.writeHere(tenantId, changes)) };
    },
  );

  intake.serve(subjects.regionMembers(region), membersRequestSchema, async (change) => {
    served(change.tenantId);
    return { kind: "stored", ...(await deps.members.writeHere(change)) };
  });

  intake.serve(subjects.regionPreferences(region), preferencesMessageSchema, async (request) => {
    served(request.tenantId);
    return await deps.preferences.serveHere(request);
  });

  intake.serve(
    subjects.regionGroups(region),
    groupsRequestSchema,
    async ({ tenantId, groupIds }) => ({
      groups: [...(await store.groups.find(tenantId, groupIds)).values()],
    }),
  );

  intake.serve(
    subjects.regionTemplates(region),
    templatesRequestSchema,
    async ({ tenantId, templateId, version }) => {
      const known = await store.templates.find(tenantId, templateId, version);
      const versions = [known.newest, known.asked].flatMap((stamp) => stamp?.version ?? []);
      const records = await Promise.all(
        [...new Set(versions)].map((one) => store.templates.read(tenantId, templateId, one)),
      );
      return { templates: records.filter((record) => record !== undefined) };
    },
  );

  intake.serve(
    subjects.regionRecipient(region),
    recipientReadRequestSchema,
    async ({ tenantId, recipientId }) => {
      served(tenantId);
      return { recipient: (await store.directory.read(tenantId, recipientId)) ?? null };
    },
  );

  intake.serve(subjects.regionPlan(region), regionPlanRequestSchema, async (request) => {
    served(request.tenantId);
    return await deps.plans.countHere(request);
  });

  intake.serve(
    subjects.regionStatus(region),
    statusRequestSchema,
    async ({ tenantId, notificationId, isWhole = false }) =>
      deps.withholds(tenantId)
        ? ({ state: "withheld", counts: zeroCounts() } satisfies StatusReply)
        : await deps.statuses.readHere(tenantId, notificationId, { isWhole }),
  );

  intake.serve(subjects.regionExplain(region), explainRequestSchema, async (request) => {
    served(request.tenantId);
    return await deps.explanations.readHere(request);
  });

  intake.serve(subjects.regionRecipients(region), recipientsRequestSchema, async (request) => {
    served(request.tenantId);
    return await deps.recipientLists.readHere(request);
  });

  intake.serve(subjects.regionAcked(region), ackedRequestSchema, async (request) => {
    const { tenantId, notificationIds } = request;
    served(tenantId);
    const ids = await store.escalations.acknowledgedOf(region, tenantId, notificationIds);
    return { kind: "acked", notificationIds: ids } satisfies AckedReply;
  });

  intake.serve(subjects.regionInbox(region), inboxRequestSchema, async (request) => {
    served(request.tenantId);
    return await deps.inbox.readHere(request);
  });
}

function pokesOf(items: readonly RelayItem[], results: readonly RelayResult[]) {
  return items.flatMap(({ notification, audience }, index) => {
    const result = results[index];
    if (result?.kind !== "accepted" || result.ledgerEntries.length === 0) return [];
    const { tenantId } = notification;
    const notificationJson = JSON.stringify(notification);
    return [{ tenantId, notificationJson, audience, entries: result.ledgerEntries }];
  });
}
