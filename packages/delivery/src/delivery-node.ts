// packages/delivery/src/delivery-node.ts
// Everything one worker does for the partitions it owns: joins intake, processes, sessions, ledger.
//   DN1  A partition serves from `ready` on: directory loaded, unfinished rows at the pacer (D1).
//   DN2  A lost partition does nothing more: processes stop, nothing of it is written (D4).
//   DN3  A released partition is flushed before its lease is given back (C20).
//   DN4  A write that is refused ends the ownership that it was written under, and no later one (D1).
import type {
  OpenReply,
  OwnerPlanReply,
  OwnerPlanRequest,
  Poke,
  SessionOpen,
  SessionReport,
} from "@carillon/contracts";
import type { Timer } from "@carillon/kernel";
import type { CrashReport } from "@carillon/process";
import { countAudience } from "./audience-count.ts";
import { DELIVERY_DEFAULTS, type DeliveryLimits } from "./delivery-limits.ts";
import type {
  DeliveryNodeDeps,
  DeliveryNodeOptions,
  DeliveryStats,
  RecipientProcesses,
} from "./delivery-node-api.ts";
import { DeferredRows } from "./deferred-rows.ts";
import { DurableTimers } from "./durable-timers.ts";
import { EnvelopeCache } from "./envelope.ts";
import { ExpansionWriter } from "./expansion-writer.ts";
import { GatewayOutbox } from "./gateway-outbox.ts";
import { Intake } from "./intake.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import { LedgerFlusher } from "./ledger-flusher.ts";
import { loadPartitions } from "./load-partitions.ts";
import { Outcomes } from "./outcomes.ts";
import { Pacer } from "./pacer.ts";
import { Partition } from "./partition.ts";
import type { HeldPartition } from "./ports.ts";
import { ReceiptDesk } from "./receipt-desk.ts";
import { createRecipientBehaviour } from "./recipient.ts";
import { SessionDesk } from "./session-desk.ts";
import { ThreadSlices } from "./thread-slices.ts";
import { ALLOW } from "./verdict.ts";

export class DeliveryNode {
  readonly #options: DeliveryNodeOptions;
  readonly #deps: DeliveryNodeDeps;
  readonly #limits: DeliveryLimits;
  readonly #held = new Map<number, number>(); // partition → epoch, being loaded or loaded
  readonly #partitions = new Map<number, Partition>();
  readonly #outbox: GatewayOutbox;
  readonly #intake: Intake;
  readonly #pacer: Pacer;
  readonly #receipts: ReceiptDesk;
  readonly #desk: SessionDesk;
  readonly #flusher: LedgerFlusher;
  readonly #timers: DurableTimers<RecipientProcesses>;
  readonly #serving = new Set<number>();
  readonly #outcomes: Outcomes;
  #isFlushDeferred = false;
  #sweepTimer: Timer | undefined;
  #isStopped = false;
  #removeSliceListener: () => void = () => undefined;

