// packages/delivery/src/receipt-desk.ts
// Receipts on their way into the ledger: what a gateway reports, and what a session's place proves.
//   SD6  A report's receipts are confirmed when all of them are in the ledger, and not before: a gateway
//        that hears nothing tells them again, to whoever owns the partition by then (D1). The first
//        write that has them is enough, however often their rows change meanwhile.
// What cannot be kept by anybody (no such row, or not meant for the recipient) needs no repeating, and
// counts as kept.
import type { DeliveryJournal } from "./delivery-journal.ts";
import type { Intake } from "./intake.ts";
import type { LedgerEntry, Receipt } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { LedgerStore } from "./ports.ts";
import type { Reader } from "./read-sync.ts";

export interface ReceiptDeskDeps {
  readonly home: string;
  readonly store: LedgerStore;
  readonly intake: Intake;
  /** Reports per partition that wait for a write; beyond, the oldest is told again by its gateway. */
  readonly unwrittenReportsMax: number;
  readonly journal: DeliveryJournal | undefined;
  onChanged(partition: Partition, entry: LedgerEntry): void;
  /** A receipt was recorded for the first time. */
  onReceipt(receipt: Receipt): void;
  /** RC5. A session was the first to say so. */
  onRead(partition: Partition, offset: number, reader: Reader): void;
  onFault(cause: unknown): void;
}

export interface ReceiptOf {
  readonly index: number;
  readonly offset: number;
  readonly receipt: Receipt;
  /** Undefined: it follows from a session's place. */
  readonly from?: Pick<Reader, "gatewayId" | "sid">;
}

/** The rows of a report, each with how many of its changes have to be written. */
type Rows = Map<LedgerEntry, number>;

interface Unwritten {
  readonly rows: readonly (readonly [LedgerEntry, changesCount: number])[];
  readonly onKept: () => void;
}

export class ReceiptDesk {
  readonly #deps: ReceiptDeskDeps;
  readonly #unwritten = new WeakMap<Partition, Unwritten[]>(); // in the order they came
  forgottenCount = 0; // reports, at `unwrittenReportsMax`

  constructor(deps: ReceiptDeskDeps) {
    this.#deps = deps;
  }

  /** Reports whose receipts are not in the ledger yet. */
  waitingCountOf(partitions: readonly Partition[]): number {
    return partitions.reduce(
      (sum, partition) => sum + (this.#unwritten.get(partition)?.length ?? 0),
      0,
    );
  }

  /** Calls `onKept` once (SD6), or never: the store fails, or the partition is lost meanwhile. */
  take(partition: Partition, receipts: readonly ReceiptOf[], onKept: () => void): void {
    const { rows, absent } = this.#fromMemory(partition, receipts);
    if (absent.length === 0) return this.#whenWritten(partition, rows, onKept);
    void this.#takeAbsent(partition, { rows, absent }, onKept);
  }

  /** To be called after a write of the partition's entries that was not refused. */
  written(partition: Partition): void {
    const waiting = this.#unwritten.get(partition);
    if (waiting === undefined || partition.isLost) return;
    const isKept = ({ rows }: Unwritten): boolean =>
      rows.every(([entry, changesCount]) => entry.isWrittenUpTo(changesCount));
    const kept = waiting.filter(isKept);
    const left = waiting.filter((one) => !isKept(one));
    if (left.length === 0) this.#unwritten.delete(partition);
    else this.#unwritten.set(partition, left);
    for (const { onKept } of kept) onKept();
  }

  async #takeAbsent(
    partition: Partition,
    { rows, absent }: { rows: Rows; absent: readonly ReceiptOf[] },
    onKept: () => void,
  ): Promise<void> {
    try {
      const read = await this.#fromStore(partition, absent);
      if (read === undefined || partition.isLost) return;
      this.#whenWritten(partition, new Map([...rows, ...read]), onKept);
    } catch (cause) {
      this.#deps.onFault(cause);
    }
  }

  /** `absent`: their rows have left memory, or are not here yet. */
  #fromMemory(
    partition: Partition,
    receipts: readonly ReceiptOf[],
  ): { rows: Rows; absent: ReceiptOf[] } {
    const rows: Rows = new Map();
    const absent: ReceiptOf[] = [];
    for (const one of receipts) {
      const entry = partition.entry(one.offset);
      if (entry !== undefined) {
        this.#receive(partition, entry, one);
        rows.set(entry, entry.changesCount);
      } else if (one.offset > 0 && one.offset <= partition.knownOffset) absent.push(one);
    }
    return { rows, absent };
  }

  /** Undefined: not all of them can be taken now. */
  async #fromStore(
    partition: Partition,
    receipts: readonly ReceiptOf[],
  ): Promise<Rows | undefined> {
    const { home, store, intake } = this.#deps;
    const found: Rows = new Map();
    const unpin = partition.pin(); // until they are changed, which keeps them
    try {
      for (const offset of new Set(receipts.map((one) => one.offset))) {
        // Intake still brings it, as another object than would be read here: two write over each other.
        if (partition.isLoading || offset > partition.handedOffset) return undefined;
        const rows = await store.readRows(home, partition.partition, {
          afterOffset: offset - 1,
          limitCount: 1,
        });
        const [entry] = await intake.entriesOf(rows);
        if (partition.isLost) return undefined;
        if (entry === undefined || entry.offset !== offset) continue; // nobody has it
        const adopted = partition.adopt(entry);
        for (const one of receipts)
          if (one.offset === offset) this.#receive(partition, adopted, one);
        found.set(adopted, adopted.changesCount);
      }
      return found;
    } finally {
      unpin();
    }
  }

  #receive(partition: Partition, entry: LedgerEntry, one: ReceiptOf): void {
    const { index, receipt, from } = one;
    if (!entry.receive(index, receipt)) return;
    this.#deps.onReceipt(receipt);
    this.#deps.journal?.receipt(partition, index, entry, receipt);
    if (from !== undefined) this.#deps.onRead(partition, entry.offset, { index, ...from });
    this.#deps.onChanged(partition, entry);
  }

  #whenWritten(partition: Partition, all: Rows, onKept: () => void): void {
    const rows = [...all].filter(([entry, changesCount]) => !entry.isWrittenUpTo(changesCount));
    if (rows.length === 0) return onKept();
    const waiting = this.#unwritten.get(partition) ?? [];
    if (waiting.length >= this.#deps.unwrittenReportsMax) {
      waiting.shift();
      this.forgottenCount++;
    }
    waiting.push({ rows, onKept });
    this.#unwritten.set(partition, waiting);
  }
}
