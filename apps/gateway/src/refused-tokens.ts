// apps/gateway/src/refused-tokens.ts
// Sockets whose token was refused. They hear of it only after a while: stock clients take an open
// for a success, forget their back-off and are back 10 ms after a close, with the same token.
//   GW26  A refused token ends its socket after `refusedHoldMinMs` to `refusedHoldMaxMs`, at random;
//         a join is answered with the reason meanwhile.
//   GW27  While `socketsMax` of them are held, a handshake with a refused token gets 503, which is
//         no open: its client backs off by itself. Who brings the token with the join is held in
//         any case: that socket may stay without a token for `authenticationMaxMs` anyway.
import { CLOSE_CODES } from "@carillon/contracts";
import type { Clock, Random } from "@carillon/kernel";
import type { Authentication } from "./authenticate.ts";

export interface RefusedLimits {
  readonly refusedHoldMinMs: number;
  readonly refusedHoldMaxMs: number;
  readonly refusedSocketsShare: number; // of socketsMax, from 0 to 1
}

/** `reason` answers a join (docs/protocol.md), `closeText` goes with the close code. */
export interface Refusal {
  readonly reason: "token_expired" | "unauthenticated";
  readonly closeCode: number;
  readonly closeText: string;
}

export function refusalOf(kind: Exclude<Authentication["kind"], "identity">): Refusal {
  const reason = kind === "expired" ? "token_expired" : "unauthenticated";
  const closeText = kind === "expired" ? "token expired" : "token not valid";
  return { reason, closeCode: CLOSE_CODES[reason], closeText };
}

export class RefusedTokens {
  readonly #limits: RefusedLimits;
  readonly #socketsMax: number;
  readonly #clock: Clock;
  readonly #random: Random;
  #heldCount = 0;

  constructor(limits: RefusedLimits & { socketsMax: number }, clock: Clock, random: Random) {
    this.#limits = limits;
    this.#socketsMax = Math.ceil(limits.socketsMax * limits.refusedSocketsShare);
    this.#clock = clock;
    this.#random = random;
  }

  get heldCount(): number {
    return this.#heldCount;
  }

  /** No room for another handshake that is accepted only to be refused (GW27). */
  get isFull(): boolean {
    return this.#heldCount >= this.#socketsMax;
  }

  /** Calls `onOver` when the socket has been held long enough. Returns what ends the holding. */
  hold(onOver: () => void): () => void {
    const { refusedHoldMinMs, refusedHoldMaxMs } = this.#limits;
    const holdMs = refusedHoldMinMs + this.#random.next() * (refusedHoldMaxMs - refusedHoldMinMs);
    const timer = this.#clock.setTimer(holdMs, onOver);
    let isHeld = true;
    this.#heldCount++;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#heldCount--;
      timer.cancel();
    };
  }
}
