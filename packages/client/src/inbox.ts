// packages/client/src/inbox.ts
// An employee's inbox over a WebSocket that resumes (W2, W3, W5). Invariants:
//   CN2  `onNotification` sees each offset at most once, in ascending order, also over reconnects.
//   CN7  So does `onWithdraw`, in one order with it: what is withdrawn is not shown afterwards. A hint (`onRead`)
//        moves no place, and is acked by nothing.
//   CN3  Acks are cumulative: the first at once, then at most one per 250 ms or 16 notifications.
//   CN4  Receipts (`read`, `acknowledge`) are repeated after a reconnect until they are answered.
//   CN5  After a stop code, or `close()`, nothing is sent and no callback is called any more.
//   CN6  An inbox has at most four timers and one socket at any time.
import {
  CLOSE_CODES,
  INBOX_TOPIC,
  type InboxJoined,
  isReconnectable,
  LIMITS,
  type NtfPayload,
  type ReadPayload,
  type WithdrawPayload,
} from "@carillon/contracts";
import { directedDelayMs, reconnectDelayMs, STABLE_AFTER_MS } from "./backoff.ts";
import type { Inbox, InboxOptions, InboxState, Position } from "./options.ts";
import { type Receipt, type ReceiptEvent, Receipts } from "./receipts.ts";
import { parseServerFrame, type ReplyPayload } from "./server-frame.ts";
import { openSocket, type SocketLike } from "./socket.ts";
import { systemRandom, systemTimers, type Timers } from "./timers.ts";

const HEARTBEAT_MS = 25_000;
const ACK_EVERY_MS = 250;
const ACK_EVERY_COUNT = 16;
const OPEN = 1;

/** Connects at once. */
export function createInbox(options: InboxOptions): Inbox {
  return new ResumingInbox(options);
}

type Event = "phx_join" | "heartbeat" | "ack" | ReceiptEvent;

class ResumingInbox implements Inbox {
  readonly #options: InboxOptions;
  readonly #timers: Timers;
  readonly #random: () => number;
  readonly #receipts = new Receipts();
  #state: InboxState = "waiting";
  #position: Position | null;
  #closeCode: number | null = null;
  #socket: SocketLike | null = null;
  #lastRef = 0;
  #joinRef = "";
  #heartbeatRef: string | null = null; // not answered yet
  #ackedOffset = 0;
  #unackedCount = 0;
  #attempt = 0; // since the last stable connection
  #liveAtMs = Infinity;
  #cancelHeartbeat: (() => void) | undefined;
  #cancelAck: (() => void) | undefined; // armed: an ack was sent less than 250 ms ago
  #cancelLimit: (() => void) | undefined; // of connecting and joining
  #cancelRetry: (() => void) | undefined;

  constructor(options: InboxOptions) {
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
    this.#random = options.random ?? systemRandom;
    this.#position = options.position ?? null;
    void this.#connect();
  }

  get state(): InboxState {
    return this.#state;
  }

  get position(): Position | null {
    return this.#position;
  }

  get closeCode(): number | null {
    return this.#closeCode;
  }

  read(offset: number): void {
    this.#receipt("read", offset);
  }

  acknowledge(offset: number): void {
    this.#receipt("acknowledge", offset);
  }

