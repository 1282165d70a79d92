// packages/bus/src/bus-core.ts
// The bus over any link: subscriptions that outlive links, requests, local short cut, limits.
// The invariants BU1–BU7 and BU10 are in bus.ts, BU9 and BU11 in pending-requests.ts.
import { assert, type Clock, type Random, type Scheduler } from "@carillon/kernel";
import { ArrivalQueue } from "./arrivals.ts";
import { ArrivedMessage, NO_ADDRESS } from "./arrived-message.ts";
import type { Replier, ReplyAddress, Subscriber } from "./arrived-message.ts";
import type { Bus, Message, PublishOutcome, RequestOutcome } from "./bus.ts";
import type { SubscribeOptions, Subscription } from "./bus.ts";
import type { BusEvent, DisconnectReason, RefusalReason } from "./events.ts";
import type { Link } from "./link.ts";
import { DISCONNECTED, PendingRequests } from "./pending-requests.ts";
import { assertSubject, INBOXES, isInbox, isPattern } from "./subject.ts";

export interface BusCoreOptions {
  readonly name: string;
  readonly inboxPrefix: string;
  readonly payloadMaxBytes: number;
  readonly localMaxBytes: number; // waiting for subscribers in this process (BU4)
  readonly drainMaxMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly onEvent: (event: BusEvent) => void;
}

const NOBODY: RequestOutcome = { kind: "no_responders" };

export class BusCore implements Bus {
  readonly #options: BusCoreOptions;
  readonly #arrivals: ArrivalQueue;
  readonly #inbox: string; // "<prefix>.<random>."
  readonly #subscribers = new Set<Subscriber>();
  readonly #soles = new Map<string, Subscriber>();
  readonly #pending: PendingRequests;
  readonly #listeners = new Set<{ tell(isConnected: boolean): void }>();
  readonly #closing = Promise.withResolvers<void>();
  #drained: Promise<void> | undefined;
  #link: Link | undefined; // set while subscriptions are being made on it, too
  #isConnected = false;
  #isClosed = false;
  #payloadMaxBytes: number;
  #localBytes = 0;

