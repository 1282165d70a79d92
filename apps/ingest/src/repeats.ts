// apps/ingest/src/repeats.ts
// A repeat of a request is answered as the first was, whatever became of what it names.
//   IN60 Before a request with an Idempotency-Key is refused for what is not there any more (a group, a
//        template, a region that is silent), its key is looked up: what was accepted is replayed.
import type { AcceptItem, AcceptResult, Store } from "@carillon/store";

export interface Keyed {
  readonly tenantId: string;
  readonly idempotency: AcceptItem["idempotency"];
}

export type Repeated = Extract<AcceptResult, { kind: "replayed" | "mismatch" }>;

/**
 * Only for requests that would be refused: the commit itself sees the keys of all others, and one that
 * goes well costs no statement more. Undefined: it is no repeat. Throws Fault.
 */
export async function repeatOf(
  { tenantId, idempotency }: Keyed,
  store: Store,
): Promise<Repeated | undefined> {
  if (idempotency === null) return undefined;
  return await store.notifications.repeatOf(tenantId, idempotency);
}
