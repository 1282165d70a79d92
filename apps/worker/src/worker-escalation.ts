// apps/worker/src/worker-escalation.ts
// What chains ask other regions: which of their steps were acknowledged there (ADR 0030).
import type { Bus } from "@carillon/bus";
import { ackedReplySchema, decodeMessage, encodeMessage, subjects } from "@carillon/contracts";
import type { DeliveryNodeDeps } from "@carillon/delivery";
import type { WorkerDeps } from "./worker-options.ts";

/** As other questions to regions; a chain is held up for so long at most, and asks again. */
const REQUEST_TIMEOUT_MS = 5_000;

export function escalationPart(
  { store, webhooks }: Pick<WorkerDeps, "store" | "webhooks">,
  bus: Bus,
): Pick<DeliveryNodeDeps, "escalation"> {
  if (store.escalations === undefined) return {};
  return {
    escalation: {
      store: store.escalations,
      regions: {
        async acknowledged(region, tenantId, notificationIds) {
          const data = encodeMessage({ tenantId, notificationIds });
          const outcome = await bus.request(subjects.regionAcked(region), data, REQUEST_TIMEOUT_MS);
          if (outcome.kind !== "reply") return undefined;
          const decoded = decodeMessage(ackedReplySchema, outcome.data);
          if (decoded.kind === "malformed" || decoded.message.kind === "failed") return undefined;
          return decoded.message.notificationIds;
        },
      },
      ...(webhooks && { webhooks }),
    },
  };
}
