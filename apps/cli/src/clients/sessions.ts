// apps/cli/src/clients/sessions.ts
// Many employees' sessions in one process, by the client SDK.
//   DM2  An ack is told when it is handed to the socket, not when the notification came: what is
//        measured is accept → ack.
//   DM3  At most `OPENING_MAX` connections are being opened at once.
import { createInbox, createSharedTimers, type Inbox, type SocketLike } from "@carillon/client";
import type { NtfPayload } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";

export interface SessionPlan {
  readonly recipientId: string;
  readonly home: string;
  readonly region: string; // where it connects
  readonly socketUrl: string;
  readonly token: string;
}

export interface Acked {
  readonly plan: SessionPlan;
  readonly notificationId: string;
  /** From the accepting node's clock to this process's: the same machine here. */
  readonly latencyMs: number;
}

export interface SessionsOptions {
  readonly onAck: (acked: Acked) => void;
  /** As soon as the app has it. An ack may wait for others, up to 250 ms. */
  readonly onShown?: (shown: Acked) => void;
}

const OPENING_MAX = 64;
const POLL_MS = 50;

export class Sessions {
  readonly #clock: Clock;
  readonly #onAck: (acked: Acked) => void;
  readonly #onShown: ((shown: Acked) => void) | undefined;
  readonly #timers = createSharedTimers();
  readonly #inboxes: Inbox[] = [];
  #liveCount = 0;
  #isClosed = false;

  constructor(options: SessionsOptions, clock: Clock) {
    this.#onAck = options.onAck;
    this.#onShown = options.onShown;
    this.#clock = clock;
  }

  get liveCount(): number {
    return this.#liveCount;
  }

  /** Resolves when all are live, or after `maxMs`; returns how many are live then. */
  async open(plans: readonly SessionPlan[], maxMs: number): Promise<number> {
    const endMs = this.#clock.monotonicMs() + maxMs;
    const target = this.#liveCount + plans.length;
    let next = 0;
    while (!this.#isClosed && this.#clock.monotonicMs() < endMs && this.#liveCount < target) {
      const openingCount = this.#inboxes.length - this.#liveCount;
      for (let free = OPENING_MAX - openingCount; free > 0 && next < plans.length; free--)
        this.#openOne(plans[next++]);
      // oxlint-disable-next-line no-await-in-loop -- a window over many openings
      await this.#clock.sleep(next < plans.length ? 2 : POLL_MS / 5);
    }
    return this.#liveCount;
  }

  close(): void {
    this.#isClosed = true;
    for (const inbox of this.#inboxes.splice(0)) inbox.close();
    this.#liveCount = 0;
  }

  #openOne(plan: SessionPlan | undefined): void {
    if (plan === undefined) return;
    const pending: NtfPayload[] = []; // shown, not acked yet; ascending by offset
    let isLive = false;
    const inbox = createInbox({
      url: plan.socketUrl,
      token: () => plan.token,
      device: "carillon-cli",
      timers: this.#timers,
      connect: (url, protocols) =>
        observeAcks(new WebSocket(url, protocols), (offset) => this.#acked(plan, pending, offset)),
      onNotification: (notification) => {
        pending.push(notification);
        this.#onShown?.(this.#told(plan, notification));
      },
      onStateChange: (state) => {
        if (this.#isClosed || (state === "live") === isLive) return;
        isLive = state === "live";
        this.#liveCount += isLive ? 1 : -1;
      },
    });
    this.#inboxes.push(inbox);
  }

  #acked(plan: SessionPlan, pending: NtfPayload[], offset: number): void {
    let first = pending[0];
    while (first !== undefined && first.offset <= offset) {
      pending.shift();
      this.#onAck(this.#told(plan, first));
      first = pending[0];
    }
  }

  #told(plan: SessionPlan, { id, acceptedAtMs }: NtfPayload): Acked {
    return { plan, notificationId: id, latencyMs: this.#clock.wallClockMs() - acceptedAtMs };
  }
}

const ACK_FRAME = /^\[[^,]*,[^,]*,"inbox","ack",\{"offset":(\d+)\}\]$/;

/** DM2. The same socket, but for `send`. */
function observeAcks(socket: WebSocket, onAck: (offset: number) => void): SocketLike {
  const plainSend = socket.send.bind(socket);
  return Object.assign(socket, {
    send(text: string) {
      plainSend(text);
      const offset = ACK_FRAME.exec(text)?.[1];
      if (offset !== undefined) onAck(Number(offset));
    },
  });
}
