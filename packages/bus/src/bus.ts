// packages/bus/src/bus.ts
// The port: messages between nodes and regions. The adapter over core NATS is nats-bus.ts.
//   BU1  Nothing here is durable: a published message may be lost, never silently delayed for long.
//   BU2  From one publisher to one subscriber messages keep their order.
//   BU3  A subject with a sole subscriber in this process is delivered without NATS, so that a node
//        serves its own people while its NATS server is away (D5).
//   BU4  Everything that waits has a limit: requests have a time-out, output a byte limit.
//   BU5  Whoever awaits a request runs before messages are handed over that arrived after its reply:
//        a peer that replies and then publishes is heard in that order. (Between regions with
//        several servers each, reply and message may take different ways: there it may not hold.)
//   BU6  `onMessage` is never called inside `publish`, `request` or `subscribe`.
//   BU7  A subject is whole: no spaces, no control characters, no empty tokens (assert).
//   BU10 An answer goes to an inbox or nowhere: nobody lets a member write to a subject of his choice
//        by naming it for the reply.

export interface Message {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Answers a request; does nothing for a published message, or one that names no inbox (BU10). */
  reply(data: Uint8Array): void;
}

export type PublishOutcome =
  | { readonly kind: "sent" }
  /** Dropped: no connection now, or its output is full (the server takes nothing, BU4). */
  | { readonly kind: "disconnected" }
  | { readonly kind: "too_large"; readonly maxBytes: number };

/**
 * After `timeout` and `disconnected` nobody knows whether the peer did what was asked. `timeout`: the
 * own server lives, and nobody answered. `disconnected`: it was not there, was lost meanwhile, or
 * has given no sign of life since the request went out (BU9).
 */
export type RequestOutcome =
  | { readonly kind: "reply"; readonly data: Uint8Array }
  | { readonly kind: "no_responders" }
  | { readonly kind: "timeout" }
  | { readonly kind: "disconnected" }
  | { readonly kind: "too_large"; readonly maxBytes: number };

export interface SubscribeOptions {
  /** Members of a queue group share the messages; one of them gets each. */
  readonly queue?: string;
  /** This process is the only subscriber of the subject anywhere: local messages skip NATS (BU3). */
  readonly isSole?: boolean;
}

export interface Subscription {
  unsubscribe(): void;
}

export interface Bus {
  readonly isConnected: boolean;
  /** Largest message in bytes that `publish` and `request` take. */
  readonly payloadMaxBytes: number;
  /** `data` belongs to the bus from here on: do not change it. */
  publish(subject: string, data: Uint8Array): PublishOutcome;
  /** Never rejects. Default limits are the caller's: there is no default time-out. */
  request(subject: string, data: Uint8Array, timeoutMs: number): Promise<RequestOutcome>;
  /** `onMessage` must not throw; it is called in order, one message at a time. */
  subscribe(
    subject: string,
    onMessage: (message: Message) => void,
    options?: SubscribeOptions,
  ): Subscription;
  /** Called with true and false as the connection comes and goes, until it is unsubscribed. */
  onConnection(listener: (isConnected: boolean) => void): Subscription;
  /** Delivers what is under way (bounded), then closes. Safe to call twice. */
  drain(): Promise<void>;
}
