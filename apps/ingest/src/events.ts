// apps/ingest/src/events.ts
// What ingest tells of itself. One place, so that no component knows logs or metrics (STYLE §6).
//   IN28 No event carries content, recipients, keys or tokens.
import type { CallRouteOutcome } from "@carillon/cluster";
import type { RetentionReport } from "@carillon/store";

export interface IngestEvents {
  readonly answered: (route: string, status: number, durationMs: number) => void;
  readonly committed: (itemCount: number, durationMs: number) => void;
  readonly accepted: (
    outcome: "accepted" | "replayed" | "mismatch" | "unstorable" | "overloaded",
  ) => void;
  readonly poked: (outcome: "sent" | "lost" | "no_owner", count: number) => void;
  /** A call to a recipient's process came to its end. */
  readonly called: (outcome: CallRouteOutcome<unknown>["kind"]) => void;
  readonly callsOpen: (openCount: number) => void;
  readonly relayed: (
    outcome: "committed" | "failed" | "refused" | "left_behind" | "withheld",
    itemCount: number,
  ) => void;
  readonly linkChanged: (target: string, state: "direct" | "backlog") => void;
  /** Another region's request was not served. */
  readonly refused: (subject: string, reason: "malformed" | "overloaded") => void;
  /** Something a person should look at, which heals by itself or was survived. */
  readonly odd: (event: "homes.conflict" | "relay.unstorable", count: number) => void;
  /** A sweep of what is over its time came to its end. */
  readonly swept: (report: RetentionReport) => void;
  /** A dependency broke, or there is a bug (`request.failed`); the caller was told. */
  readonly failed: (event: string, cause: unknown) => void;
}
