// packages/client/src/receipts.ts
// Receipts that the server has not answered yet; they are sent again after a reconnect.
//   CN4  A receipt is kept until it is answered, `RECEIPTS_MAX` at most: the oldest goes first.

export type ReceiptEvent = "read" | "acknowledge";
export interface Receipt {
  readonly event: ReceiptEvent;
  readonly offset: number;
}

const RECEIPTS_MAX = 1_000;

export class Receipts {
  readonly #byKey = new Map<string, Receipt>();
  readonly #keyByRef = new Map<string, string>();

  add(receipt: Receipt): void {
    this.#byKey.set(keyOf(receipt), receipt);
    const oldest = this.#byKey.keys().next().value;
    if (this.#byKey.size > RECEIPTS_MAX && oldest !== undefined) this.#byKey.delete(oldest);
  }

  sent(receipt: Receipt, ref: string): void {
    this.#keyByRef.set(ref, keyOf(receipt));
  }

  /** An error answer counts as well: the same receipt would be refused again. */
  answered(ref: string): void {
    const key = this.#keyByRef.get(ref);
    this.#keyByRef.delete(ref);
    if (key !== undefined) this.#byKey.delete(key);
  }

  /** All that are kept, for a new connection: no earlier one will be answered. */
  unanswered(): Receipt[] {
    this.#keyByRef.clear();
    return [...this.#byKey.values()];
  }
}

function keyOf({ event, offset }: Receipt): string {
  return `${event}:${offset}`;
}
