// apps/cli/src/region/report.ts
// What a fenced database of a home holds that the new host's does not (ADR 0015): counts and ids, nothing
// of what rows say.
//   FO4  The report names what is missing, after comparing row by row, and guesses nothing: a node that
//        cannot compare as asked, since its build is older, ends it.
import type { HomeLook, HomeReply, ReportRow, ReportTable } from "@carillon/contracts";
import { ApiFault, type HomeApi } from "./home-api.ts";
import { type Difference, type Lost, lostOf } from "./report-lost.ts";

export interface LossReport {
  readonly home: string;
  readonly from: { readonly place: string; readonly epoch: number };
  readonly to: { readonly place: string; readonly epoch: number };
  readonly isPlanned: boolean;
  readonly replayedLsn: string | null;
  readonly replayedAt: string | null;
  readonly counts: Readonly<Record<keyof Lost, number>>;
  /** Whom the new database has nowhere, one for each notification. Of what was not expanded nobody knows. */
  readonly lostPeopleCount: number;
  readonly lost: Lost;
}

export type ReportOutcome =
  | { readonly kind: "report"; readonly report: LossReport }
  | { readonly kind: "refused"; readonly code: ReportRefusal; readonly reason: string };

export type ReportRefusal = "unknown_home" | "home_not_served" | "nothing_fenced";

const PAGE_COUNT = 500;
/** A row has a set of up to a partition's people, who are some thousand: far below a message's limit. */
const PEOPLE_PAGE_COUNT = 100;

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
  const sides: Sides = { home, from, to, salt };
  const lost = await lostOf((table) => differenceOf(api, sides, table));
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
      lostPeopleCount: sumOf([
        ...lost.ledgerRows.map(({ peopleCount }) => peopleCount),
        ...lost.outcomes.map(({ lostCount }) => lostCount),
      ]),
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

async function differenceOf(
  api: HomeApi,
  { home, from, to, salt }: Sides,
  table: ReportTable,
): Promise<Difference> {
  const missing: ReportRow[] = [];
  const different: ReportRow[] = [];
  const lacking: number[] = [];
  const limit = table === "people" ? PEOPLE_PAGE_COUNT : PAGE_COUNT;
  const snapshot = to.since?.snapshot ?? null;
  for (let after: readonly string[] | null = null; ;) {
    const page = await stepOf(api, home, from.place, {
      kind: "report",
      table,
      snapshot,
      after: after === null ? null : [...after],
      limit,
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
      lacking.push(...(compared.lacking ?? []));
    }
    after = rows.at(-1)?.key ?? after;
    if (isLast) return { missing, different, lacking };
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

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
