// apps/cli/src/region/report-lost.ts
// What a report of a loss tells of each table, from the rows that are missing or otherwise (ADR 0015).
import type { ReportRow, ReportTable } from "@carillon/contracts";

export interface Lost {
  /** Answered 202 in this home, or before in another region of which it is the home. */
  readonly accepted: readonly LostNotification[];
  /** Accepted elsewhere, and answered `committed` here: its sender will not send it again. */
  readonly relayedIn: readonly LostNotification[];
  /** Of people of a partition nothing is there, neither a row nor one that waits. */
  readonly ledgerRows: readonly LostPeople[];
  /** There, with other outcomes, recorded after the copy or there since; or with other people. */
  readonly outcomes: readonly (LostPeople & {
    /** Of `peopleCount` those whom the new database has nowhere. */
    readonly lostCount: number;
  })[];
  readonly recipients: readonly { tenantId: string; recipientId: string; isNew: boolean }[];
  /** As the fenced database has them: new there, or with another name or residency. */
  readonly tenants: readonly { tenantId: string; isNew: boolean }[];
  /** By their ids. One that was revoked there, and not in the new database, is still good. */
  readonly apiKeys: readonly LostKey[];
  /** Where recipients of other homes live, as far as it was known there; asked for again when needed. */
  readonly homes: readonly {
    tenantId: string;
    recipientId: string;
    home: string;
    isNew: boolean;
  }[];
  /** What groups are, as the fenced database has it; other regions may have heard of it. */
  readonly groups: readonly {
    tenantId: string;
    groupId: string;
    isNew: boolean;
    isDeleted: boolean;
  }[];
  /**
   * Set there after the copy, or set otherwise. One that the new host has fired since is told, too: its
   * row is gone.
   */
  readonly timers: readonly LostTimer[];
  /** As the fenced database has them. Other regions may have heard: they keep what they know. */
  readonly policies: readonly { tenantId: string; isNew: boolean }[];
  readonly templates: readonly LostTemplate[];
  /** What senders did with notifications under way: one that is cancelled there only goes on here. */
  readonly controls: readonly LostControl[];
  /** At what rate they are handed, where their senders have changed it; null: as fast as it goes. */
  readonly rates: readonly LostRate[];
  /** For other regions, of lost notifications, and not confirmed by them. */
  readonly outbox: readonly { notificationId: string; targetRegion: string }[];
}

/** Of one notification in one partition, whatever rows they stand in. */
interface LostPeople {
  readonly notificationId: string;
  readonly partition: number;
  /** Of the rows in the fenced database; none: all of them wait. */
  readonly offsets: readonly number[];
  /** Known by number; waiting ones are among them. */
  readonly peopleCount: number;
  readonly waitingCount: number;
  /** It was not expanded, or not wholly: whoever the audience comes to is not in `peopleCount`. */
  readonly isWhole: boolean;
}

interface LostTemplate {
  readonly tenantId: string;
  readonly templateId: string;
  readonly version: number;
  readonly isNew: boolean;
  readonly isDeleted: boolean;
}

interface LostControl {
  readonly tenantId: string;
  readonly notificationId: string;
  readonly state: string;
  readonly isNew: boolean;
}

interface LostRate {
  readonly tenantId: string;
  readonly notificationId: string;
  readonly ratePerMinute: number | null;
  readonly isNew: boolean;
}

interface LostKey {
  readonly tenantId: string;
  readonly keyId: string;
  readonly isNew: boolean;
  readonly isRevoked: boolean;
}

interface LostTimer {
  readonly tenantId: string;
  readonly partition: number;
  readonly kind: string;
  readonly key: string;
  readonly dueAt: string;
  readonly isNew: boolean;
}

interface LostNotification {
  readonly id: string;
  readonly tenantId: string;
  readonly acceptedRegion: string;
  readonly targetRegions: readonly string[];
  /** Of the targets: they confirmed their copies, and have delivered. */
  readonly confirmedBy: readonly string[];
}

/** Rows of the fenced database. */
export interface Difference {
  readonly missing: readonly ReportRow[];
  readonly different: readonly ReportRow[];
  /** Of `people`: how many of each of `different` are nowhere in the new database. */
  readonly lacking: readonly number[];
}

