// packages/delivery/src/receipt-desk.ts
// Receipts on their way into the ledger: what a gateway reports, and what a session's place proves.
//   SD6  A report's receipts are confirmed when all of them are in the ledger, and not before: a gateway
//        that hears nothing tells them again, to whoever owns the partition by then (D1).
// What cannot be kept by anybody (no such row, or not meant for the recipient) needs no repeating, and
// counts as kept.
import type { Intake } from "./intake.ts";
import type { LedgerEntry, Receipt } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { LedgerStore } from "./ports.ts";

export interface ReceiptDeskDeps {
  readonly home: string;
  readonly store: LedgerStore;
  readonly intake: Intake;
  /** Reports per partition that wait for a write; beyond, the oldest is told again by its gateway. */
  readonly unwrittenReportsMax: number;
  onChanged(partition: Partition, entry: LedgerEntry): void;
  /** A receipt was recorded for the first time. */
  onReceipt(receipt: Receipt): void;
  onFault(cause: unknown): void;
}

export interface ReceiptOf {
  readonly index: number;
  readonly offset: number;
  readonly receipt: Receipt;
}

interface Unwritten {
  readonly entries: readonly LedgerEntry[];
  readonly onKept: () => void;
}

export class ReceiptDesk {
  readonly #deps: ReceiptDeskDeps;
  readonly #unwritten = new WeakMap<Partition, Unwritten[]>(); // in the order they came

  constructor(deps: ReceiptDeskDeps) {
    this.#deps = deps;
  }

  /** Calls `onKept` once (SD6), or never: the store fails, or the partition is lost meanwhile. */
  take(partition: Partition, receipts: readonly ReceiptOf[], onKept: () => void): void {
    const { entries, absent } = this.#fromMemory(partition, receipts);
    if (absent.length === 0) return this.#whenWritten(partition, entries, onKept);
    void this.#takeAbsent(partition, { entries, absent }, onKept);
  }

  /** To be called after a write of the partition's entries that was not refused. */
  written(partition: Partition): void {
    const waiting = this.#unwritten.get(partition);
    if (waiting === undefined || partition.isLost) return;
    const isKept = ({ entries }: Unwritten): boolean => entries.every((entry) => entry.isWritten);
    const kept = waiting.filter(isKept);
    const left = waiting.filter((one) => !isKept(one));
    if (left.length === 0) this.#unwritten.delete(partition);
    else this.#unwritten.set(partition, left);
    for (const { onKept } of kept) onKept();
  }

  async #takeAbsent(
    partition: Partition,
    { entries, absent }: { entries: ReadonlySet<LedgerEntry>; absent: readonly ReceiptOf[] },
    onKept: () => void,
  ): Promise<void> {
    try {
      const read = await this.#fromStore(partition, absent);
      if (read === undefined) return;
      this.#whenWritten(partition, new Set([...entries, ...read]), onKept);
    } catch (cause) {
      this.#deps.onFault(cause);
    }
  }

  /** `absent`: their rows have left memory, or are not here yet. */
  #fromMemory(
    partition: Partition,
    receipts: readonly ReceiptOf[],
  ): { entries: Set<LedgerEntry>; absent: ReceiptOf[] } {
    const entries = new Set<LedgerEntry>();
    const absent: ReceiptOf[] = [];
    for (const one of receipts) {
      const entry = partition.entry(one.offset);
      if (entry !== undefined) {
        this.#receive(partition, entry, one);
        entries.add(entry);
      } else if (one.offset > 0 && one.offset <= partition.knownOffset) absent.push(one);
    }
    return { entries, absent };
  }

  /** Undefined: not all of them can be taken now. */
  async #fromStore(
    partition: Partition,
    receipts: readonly ReceiptOf[],
  ): Promise<readonly LedgerEntry[] | undefined> {
    const { home, store, intake } = this.#deps;
    const entries: LedgerEntry[] = [];
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
        entries.push(adopted);
      }
      return entries;
    } finally {
      unpin();
    }
  }

  #receive(partition: Partition, entry: LedgerEntry, { index, receipt }: ReceiptOf): void {
    if (!entry.receive(index, receipt)) return;
    this.#deps.onReceipt(receipt);
    this.#deps.onChanged(partition, entry);
  }

  #whenWritten(partition: Partition, all: ReadonlySet<LedgerEntry>, onKept: () => void): void {
    const entries = [...all].filter((entry) => !entry.isWritten);
    if (entries.length === 0) return onKept();
    const waiting = this.#unwritten.get(partition) ?? [];
    if (waiting.length >= this.#deps.unwrittenReportsMax) waiting.shift();
    waiting.push({ entries, onKept });
    this.#unwritten.set(partition, waiting);
  }
}
