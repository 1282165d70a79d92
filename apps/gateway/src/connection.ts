// apps/gateway/src/connection.ts
// One WebSocket: reads Phoenix V2 frames, answers them, and notices when its client is gone, too
// slow, too eager or no longer entitled. Invariants:
//   GW20  A frame that cannot be read harms nobody else: it closes this connection with 1003.
//   GW21  At most `outboundMaxBytes` wait to leave, none for longer than `outboundMaxMs`: more
//         closes with 4008, and nothing durable is lost, as the client resumes (W6).
//   GW22  Frames are handled in order, also while a token is being checked.
import {
  CLOSE_CODES,
  encodeFrame,
  type Frame,
  INBOX_TOPIC,
  inboxJoinSchema,
  parseFrame,
} from "@carillon/contracts";
import { type Clock, TokenBucket } from "@carillon/kernel";
import type { Socket } from "node:net";
import type { RawData, WebSocket } from "ws";
import type { Authentication, Authenticator } from "./authenticate.ts";
import { parseBinaryPush } from "./binary-push.ts";
import type { Identity, Reply } from "./inbox-session.ts";
import { InboxTopic } from "./inbox-topic.ts";
import type { ConnectionLimits } from "./limits.ts";
import type { Outbound } from "./outbound.ts";
import { type Refusal, refusalOf, type RefusedTokens } from "./refused-tokens.ts";
import type { SessionHub } from "./session-hub.ts";

export interface ConnectionDeps {
  readonly hub: Pick<SessionHub, "open" | "close" | "ack" | "receipt">;
  readonly outbound: Outbound;
  readonly authenticator: Authenticator;
  readonly refusedTokens: RefusedTokens;
  readonly clock: Clock;
  readonly limits: ConnectionLimits;
  readonly nextSid: () => number;
  /** Told once. `code`: ours where we closed, otherwise the client's. */
  readonly onClosed: (connection: Connection, code: number) => void;
}

const UNSUPPORTED_DATA = 1003; // RFC 6455 §7.4.1
const ACK_COST = 0.1; // of a message: a recovered tail may be acked one by one

export class Connection {
  readonly #deps: ConnectionDeps;
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #bucket: TokenBucket;
  readonly #inbox: InboxTopic;
  readonly #openedAtMs: number;
  #identity: Identity | null;
  #refusal: (Refusal & { readonly release: () => void }) | null = null; // held until it is closed
  #closeCode: number | null = null; // not null: closed by us
  #closeDeadlineMs = Infinity;
  #heardAtMs: number; // frame or pong
  #framedAtMs: number; // frame
  #pingedAtMs: number;
  #leftBytes = 0; // what had left when bytes were last seen waiting
  #stalledAtMs: number | null = null; // since then nothing has left
  #deferred: Frame[] | null = null; // not null: a token is being checked (GW22)

