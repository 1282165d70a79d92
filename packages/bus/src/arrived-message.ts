// packages/bus/src/arrived-message.ts
// A message on its way to a subscriber: one object is what is handed over, and the handing over.
import type { Arrival } from "./arrivals.ts";
import type { Message, Subscription } from "./bus.ts";
import type { Link, LinkSubscription } from "./link.ts";

export interface Subscriber extends Subscription {
  readonly subject: string;
  readonly queue: string | undefined;
  readonly onMessage: (message: Message) => void;
  onLink: LinkSubscription | undefined;
  isActive: boolean;
}

/** Where replies go: to the link, or to a request of this process. */
export interface Replier {
  replyOver(link: Link, replySubject: string, data: Uint8Array): void;
  replyLocally(token: string, data: Uint8Array): void;
}

export type ReplyAddress =
  | { readonly kind: "nobody" }
  | { readonly kind: "subject"; readonly replySubject: string; readonly link: Link }
  | { readonly kind: "local"; readonly token: string };
export const NO_ADDRESS: ReplyAddress = { kind: "nobody" };

export class ArrivedMessage implements Message, Arrival {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly #subscriber: Subscriber;
  readonly #address: ReplyAddress;
  readonly #replier: Replier;

  constructor(
    subscriber: Subscriber,
    subject: string,
    data: Uint8Array,
    address: ReplyAddress,
    replier: Replier,
  ) {
    this.subject = subject;
    this.data = data;
    this.#subscriber = subscriber;
    this.#address = address;
    this.#replier = replier;
  }

  reply(data: Uint8Array): void {
    const address = this.#address;
    if (address.kind === "subject")
      this.#replier.replyOver(address.link, address.replySubject, data);
    if (address.kind === "local") this.#replier.replyLocally(address.token, data);
  }

  /** A subscriber that throws is a bug: it reaches the supervisor, not the socket's reader. */
  deliver(): boolean {
    if (!this.#subscriber.isActive) return false;
    try {
      this.#subscriber.onMessage(this);
    } catch (bug) {
      queueMicrotask(() => {
        throw bug;
      });
    }
    return false;
  }
}
