// packages/bus/src/events.ts
// What a bus tells its owner for logs and metrics; it neither logs nor counts by itself.
import type { LostReason } from "./link.ts";

export type RefusalReason = "disconnected" | "full" | "too_large";

export type BusEvent =
  | { readonly kind: "connected"; readonly server: string }
  | { readonly kind: "disconnected"; readonly server: string; readonly reason: LostReason }
  | {
      readonly kind: "connect_failed";
      readonly server: string;
      readonly code: "unreachable" | "unauthorized" | "protocol";
    }
  /** A message was dropped here; the caller of publish or request knows, that of reply does not. */
  | {
      readonly kind: "refused";
      readonly operation: "publish" | "request" | "reply";
      readonly reason: RefusalReason;
    }
  | { readonly kind: "subscription_denied"; readonly subject: string };
