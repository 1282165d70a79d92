// packages/bus/src/events.ts
// What a bus tells its owner for logs and metrics; it neither logs nor counts by itself.
import type { LostReason } from "./link.ts";

/** `lame_duck`: the server said that it will end, and another one took over. */
export type DisconnectReason = LostReason | "lame_duck";
export type RefusalReason = "disconnected" | "full" | "too_large";

export type BusEvent =
  | { readonly kind: "connected"; readonly server: string }
  | { readonly kind: "disconnected"; readonly server: string; readonly reason: DisconnectReason }
  | {
      readonly kind: "connect_failed";
      readonly server: string;
      readonly code: "unreachable" | "unauthorized" | "tls" | "protocol";
    }
  /** A message was dropped here; the caller of publish or request knows, that of reply does not. */
  | {
      readonly kind: "refused";
      readonly operation: "publish" | "request" | "reply";
      readonly reason: RefusalReason;
    }
  /** A request was not answered in time: by a peer, or because the own link is down (BU9). */
  | { readonly kind: "silent"; readonly whose: "peer" | "link" }
  /** Who asked here, on that subscription, wants the answer where no inbox is: it gets none (BU10). */
  | { readonly kind: "reply_astray"; readonly subject: string }
  /** The user that this node logs in as has no right to it; the message is gone. */
  | { readonly kind: "publish_denied"; readonly subject: string }
  | { readonly kind: "subscription_denied"; readonly subject: string };
