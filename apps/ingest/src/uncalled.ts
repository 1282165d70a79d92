// apps/ingest/src/uncalled.ts
// What is told of a call to a recipient's process that had no reply: one text per outcome. Pure.
import type { CallRouteOutcome } from "@carillon/cluster";
import { assertNever } from "@carillon/kernel";

type Unanswered = Exclude<CallRouteOutcome<never>, { kind: "reply" } | { kind: "noproc" }>;
type RouteFailure = Extract<Unanswered, { kind: "failed" }>["reason"];

/** What is known of it, for the operator: whether to ask again, and where to look. */
export function uncalledDetail(outcome: Unanswered): string {
  switch (outcome.kind) {
    case "noconnection":
      return "The link to the owner broke, or the owner was lost, while its answer was awaited.";
    case "overloaded":
      return outcome.where === "caller"
        ? "This node has too many calls under way; ask again later."
        : "The owner has too many calls under way, or the process a full mailbox; ask again later.";
    case "timeout":
      return "The owner has not answered in time.";
    case "too_large":
      return "The question does not fit into one message.";
    case "failed":
      return FAILURES[outcome.reason];
    default:
      return assertNever(outcome);
  }
}

const FAILURES: Readonly<Record<RouteFailure, string>> = {
  quarantined: "The process is in quarantine.",
  load_failed: "The process could not be loaded; the owner's log says why.",
  unsupported: "The owner runs a build that does not know this question.",
  malformed: "The owner does not understand this question: its build is another.",
  exit: "The process or its partition ended while its answer was awaited.",
  bad_reply: "The owner's answer could not travel, or is not understood here.",
};
