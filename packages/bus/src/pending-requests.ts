// packages/bus/src/pending-requests.ts
// Requests that wait for their answer, and what is said when none comes.
//   BU4  Each ends: by its answer, by the loss of its link, or at its time-out.
//   BU9  Half-way to its time-out a request asks the own server for a sign of life. `timeout` says
//        that there was one: the peer is silent. Without one it is `disconnected`: the own link is
//        down, though nobody has noticed yet.
//   BU11 Each has 96 random bits of its own in its reply subject: who was sent one request learns
//        nothing of the next. What answers any other token is dropped.
import type { Clock, Random } from "@carillon/kernel";
import type { RequestOutcome } from "./bus.ts";
import type { Link } from "./link.ts";

export const DISCONNECTED = { kind: "disconnected" } as const;

export interface PendingRequest {
  readonly token: string;
  readonly outcome: Promise<RequestOutcome>;
}

interface Entry {
  readonly link: Link | undefined; // undefined: to a subscriber in this process
  settle(outcome: RequestOutcome): void;
}

interface Probe {
  readonly link: Link;
  readonly answered: Promise<void>;
}

export interface PendingRequestsDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly onSilence: (whose: "peer" | "link") => void;
}

export class PendingRequests {
  readonly #clock: Clock;
  readonly #tokens: RequestTokens;
  readonly #onSilence: (whose: "peer" | "link") => void;
  readonly #entries = new Map<string, Entry>(); // by token
  #probe: Probe | undefined;

  constructor({ clock, random, onSilence }: PendingRequestsDeps) {
    this.#clock = clock;
    this.#tokens = new RequestTokens(random);
    this.#onSilence = onSilence;
  }

  start(link: Link | undefined, timeoutMs: number): PendingRequest {
    const token = this.#tokens.next();
    const outcome = new Promise<RequestOutcome>((resolve) => {
      const halfMs = Math.floor(timeoutMs / 2);
      let isLinkSilent = false;
      let timer = this.#clock.setTimer(link === undefined ? timeoutMs : halfMs, () => {
        if (link === undefined) return settle({ kind: "timeout" });
        isLinkSilent = true;
        void this.#signOfLife(link).then(() => (isLinkSilent = false));
        timer = this.#clock.setTimer(timeoutMs - halfMs, () => {
          this.#onSilence(isLinkSilent ? "link" : "peer");
          settle(isLinkSilent ? DISCONNECTED : { kind: "timeout" });
        });
      });
      const settle = (settled: RequestOutcome): void => {
        timer.cancel();
        this.#entries.delete(token);
        resolve(settled);
      };
      this.#entries.set(token, { link, settle });
    });
    return { token, outcome };
  }

  /** A token that is unknown has timed out, or got an answer before. */
  settle(token: string, outcome: RequestOutcome): void {
    this.#entries.get(token)?.settle(outcome);
  }

  /** Of one link, or all: no answer will come. */
  giveUp(link?: Link): void {
    for (const entry of [...this.#entries.values()])
      if (link === undefined || entry.link === link) entry.settle(DISCONNECTED);
  }

  /** One question to the server for all that ask while it is not answered. */
  #signOfLife(link: Link): Promise<void> {
    if (this.#probe?.link !== link) {
      const probe = { link, answered: link.sync() };
      this.#probe = probe;
      void this.#forgetAnswered(probe);
    }
    return this.#probe.answered;
  }

  async #forgetAnswered(probe: Probe): Promise<void> {
    await probe.answered;
    if (this.#probe === probe) this.#probe = undefined;
  }
}

const TOKEN_BYTES = 12; // 96 bits, as in the inbox's own name
const TOKEN_CHARS = 16; // of base64url, without padding
const TOKENS_AT_ONCE = 256; // one draw for each would cost more than the rest of a request's start

/** Random, and numbered behind that: no two are alike whatever the randomness is (BU11). */
class RequestTokens {
  readonly #random: Random;
  #drawn = "";
  #usedChars = 0;
  #count = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  next(): string {
    if (this.#usedChars === this.#drawn.length) {
      const bytes = this.#random.bytes(TOKENS_AT_ONCE * TOKEN_BYTES);
      this.#drawn = Buffer.from(bytes).toString("base64url");
      this.#usedChars = 0;
    }
    const secret = this.#drawn.slice(this.#usedChars, (this.#usedChars += TOKEN_CHARS));
    return secret + (++this.#count).toString(36);
  }
}
