// apps/ingest/src/status.ts
// What became of a notification (A4, DESIGN §5.7): popcounts of every target region, added up.
//   IN25 Any region answers: one without a copy asks the others before it says 404.
//   IN26 A region that does not answer in time is named `unreachable`, with zeros; never left out.
import type { Bus } from "@carillon/bus";
import {
  COUNT_NAMES,
  decodeMessage,
  encodeMessage,
  type Notification,
  isStopped,
  type NotificationStatus,
  type RateRecord,
  type RegionStatus,
  statusReplySchema,
  type StatusReply,
  type StatusSummary,
  subjects,
  TERMINAL_COUNT_NAMES,
  zeroCounts,
} from "@carillon/contracts";
import type { Store } from "@carillon/store";
import { type Answer, invalidField, ok, problem, type ProblemAnswer } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import type { Call } from "./http-server.ts";

export interface Statuses {
  /** What every region that may know it says; null: no answer. `isWhole`: with the notification itself. */
  ask(
    tenantId: string,
    notificationId: string,
    options?: { readonly isWhole: boolean },
  ): Promise<Replies>;
  get(call: Call<KeyCaller>): Promise<Answer>;
  /** This region's part; `summary` null when it holds no copy. Throws Fault. */
  readHere(
    tenantId: string,
    notificationId: string,
    options?: { readonly isWhole: boolean },
  ): Promise<StatusReply>;
}

export interface StatusOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly requestTimeoutMs: number; // 2,000
}

/** By region; null: no answer. */
export type Replies = ReadonlyMap<string, StatusReply | null>;

const PART = { isWhole: false };
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const EMPTY_ID = "00000000-0000-0000-0000-000000000000";

export function createStatuses(
  options: StatusOptions,
  deps: { readonly store: Store; readonly bus: Bus },
): Statuses {
  const { region, regions } = options;
  const { store, bus } = deps;

  const readHere: Statuses["readHere"] = async (tenantId, notificationId, part = PART) => {
    if (!UUID.test(notificationId)) return { state: "waiting", counts: zeroCounts() };
    const [details, progress, control, changedRate] = await Promise.all([
      store.notifications.get(tenantId, notificationId),
      store.notifications.countsOf({ home: region, tenantId }, [notificationId]),
      store.controls.find(tenantId, notificationId),
      store.rates.find(tenantId, notificationId),
    ]);
    const own = progress.get(notificationId) ?? { state: "waiting", counts: zeroCounts() };
    if (details === undefined) return { ...own, summary: null };
    const { notification, isAcceptedHere, targetRegions, unknownCount } = details;
    const summary: StatusSummary = {
      acceptedAtMs: notification.acceptedAtMs,
      acceptedRegion: notification.acceptedRegion,
      priority: notification.priority,
      targetRegions: isAcceptedHere ? [...targetRegions] : null,
      unknownCount: isAcceptedHere ? unknownCount : null,
      ...(notification.sendAtMs === undefined ? {} : { sendAtMs: notification.sendAtMs }),
      ...(control === undefined ? {} : { control: control.state }),
      ...rateIn(notification, changedRate),
      ...(part.isWhole ? { notification } : {}),
    };
    return { ...own, summary };
  };

  const readThere = async (
    target: string,
    request: { readonly tenantId: string; readonly notificationId: string },
  ): Promise<StatusReply | null> => {
    const data = encodeMessage(request);
    const subject = subjects.regionStatus(target);
    const outcome = await bus.request(subject, data, options.requestTimeoutMs);
    if (outcome.kind !== "reply") return null;
    const decoded = decodeMessage(statusReplySchema, outcome.data);
    return decoded.kind === "message" ? decoded.message : null;
  };

  const askAll: Statuses["ask"] = async (tenantId, id, part = PART) => {
    const own = await readHere(tenantId, id, part);
    const request = { tenantId, notificationId: id, ...part };
    const asked = (own.summary?.targetRegions ?? regions).filter((target) => target !== region);
    const others = await Promise.all(
      asked.map(async (target) => [target, await readThere(target, request)] as const),
    );
    return new Map([[region, own], ...others]);
  };

  return {
    readHere,
    ask: askAll,
    async get({ caller, params }) {
      const id = notificationIdOf(params["id"]);
      if (typeof id !== "string") return id;
      return answerOf(id, await askAll(caller.tenantId, id), regions);
    },
  };
}

