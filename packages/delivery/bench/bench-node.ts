// packages/delivery/bench/bench-node.ts
// One owner of 64 partitions for the benches: the real code, with store and gateways in memory and sessions that
// ack at once.
import type { Deliver } from "@carillon/contracts";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createRuntime } from "@carillon/process";
import { DeliveryNode } from "../src/delivery-node.ts";
import { FakeLedgerStore, notificationOf } from "../src/fake-ledger-store.ts";

type Audience = Parameters<FakeLedgerStore["plan"]>[2];

export interface BenchRow {
  readonly partition: number;
  readonly offset: number;
}

export const PARTITIONS: readonly number[] = Array.from(
  { length: 64 },
  (_, partition) => partition,
);

export class BenchNode {
  readonly store = new FakeLedgerStore();
  readonly #recipientsEach: number;
  readonly #runtime = createRuntime({
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
  });
  readonly #node: DeliveryNode;
  /** A gateway was given a row for somebody. */
  onDelivered: (row: BenchRow) => void = () => undefined;
  outcomesCount = 0;
  journaledCount = 0;
  #servingCount = 0;
  #notificationsCount = 0;

  constructor(recipientsEach: number, attributesOf: (n: number) => Record<string, unknown>) {
    this.#recipientsEach = recipientsEach;
    for (const partition of PARTITIONS) {
      this.store.epochs.set(partition, 1);
      for (let n = 0; n < recipientsEach; n++)
        this.store.addRecipient(partition, `employee-${partition}-${n}`, {
          attributes: attributesOf(n),
          version: n + 1,
        });
    }
    this.#node = new DeliveryNode(
      { home: "fra", memberId: "bench" },
      {
        store: this.store,
        timers: {
          claim: async () => ({ timers: [], isMore: false, nextInMs: null, fencedPartitions: [] }),
          write: async () => ({ fencedPartitions: [] }),
        },
        journal: { append: async (_, __, { length }) => void (this.journaledCount += length) },
        gateways: { deliver: (gatewayId, { items }) => this.#deliver(gatewayId, items) },
        runtime: this.#runtime,
        clock: systemClock,
        scheduler: systemScheduler,
        random: systemRandom,
        observer: {
          onFault: (cause) => console.error(cause),
          onFlushed: () => undefined,
          onOutcome: () => void this.outcomesCount++,
          onReceipt: () => undefined,
          onTimerFired: () => undefined,
          onTimerFailed: () => undefined,
          onTimerBuried: () => undefined,
        },
        onServing: (_, isServing) => (this.#servingCount += isServing ? 1 : -1),
        onFenced: () => undefined,
      },
    );
  }

  async serve(): Promise<void> {
    this.#node.start();
    this.#node.acquire(
      PARTITIONS.map((partition) => ({ partition, epoch: 1, isFirst: true as const })),
    );
    await until(() => this.#servingCount === PARTITIONS.length);
  }

  /** A session for each of these, in every partition. */
  async connect(indexes: readonly number[]): Promise<void> {
    for (const partition of PARTITIONS) {
      const sessions = indexes.map((index) => ({
        sid: partition * this.#recipientsEach + index + 1,
        tenantId: "acme",
        recipientId: `employee-${partition}-${index}`,
        position: null,
        ackedOffset: 0,
        device: "",
      }));
      await this.#node.open(partition, { gatewayId: "gw", sessions }, () => undefined);
    }
  }

  /** One notification, as accept plans it and pokes the owner with it. */
  post(
    audience: Audience,
    { partitions = PARTITIONS, isCritical = false } = {},
  ): readonly BenchRow[] {
    const notification = notificationOf({
      id: `00000000-0000-7000-8000-${String(++this.#notificationsCount).padStart(12, "0")}`,
      expiresAtMs: systemClock.wallClockMs() + 600_000,
      priority: isCritical ? "critical" : "normal",
    });
    const rows = partitions.map((n) => this.store.plan(n, notification, audience));
    const entries = rows.map(({ partition, offset, directoryVersion, members }) => ({
      partition,
      offset,
      directoryVersion,
      members,
    }));
    const stored = "kind" in audience ? audience : null;
    const item = { notification, audience: stored, entries };
    this.#node.onPoke({ home: "fra", directory: [], items: [item] });
    return rows;
  }

  async closed(rows: readonly BenchRow[]): Promise<void> {
    await until(() =>
      rows.every(({ partition, offset }) => {
        return this.store.rows.get(`${partition}/${offset}`)?.state === "closed";
      }),
    );
  }

  stop(): void {
    this.#node.stop();
    this.#runtime.stop();
  }

  #deliver(gatewayId: string, items: Deliver["items"]): boolean {
    const groups = items.flatMap((item) => item.groups);
    for (const { partition, offset } of groups) this.onDelivered({ partition, offset });
    setImmediate(() => this.#ackAll(gatewayId, groups));
    return true;
  }

  /** The session's number tells its recipient's index. */
  #ackAll(gatewayId: string, groups: Deliver["items"][number]["groups"]): void {
    for (const { partition, offset, sids } of groups)
      this.#node.report(partition, {
        kind: "report",
        gatewayId,
        acks: sids.map((sid) => [sid, sid - 1 - partition * this.#recipientsEach, offset]),
        reads: [],
        acknowledges: [],
        closed: [],
      });
  }
}

export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}

export function residentMiB(): string {
  return (process.memoryUsage.rss() / 2 ** 20).toFixed(0);
}
