// packages/cluster/src/discovery/candidates-book.ts
// What is known of all regions, in memory and on disk.
//   CB1  A region's record is replaced as a whole, and touches no other region's (C5).
//   CB2  What is known is kept whatever its age, and over a start: nothing waits for a source (C2).
//   CB3  Every change is on its way to the disk at once; one write at a time, the last one wins. A
//        disk that refuses is told, and costs nothing but the next start.
//   CB4  A file that is of no use, or a part of it, is not written over before a region has a good
//        answer, and is set aside then (`.unusable-<n>`): it may be a newer version's, or readable
//        again with the next start.
import { link, readdir, rename } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Clock } from "@carillon/kernel";
import {
  candidatesText,
  NO_RECORD,
  readCandidatesFile,
  type Records,
  type RegionRecord,
} from "./candidates-file.ts";
import { writeDurably } from "./durable-file.ts";
import { resumed } from "./hold.ts";

export interface CandidatesBookOptions {
  readonly path: string;
  readonly cluster: string;
  readonly regions: readonly string[];
  readonly clock: Clock;
  /** The file could not be used, or not written. */
  readonly onFault: (what: "unusable" | "not_written", detail: string) => void;
}

/** What an earlier run has left. */
export type LoadOutcome =
  | { readonly kind: "read"; readonly unusable: ReadonlySet<string> } // regions
  | { readonly kind: "absent" }
  | { readonly kind: "unusable" };

/** Files that are set aside; then the last of them is replaced. */
const ASIDE_MAX = 9;

export class CandidatesBook {
  readonly #options: CandidatesBookOptions;
  readonly #records = new Map<string, RegionRecord>();
  /** When the last good answer came, by the monotonic clock; before zero: in an earlier run. */
  readonly #goodAtMs = new Map<string, number>();
  readonly #listeners = new Set<(region: string) => void>();
  /** CB4: `kept` until a region has a good answer, then `aside` until it is set aside. */
  #file: "ours" | "kept" | "aside" = "ours";
  #isDirty = false;
  #writing: Promise<void> | undefined;

  constructor(options: CandidatesBookOptions) {
    this.#options = options;
    for (const region of options.regions) this.#records.set(region, NO_RECORD);
  }

  /** What an earlier run left, of the regions that are still there. Never rejects. */
  async load(): Promise<LoadOutcome> {
    const { path, cluster, clock, onFault } = this.#options;
    const read = await readCandidatesFile(path, cluster);
    if (read.kind === "absent") return read;
    if (read.kind === "unusable") {
      this.#file = "kept";
      onFault("unusable", `${path} ${read.problem}`);
      return { kind: "unusable" };
    }
    const { unusable } = read;
    if (unusable.size > 0) {
      this.#file = "kept";
      onFault("unusable", `${path} has no whole record of ${[...unusable].join(", ")}`);
    }
    for (const [region, record] of read.records) {
      if (!this.#records.has(region)) continue;
      this.#records.set(region, { ...record, ...resumed(record) });
      if (record.goodAtMs === null) continue;
      const ageMs = Math.max(0, clock.wallClockMs() - record.goodAtMs);
      this.#goodAtMs.set(region, clock.monotonicMs() - ageMs);
    }
    return { kind: "read", unusable };
  }

  get records(): Records {
    return this.#records;
  }

  get(region: string): RegionRecord {
    return this.#records.get(region) ?? NO_RECORD;
  }

  /** Since the last complete answer of the region; undefined: there was none, ever. */
  ageMs(region: string): number | undefined {
    const goodAtMs = this.#goodAtMs.get(region);
    return goodAtMs === undefined ? undefined : this.#options.clock.monotonicMs() - goodAtMs;
  }

  put(region: string, record: RegionRecord): void {
    const isGood = record.failing === null && record.goodAtMs !== null;
    this.#records.set(region, record);
    if (isGood) this.#goodAtMs.set(region, this.#options.clock.monotonicMs());
    if (isGood && this.#file === "kept") this.#file = "aside";
    if (this.#file !== "kept") {
      this.#isDirty = true;
      this.#writing ??= this.#write();
    }
    for (const listener of this.#listeners) listener(region);
  }

  /** Returns what ends it. */
  onChange(listener: (region: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Resolves when everything put so far is on disk, or the disk has refused it. */
  async flushed(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { path, cluster, onFault } = this.#options;
    while (this.#isDirty) {
      this.#isDirty = false;
      try {
        if (this.#file === "aside") await setAside(path);
        this.#file = "ours";
        await writeDurably(path, candidatesText(cluster, this.#records));
      } catch (cause) {
        onFault("not_written", String(cause)); // the next put tries again
      }
    }
    this.#writing = undefined;
  }
}

/** CB4. It stays where it is, too, until the new one takes its place: a crash in between loses nothing. */
async function setAside(path: string): Promise<void> {
  const taken = new Set(await readdir(dirname(path)));
  let n = 1;
  while (n < ASIDE_MAX && taken.has(`${basename(path)}.unusable-${n}`)) n++;
  const aside = `${path}.unusable-${n}`;
  try {
    await link(path, aside);
  } catch {
    await rename(path, aside); // another user's cannot be linked; the last one is taken already
  }
}
