// packages/delivery/src/shelf-reader.ts
// Brings rows back from the shelf: in pages, for all who have room in one statement, one at a time.
//   SH3  What is on the shelf comes back in offset order as room is made, whatever the store does
//        meanwhile: it waits for its recipient, and for nothing else (D1, RD3).
//   SH4  What expires on it, or is withheld because of it, is `expired` soon: it waits for nobody.
import {
  backoffDelayMs,
  type BackoffOptions,
  type Clock,
  Fault,
  type Random,
} from "@carillon/kernel";
import type { Intake } from "./intake.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { LedgerStore, OwnRowsWanted } from "./ports.ts";
import { ownerOf } from "./shelf.ts";

export interface ShelfReaderDeps {
  readonly home: string;
  readonly store: Pick<LedgerStore, "readOwnRows">;
  readonly clock: Clock;
  readonly random: Random;
  readonly intake: Pick<Intake, "entriesOf">;
  readonly retry: BackoffOptions;
  /** Of a look for expired rows, for each recipient. */
  readonly rowsPerRead: number;
  /** Changed rows per partition that wait for a write; beyond, nothing more is brought back (D6). */
  readonly dirtyMax: number;
  readonly lookEveryMs: number;
  partitions(): Iterable<Partition>;
  onFault(cause: unknown): void;
  onCrash(cause: unknown): void;
}

interface Wanted extends OwnRowsWanted {
  readonly place: Partition;
  readonly upToOffset: number;
}

/** Of a row, and of an entry. */
type LedgerPlace = Pick<LedgerEntry, "partition" | "members" | "offset">;

/** Recipients of one statement. */
const RECIPIENTS_MAX = 64;

export class ShelfReader {
  readonly #deps: ShelfReaderDeps;
  #isReading = false;

  constructor(deps: ShelfReaderDeps) {
    this.#deps = deps;
  }

  /** To be called when an outcome, or a write, may have made room. Never throws. */
  pump(): void {
    if (this.#isReading || this.#hungry().length === 0) return;
    void this.#start();
  }

  /** To be called now and then: finds what expired, and who was missed. */
  sweep(): void {
    for (const partition of this.#deps.partitions()) {
      if (partition.shelf.count === 0) continue;
      partition.shelf.lookAgain();
      this.#lapseWithheld(partition);
    }
    if (!this.#isReading) void this.#start();
  }

  async #start(): Promise<void> {
    this.#isReading = true;
    try {
      await this.#readAll();
    } catch (cause) {
      this.#deps.onCrash(cause); // a bug: as LF4
    } finally {
      this.#isReading = false;
    }
  }

  async #readAll(): Promise<void> {
    const { clock, random, retry } = this.#deps;
    for (let attempt = 1; ;) {
      const hungry = this.#hungry();
      const looks = hungry.length > 0 ? [] : this.#looks();
      if (hungry.length + looks.length === 0) return;
      try {
        await (hungry.length > 0 ? this.#bringBack(hungry) : this.#expire(looks));
        attempt = 1;
      } catch (cause) {
        if (!(cause instanceof Fault)) throw cause;
        this.#deps.onFault(cause);
        await clock.sleep(backoffDelayMs(retry, attempt++, random));
      }
    }
  }

  #hungry(): Wanted[] {
    return this.#wanted((place) => place.shelf.hungry(place.handedOffset));
  }

