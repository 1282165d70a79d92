// packages/bus/src/nats-link.ts
// One connection of the `nats` client. Facts of 2.29.3 that shape this file (read and tried):
//   - With `reconnect` the client keeps what is published while it dials and sends it afterwards; a
//     link here never reconnects, so that nothing comes out late (BU1).
//   - The client's own stale check waits for the last write to be flushed before it closes, which a
//     stopped server with full socket buffers never allows: the heartbeat here closes by itself.
//   - A dial that times out leaks its socket: a server is asked for its greeting first.
//   - Output is unbounded: bytes that the server has not confirmed by a PONG are counted here (BU4).
//   - A subscriber that throws ends the client's reader silently: bus-core.ts catches (BU2).
import { assertNever, Fault, type Clock, type Timer } from "@carillon/kernel";
import {
  connect,
  ErrorCode,
  Events,
  type NatsConnection,
  NatsError,
  nkeyAuthenticator,
} from "nats";
import type { ConnectionOptions, Subscription, TlsOptions } from "nats";
import type { BusEvent } from "./events.ts";
import { type BusTls, handshakeOptionsOf, waitForGreeting } from "./greeting.ts";
import type { Link, LinkSubscription, LostReason, OnArrival, SendOutcome } from "./link.ts";

export interface NatsLinkOptions {
  readonly url: string;
  readonly name: string; // shown by the server's monitoring
  readonly credentials: NatsCredentials;
  readonly tls: BusTls | undefined;
  readonly dialMaxMs: number;
  readonly pingIntervalMs: number;
  readonly pingsOutMax: number;
  readonly outputMaxBytes: number;
  readonly clock: Clock;
  readonly onEvent: (event: BusEvent) => void;
}

export type NatsCredentials =
  | { readonly kind: "none" }
  | { readonly kind: "token"; readonly token: string }
  | { readonly kind: "user"; readonly user: string; readonly password: string }
  /** SU…; the server knows the public half, and the seed never leaves this process. */
  | { readonly kind: "nkey"; readonly seed: string };

/** A link whose server may say that it will end. */
export interface NatsServerLink extends Link {
  /** Resolves when the server is in lame duck mode; else never. */
  readonly lameDuck: Promise<void>;
  /** Takes no more messages; resolves when those under way were handed over. Replies still come. */
  retire(): Promise<void>;
}

/** Throws Fault `unreachable`, `unauthorized`, `tls` or `protocol`, all of them worth another try. */
export async function dialNats(options: NatsLinkOptions): Promise<NatsServerLink> {
  const greeting = await waitForGreeting(options);
  if (greeting.kind !== "greeted") throw dialFault(greeting.kind, options.url, greeting.cause);
  try {
    const connection = await connect({
      servers: [options.url],
      name: options.name,
      ...authOf(options.credentials),
      ...tlsOf(options),
      timeout: options.dialMaxMs,
      reconnect: false,
      ignoreClusterUpdates: true, // discovery says which servers there are
      noEcho: false,
      noAsyncTraces: true,
      resolve: false, // its own resolver reads no /etc/hosts
    });
    return new NatsLink(connection, options);
  } catch (cause) {
    throw dialFault(codeOf(cause), options.url, cause);
  }
}

export function hostOf(url: string): string {
  return new URL(url).host;
}

const NO_TLS: string = ErrorCode.ServerOptionNotAvailable; // the server has none, and we want it
const MARK_BYTES = 256 * 1024; // a confirmation is asked for this often; costs a PING and a PONG
const COMMAND_BYTES = 32; // PUB, lengths and line ends around subject and data; an estimate

class NatsLink implements NatsServerLink {
  readonly server: string;
  readonly payloadMaxBytes: number;
  readonly lost: Promise<LostReason>;
  readonly #lameDuck = Promise.withResolvers<void>();
  readonly #subscriptions = new Set<Subscription>();
  readonly #connection: NatsConnection;
  readonly #options: NatsLinkOptions;
  #heartbeat: Timer;
  #pingsOutCount = 0;
  #lostReason: LostReason = "closed";
  #sentBytes = 0;
  #markedBytes = 0; // a confirmation was asked for when so much was sent
  #confirmedBytes = 0;

  constructor(connection: NatsConnection, options: NatsLinkOptions) {
    this.#connection = connection;
    this.#options = options;
    this.server = hostOf(options.url);
    this.payloadMaxBytes = connection.info?.max_payload ?? 0;
    this.#heartbeat = this.#armHeartbeat();
    this.lost = connection.closed().then(() => {
      this.#heartbeat.cancel();
      return this.#lostReason;
    });
    void this.#hearServer();
  }

  get lameDuck(): Promise<void> {
    return this.#lameDuck.promise;
  }

