// apps/ingest/src/ingest-services.ts
// What both the HTTP side and the requests of other regions are served with. Each has its own: what
// one of them has in memory does not go down with the other.
import type { Clock } from "@carillon/kernel";
import { DELIVERY_DEFAULTS } from "@carillon/delivery";
import { createDirectoryWriter, type DirectoryWriter } from "./directory-writer.ts";
import { createExplanations, type Explanations } from "./explain.ts";
import { createGroupMembers, type GroupMembers } from "./group-members.ts";
import { createGroups, type Groups } from "./groups.ts";
import { createHomes, type Homes } from "./homes.ts";
import { createInbox, type Inbox } from "./inbox.ts";
import type { IngestDeps } from "./ingest-options.ts";
import { INGEST_LIMITS } from "./limits.ts";
import type { Poker } from "./poke.ts";
import type { Relay } from "./relay.ts";
import { type Controls, createControls } from "./controls.ts";
import { createPolicies, type Policies } from "./policies.ts";
import { createRates, type Rates } from "./rates.ts";
import { createPreferences, type RecipientPreferences } from "./preferences.ts";
import { createPlans, type Plans } from "./plan.ts";
import { createRecipientLists, type RecipientLists } from "./recipient-lists.ts";
import { createStatuses, type Statuses } from "./status.ts";
import { createTemplates, type Templates } from "./templates.ts";

export interface Services {
  readonly homes: Homes;
  readonly groups: Groups;
  readonly templates: Templates;
  readonly members: GroupMembers;
  readonly writer: DirectoryWriter;
  readonly plans: Plans;
  readonly policies: Policies;
  readonly controls: Controls;
  readonly rates: Rates;
  readonly preferences: RecipientPreferences;
  readonly statuses: Statuses;
  readonly explanations: Explanations;
  readonly recipientLists: RecipientLists;
  readonly inbox: Inbox;
}

/** Bus and clock are those of one run. */
export function createServices(
  deps: Pick<IngestDeps, "config" | "store" | "bus" | "events" | "owners"> & {
    readonly clock: Clock;
    readonly poker: Poker;
    readonly relay: Relay;
  },
): Services {
  const { config, store, bus, clock, events, poker, relay } = deps;
  const limits = config.limits ?? INGEST_LIMITS;
  const place = { region: config.region, regions: config.regions };
  const requestTimeoutMs = limits.regionTimeoutMs;
  const homes = createHomes(
    {
      ...place,
      locateTimeoutMs: limits.locateTimeoutMs,
      claimTimeoutMs: limits.regionTimeoutMs,
      entriesMax: limits.homesCachedMax,
      believedMs: limits.homesBelievedMs,
      onFault: events.failed,
    },
    { store, bus, clock },
  );
  const groups = createGroups(
    { ...place, timeoutMs: limits.locateTimeoutMs, onFault: events.failed },
    { store, bus, clock, relay },
  );
  const templates = createTemplates(
    {
      ...place,
      timeoutMs: limits.locateTimeoutMs,
      compiledMax: limits.templatesCompiledMax,
      formattersMax: limits.formattersMax,
      onFault: events.failed,
    },
    { store, bus, clock, relay },
  );
  const statuses = createStatuses(
    { ...place, requestTimeoutMs: limits.statusTimeoutMs },
    { store, bus },
  );
  return {
    homes,
    groups,
    templates,
    plans: createPlans(
      {
        ...place,
        regionTimeoutMs: limits.regionTimeoutMs,
        ownerTimeoutMs: limits.planOwnerTimeoutMs,
      },
      { store, bus, clock, homes, groups, templates, owners: deps.owners },
    ),
    policies: createPolicies(place, { store, clock, relay }),
    controls: createControls(place, { store, clock, relay, statuses }),
    rates: createRates(place, { store, clock, relay, statuses }),
    preferences: createPreferences(
      { region: config.region, requestTimeoutMs },
      { store, bus, homes, poker },
    ),
    members: createGroupMembers({ ...place, requestTimeoutMs }, { store, bus, poker }),
    writer: createDirectoryWriter(
      { ...place, requestTimeoutMs },
      { store, bus, homes, poker, relay },
    ),
    statuses,
    explanations: createExplanations(
      {
        ...place,
        requestTimeoutMs,
        journalOneIn: config.journalOneIn ?? DELIVERY_DEFAULTS.journal.oneIn,
      },
      { store, bus, homes, statuses },
    ),
    recipientLists: createRecipientLists({ ...place, requestTimeoutMs }, { store, bus, statuses }),
    inbox: createInbox({ ...place, requestTimeoutMs }, { store, bus }),
  };
}
