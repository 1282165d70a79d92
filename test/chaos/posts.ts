// test/chaos/posts.ts
// What is posted while everything is killed: direct ones to three and broadcasts, some for a later time, some
// cancelled on their way.
import type { QuietHours } from "@carillon/contracts";
import { type RegionApi, until } from "../e2e/api.ts";
import type { InboxLog } from "../e2e/inbox-log.ts";

export const POSTERS_COUNT = 20;
const POST_EVERY_MS = 100; // of each poster
const BROADCAST_EVERY_POSTS = 500; // half of them are cancelled, half of these before their time
const LATER_EVERY_POSTS = 10;
const LATER_MAX_MS = 4_000;
const ANSWER_MAX_MS = 120_000;

export interface Person {
  readonly id: string;
  readonly home: string;
  readonly log: InboxLog | undefined;
}

export interface Posted {
  readonly title: string;
  readonly to: readonly Person[];
  /** Posted with a `sendAt`. */
  readonly isLater: boolean;
  /** Soon after it was accepted: for some before they were handed it, for others not. */
  readonly isCancelled: boolean;
}

export interface Posting {
  readonly poster: number;
  readonly people: readonly Person[];
  readonly accepted: Map<string, Posted>; // by id
  readonly state: { readonly isOver: boolean };
}

/** One after the other until it is over; each again under its key until it is answered 202. */
export async function post(
  api: RegionApi,
  { poster, people, accepted, state }: Posting,
): Promise<void> {
  for (let n = 0; !state.isOver; n++) {
    const title = `${poster}.${n}`;
    const count = n * POSTERS_COUNT + poster;
    const isBroadcast = count % BROADCAST_EVERY_POSTS === 0;
    const broadcastCount = count / BROADCAST_EVERY_POSTS;
    const isCancelled = isBroadcast && broadcastCount % 2 === 1;
    const isLater = isBroadcast ? broadcastCount % 4 === 3 : n % LATER_EVERY_POSTS === 0;
    const to = isBroadcast
      ? people
      : [0, 1, 2].map((step) => people[(n * 7 + poster * 3 + step * 31) % people.length]!);
    const body = {
      audience: isBroadcast ? { broadcast: true } : { recipients: to.map(({ id }) => id) },
      content: { en: { title } },
      ...(isLater && { sendAt: new Date(Date.now() + LATER_MAX_MS).toISOString() }),
    };
    const headers = { "idempotency-key": `chaos-${title}` };
    const id = await until(`${title} is accepted`, ANSWER_MAX_MS, async () => {
      const answer = await api.call<{ id: string }>("POST", "/v1/notifications", body, headers);
      return answer.status === 202 ? answer.body.id : undefined;
    });
    if (isCancelled)
      await until(`${title} is cancelled`, ANSWER_MAX_MS, async () => {
        const answer = await api.call("POST", `/v1/notifications/${id}/cancel`);
        return answer.status === 202 || undefined;
      });
    accepted.set(id, { title, to, isLater, isCancelled });
    await new Promise((resolve) => setTimeout(resolve, POST_EVERY_MS));
  }
}

export interface Quiet {
  readonly quietHours: QuietHours;
  readonly endsAtMs: number; // of the wall clock
}

/** Every day from an hour ago to a minute or two from now: what comes meanwhile is put off, and comes then. */
export function quietForAWhile(): Quiet {
  const endsAtMs = Math.floor((Date.now() + 120_000) / 60_000) * 60_000;
  const clockAt = (atMs: number): string => new Date(atMs).toISOString().slice(11, 16);
  const windows = [{ from: clockAt(endsAtMs - 3_600_000), until: clockAt(endsAtMs) }];
  const days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
  const quietHours = {
    timeZone: "UTC",
    days: Object.fromEntries(days.map((day) => [day, windows])),
  };
  return { quietHours, endsAtMs };
}
