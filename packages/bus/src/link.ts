// packages/bus/src/link.ts
// One live connection. It is used until it is lost and never comes back: the next one is a new link,
// so that nothing given to the old one can come out of the new one (BU1).

export type OnArrival = (
  subject: string,
  data: Uint8Array,
  replySubject: string, // "": nobody waits for an answer
  isNoResponders: boolean, // the server's answer to a request that nobody subscribes to
) => void;

export interface LinkSubscription {
  unsubscribe(): void;
}

export type SendOutcome = "sent" | "full" | "gone";
export type LostReason = "closed" | "stale";

export interface Link {
  /** Host and port for logs, without credentials. */
  readonly server: string;
  readonly payloadMaxBytes: number;
  /** Resolves once, when the link is gone; rejects never. */
  readonly lost: Promise<LostReason>;
  send(subject: string, data: Uint8Array, replySubject: string): SendOutcome;
  subscribe(subject: string, queue: string | undefined, onArrival: OnArrival): LinkSubscription;
  /** Resolves when the server has all that was sent until now; never when the link is lost. */
  sync(): Promise<void>;
  /** Unsubscribes, waits for what is under way, closes. Not bounded: the caller bounds it. */
  drain(): Promise<void>;
  close(): void;
}
