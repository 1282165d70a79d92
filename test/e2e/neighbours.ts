// test/e2e/neighbours.ts
// People who are sent one notification after the other while something goes on beside them, and how long each of
// these took from its 202 to the socket.
import { setTimeout as delay } from "node:timers/promises";
import { type RegionApi, until } from "./api.ts";
import type { InboxLog } from "./inbox-log.ts";

const POST_EVERY_MS = 20; // to one of them, whether earlier ones have arrived or not
const SHOWN_MAX_MS = 60_000;

interface Posted {
  readonly title: string;
  readonly log: InboxLog;
  readonly answeredAtMs: number;
}

export class Neighbours {
  readonly #api: RegionApi;
  readonly #people: readonly { readonly id: string; readonly log: InboxLog }[];
  #postedCount = 0;

  constructor(api: RegionApi, people: readonly { readonly id: string; readonly log: InboxLog }[]) {
    this.#api = api;
    this.#people = people;
  }

  /** Posts until `work` is done, and waits until all of it was shown. Milliseconds, ascending. */
  async latenciesDuring(work: Promise<unknown>): Promise<readonly number[]> {
    const state = { isOver: false };
    const end = work.finally(() => void (state.isOver = true));
    const posts: Promise<Posted>[] = [];
    while (!state.isOver) {
      posts.push(this.#post());
      await delay(POST_EVERY_MS);
    }
    await end;
    const posted = await Promise.all(posts);
    await until(
      "the neighbours were shown all",
      SHOWN_MAX_MS,
      () => this.#shownCount >= this.#postedCount || undefined,
    );
    return posted.map(latencyOf).toSorted((a, b) => a - b);
  }

  get postedCount(): number {
    return this.#postedCount;
  }

  get logs(): readonly InboxLog[] {
    return this.#people.map(({ log }) => log);
  }

  get #shownCount(): number {
    return this.#people.reduce((sum, { log }) => sum + log.seen.length, 0);
  }

  async #post(): Promise<Posted> {
    const n = this.#postedCount++;
    const { id, log } = this.#people[n % this.#people.length]!;
    const title = `neighbour ${n}`;
    await this.#api.post({ recipients: [id] }, title);
    return { title, log, answeredAtMs: performance.now() };
  }
}

/** How much longer it took than in quiet. */
export interface Delay {
  readonly text: string;
  readonly p50Ms: number;
  readonly p95Ms: number;
}

/**
 * Of a phase between two quiet ones. Other work on the machine lengthens the tail of any phase, so both quiet ones
 * count, and what is compared is the middle and the slowest twentieth: a partition that is held up moves both,
 * since everybody in it waits.
 */
export function delayOf(
  what: string,
  { quiet, beside }: { readonly quiet: readonly number[]; readonly beside: readonly number[] },
): Delay {
  const before = quiet.toSorted((a, b) => a - b);
  const text = `D7: ${what}: ${textOf(beside)} beside ${textOf(before)} in quiet`;
  console.info(text);
  const [p50Ms, p95Ms] = [0.5, 0.95].map((share) => at(beside, share) - at(before, share)) as [
    number,
    number,
  ];
  return { text, p50Ms, p95Ms };
}

/** The socket may be faster than the answer. */
function latencyOf({ title, log, answeredAtMs }: Posted): number {
  return Math.max(0, log.seenAtMs[log.titles.indexOf(title)]! - answeredAtMs);
}

function at(ascending: readonly number[], share: number): number {
  return ascending[Math.floor(share * (ascending.length - 1))]!;
}

function textOf(all: readonly number[]): string {
  const [p50, p95, most] = [0.5, 0.95, 1].map((share) => at(all, share).toFixed(1));
  return `p50 ${p50} ms, p95 ${p95} ms, most ${most} ms of ${all.length}`;
}