  constructor(options: DeliveryNodeOptions, deps: DeliveryNodeDeps) {
    this.#options = options;
    this.#deps = deps;
    const limits = { ...DELIVERY_DEFAULTS, ...options.limits };
    this.#limits = limits;
    const { store, clock, random, observer } = deps;
    const { home, memberId } = options;
    const onFault = observer.onFault.bind(observer);
    const { firstSeqs } = options;
    this.#outbox = new GatewayOutbox(
      {
        ownerId: memberId,
        home,
        messageMaxBytes: limits.deliverMaxBytes,
        queueMax: 20_000,
        ...(firstSeqs && { firstSeqs }),
      },
      deps.gateways,
    );
    const expansions = new ExpansionWriter({
      home,
      store,
      clock,
      rowsMax: limits.flushRowsMax,
      isHeld: ({ partition, epoch }) => this.#held.get(partition) === epoch,
      onFenced: (refused) => this.#fenced(refused),
    });
    this.#pacer = new Pacer({
      scheduler: deps.scheduler,
      limits,
      runnableCount: () => deps.runtime.runnableCount(),
    });
    this.#intake = new Intake({
      pacer: this.#pacer,
      slices: new ThreadSlices({ clock, scheduler: deps.scheduler, sliceMs: limits.countSliceMs }),
      store,
      clock,
      random,
      home,
      envelopes: new EnvelopeCache(limits.envelopesMax),
      limits,
      commitExpansion: (partition, entry) => expansions.commit(partition, entry),
      onFault,
    });
    const onChanged = (partition: Partition, entry: LedgerEntry): void => {
      partition.changed(entry);
      this.#flusher.schedule();
    };
    const outcomes = new Outcomes({
      onChanged,
      onOutcome: observer.onOutcome.bind(observer),
      verdictOf: deps.verdictOf?.bind(deps) ?? (() => ALLOW),
    });
    this.#outcomes = outcomes;
    this.#receipts = new ReceiptDesk({
      home,
      store,
      intake: this.#intake,
      unwrittenReportsMax: limits.unwrittenReportsMax,
      onChanged,
      onReceipt: observer.onReceipt.bind(observer),
      onFault,
    });
    this.#desk = new SessionDesk({
      ownerId: memberId,
      home,
      store,
      clock,
      intake: this.#intake,
      outbox: this.#outbox,
      recoveryScanMax: limits.recoveryScanMax,
      receipts: this.#receipts,
      outcomes,
      flush: () => this.#flusher.flush(),
    });
    this.#flusher = new LedgerFlusher({
      store,
      clock,
      random,
      home,
      flushEveryMs: limits.flushEveryMs,
      rowsMax: limits.flushRowsMax,
      retry: limits.retry,
      partitions: () => this.#partitions.values(),
      onFenced: (refused) => this.#fenced(refused),
      onFlushed: observer.onFlushed.bind(observer),
      onFault,
      onMoved: (partition, entry, indexes) => {
        if (entry.state === "closed") partition.closedOne(entry);
        partition.tell(indexes, { kind: "changed" });
      },
      onRoom: (partition) => {
        this.#receipts.written(partition);
        const settled = partition.settling.takeWritten();
        if (settled !== undefined) partition.tell(settled, { kind: "changed" });
        partition.trim();
        this.#intake.pump(partition);
      },
    });
    const deferred = new DeferredRows({
      home,
      store,
      clock,
      intake: this.#intake,
      rowsMax: limits.flushRowsMax,
      partitionOf: (partition) => this.#loaded(partition),
      isHeld: ({ partition, epoch }) => this.#held.get(partition) === epoch,
      onFenced: (refused) => this.#fenced(refused),
    });
    this.#timers = new DurableTimers({
      home,
      store: deps.timers,
      clock,
      random,
      limits: limits.timers,
      storeRetry: limits.retry,
      handlers: [deferred.handler, ...(deps.timerHandlers ?? [])],
      servedOf: (partition) => this.processesOf(partition),
      isHeld: ({ partition, epoch }) => this.#held.get(partition) === epoch,
      onFenced: (refused) => this.#fenced(refused),
      onFault,
      onCrash: deps.onCrash?.bind(deps) ?? ((cause) => void Promise.reject(cause)),
      observer,
    });
  }

  start(): void {
    this.#removeSliceListener = this.#deps.runtime.onSliceEnd(() => {
      this.#pacer.onSliceEnd();
      this.#outbox.flush();
    });
    const sweep = (): void => {
      if (this.#isStopped) return;
      const sweeping = this.#sweep().finally(() => {
        if (!this.#isStopped)
          this.#sweepTimer = this.#deps.clock.setTimer(this.#limits.sweepEveryMs, sweep);
      });
      if (this.#deps.onCrash !== undefined) sweeping.catch(this.#deps.onCrash.bind(this.#deps));
    };
    sweep();
  }

  /** Who runs the flusher has its crashes, too; before it, its timers are this node's. */
  get flusher(): Pick<LedgerFlusher, "runBy"> {
    return this.#flusher;
  }

  /** What was sent last to each gateway; asks nobody, so also of a node that has crashed. */
  lastSeqs(): Record<string, number> {
    return this.#outbox.links();
  }

  /** Loads and serves; failures of the store are tried again while the partitions are held. */
  acquire(acquired: readonly (HeldPartition & { isFirst: boolean })[]): void {
    for (const { partition, epoch } of acquired) this.#held.set(partition, epoch);
    void loadPartitions(acquired, {
      home: this.#options.home,
      store: this.#deps.store,
      clock: this.#deps.clock,
      random: this.#deps.random,
      intake: this.#intake,
      limits: this.#limits,
      create: (options) => {
        this.#discard(this.#partitions.get(options.partition)); // of a load that failed
        const partition = new Partition(options, (self) => this.#createTable(self));
        this.#partitions.set(partition.partition, partition);
        return partition;
      },
      isHeld: ({ partition, epoch }) => this.#held.get(partition) === epoch,
      onReady: (partition) => {
        this.#serving.add(partition.partition);
        this.#timers.serve(partition);
        this.#deps.onServing(partition.partition, true);
      },
      onFault: (cause) => this.#deps.observer.onFault(cause),
    });
  }

  /** Ends all work on these at once (DN2). */
  lose(partitions: readonly number[]): void {
    for (const number of partitions) {
      this.#held.delete(number);
      this.#timers.drop(number);
      this.#discard(this.#partitions.get(number));
      this.#partitions.delete(number);
      if (this.#serving.delete(number)) this.#deps.onServing(number, false);
    }
  }

  /** Flushes, then ends work on them; the lease may be given back afterwards (DN3). */
  async release(partitions: readonly number[]): Promise<void> {
    const drains = partitions.flatMap((number) => {
      if (this.#serving.delete(number)) this.#deps.onServing(number, false);
      const partition = this.#partitions.get(number);
      return partition === undefined ? [] : [partition.table.drain(this.#limits.releaseMaxMs)];
    });
    try {
      await Promise.all([
        ...drains,
        this.#timers.drain(partitions, this.#limits.releaseMaxMs), // DT5
      ]);
      this.#outbox.flush();
      await this.#flushWithin(this.#limits.releaseMaxMs);
    } finally {
      this.lose(partitions);
    }
  }

  /** A statement may take longer than that: it is left alone, and the fence decides (D4). */
  async #flushWithin(maxMs: number): Promise<void> {
    const { clock } = this.#deps;
    const endsAtMs = clock.monotonicMs() + maxMs;
    const flush = async (): Promise<void> => {
      while (!(await this.#flusher.flush()) && clock.monotonicMs() < endsAtMs)
        await clock.sleep(50);
    };
    const late = Promise.withResolvers<void>();
    const timer = clock.setTimer(maxMs, late.resolve);
    try {
      await Promise.race([flush(), late.promise]);
    } finally {
      timer.cancel();
    }
  }

  /** How many an audience comes to in those partitions that are served here. */
  count(request: OwnerPlanRequest): Promise<OwnerPlanReply> {
    const { clock, scheduler, observer } = this.#deps;
    return countAudience(request, {
      clock,
      sliceMs: this.#limits.countSliceMs,
      partition: (number) =>
        request.home === this.#options.home && this.#serving.has(number)
          ? this.#partitions.get(number)
          : undefined,
      refreshDirectory: (partition) => this.#intake.refreshDirectory(partition),
      laterTurn: () => new Promise((resolve) => scheduler.defer(resolve)),
      onFault: observer.onFault.bind(observer),
    });
  }

  onPoke(poke: Poke): void {
    if (poke.home !== this.#options.home) return;
    this.#intake.onPoke(poke, (number) => this.#loaded(number));
  }

  /** Calls `reply` once, or never when the store is down or the partition is not served here. */
  async open(
    partition: number,
    request: { gatewayId: string; sessions: readonly SessionOpen[] },
    reply: (reply: OpenReply) => void,
  ): Promise<void> {
    const owned = this.#partitions.get(partition);
    if (owned === undefined || !this.#serving.has(partition)) {
      const refused = { kind: "refused", code: "not_owner" } as const;
      const results = request.sessions.map(() => refused);
      reply({ ownerId: this.#options.memberId, seq: 0, results });
      return;
    }
    try {
      await this.#desk.open(owned, request, reply);
    } catch (cause) {
      this.#deps.observer.onFault(cause);
    }
    this.#deferFlush();
  }

  /** Calls `onKept` once when the report's receipts are in the ledger, or never (SD6). */
  report(partition: number, report: SessionReport, onKept: () => void = ignored): void {
    const owned = this.#partitions.get(partition);
    if (owned !== undefined) this.#desk.report(owned, report, onKept);
  }

  /** A gateway has not been heard for long: its sessions are gone until it says otherwise. */
  closeGateway(gatewayId: string): void {
    for (const partition of this.#partitions.values())
      this.#desk.closeGateway(partition, gatewayId);
    this.#outbox.forget(gatewayId);
  }

  /** To be called for every crash of a process of this node's tables, before it is restarted. */
  onCrash(report: Pick<CrashReport, "table" | "slot" | "next">): void {
    const number = Number(report.table.slice(report.table.lastIndexOf("/") + 1));
    const partition = this.#partitions.get(number);
    partition?.crashed.add(report.slot); // RE1
    if (report.next === "forgotten") partition?.spilled.add(report.slot); // its mailbox is lost
  }

  /** The recipients' processes of a partition that is served here. */
  processesOf(partition: number): RecipientProcesses | undefined {
    const served = this.#serving.has(partition) ? this.#partitions.get(partition) : undefined;
    if (served === undefined) return undefined;
    const { table, directory, epoch } = served;
    return {
      partition,
      epoch,
      table,
      slotOf: (tenantId, recipientId) => directory.indexOf(tenantId, recipientId),
      timers: {
        set: (setting) => this.#timers.set({ partition, epoch }, setting),
        cancel: (place) => this.#timers.cancel({ partition, epoch }, place),
      },
    };
  }

  /** For the beat: what is served here, and the last delivery to each gateway. */
  owned(): [partition: number, epoch: number][] {
    return [...this.#serving].flatMap((number) => {
      const epoch = this.#partitions.get(number)?.epoch;
      return epoch === undefined ? [] : [[number, epoch] as [number, number]];
    });
  }

  links(): Record<string, number> {
    this.#outbox.flush(); // so that the numbers in the beat have all left before it
    return this.#outbox.links();
  }

  stats(): DeliveryStats {
    const partitions = [...this.#partitions.values()];
    const sum = (of: (partition: Partition) => number): number =>
      partitions.reduce((total, partition) => total + of(partition), 0);
    return {
      partitionCount: this.#serving.size,
      sessionCount: sum((partition) => partition.sessions.count),
      openEntryCount: sum((partition) => partition.openCount),
      dirtyEntryCount: sum((partition) => partition.dirtyCount),
      incomingCount: sum((partition) => partition.incoming.length),
      heldRowsCount: this.#pacer.rowsCount,
      recipientCount: sum((partition) => partition.directory.recipientCount),
      deliverMessagesTotal: this.#outbox.sentCount,
      deliverFailedTotal: this.#outbox.failedCount,
      timersFiringCount: this.#timers.firingCount,
    };
  }

  stop(): void {
    this.#isStopped = true;
    this.#sweepTimer?.cancel();
    this.#removeSliceListener();
    this.#timers.stop();
    this.lose([...this.#held.keys()]);
  }

  #discard(partition: Partition | undefined): void {
    if (partition === undefined) return;
    partition.isLost = true;
    partition.table.stop();
  }

  /** Undefined also while it is being loaded. */
  #loaded(number: number): Partition | undefined {
    const partition = this.#partitions.get(number);
    return partition?.isLoading === true ? undefined : partition;
  }

  #createTable(partition: Partition): Partition["table"] {
    const { runtime, clock } = this.#deps;
    return runtime.createTable({
      name: `${this.#options.home}/${partition.partition}`,
      keyOf: (index) => partition.directory.keyOf(index),
      slotOf: (key) => partition.directory.indexOfKey(key),
      behaviour: createRecipientBehaviour(partition, {
        clock,
        outbox: this.#outbox,
        limits: this.#limits,
        outcomes: this.#outcomes,
      }),
    });
  }

  #deferFlush(): void {
    if (this.#isFlushDeferred) return;
    this.#isFlushDeferred = true;
    this.#deps.scheduler.defer(() => {
      this.#isFlushDeferred = false;
      this.#outbox.flush();
    });
  }

  /** A refusal that comes late is about an ownership that is over: not about the one of now (DN4). */
  #fenced(refused: readonly HeldPartition[]): void {
    const partitions = refused
      .filter(({ partition, epoch }) => this.#held.get(partition) === epoch)
      .map(({ partition }) => partition);
    if (partitions.length === 0) return;
    this.lose(partitions);
    this.#deps.onFenced(partitions);
  }

  /** Finds what lost pokes left behind; gives refused recipients what they were refused. */
  async #sweep(): Promise<void> {
    const numbers = [...this.#partitions.keys()];
    if (numbers.length === 0) return;
    const nowMs = this.#deps.clock.monotonicMs();
    for (const partition of this.#partitions.values()) {
      partition.sessions.forgetClosed(nowMs - this.#limits.graceMs);
      resumeSpilled(partition);
    }
    try {
      const heads = await this.#deps.store.readHeads(this.#options.home, numbers);
      for (const head of heads) {
        const partition = this.#loaded(head.partition);
        if (partition !== undefined) this.#intake.onHead(partition, head);
      }
    } catch (cause) {
      this.#deps.observer.onFault(cause);
    }
  }
}

function ignored(): void {}

/** PA4: the process takes all that is open for it in one message, once its mailbox is empty. */
function resumeSpilled(partition: Partition): void {
  if (partition.spilled.isEmpty) return;
  partition.spilled.forEach((index) => {
    if (partition.table.inspect(index).waitingCount > 0) return;
    const entries = partition.openEntriesOf(index);
    if (partition.table.cast(index, { kind: "resume", entries }, "control") === "accepted")
      partition.spilled.remove(index);
  });
}