/** Table by table. */
export async function lostOf(
  differenceOf: (table: ReportTable) => Promise<Difference>,
): Promise<Lost> {
  const notifications = (await differenceOf("notification")).missing;
  const people = await differenceOf("people");
  const recipients = await differenceOf("recipient");
  const outbox = await differenceOf("outbox");
  const tenants = await differenceOf("tenant");
  const apiKeys = await differenceOf("api_key");
  const homes = await differenceOf("recipient_home");
  const groups = await differenceOf("recipient_group");
  const timers = await differenceOf("timer");
  const policies = await differenceOf("tenant_policy");
  const templates = await differenceOf("template");
  const controls = await differenceOf("notification_control");
  const rates = await differenceOf("notification_rate");
  const lostIds = new Set(notifications.map(({ key }) => key[0]));
  const named = notifications.map((row) => [row, notificationOf(row)] as const);
  const isAcceptedHere = ({ about }: ReportRow): boolean => about["isAcceptedHere"] === true;
  return {
    accepted: named.flatMap(([row, one]) => (isAcceptedHere(row) ? one : [])),
    relayedIn: named.flatMap(([row, one]) => (isAcceptedHere(row) ? [] : one)),
    ledgerRows: people.missing.map(peopleOf),
    outcomes: people.different.map((row, at) => ({
      ...peopleOf(row),
      lostCount: people.lacking[at] ?? 0,
    })),
    recipients: bothOf(recipients, recipientOf),
    tenants: bothOf(tenants, ({ key: [tenantId = ""] }, isNew) => ({ tenantId, isNew })),
    apiKeys: bothOf(apiKeys, ({ key: [keyId = ""], about }, isNew) => ({
      tenantId: textOf(about["tenantId"]),
      keyId,
      isNew,
      isRevoked: about["isRevoked"] === true,
    })),
    homes: bothOf(homes, ({ key: [tenantId = "", recipientId = ""], about }, isNew) => ({
      tenantId,
      recipientId,
      home: textOf(about["home"]),
      isNew,
    })),
    groups: bothOf(groups, ({ key: [tenantId = "", groupId = ""], about }, isNew) => ({
      tenantId,
      groupId,
      isNew,
      isDeleted: about["isDeleted"] === true,
    })),
    timers: bothOf(timers, timerOf),
    policies: bothOf(policies, ({ key: [tenantId = ""] }, isNew) => ({ tenantId, isNew })),
    templates: bothOf(templates, templateOf),
    controls: bothOf(controls, ({ key: [notificationId = ""], about }, isNew) => ({
      tenantId: textOf(about["tenantId"]),
      notificationId,
      state: textOf(about["state"]),
      isNew,
    })),
    rates: bothOf(rates, ({ key: [notificationId = ""], about }, isNew) => ({
      tenantId: textOf(about["tenantId"]),
      notificationId,
      ratePerMinute: typeof about["ratePerMinute"] === "number" ? about["ratePerMinute"] : null,
      isNew,
    })),
    // A row that the new host has sent is gone there, and not lost: its notification is the witness.
    outbox: [...outbox.missing, ...outbox.different].flatMap(({ about }) => {
      const notificationId = textOf(about["notificationId"]);
      if (!lostIds.has(notificationId)) return [];
      return { notificationId, targetRegion: textOf(about["targetRegion"]) };
    }),
  };
}

function bothOf<T>(
  { missing, different }: Difference,
  of: (row: ReportRow, isNew: boolean) => T,
): T[] {
  return [...missing.map((row) => of(row, true)), ...different.map((row) => of(row, false))];
}

function notificationOf({ key, about }: ReportRow): LostNotification {
  const listOf = (name: string): string[] => textOf(about[name]).split(",").filter(Boolean);
  const targetRegions = listOf("targetRegions");
  const unsent = listOf("unsentTo");
  const acceptedRegion = textOf(about["acceptedRegion"]);
  const remotes = targetRegions.filter((region) => region !== acceptedRegion);
  return {
    id: key[0] ?? "",
    tenantId: textOf(about["tenantId"]),
    acceptedRegion,
    targetRegions,
    confirmedBy:
      about["isAcceptedHere"] === true ? remotes.filter((region) => !unsent.includes(region)) : [],
  };
}

function peopleOf({ key: [notificationId = "", partition], about }: ReportRow): LostPeople {
  return {
    notificationId,
    partition: Number(partition),
    offsets: textOf(about["offsets"]).split(",").filter(Boolean).map(Number),
    peopleCount: Number(about["peopleCount"]),
    waitingCount: Number(about["waitingCount"]),
    isWhole: about["isWhole"] === true,
  };
}

function templateOf(
  { key: [tenantId = "", templateId = "", version], about }: ReportRow,
  isNew: boolean,
): LostTemplate {
  const isDeleted = about["isDeleted"] === true;
  return { tenantId, templateId, version: Number(version), isNew, isDeleted };
}

function recipientOf({ key }: ReportRow, isNew: boolean) {
  const [tenantId = "", recipientId = ""] = key;
  return { tenantId, recipientId, isNew };
}

function timerOf(
  { key: [partition, kind = "", key = ""], about }: ReportRow,
  isNew: boolean,
): LostTimer {
  const tenantId = textOf(about["tenantId"]);
  return {
    tenantId,
    partition: Number(partition),
    kind,
    key,
    dueAt: textOf(about["dueAt"]),
    isNew,
  };
}

function textOf(value: ReportRow["about"][string] | undefined): string {
  return typeof value === "string" ? value : "";
}
