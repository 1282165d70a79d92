// apps/cli/src/region/report.ts
// What a fenced database of a home holds that the new host's does not (ADR 0015): counts and ids, nothing
// of what rows say.
//   FO4  The report names what is missing, after comparing row by row, and guesses nothing: a node that
//        cannot compare as asked, since its build is older, ends it.
import type { HomeLook, HomeReply, ReportRow, ReportTable } from "@carillon/contracts";
import { ApiFault, type HomeApi } from "./home-api.ts";

export interface LossReport {
  readonly home: string;
  readonly from: { readonly place: string; readonly epoch: number };
  readonly to: { readonly place: string; readonly epoch: number };
  readonly isPlanned: boolean;
  readonly replayedLsn: string | null;
  readonly replayedAt: string | null;
  readonly counts: Readonly<Record<keyof Lost, number>>;
  readonly lost: Lost;
}

export interface Lost {
  /** Answered 202 in this home, or before in another region of which it is the home. */
  readonly accepted: readonly LostNotification[];
  /** Accepted elsewhere, and answered `committed` here: its sender will not send it again. */
  readonly relayedIn: readonly LostNotification[];
  readonly ledgerRows: readonly { notificationId: string; partition: number; offset: number }[];
  /** The row is there, with other outcomes: recorded after the copy, or there since. */
  readonly outcomes: readonly { notificationId: string; partition: number; offset: number }[];
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
  /** For other regions, of lost notifications, and not confirmed by them. */
  readonly outbox: readonly { notificationId: string; targetRegion: string }[];
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

export type ReportOutcome =
  | { readonly kind: "report"; readonly report: LossReport }
  | { readonly kind: "refused"; readonly code: ReportRefusal; readonly reason: string };

export type ReportRefusal = "unknown_home" | "home_not_served" | "nothing_fenced";

const PAGE_COUNT = 500;

/**
 * Throws ApiFault when a node does not answer on the way. `salt`: 32 hexadecimal digits, new for each
 * report: what a row says is small, and its plain digest would be found by trying.
 */
export async function reportLoss(api: HomeApi, home: string, salt: string): Promise<ReportOutcome> {
  const seen = (await api.homes()).find((one) => one.home === home);
  const refused = (code: ReportRefusal, reason: string): ReportOutcome => ({
    kind: "refused",
    code,
    reason,
  });
  if (seen === undefined) return refused("unknown_home", `there is no home region ${home}`);
  const to = seen.places.find(({ standing }) => standing === "serving");
  const from = seen.places.find(({ standing }) => standing === "fenced");
  if (to === undefined)
    return refused("home_not_served", `home ${home} is served by nobody who answers`);
  const wasMoved =
    seen.places.some(({ since }) => since !== null) || (seen.claim?.host ?? home) !== home;
  if (from === undefined)
    return refused(
      "nothing_fenced",
      wasMoved
        ? `no fenced database of home ${home} answers; start a node beside it, before it is made a copy again`
        : `home ${home} was never moved, so there is nothing to report`,
    );
  const lost = await lossOf(api, { home, from, to, salt });
  const counts = Object.fromEntries(
    Object.entries(lost).map(([name, rows]) => [name, (rows as unknown[]).length]),
  ) as LossReport["counts"];
  const placeOf = ({ place, claim }: HomeLook) => ({ place, epoch: claim?.epoch ?? 0 });
  const { since } = to;
  return {
    kind: "report",
    report: {
      home,
      from: placeOf(from),
      to: placeOf(to),
      isPlanned: since?.isPlanned ?? false,
      replayedLsn: since?.replayedLsn ?? null,
      replayedAt: since?.replayedAt ?? null,
      counts,
      lost,
    },
  };
}

interface Sides {
  readonly home: string;
  readonly from: HomeLook;
  readonly to: HomeLook;
  readonly salt: string;
}

async function lossOf(api: HomeApi, sides: Sides): Promise<Lost> {
  const notifications = (await differenceOf(api, sides, "notification")).missing;
  const ledger = await differenceOf(api, sides, "ledger");
  const recipients = await differenceOf(api, sides, "recipient");
  const outbox = await differenceOf(api, sides, "outbox");
  const tenants = await differenceOf(api, sides, "tenant");
  const apiKeys = await differenceOf(api, sides, "api_key");
  const homes = await differenceOf(api, sides, "recipient_home");
  const groups = await differenceOf(api, sides, "recipient_group");
  const timers = await differenceOf(api, sides, "timer");
  const lostIds = new Set(notifications.map(({ key }) => key[0]));
  const named = notifications.map((row) => [row, notificationOf(row)] as const);
  const isAcceptedHere = ({ about }: ReportRow): boolean => about["isAcceptedHere"] === true;
  return {
    accepted: named.flatMap(([row, one]) => (isAcceptedHere(row) ? one : [])),
    relayedIn: named.flatMap(([row, one]) => (isAcceptedHere(row) ? [] : one)),
    ledgerRows: ledger.missing.map(ledgerOf),
    outcomes: ledger.different.map(ledgerOf),
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
    // A row that the new host has sent is gone there, and not lost: its notification is the witness.
    outbox: [...outbox.missing, ...outbox.different].flatMap(({ about }) => {
      const notificationId = textOf(about["notificationId"]);
      if (!lostIds.has(notificationId)) return [];
      return { notificationId, targetRegion: textOf(about["targetRegion"]) };
    }),
  };
}

interface Difference {
  readonly missing: readonly ReportRow[];
  readonly different: readonly ReportRow[];
}

function bothOf<T>(
  { missing, different }: Difference,
  of: (row: ReportRow, isNew: boolean) => T,
): T[] {
  return [...missing.map((row) => of(row, true)), ...different.map((row) => of(row, false))];
}

async function differenceOf(
  api: HomeApi,
  { home, from, to, salt }: Sides,
  table: ReportTable,
): Promise<Difference> {
  const missing: ReportRow[] = [];
  const different: ReportRow[] = [];
  const snapshot = to.since?.snapshot ?? null;
  for (let after: readonly string[] | null = null; ;) {
    const page = await stepOf(api, home, from.place, {
      kind: "report",
      table,
      snapshot,
      after: after === null ? null : [...after],
      limit: PAGE_COUNT,
      salt,
    });
    if (page.kind !== "report") throw unlike(from, page);
    assertSalted(from, page);
    const { rows, isLast } = page;
    if (rows.length > 0) {
      const compared = await stepOf(api, home, to.place, { kind: "compare", table, rows, salt });
      if (compared.kind !== "compared") throw unlike(to, compared);
      assertSalted(to, compared);
      const at = (places: readonly number[]) => places.flatMap((place) => rows[place] ?? []);
      missing.push(...at(compared.missing));
      different.push(...at(compared.different));
    }
    after = rows.at(-1)?.key ?? after;
    if (isLast) return { missing, different };
  }
}

/** Digests with salt and without have nothing in common: every row would be told as different. */
function assertSalted({ place }: HomeLook, { isSalted }: { isSalted?: boolean | undefined }): void {
  if (isSalted === true) return;
  throw new ApiFault({
    code: "older_build",
    message: `a node in ${place} runs an older build, which cannot compare with this one's`,
  });
}

function unlike({ place }: HomeLook, { kind }: HomeReply): ApiFault {
  return new ApiFault({ code: "answered_unlike", message: `${place} answered ${kind}` });
}

async function stepOf(
  api: HomeApi,
  home: string,
  place: string,
  request: Parameters<HomeApi["step"]>[2],
) {
  const answer = await api.step(home, place, request);
  if (answer.kind === "reply") return answer.reply;
  throw new ApiFault({ code: answer.code, message: `${place}: ${answer.reason}` });
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

function ledgerOf({ key, about }: ReportRow) {
  const [notificationId = "", partition] = key;
  return { notificationId, partition: Number(partition), offset: Number(about["offset"]) };
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