  constructor(options: BusCoreOptions) {
    this.#options = options;
    this.#arrivals = new ArrivalQueue(options.scheduler);
    const { clock, random, onEvent } = options;
    const onSilence = (whose: "peer" | "link"): void => onEvent({ kind: "silent", whose });
    this.#pending = new PendingRequests({ clock, random, onSilence });
    const unique = Buffer.from(random.bytes(12)).toString("base64url");
    this.#inbox = `${options.inboxPrefix}.${unique}.`;
    assert(isInbox(this.#inbox), `BU10 an inbox is under ${INBOXES}`);
    assertSubject(`${this.#inbox}1`);
    this.#payloadMaxBytes = options.payloadMaxBytes;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  get payloadMaxBytes(): number {
    return this.#payloadMaxBytes;
  }

  /** Resolves when `drain` has been called: no further link is wanted. */
  get closing(): Promise<void> {
    return this.#closing.promise;
  }

  get isClosing(): boolean {
    return this.#drained !== undefined;
  }

  publish(subject: string, data: Uint8Array): PublishOutcome {
    assertSubject(subject);
    if (data.length > this.#payloadMaxBytes) return this.#tooLarge("publish");
    const sole = this.#soles.get(subject);
    const refusal =
      sole === undefined
        ? this.#send(subject, data, "")
        : this.#sendLocal(sole, subject, data, NO_ADDRESS);
    return refusal === undefined ? { kind: "sent" } : this.#refused("publish", refusal);
  }

  request(subject: string, data: Uint8Array, timeoutMs: number): Promise<RequestOutcome> {
    assertSubject(subject);
    if (data.length > this.#payloadMaxBytes) return Promise.resolve(this.#tooLarge("request"));
    const sole = this.#soles.get(subject);
    const { token, outcome } = this.#pending.start(sole ? undefined : this.#link, timeoutMs);
    const refusal = sole
      ? this.#sendLocal(sole, subject, data, { kind: "local", token })
      : this.#send(subject, data, this.#inbox + token);
    if (refusal !== undefined) this.#pending.settle(token, this.#refused("request", refusal));
    return outcome;
  }

  subscribe(
    subject: string,
    onMessage: (message: Message) => void,
    options: SubscribeOptions = {},
  ): Subscription {
    assertSubject(subject);
    const subscriber: Subscriber = {
      subject,
      queue: options.queue,
      onMessage,
      onLink: undefined,
      isActive: true,
      unsubscribe: () => this.#unsubscribe(subscriber),
    };
    if (options.isSole === true) {
      assert(!isPattern(subject), "BU3 a sole subscriber has one subject");
      assert(!this.#soles.has(subject), "BU3 a subject has one sole subscriber");
      this.#soles.set(subject, subscriber);
    }
    this.#subscribers.add(subscriber);
    if (this.#link) this.#subscribeOn(this.#link, subscriber);
    return subscriber;
  }

  onConnection(listener: (isConnected: boolean) => void): Subscription {
    const entry = { tell: listener }; // the same function may listen twice
    this.#listeners.add(entry);
    return { unsubscribe: () => void this.#listeners.delete(entry) };
  }

  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  /** Subscribes on the new link; connected once its server has the subscriptions. */
  async attach(link: Link, mode: "synced" | "at_once" = "synced"): Promise<void> {
    assert(this.#link === undefined, "BU1 one link at a time");
    this.#link = link;
    this.#payloadMaxBytes = Math.min(this.#options.payloadMaxBytes, link.payloadMaxBytes);
    link.subscribe(`${this.#inbox}*`, undefined, (subject, data, _reply, isNoResponders) =>
      this.#arrivals.arrive({
        deliver: () => this.#settle(subject.slice(this.#inbox.length), data, isNoResponders),
      }),
    );
    for (const subscriber of this.#subscribers) this.#subscribeOn(link, subscriber);
    if (mode === "synced") await Promise.race([link.sync(), link.lost]);
    if (this.#link !== link || this.isClosing) return;
    this.#setConnected(true);
    this.#options.onEvent({ kind: "connected", server: link.server });
  }

  /** Its server will end soon: nothing new goes over it, and what is under way may still come. */
  release(link: Link): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    this.#disconnected(link, "lame_duck");
  }

  /** The link is gone: requests that wait on it will get no answer. */
  detach(link: Link, reason: DisconnectReason): void {
    // Behind what has already arrived: an answer among it counts.
    this.#arrivals.arrive({
      deliver: () => {
        this.#pending.giveUp(link);
        return true;
      },
    });
    if (this.#link !== link) return; // released before
    this.#link = undefined;
    this.#disconnected(link, reason);
  }

  #disconnected(link: Link, reason: DisconnectReason): void {
    if (!this.#isConnected) return;
    this.#setConnected(false);
    this.#options.onEvent({ kind: "disconnected", server: link.server, reason });
  }

  #send(subject: string, data: Uint8Array, replySubject: string): RefusalReason | undefined {
    if (!this.#isConnected || this.#link === undefined) return "disconnected";
    const outcome = this.#link.send(subject, data, replySubject);
    if (outcome === "sent") return undefined;
    return outcome === "full" ? "full" : "disconnected";
  }

  #sendLocal(
    sole: Subscriber,
    subject: string,
    data: Uint8Array,
    address: ReplyAddress,
  ): RefusalReason | undefined {
    if (this.#isClosed) return "disconnected";
    if (this.#localBytes + data.length > this.#options.localMaxBytes) return "full";
    this.#localBytes += data.length;
    const message = new ArrivedMessage(sole, subject, data, address, this.#replier);
    this.#arrivals.enqueue({
      deliver: () => {
        this.#localBytes -= data.length;
        if (sole.isActive || address.kind !== "local") return message.deliver();
        this.#pending.settle(address.token, NOBODY);
        return true;
      },
    });
    return undefined;
  }

  readonly #replier: Replier = {
    // Not #send: what arrives while subscriptions are being made is answered, too.
    replyOver: (link, replySubject, data) => {
      if (data.length > this.#payloadMaxBytes) return void this.#tooLarge("reply");
      let outcome = link.send(replySubject, data, "");
      if (outcome === "gone") outcome = this.#link?.send(replySubject, data, "") ?? "gone";
      if (outcome !== "sent") this.#refused("reply", outcome === "full" ? "full" : "disconnected");
    },
    // Queued like a message, so that it does not overtake what was published before it (BU2).
    replyLocally: (token, data) => {
      if (data.length > this.#payloadMaxBytes) return void this.#tooLarge("reply");
      this.#arrivals.enqueue({ deliver: () => this.#settle(token, data, false) });
    },
  };

  #settle(token: string, data: Uint8Array, isNoResponders: boolean): boolean {
    this.#pending.settle(token, isNoResponders ? NOBODY : { kind: "reply", data });
    return true;
  }

  #subscribeOn(link: Link, subscriber: Subscriber): void {
    const { subject: pattern, queue } = subscriber;
    subscriber.onLink = link.subscribe(pattern, queue, (subject, data, replySubject) => {
      const address = this.#addressOf(pattern, replySubject, link);
      const message = new ArrivedMessage(subscriber, subject, data, address, this.#replier);
      this.#arrivals.arrive(message);
    });
  }

  /** BU10. The message itself is handed over: that its sender may say it, NATS has decided. */
  #addressOf(pattern: string, replySubject: string, link: Link): ReplyAddress {
    if (replySubject === "") return NO_ADDRESS;
    if (isInbox(replySubject)) return { kind: "subject", replySubject, link };
    this.#options.onEvent({ kind: "reply_astray", subject: pattern });
    return NO_ADDRESS;
  }

  #unsubscribe(subscriber: Subscriber): void {
    if (!subscriber.isActive) return;
    subscriber.isActive = false;
    subscriber.onLink?.unsubscribe();
    this.#subscribers.delete(subscriber);
    if (this.#soles.get(subscriber.subject) === subscriber) this.#soles.delete(subscriber.subject);
  }

  #setConnected(isConnected: boolean): void {
    this.#isConnected = isConnected;
    for (const listener of [...this.#listeners]) listener.tell(isConnected);
  }

  #tooLarge(operation: "publish" | "request" | "reply"): { kind: "too_large"; maxBytes: number } {
    this.#options.onEvent({ kind: "refused", operation, reason: "too_large" });
    return { kind: "too_large", maxBytes: this.#payloadMaxBytes };
  }

  #refused(
    operation: "publish" | "request" | "reply",
    reason: RefusalReason,
  ): { kind: "disconnected" } {
    this.#options.onEvent({ kind: "refused", operation, reason });
    return DISCONNECTED;
  }

  async #drain(): Promise<void> {
    this.#closing.resolve();
    const link = this.#link;
    if (link !== undefined) {
      const tooLong = Promise.withResolvers<void>();
      const timer = this.#options.clock.setTimer(this.#options.drainMaxMs, tooLong.resolve);
      await Promise.race([link.drain(), link.lost, tooLong.promise]);
      timer.cancel();
    }
    await this.#arrivals.idle();
    this.#isClosed = true;
    link?.close();
    if (link !== undefined) this.detach(link, "closed");
    this.#pending.giveUp();
    await this.#arrivals.idle();
  }
}