  close(): void {
    if (this.#state === "stopped") return;
    this.#ackNow();
    const socket = this.#socket;
    this.#stop();
    socket?.close(CLOSE_CODES.done);
  }

  async #connect(): Promise<void> {
    if (!this.#enter("connecting")) return;
    let token: string;
    try {
      token = await this.#options.token();
    } catch {
      return this.#retryLater(undefined); // the issuer is away; its error is the caller's to report
    }
    if (this.#hasStopped()) return; // meanwhile
    const { url, connect } = this.#options;
    const socket = openSocket({ url, token, connect });
    this.#socket = socket;
    const whenCurrent = (run: () => void): void => {
      if (this.#socket === socket) run();
    };
    socket.addEventListener("open", () => whenCurrent(() => this.#join()));
    socket.addEventListener("message", ({ data }) => whenCurrent(() => this.#onMessage(data)));
    socket.addEventListener("error", () => undefined); // `close` follows
    socket.addEventListener("close", ({ code, reason }) =>
      whenCurrent(() => this.#onClose(code, reason)),
    );
    this.#limit(() => this.#drop());
  }

  #join(): void {
    this.#cancelRetry?.();
    if (!this.#enter("joining")) return;
    const { device } = this.#options;
    this.#joinRef = this.#nextRef();
    this.#send(this.#joinRef, "phx_join", {
      ...this.#position,
      ...(device === undefined ? {} : { device }),
    });
    this.#cancelHeartbeat ??= this.#timers.after(HEARTBEAT_MS, () => this.#heartbeat());
    this.#limit(() => this.#drop());
  }

  #onMessage(data: unknown): void {
    const frame = typeof data === "string" ? parseServerFrame(data) : undefined;
    if (frame === undefined) return this.#drop(); // not our server, or a proxy that mangles
    const [joinRef, ref, topic, event, payload] = frame;
    if (topic === INBOX_TOPIC && event === "ntf") return this.#onNotification(payload);
    if (topic === INBOX_TOPIC && event === "withdraw") return this.#onWithdraw(payload);
    if (topic === INBOX_TOPIC && event === "read") return this.#onRead(payload);
    if (event === "phx_reply" && ref !== null) return this.#onReply(ref, payload);
    const isMine = topic === INBOX_TOPIC && joinRef === this.#joinRef;
    if (isMine && (event === "phx_error" || event === "phx_close")) this.#rejoinLater();
  }

  #onNotification(notification: NtfPayload): void {
    this.#onPlace(notification, () => this.#options.onNotification(notification)); // CN2
  }

  #onWithdraw(withdrawn: WithdrawPayload): void {
    this.#onPlace(withdrawn, () => this.#options.onWithdraw?.(withdrawn)); // CN7
  }

  #onRead(read: ReadPayload): void {
    if (this.#state === "live") this.#options.onRead?.(read);
  }

  /** Of an event with an offset of its own; `tell`: it is new. */
  #onPlace({ offset, epoch }: Position, tell: () => void): void {
    if (this.#state !== "live" || this.#position === null) return;
    this.#unackedCount++;
    if (offset > this.#position.offset) {
      this.#position = { offset, epoch };
      tell();
    } else this.#ackedOffset = 0; // a resend: the server has missed the ack
    if (this.#cancelAck === undefined || this.#unackedCount >= ACK_EVERY_COUNT) this.#ackNow();
  }

  #onReply(ref: string, { status, response }: ReplyPayload): void {
    if (ref === this.#heartbeatRef) this.#heartbeatRef = null;
    else if (ref === this.#joinRef && this.#state === "joining")
      if (status === "ok") this.#onJoined(response);
      else this.#rejoinLater();
    else this.#receipts.answered(ref);
  }

  #onJoined(joined: InboxJoined): void {
    this.#cancelLimit?.();
    const isResumed = joined.recovered && this.#position?.epoch === joined.epoch;
    if (!isResumed) this.#position = { offset: joined.offset, epoch: joined.epoch };
    this.#ackedOffset = this.#position?.offset ?? 0; // the join itself has told it
    this.#unackedCount = 0;
    this.#liveAtMs = this.#timers.nowMs();
    if (!this.#enter("live")) return;
    if (!joined.recovered) this.#options.onReset?.(joined);
    for (const receipt of this.#receipts.unanswered()) this.#sendReceipt(receipt); // CN4
  }

  #receipt(event: ReceiptEvent, offset: number): void {
    if (this.#state === "stopped") return;
    this.#receipts.add({ event, offset });
    if (this.#state === "live") this.#sendReceipt({ event, offset });
  }

  #sendReceipt({ event, offset }: Receipt): void {
    const ref = this.#nextRef();
    this.#receipts.sent({ event, offset }, ref);
    this.#send(ref, event, { offset });
  }

  /** CN3: an ack goes out, and for 250 ms the next ones are collected. */
  #ackNow(): void {
    const offset = this.#position?.offset ?? 0;
    if (this.#state !== "live" || offset <= this.#ackedOffset) return;
    this.#ackedOffset = offset;
    this.#unackedCount = 0;
    this.#send(null, "ack", { offset }); // without a ref: no answer is needed
    this.#cancelAck?.();
    this.#cancelAck = this.#timers.after(ACK_EVERY_MS, () => {
      this.#cancelAck = undefined;
      this.#ackNow();
    });
  }

  #heartbeat(): void {
    if (this.#heartbeatRef !== null) return this.#drop(); // the last one was not answered
    this.#heartbeatRef = this.#nextRef();
    this.#send(this.#heartbeatRef, "heartbeat", {});
    this.#cancelHeartbeat = this.#timers.after(HEARTBEAT_MS, () => this.#heartbeat());
  }

  /** The socket lives, the topic does not: joins again over the same socket. */
  #rejoinLater(): void {
    this.#cancelLimit?.();
    this.#cancelRetry?.();
    const delayMs = reconnectDelayMs(this.#nextAttempt(), this.#random);
    this.#cancelRetry = this.#timers.after(delayMs, () => this.#join());
    this.#enter("waiting");
  }

  /** Gives a socket up without waiting for its closing handshake. */
  #drop(): void {
    const socket = this.#socket;
    this.#onClose(0, "");
    socket?.close();
  }

  #onClose(code: number, reason: string): void {
    this.#closeCode = code;
    if (!isReconnectable(code)) return this.#stop();
    this.#leaveSocket();
    this.#retryLater(directedDelayMs(code, reason));
  }

  #retryLater(directedMs: number | undefined): void {
    if (this.#state === "stopped") return;
    const attempt = this.#nextAttempt();
    const delayMs = directedMs ?? reconnectDelayMs(attempt, this.#random);
    this.#cancelRetry = this.#timers.after(delayMs, () => void this.#connect());
    this.#enter("waiting");
  }

  #nextAttempt(): number {
    if (this.#timers.nowMs() - this.#liveAtMs >= STABLE_AFTER_MS) this.#attempt = 0;
    this.#liveAtMs = Infinity;
    return ++this.#attempt;
  }

  #stop(): void {
    this.#leaveSocket();
    this.#enter("stopped");
  }

  #leaveSocket(): void {
    this.#socket = null;
    this.#heartbeatRef = null;
    this.#cancelHeartbeat?.();
    this.#cancelAck?.();
    this.#cancelLimit?.();
    this.#cancelRetry?.();
    this.#cancelHeartbeat = this.#cancelAck = this.#cancelLimit = this.#cancelRetry = undefined;
  }

  #limit(onOver: () => void): void {
    this.#cancelLimit?.();
    this.#cancelLimit = this.#timers.after(LIMITS.joinMaxMs, onOver);
  }

  /** False: the callback has closed the inbox (CN5). */
  #enter(state: InboxState): boolean {
    if (this.#state !== state) {
      this.#state = state;
      this.#options.onStateChange?.(state);
    }
    return !this.#hasStopped();
  }

  #hasStopped(): boolean {
    return this.#state === "stopped";
  }

  #nextRef(): string {
    return String(++this.#lastRef);
  }

  #send(ref: string | null, event: Event, payload: object): void {
    if (this.#socket?.readyState !== OPEN) return;
    const isHeartbeat = event === "heartbeat";
    const joinRef = isHeartbeat ? null : this.#joinRef;
    const topic = isHeartbeat ? "phoenix" : INBOX_TOPIC;
    this.#socket.send(JSON.stringify([joinRef, ref, topic, event, payload]));
  }
}
