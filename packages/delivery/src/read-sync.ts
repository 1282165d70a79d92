// packages/delivery/src/read-sync.ts
// What a recipient has read on one device is read on the others: event `read` (W2), to sessions only. A hint: it is
// sent once, and lost with a socket; the ledger has the receipt, and the HTTP inbox tells it.
//   RC5  Every other session of his is told, the one that read it is not; what a session was not sent its gateway
//        drops (GW35). Of who has one session nothing is done.
import type { GatewayOutbox } from "./gateway-outbox.ts";
import type { Partition } from "./partition.ts";
import type { Session } from "./session-table.ts";

export interface Reader extends Pick<Session, "gatewayId" | "sid"> {
  readonly index: number;
}

export function tellRead(
  partition: Partition,
  offset: number,
  { reader, outbox }: { readonly reader: Reader; readonly outbox: GatewayOutbox },
): void {
  const sessions = partition.sessions.of(reader.index);
  if (sessions.length < 2) return;
  for (const { gatewayId, sid } of sessions) {
    if (sid === reader.sid && gatewayId === reader.gatewayId) continue;
    outbox.queue({
      ...{ gatewayId, sid, offset, event: "read", payload: "{}", isResend: false },
      ...{ partition: partition.partition, ledgerEpoch: partition.ledgerEpoch },
    });
  }
  outbox.flushLater();
}
