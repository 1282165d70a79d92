// apps/gateway/src/connection.ts
// One WebSocket: reads Phoenix V2 frames, answers them, and notices when its client is gone, too
// slow, too eager or no longer entitled. Invariants:
//   GW20  A frame that cannot be read harms nobody else: it closes this connection with 1003.
//   GW21  At most `outboundMaxBytes` wait to leave, none for longer than `outboundMaxMs`: more
//         closes with 4008, and nothing durable is lost, as the client resumes (W6).
//   GW22  Frames are handled in order, also while a token is being checked: those of a joined topic
//         by its session's process, the others by the connection's. While some wait for this one,
//         all go by it, so that a topic's frames never overtake each other.
//   GW31  What throws in a connection ends its process only, with 1011; nobody else notices.
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
import { type BinaryPush, parseBinaryPush } from "./binary-push.ts";
import type { Identity, Reply } from "./inbox-session.ts";
import { InboxTopic } from "./inbox-topic.ts";
import type { ConnectionLimits } from "./limits.ts";
import type { Outbound } from "./outbound.ts";
import type { Processes } from "./processes.ts";
import { NO_SLOT, type Occupant, type ProcessSlots } from "./process-slots.ts";
import { type Refusal, refusalOf, type RefusedTokens } from "./refused-tokens.ts";
import type { SessionHub } from "./session-hub.ts";

export interface ConnectionDeps {
  readonly hub: Pick<SessionHub, "open" | "close" | "cast" | "ack" | "receipt">;
  readonly slots: ConnectionSlots;
  readonly outbound: Outbound;
  readonly authenticator: Authenticator;
  readonly refusedTokens: RefusedTokens;
  readonly clock: Clock;
  readonly limits: ConnectionLimits;
  readonly nextNumber: () => number; // of a connection, for people
  readonly nextSid: () => number;
  /** Told once. `code`: ours where we closed, otherwise the client's. */
  readonly onClosed: (connection: Connection, code: number) => void;
}

type ConnectionMessage =
  | { readonly kind: "frame"; readonly frame: Frame; readonly bytes: number }
  | { readonly kind: "binary"; readonly push: BinaryPush; readonly bytes: number }
  | { readonly kind: "close"; readonly code: number; readonly reason: string; readonly bytes: 0 };
export type ConnectionSlots = ProcessSlots<Connection, ConnectionMessage>;

const UNSUPPORTED_DATA = 1003; // RFC 6455 §7.4.1
const INTERNAL_ERROR = 1011; // likewise
const ACK_COST = 0.1; // of a message: a recovered tail may be acked one by one

/** The processes of all connections; `onCrash` counts. */
export function createConnectionSlots(processes: Processes, onCrash: () => void): ConnectionSlots {
  return processes.kind<Connection, ConnectionMessage>("connections", {
    onCast: (connection, message) => connection.handle(message),
    onStop: (connection) => connection.close(CLOSE_CODES.drain, ""),
    onCrash(connection) {
      onCrash();
      connection.abort();
    },
  });
}

export class Connection implements Occupant {
  slot = NO_SLOT;
  readonly #number: number;
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
  #waitingCount = 0; // for its process (GW22)
  #isClosing = false; // closes when its process has handled what waits; reads nothing more

