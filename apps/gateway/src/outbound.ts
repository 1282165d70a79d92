// apps/gateway/src/outbound.ts
// Everything written to sockets within one turn of the loop leaves as one write per socket (W7).
//   GW6  Bytes keep their order, whoever writes: frames built here and `ws`' own share the stream.
//   GW7  A socket is corked at most until the end of the turn.
// Source: DESIGN §11, coalesced bursts are worth a factor of six.
import type { Scheduler } from "@carillon/kernel";
import type { Duplex } from "node:stream";

export class Outbound {
  readonly #scheduler: Scheduler;
  readonly #held = new Set<Duplex>();

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** What is written to the stream from now to the end of the turn leaves together. */
  hold(stream: Duplex): void {
    if (this.#held.has(stream)) return;
    if (this.#held.size === 0) this.#scheduler.defer(() => this.#flush());
    stream.cork();
    this.#held.add(stream);
  }

  /** Lets go what this stream holds, before the turn ends. */
  release(stream: Duplex): void {
    if (this.#held.delete(stream)) stream.uncork();
  }

  #flush(): void {
    for (const stream of this.#held) stream.uncork();
    this.#held.clear();
  }
}