  #looks(): Wanted[] {
    const { clock } = this.#deps;
    const now = { wallClockMs: clock.wallClockMs(), monotonicMs: clock.monotonicMs() };
    return this.#wanted((place) => place.shelf.looks(now));
  }

  #wanted(of: (place: Partition) => [index: number, fromOffset: number][]): Wanted[] {
    const wanted: Wanted[] = [];
    for (const place of this.#deps.partitions()) {
      if (place.shelf.count === 0 || place.isLoading || place.isLost) continue;
      if (place.dirtyCount > this.#deps.dirtyMax) continue; // the flush calls again
      const { partition, handedOffset } = place;
      for (const [index, fromOffset] of of(place)) {
        if (wanted.length >= RECIPIENTS_MAX) return wanted;
        wanted.push({ place, partition, index, fromOffset, upToOffset: handedOffset });
      }
    }
    return wanted;
  }

  async #bringBack(wanted: readonly Wanted[]): Promise<void> {
    const limitCount = Math.max(...wanted.map(({ place }) => place.shelf.pageCount));
    await this.#read(wanted, { limitCount, expiredByMs: null }, (one, { entries, nextOffset }) => {
      const { place, index, fromOffset, upToOffset } = one;
      place.bringBack(index, entries, nextOffset ?? upToOffset + 1);
      if (place.spilled.has(index)) return; // PA4: the sweep gives him all of it
      for (const entry of place.openEntriesOf(index)) {
        if (entry.offset < fromOffset) continue;
        if (place.table.cast(index, { kind: "entry", entry }) === "accepted") continue;
        place.spilled.add(index);
        return;
      }
    });
  }

  async #expire(wanted: readonly Wanted[]): Promise<void> {
    const { clock, rowsPerRead, lookEveryMs } = this.#deps;
    const options = { limitCount: rowsPerRead, expiredByMs: clock.wallClockMs() };
    await this.#read(wanted, options, ({ place, index }, { entries, nextOffset }) => {
      const lapsed = entries.map((entry) => place.fetched(entry));
      if (lapsed.length > 0) lapse(place, index, lapsed);
      place.shelf.looked(index, nextOffset, clock.monotonicMs() + lookEveryMs);
    });
  }

  /** `nextOffset`: there may be more from there on; undefined: that is all, up to `upToOffset`. */
  async #read(
    wanted: readonly Wanted[],
    options: { readonly limitCount: number; readonly expiredByMs: number | null },
    take: (
      one: Wanted,
      found: { readonly entries: LedgerEntry[]; readonly nextOffset: number | undefined },
    ) => void,
  ): Promise<void> {
    const { store, home, intake } = this.#deps;
    const unpins = [...new Set(wanted.map(({ place }) => place))].map((place) => place.pin());
    try {
      const asked = wanted.map(({ partition, index, fromOffset }) => ({
        partition,
        index,
        fromOffset,
      }));
      const rows = await store.readOwnRows(home, asked, options);
      const entries = await intake.entriesOf(rows);
      for (const one of wanted) {
        if (one.place.isLost) continue;
        const isOfOne = (row: LedgerPlace): boolean =>
          row.partition === one.partition &&
          ownerOf(row) === one.index &&
          row.offset <= one.upToOffset;
        const ofOne = rows.filter(isOfOne);
        const last = ofOne.length < options.limitCount ? undefined : ofOne.at(-1);
        take(one, {
          entries: entries.filter(isOfOne),
          nextOffset: last === undefined ? undefined : last.offset + 1,
        });
      }
    } finally {
      for (const unpin of unpins) unpin();
    }
  }

  /** Rows that others got, too, are in memory: no process of his waits for their end. */
  #lapseWithheld(partition: Partition): void {
    const wallClockMs = this.#deps.clock.wallClockMs();
    for (const index of partition.shelf.indexes()) {
      const range = {
        afterOffset: partition.shelf.upTo(index),
        upToOffset: partition.handedOffset,
      };
      const lapsed = partition
        .entriesOf(index, range)
        .filter(
          (entry) =>
            entry.isPending(index) && entry.envelope.notification.expiresAtMs <= wallClockMs,
        );
      if (lapsed.length > 0) lapse(partition, index, lapsed);
    }
  }
}

/** In quarantine it is refused: the next look finds them again. */
function lapse(partition: Partition, index: number, entries: readonly LedgerEntry[]): void {
  partition.table.cast(index, { kind: "lapsed", entries }, "control");
}