  constructor(ws: WebSocket, socket: Socket, identity: Identity | null, deps: ConnectionDeps) {
    this.#ws = ws;
    this.#socket = socket;
    this.#identity = identity;
    this.#deps = deps;
    const { clock, hub, limits, nextNumber, nextSid, slots } = deps;
    this.#number = nextNumber();
    const nowMs = clock.monotonicMs();
    this.#openedAtMs = this.#heardAtMs = this.#framedAtMs = this.#pingedAtMs = nowMs;
    const { inboundPerSecond: perSecond, inboundBurst: burstCount } = limits;
    this.#bucket = new TokenBucket({ perSecond, burstCount }, clock);
    this.#inbox = new InboxTopic({ hub, outlet: this, nextSid });
    ws.on("message", (data, isBinary) => this.#onMessage(data, isBinary));
    ws.on("pong", () => void (this.#heardAtMs = clock.monotonicMs()));
    ws.on("error", () => undefined); // a broken frame or socket: `close` follows
    ws.on("close", (code) => this.#onClose(code));
    if (!slots.spawn(this)) this.close(CLOSE_CODES.drain, ""); // the gateway has stopped
  }

  get processKey(): string {
    const { tenantId, recipientId } = this.#identity ?? { tenantId: "-", recipientId: "-" };
    return `${tenantId}/${recipientId}@${this.#number}`;
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

  /** The node's wish: what throws here must not keep the others (GW31). */
  sendAway(reason: string): void {
    try {
      this.close(CLOSE_CODES.drain, reason);
    } catch (cause) {
      this.#deps.slots.fail(this, "close", cause);
    }
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

  /** Its process has crashed (GW31). */
  abort(): void {
    try {
      this.close(INTERNAL_ERROR, "internal error");
    } catch {
      this.terminate(); // what it holds is broken too: `close` of the socket follows
    }
  }

  /** In a turn of its process. */
  handle(message: ConnectionMessage): void | Promise<void> {
    this.#waitingCount--;
    if (!this.isOpen) return;
    if (message.kind === "frame") return this.#onFrame(message.frame, message.bytes);
    if (message.kind === "close") return this.close(message.code, message.reason);
    const { joinRef, ref, topic } = message.push;
    const response = { reason: "binary payloads are not supported" };
    this.reply({ joinRef, ref, topic, status: "error", response });
  }

  /** A frame that a session's process has not handled. */
  again(frame: Frame, bytes: number): void {
    this.#cast({ kind: "frame", frame, bytes });
  }

  /** Called every now and then: all that depends on time. */
  check(nowMs: number, wallNowMs: number): void {
    try {
      this.#check(nowMs, wallNowMs);
    } catch (cause) {
      this.#deps.slots.fail(this, "check", cause);
    }
  }

  #check(nowMs: number, wallNowMs: number): void {
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
    if (nowMs - this.#pingedAtMs >= limits.pingEveryMs) {
      this.#pingedAtMs = nowMs;
      this.#ws.ping();
    }
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (!this.isOpen || this.#isClosing) return;
    try {
      this.#heardAtMs = this.#framedAtMs = this.#deps.clock.monotonicMs();
      this.#read(Buffer.isBuffer(data) ? data : Buffer.alloc(0), isBinary); // `ws` gives nothing else
    } catch (cause) {
      this.#deps.slots.fail(this, "read", cause);
    }
  }

  #read(data: Buffer, isBinary: boolean): void {
    const bytes = data.length;
    if (isBinary) {
      if (!this.#bucket.take()) return this.#closeEager();
      const push = parseBinaryPush(data);
      if (push === null) return this.#closeSoon(UNSUPPORTED_DATA, "malformed frame");
      return this.#cast({ kind: "binary", push, bytes });
    }
    const parsed = parseFrame(data.toString("utf8"));
    if (parsed.kind === "malformed") return this.#closeSoon(UNSUPPORTED_DATA, "malformed frame");
    const { frame } = parsed;
    if (!this.#bucket.take(frame[3] === "ack" ? ACK_COST : 1)) return this.#closeEager();
    const isForSession = this.#waitingCount === 0 && frame[2] === INBOX_TOPIC; // GW22
    const outcome = isForSession ? this.#inbox.cast(frame, bytes) : "no_session";
    if (outcome === "no_session") this.#cast({ kind: "frame", frame, bytes });
    else if (outcome === "overloaded") this.#closeEager();
  }

  /** To its own process; what finds no room there is too much. */
  #cast(message: ConnectionMessage): void {
    const outcome = this.#deps.slots.cast(this, message);
    if (outcome === "accepted") this.#waitingCount++;
    else if (outcome === "overloaded") this.#closeEager();
  }

  #onFrame(frame: Frame, bytes: number): void | Promise<void> {
    const [, ref, topic, event] = frame;
    if (topic === INBOX_TOPIC) {
      const outcome = this.#inbox.cast(frame, bytes);
      if (outcome === "overloaded") return this.#closeEager();
      if (outcome === "accepted") return;
      return event === "phx_join" ? this.#onJoin(frame) : this.#inbox.handleOutside(frame);
    }
    if (topic === "phoenix" && event === "heartbeat")
      return this.reply({ joinRef: null, ref, topic, status: "ok", response: {} });
    const joinRef = event === "phx_join" ? frame[0] : null;
    const response = { reason: "unmatched topic" };
    this.reply({ joinRef, ref, topic, status: "error", response });
  }

  #onJoin(frame: Frame): void | Promise<void> {
    const { clock, limits } = this.#deps;
    if (this.#identity !== null)
      return this.#inbox.join(frame, this.#identity, clock.monotonicMs() + limits.joinMaxMs);
    const [joinRef, ref, topic, , payload] = frame;
    const join = inboxJoinSchema.safeParse(payload);
    if (this.#refusal === null && join.success && join.data.token !== undefined)
      return this.#authenticate(join.data.token, frame);
    const response = { reason: this.#refusal?.reason ?? "unauthenticated" };
    this.reply({ joinRef, ref, topic, status: "error", response });
  }

  /** Reads nothing until the token is checked; what came already waits for this turn's end. */
  async #authenticate(token: string, join: Frame): Promise<void> {
    this.#ws.pause();
    const authentication = await this.#deps.authenticator.authenticate(token);
    this.#ws.resume();
    if (!this.isOpen) return;
    if (authentication.kind === "identity") this.#identity = authentication.identity;
    else this.refuse(authentication.kind);
    await this.#onJoin(join);
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
    this.#closeSoon(CLOSE_CODES.too_many_messages, "too many messages");
  }

  /** Reads nothing more, and closes when what was read before is handled (GW22). */
  #closeSoon(code: number, reason: string): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    const outcome = this.#deps.slots.cast(this, { kind: "close", code, reason, bytes: 0 });
    if (outcome === "accepted") this.#waitingCount++;
    else this.close(code, reason);
  }

  #onClose(code: number): void {
    const { slots, onClosed } = this.#deps;
    const isOurs = this.#closeCode !== null;
    this.#closeCode ??= code;
    this.#refusal?.release();
    try {
      if (!isOurs) this.#inbox.close();
    } catch (cause) {
      slots.fail(this, "close", cause);
    }
    slots.exit(this);
    onClosed(this, this.#closeCode);
  }
}
