// apps/ingest/src/relay-sender.ts
// One message to another region: rows in, what became of them out (DESIGN §5.2).
//   IN39 A row that the target refuses or withholds is put off, out of turn: it holds up nobody. A withheld
//        one goes again when a probe of its tenant was taken (`RelayLink`).
import type { Bus } from "@carillon/bus";
import { decodeMessage, relayReplySchema, subjects } from "@carillon/contracts";
import { Fault } from "@carillon/kernel";

/** One outbox row, encoded. `json`: a RelayItem, or one or more tenants of a HomesBatch. */
export interface RelayEntry {
  readonly outboxId: number;
  readonly kind: "notification" | "homes";
  readonly json: string;
}

export type RelayOutcome = "committed" | "failed" | "refused" | "left_behind" | "withheld";

export interface RelaySenderOptions {
  readonly from: string;
  readonly target: string;
  readonly batchItemsMax: number;
  readonly batchMaxBytes: number;
  readonly requestTimeoutMs: number;
  readonly outbox: {
    markDone(outboxIds: readonly number[]): Promise<void>;
    /** Due again later, out of turn. */
    defer(outboxIds: readonly number[]): Promise<void>;
    /** Not due before their tenant is released. */
    withhold(outboxIds: readonly number[]): Promise<void>;
  };
  readonly onOutcome: (outcome: RelayOutcome, itemCount: number) => void;
  readonly onFault: (operation: string, cause: unknown) => void;
}

/** `unmarked`: the target has them, the outbox does not know; sent again later, absorbed there. */
export type Delivered = "committed" | "failed" | "unmarked";

type RequestResult =
  | "committed"
  | "failed"
  | "refused"
  /** Committed but for those at these places. */
  | { readonly withheld: readonly number[] };

/** Ids of one batch. */
interface Settled {
  readonly done?: readonly number[];
  readonly refused?: readonly number[];
  readonly withheld?: readonly number[];
}

const ENVELOPE_BYTES = 256;
/** Codes that the same bytes will meet again: such a row must not hold up the others. */
const REFUSALS: ReadonlySet<string> = new Set(["malformed", "store_rejected", "too_large"]);

export class RelaySender {
  readonly #options: RelaySenderOptions;
  readonly #bus: Bus;

  constructor(options: RelaySenderOptions, bus: Bus) {
    this.#options = options;
    this.#bus = bus;
  }

  /** Removes the first entries of one kind that fit into one message. */
  takeBatch(entries: RelayEntry[]): RelayEntry[] {
    const { batchItemsMax, batchMaxBytes } = this.#options;
    const maxBytes = Math.min(batchMaxBytes, this.#bus.payloadMaxBytes) - ENVELOPE_BYTES;
    const kind = entries[0]?.kind;
    let count = 0;
    let bytes = 0;
    for (const entry of entries) {
      bytes += Buffer.byteLength(entry.json) + 1;
      if (count > 0 && (entry.kind !== kind || count >= batchItemsMax || bytes > maxBytes)) break;
      count++;
    }
    return entries.splice(0, count);
  }

  async deliver(batch: readonly RelayEntry[]): Promise<Delivered> {
    const result = await this.#request(batch);
    const ids = batch.map(({ outboxId }) => outboxId);
    if (typeof result === "object") {
      const kept = new Set(result.withheld);
      const withheld = ids.filter((_, at) => kept.has(at));
      const done = ids.filter((_, at) => !kept.has(at));
      this.#options.onOutcome("committed", done.length);
      this.#options.onOutcome("withheld", withheld.length);
      return await this.#settle({ done, withheld });
    }
    if (result === "refused" && batch.length > 1) return await this.#deliverOneByOne(batch);
    this.#options.onOutcome(result, batch.length);
    if (result === "failed") return "failed";
    // Refused alone: it stays in the outbox, for a person to look at.
    return await this.#settle(result === "refused" ? { refused: ids } : { done: ids });
  }

  async #deliverOneByOne(batch: readonly RelayEntry[]): Promise<Delivered> {
    let delivered: Delivered = "committed";
    for (const entry of batch) {
      const one = await this.deliver([entry]);
      if (one === "failed") return "failed";
      if (one === "unmarked") delivered = one;
    }
    return delivered;
  }

  async #settle(rows: Settled): Promise<Delivered> {
    const { done = [], refused = [], withheld = [] } = rows;
    const { outbox, onFault } = this.#options;
    let operation = "outbox.markDone";
    try {
      if (done.length > 0) await outbox.markDone(done);
      operation = "outbox.defer";
      if (refused.length > 0) await outbox.defer(refused);
      operation = "outbox.withhold";
      if (withheld.length > 0) await outbox.withhold(withheld);
      return "committed";
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      onFault(operation, cause);
      return "unmarked";
    }
  }

  async #request(batch: readonly RelayEntry[]): Promise<RequestResult> {
    const { from, target, requestTimeoutMs } = this.#options;
    const body = batch.map((entry) => entry.json).join(",");
    const isHomes = batch[0]?.kind === "homes";
    const text = `{"from":"${from}","${isHomes ? "tenants" : "items"}":[${body}]}`;
    const subject = isHomes ? subjects.regionHomes(target) : subjects.regionNotify(target);
    const data = new TextEncoder().encode(text);
    const outcome = await this.#bus.request(subject, data, requestTimeoutMs);
    if (outcome.kind === "too_large") return "refused";
    if (outcome.kind !== "reply") return "failed";
    const decoded = decodeMessage(relayReplySchema, outcome.data);
    if (decoded.kind === "malformed") return "failed";
    if (decoded.message.kind === "committed") return "committed";
    if (decoded.message.kind === "partly") return { withheld: decoded.message.withheld };
    return REFUSALS.has(decoded.message.code) ? "refused" : "failed";
  }
}
