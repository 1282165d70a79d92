// packages/delivery/src/register-reader.ts
// Reads what was changed in a register, each `everyMs`, and once before partitions serve. What it finds is its book's:
// what senders do with notifications (control-book.ts), and at what rate they are handed (rate-book.ts).
//   CB1, RA1  Each question reaches back before the last answer, however long the store was away; the first asks for all.
import { type Clock, Fault, type Timer } from "@carillon/kernel";

export interface RegisterReading {
  readonly clock: Clock;
  readonly everyMs: number;
  readonly onFault: (cause: unknown) => void;
  readonly onCrash: (cause: unknown) => void;
}

export interface RegisterReaderDeps<Changed> extends RegisterReading {
  /** Changed in the last so many seconds; null: all. Throws Fault. */
  readChanged(lastSeconds: number | null): Promise<readonly Changed[]>;
  /** `askedAtMs`: monotonic, of the question. */
  take(changed: readonly Changed[], askedAtMs: number): Promise<void> | void;
  /** After each look, but for the one before partitions serve. Throws Fault. */
  afterLook?(): Promise<void>;
}

/** What was heard so long ago is forgotten by its book: above the longest wait and life together, 59 days. */
export const KEPT_MS = 90 * 86_400_000;
/** What was committed late by a clock that stands, or by a transaction that took long. */
const MARGIN_SECONDS = 30;

export class RegisterReader<Changed> {
  readonly #deps: RegisterReaderDeps<Changed>;
  #readAtMs: number | undefined; // monotonic, of the last answer's question
  #refreshing: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(deps: RegisterReaderDeps<Changed>) {
    this.#deps = deps;
  }

  start(): void {
    const { clock, everyMs, onCrash } = this.#deps;
    this.#timer = clock.setTimer(everyMs, () => {
      this.#look()
        .finally(() => {
          if (!this.#isStopped) this.start();
        })
        .catch(onCrash);
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /** One after the other: an older answer must not take the place of a newer one. Throws Fault. */
  refresh(): Promise<void> {
    this.#refreshing = this.#refreshing.catch(ignored).then(() => this.#read());
    return this.#refreshing;
  }

  async #read(): Promise<void> {
    const askedAtMs = this.#deps.clock.monotonicMs();
    const sinceMs = this.#readAtMs;
    const lastSeconds =
      sinceMs === undefined ? null : (askedAtMs - sinceMs) / 1_000 + MARGIN_SECONDS;
    const changed = await this.#deps.readChanged(lastSeconds);
    this.#readAtMs = askedAtMs;
    await this.#deps.take(changed, askedAtMs);
  }

  async #look(): Promise<void> {
    try {
      await this.refresh();
      await this.#deps.afterLook?.();
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      this.#deps.onFault(cause);
    }
  }
}

/** Whoever asked was told. */
function ignored(): void {}