/** In lower case, as it is stored. */
export function notificationIdOf(text: string | undefined): string | ProblemAnswer {
  const id = text?.toLowerCase() ?? "";
  if (UUID.test(id) && id !== EMPTY_ID) return id;
  return invalidField("id", "must be a notification id");
}

/** What is in force: as it was changed last, or as it was posted. */
function rateIn(
  { throttle }: Pick<Notification, "throttle">,
  changed: RateRecord | undefined,
): Pick<StatusSummary, "rate"> {
  const { ratePerMinute } = changed ?? throttle ?? {};
  if (ratePerMinute === undefined) return {};
  return {
    rate: { ratePerMinute, ...(throttle && { targetedCount: throttle.targetedCount }) },
  };
}

/** Undefined: no region that answered has a copy. The accepting one knows most. */
export function summaryOf(replies: Replies): StatusSummary | undefined {
  const held = [...replies.values()].flatMap((reply) => reply?.summary ?? []);
  return held.find(({ targetRegions }) => targetRegions !== null) ?? held[0];
}

/** As the regions that answered have it, and what any of them has heard of it that stops it. */
export function wholeOf(replies: Replies): Pick<StatusSummary, "notification" | "control"> {
  const held = [...replies.values()].flatMap((reply) => reply?.summary ?? []);
  const stopped = held.find(({ control }) => control !== undefined && isStopped(control));
  const notification = held.find((summary) => summary.notification !== undefined)?.notification;
  return {
    ...(notification !== undefined && { notification }),
    ...(stopped?.control !== undefined && { control: stopped.control }),
  };
}

/** Regions that the notification is for, in the order configured; or why that cannot be told. */
export function targetsOf(
  replies: Replies,
  regions: readonly string[],
): readonly string[] | ProblemAnswer {
  const summary = summaryOf(replies);
  if (summary === undefined) return unknownProblem(replies);
  const targets = summary.targetRegions ?? likelyTargetsOf(replies);
  return regions.filter((target) => targets.includes(target));
}

function unknownProblem(replies: Replies): ProblemAnswer {
  return [...replies.values()].includes(null)
    ? problem("region_unreachable", {
        detail: "No region that answered knows it, and not every region answered.",
        headers: { "retry-after": "5" },
      })
    : problem("not_found");
}

/** Pure: puts the answers of the regions together. */
export function answerOf(id: string, replies: Replies, regions: readonly string[]): Answer {
  const summary = summaryOf(replies);
  if (summary === undefined) return unknownProblem(replies);
  const targets = summary.targetRegions ?? likelyTargetsOf(replies);
  const statuses = regions
    .filter((target) => targets.includes(target))
    .map((target) => regionStatusOf(target, replies.get(target) ?? null));
  return ok(200, statusOf(id, summary, statuses));
}

/** The accepting region is silent: those with a copy, and those that may have one. */
function likelyTargetsOf(replies: Replies): string[] {
  return [...replies].flatMap(([target, reply]) =>
    reply === null || (reply.summary ?? null) !== null ? [target] : [],
  );
}

function regionStatusOf(region: string, reply: StatusReply | null): RegionStatus {
  if (reply === null) return { region, state: "unreachable", counts: zeroCounts() };
  return { region, state: reply.state, counts: reply.counts };
}

function wholeStateOf(regions: readonly RegionStatus[]): NotificationStatus["state"] {
  const areAll = (wanted: RegionStatus["state"]): boolean =>
    regions.every(({ state }) => state === wanted);
  if (areAll("finished")) return "finished";
  return areAll("scheduled") ? "scheduled" : "delivering";
}

function statusOf(
  id: string,
  summary: StatusSummary,
  regions: readonly RegionStatus[],
): NotificationStatus {
  const counts = zeroCounts();
  for (const { counts: part } of regions)
    for (const name of COUNT_NAMES) counts[name] += part[name];
  const terminal = TERMINAL_COUNT_NAMES.reduce((sum, name) => sum + counts[name], 0);
  return {
    id,
    acceptedAt: new Date(summary.acceptedAtMs).toISOString(),
    acceptedRegion: summary.acceptedRegion,
    priority: summary.priority,
    ...(summary.sendAtMs === undefined ? {} : { sendAt: new Date(summary.sendAtMs).toISOString() }),
    state: wholeStateOf(regions),
    ...(summary.control === undefined ? {} : { control: summary.control }),
    ...(summary.rate === undefined ? {} : { ratePerMinute: summary.rate.ratePerMinute }),
    counts: { ...counts, unknown: summary.unknownCount ?? 0, pending: counts.targeted - terminal },
    regions,
  };
}