  send(subject: string, data: Uint8Array, replySubject: string): SendOutcome {
    const bytes = COMMAND_BYTES + subject.length + data.length;
    if (this.#sentBytes + bytes - this.#confirmedBytes > this.#options.outputMaxBytes) {
      this.#askForConfirmation();
      return "full";
    }
    try {
      if (replySubject === "") this.#connection.publish(subject, data);
      else this.#connection.publish(subject, data, { reply: replySubject });
    } catch (cause) {
      if (cause instanceof NatsError) return "gone"; // closed, and `lost` not yet heard
      throw cause;
    }
    this.#sentBytes += bytes;
    if (this.#sentBytes - this.#markedBytes >= MARK_BYTES) this.#askForConfirmation();
    return "sent";
  }

  subscribe(subject: string, queue: string | undefined, onArrival: OnArrival): LinkSubscription {
    try {
      const subscription = this.#connection.subscribe(subject, {
        ...(queue === undefined ? {} : { queue }),
        callback: (error, message) => {
          if (error) return this.#options.onEvent({ kind: "subscription_denied", subject });
          const isNoResponders = message.data.length === 0 && message.headers?.code === 503;
          onArrival(message.subject, message.data, message.reply ?? "", isNoResponders);
        },
      });
      this.#subscriptions.add(subscription);
      return {
        unsubscribe: () => {
          this.#subscriptions.delete(subscription);
          subscription.unsubscribe();
        },
      };
    } catch (cause) {
      // Closed or draining: the next link subscribes again, a drained bus never.
      if (cause instanceof NatsError) return { unsubscribe: () => undefined };
      throw cause;
    }
  }

  async sync(): Promise<void> {
    try {
      await this.#connection.flush();
    } catch {
      await new Promise<never>(() => undefined); // lost: `lost` says so
    }
  }

  async retire(): Promise<void> {
    const [_inbox, ...others] = this.#subscriptions; // made first (BusCore.attach)
    this.#subscriptions.clear();
    await Promise.allSettled(others.map(async (subscription) => subscription.drain()));
  }

  drain(): Promise<void> {
    return this.#connection.drain().catch(() => undefined); // closed already
  }

  close(): void {
    this.#heartbeat.cancel();
    void this.#connection.close();
  }

  /** Ends with the connection. What the server denies of subscriptions is told to each of them. */
  async #hearServer(): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (status.type === Events.LDM) this.#lameDuck.resolve();
      if (status.type !== Events.Error || status.permissionContext?.operation !== "publish")
        continue;
      const { subject } = status.permissionContext;
      this.#options.onEvent({ kind: "publish_denied", subject });
    }
  }

  #askForConfirmation(): void {
    if (this.#markedBytes === this.#sentBytes) return; // asked already
    const markBytes = this.#sentBytes;
    this.#markedBytes = markBytes;
    const confirm = (): void => {
      this.#confirmedBytes = Math.max(this.#confirmedBytes, markBytes);
    };
    this.#connection.flush().then(confirm, () => undefined); // lost: nothing left to count
  }

  #armHeartbeat(): Timer {
    const { clock, pingIntervalMs } = this.#options;
    return clock.setTimer(pingIntervalMs, () => this.#beat());
  }

  #beat(): void {
    if (this.#pingsOutCount >= this.#options.pingsOutMax) {
      this.#lostReason = "stale";
      return this.close();
    }
    this.#pingsOutCount++;
    const answered = (): void => {
      this.#pingsOutCount = 0;
    };
    this.#connection.flush().then(answered, () => undefined); // lost: `lost` says so
    this.#heartbeat = this.#armHeartbeat();
  }
}

function authOf(credentials: NatsCredentials): Partial<ConnectionOptions> {
  switch (credentials.kind) {
    case "none":
      return {};
    case "token":
      return { token: credentials.token };
    case "user":
      return { user: credentials.user, pass: credentials.password };
    case "nkey":
      return { authenticator: nkeyAuthenticator(new TextEncoder().encode(credentials.seed)) };
    default:
      return assertNever(credentials);
  }
}

/** Without wishes of ours the library verifies by the authorities that Node trusts. */
function tlsOf({ url, tls }: NatsLinkOptions): Partial<ConnectionOptions> {
  return tls === undefined ? {} : { tls: { ...handshakeOptionsOf(url, tls) } as TlsOptions };
}

type DialCode = "unreachable" | "unauthorized" | "tls" | "protocol";

/** What OpenSSL, and Node on top of it, call a certificate that does not hold. */
const TLS_CODE = /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/;

/** The greeting has seen the certificate already; it may be another one by now. */
function codeOf(cause: unknown): DialCode {
  if (!(cause instanceof NatsError)) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    return TLS_CODE.test(code) ? "tls" : "protocol";
  }
  if (cause.isAuthError()) return "unauthorized";
  return cause.code === NO_TLS ? "tls" : "protocol";
}

function dialFault(code: DialCode, url: string, cause: unknown): Fault {
  return new Fault(`no NATS link to ${hostOf(url)}`, { code, isRetryable: true, cause });
}