  constructor(ws: WebSocket, socket: Socket, identity: Identity | null, deps: ConnectionDeps) {
    this.#ws = ws;
    this.#socket = socket;
    this.#identity = identity;
    this.#deps = deps;
    const { clock, hub, limits, nextSid } = deps;
    const nowMs = clock.monotonicMs();
    this.#openedAtMs = this.#heardAtMs = this.#framedAtMs = this.#pingedAtMs = nowMs;
    const { inboundPerSecond: perSecond, inboundBurst: burstCount } = limits;
    this.#bucket = new TokenBucket({ perSecond, burstCount }, clock);
    this.#inbox = new InboxTopic({ hub, outlet: this, nextSid });
    ws.on("message", (data, isBinary) => this.#onMessage(data, isBinary));
    ws.on("pong", () => void (this.#heardAtMs = clock.monotonicMs()));
    ws.on("error", () => undefined); // a broken frame or socket: `close` follows
    ws.on("close", (code) => this.#onClose(code));
  }

  get isOpen(): boolean {
    return this.#closeCode === null;
  }

  /** Bytes that wait to leave. */
  get waitingBytes(): number {
    return this.#socket.writableLength;
  }

  reply({ joinRef, ref, topic, status, response }: Reply): void {
    if (ref !== null) this.#send([joinRef, ref, topic, "phx_reply", { status, response }]);
  }

  push(joinRef: string | null, event: "phx_error" | "phx_close"): void {
    this.#send([joinRef, joinRef, INBOX_TOPIC, event, {}]);
  }

  /** Writes a ready frame; it leaves with everything else of this turn (W7). */
  writeFrame(frame: Buffer): void {
    if (!this.isOpen) return;
    this.#deps.outbound.hold(this.#socket);
    this.#socket.write(frame);
    this.#checkOutbound();
  }

  /** Starts the closing handshake; the socket is gone after `closeMaxMs` at the latest. */
  close(code: number, reason: string): void {
    if (!this.isOpen) return;
    this.#closeCode = code;
    this.#closeDeadlineMs = this.#deps.clock.monotonicMs() + this.#deps.limits.closeMaxMs;
    this.#refusal?.release();
    this.#inbox.close();
    this.#ws.close(code, reason);
  }

  /** Its token was refused: it is closed, but not at once (GW26). */
  refuse(kind: Exclude<Authentication["kind"], "identity">): void {
    if (!this.isOpen || this.#refusal !== null) return;
    const refusal = refusalOf(kind);
    const onOver = (): void => this.close(refusal.closeCode, refusal.closeText);
    this.#refusal = { ...refusal, release: this.#deps.refusedTokens.hold(onOver) };
  }

  terminate(): void {
    this.#ws.terminate();
  }

  /** Called every now and then: all that depends on time. */
  check(nowMs: number, wallNowMs: number): void {
    if (!this.isOpen) {
      if (nowMs >= this.#closeDeadlineMs) this.#ws.terminate();
      return;
    }
    const { limits } = this.#deps;
    if (this.#identity === null) {
      if (this.#refusal === null && nowMs - this.#openedAtMs >= limits.authenticationMaxMs)
        return this.close(CLOSE_CODES.unauthenticated, "no token");
    } else if (wallNowMs >= this.#identity.expiresAtMs)
      return this.close(CLOSE_CODES.token_expired, "token expired");
    if (
      nowMs - this.#heardAtMs >= limits.halfOpenMaxMs ||
      nowMs - this.#framedAtMs >= limits.silenceMaxMs
    )
      return this.close(CLOSE_CODES.silent, "silent");
    if (this.#hasStalled(nowMs)) return this.#closeSlow();
    this.#inbox.check(nowMs);
    if (nowMs - this.#pingedAtMs >= limits.pingEveryMs) {
      this.#pingedAtMs = nowMs;
      this.#ws.ping();
    }
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (!this.isOpen) return;
    this.#heardAtMs = this.#framedAtMs = this.#deps.clock.monotonicMs();
    const bytes = Buffer.isBuffer(data) ? data : Buffer.alloc(0); // `ws` gives nothing else here
    if (isBinary) return this.#onBinary(bytes);
    const parsed = parseFrame(bytes.toString("utf8"));
    if (parsed.kind === "malformed") return this.close(UNSUPPORTED_DATA, "malformed frame");
    const { frame } = parsed;
    if (!this.#bucket.take(frame[3] === "ack" ? ACK_COST : 1)) return this.#closeEager();
    if (this.#deferred === null) this.#onFrame(frame);
    else this.#deferred.push(frame);
  }

  #onBinary(bytes: Buffer): void {
    if (!this.#bucket.take()) return this.#closeEager();
    const push = parseBinaryPush(bytes);
    if (push === null) return this.close(UNSUPPORTED_DATA, "malformed frame");
    const { joinRef, ref, topic } = push;
    const response = { reason: "binary payloads are not supported" };
    this.reply({ joinRef, ref, topic, status: "error", response });
  }

  #onFrame(frame: Frame): void {
    const [, ref, topic, event] = frame;
    if (topic === INBOX_TOPIC)
      return event === "phx_join" ? this.#onJoin(frame) : this.#inbox.handle(frame);
    if (topic === "phoenix" && event === "heartbeat")
      return this.reply({ joinRef: null, ref, topic, status: "ok", response: {} });
    const joinRef = event === "phx_join" ? frame[0] : null;
    const response = { reason: "unmatched topic" };
    this.reply({ joinRef, ref, topic, status: "error", response });
  }

  #onJoin(frame: Frame): void {
    const { clock, limits } = this.#deps;
    if (this.#identity !== null)
      return this.#inbox.join(frame, this.#identity, clock.monotonicMs() + limits.joinMaxMs);
    const [joinRef, ref, topic, , payload] = frame;
    const join = inboxJoinSchema.safeParse(payload);
    if (this.#refusal === null && join.success && join.data.token !== undefined)
      return void this.#authenticate(join.data.token, frame);
    const response = { reason: this.#refusal?.reason ?? "unauthenticated" };
    this.reply({ joinRef, ref, topic, status: "error", response });
  }

  /** Reads nothing until the token is checked; never rejects. */
  async #authenticate(token: string, join: Frame): Promise<void> {
    this.#deferred = [];
    this.#ws.pause();
    const authentication = await this.#deps.authenticator.authenticate(token);
    const deferred = this.#deferred;
    this.#deferred = null;
    this.#ws.resume();
    if (!this.isOpen) return;
    if (authentication.kind === "identity") this.#identity = authentication.identity;
    else this.refuse(authentication.kind);
    for (const frame of [join, ...deferred]) if (this.isOpen) this.#onFrame(frame);
  }

  #send(frame: Frame): void {
    if (!this.isOpen) return;
    this.#deps.outbound.hold(this.#socket);
    this.#ws.send(encodeFrame(frame));
    this.#checkOutbound();
  }

  /** GW21. What is only held for this turn leaves first: a long tail is no slow consumer. */
  #checkOutbound(): void {
    const { outboundMaxBytes } = this.#deps.limits;
    if (this.#socket.writableLength <= outboundMaxBytes) return;
    this.#deps.outbound.release(this.#socket);
    if (this.#socket.writableLength > outboundMaxBytes) this.#closeSlow();
  }

  #hasStalled(nowMs: number): boolean {
    const waitingBytes = this.#socket.writableLength;
    if (waitingBytes === 0) {
      this.#stalledAtMs = null;
      return false;
    }
    const leftBytes = this.#socket.bytesWritten - waitingBytes;
    if (this.#stalledAtMs === null || leftBytes > this.#leftBytes) this.#stalledAtMs = nowMs;
    this.#leftBytes = leftBytes;
    return nowMs - this.#stalledAtMs >= this.#deps.limits.outboundMaxMs;
  }

  #closeSlow(): void {
    this.close(CLOSE_CODES.slow_consumer, "slow consumer");
  }

  #closeEager(): void {
    this.close(CLOSE_CODES.too_many_messages, "too many messages");
  }

  #onClose(code: number): void {
    const isOurs = this.#closeCode !== null;
    this.#closeCode ??= code;
    this.#refusal?.release();
    if (!isOurs) this.#inbox.close();
    this.#deps.onClosed(this, this.#closeCode);
  }
}
