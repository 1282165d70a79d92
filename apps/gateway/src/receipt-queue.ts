// apps/gateway/src/receipt-queue.ts
// Reads and acknowledges of one partition, from their arrival until its owner has them in the ledger.
// Pure: reports.ts asks the owner. Keeps, with it:
//   GW13  Of each kind at most `receiptsMax` wait; beyond, the oldest go.
//   GW34  Who was asked to keep some and did not say so is asked again: they wait in front of the rest.
// Asked for without an answer are as many of each kind at most: what comes then waits.

export type ReceiptKind = "reads" | "acknowledges";
export type Receipt = [sid: number, index: number, offset: number];
/** What is asked for with one message. */
export type ReceiptBatch = Readonly<Record<ReceiptKind, readonly Receipt[]>>;

const KINDS = ["reads", "acknowledges"] as const satisfies readonly ReceiptKind[];

export class ReceiptQueue {
  readonly #receiptsMax: number;
  readonly #waiting: Record<ReceiptKind, Receipt[]> = { reads: [], acknowledges: [] };
  readonly #askedCount: Record<ReceiptKind, number> = { reads: 0, acknowledges: 0 };
  readonly #backCount: Record<ReceiptKind, number> = { reads: 0, acknowledges: 0 }; // of those waiting, the first
  #droppedTotal = 0;

  constructor(receiptsMax: number) {
    this.#receiptsMax = receiptsMax;
  }

  get waitingCount(): number {
    return this.#waiting.reads.length + this.#waiting.acknowledges.length;
  }

  get askedCount(): number {
    return this.#askedCount.reads + this.#askedCount.acknowledges;
  }

  /** That had to make room for newer ones (GW13). */
  get droppedTotal(): number {
    return this.#droppedTotal;
  }

  isFull(kind: ReceiptKind): boolean {
    return this.#waiting[kind].length >= this.#receiptsMax;
  }

  add(kind: ReceiptKind, receipt: Receipt): void {
    this.#waiting[kind].push(receipt);
    this.#trim(kind);
  }

  /** The oldest, at most `countMax`; undefined: nothing waits, or too much is asked for already. */
  take(countMax: number): ReceiptBatch | undefined {
    let left = countMax;
    const taken = (kind: ReceiptKind): Receipt[] => {
      const room = Math.min(left, this.#receiptsMax - this.#askedCount[kind]);
      const receipts = this.#waiting[kind].splice(0, room);
      left -= receipts.length;
      this.#backCount[kind] = Math.max(0, this.#backCount[kind] - receipts.length);
      this.#askedCount[kind] += receipts.length;
      return receipts;
    };
    const batch = { reads: taken("reads"), acknowledges: taken("acknowledges") };
    return left < countMax ? batch : undefined;
  }

  kept(batch: ReceiptBatch): void {
    for (const kind of KINDS) this.#askedCount[kind] -= batch[kind].length;
  }

  putBack(batch: ReceiptBatch): void {
    this.kept(batch);
    for (const kind of KINDS) {
      this.#waiting[kind].splice(this.#backCount[kind], 0, ...batch[kind]); // behind older ones
      this.#backCount[kind] += batch[kind].length;
      this.#trim(kind);
    }
  }

  #trim(kind: ReceiptKind): void {
    const tooMany = this.#waiting[kind].length - this.#receiptsMax;
    if (tooMany <= 0) return;
    this.#waiting[kind].splice(0, tooMany);
    this.#backCount[kind] = Math.max(0, this.#backCount[kind] - tooMany);
    this.#droppedTotal += tooMany;
  }
}
