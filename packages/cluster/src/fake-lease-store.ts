// packages/cluster/src/fake-lease-store.ts
// Lease rows in memory with a database clock of their own, for tests of this package.
import { Fault } from "@carillon/kernel";
import type { LeaseRow, LeaseStore } from "./ports.ts";

interface Row {
  ownerId: string | null;
  epoch: number;
  untilMs: number;
  isReleased: boolean;
}

export class FakeLeaseStore implements LeaseStore {
  readonly #rows: Row[];
  readonly #nowMs: () => number;
  isDown = false;
  listsCount = 0;
  /** The next of these fails: a release before it is done, an acquire after it. */
  failNext: "release" | "acquire_answer" | undefined;

  constructor(partitionCount: number, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#rows = Array.from({ length: partitionCount }, () => ({
      ownerId: null,
      epoch: 0,
      untilMs: 0,
      isReleased: false,
    }));
  }

  ownerOf(partition: number): string | null {
    const row = this.#rows[partition];
    return row === undefined || row.untilMs <= this.#nowMs() ? null : row.ownerId;
  }

  async list(): Promise<LeaseRow[]> {
    this.#mayFail();
    this.listsCount++;
    return this.#rows.map(({ ownerId, epoch, untilMs, isReleased }, partition) => ({
      partition,
      ownerId,
      epoch,
      isReleased,
      isExpired: untilMs <= this.#nowMs(),
    }));
  }

  async acquire(options: Parameters<LeaseStore["acquire"]>[0]) {
    this.#mayFail();
    const taken = options.partitions.flatMap((partition) => {
      const row = this.#rows[partition];
      if (row === undefined || row.untilMs > this.#nowMs()) return [];
      row.ownerId = options.memberId;
      row.epoch++;
      row.untilMs = this.#nowMs() + options.leaseMs;
      row.isReleased = false;
      return [{ partition, epoch: row.epoch }];
    });
    this.#mayFailNext("acquire_answer");
    return taken;
  }

  async refresh(options: Parameters<LeaseStore["refresh"]>[0]) {
    this.#mayFail();
    return this.#rows.flatMap((row, partition) => {
      if (row.ownerId !== options.memberId || row.untilMs <= this.#nowMs()) return []; // ST12
      row.untilMs = this.#nowMs() + options.leaseMs;
      return [{ partition, epoch: row.epoch }];
    });
  }

  async release(options: Parameters<LeaseStore["release"]>[0]): Promise<void> {
    this.#mayFail();
    this.#mayFailNext("release");
    for (const partition of options.partitions) {
      const row = this.#rows[partition];
      if (row === undefined || row.ownerId !== options.memberId) continue;
      row.ownerId = null;
      row.untilMs = 0;
      row.isReleased = true;
    }
  }

  #mayFailNext(what: "release" | "acquire_answer"): void {
    if (this.failNext !== what) return;
    this.failNext = undefined;
    throw new Fault("planted", { code: "store_unavailable", isRetryable: true });
  }

  #mayFail(): void {
    if (this.isDown) throw new Fault("down", { code: "store_unavailable", isRetryable: true });
  }
}
