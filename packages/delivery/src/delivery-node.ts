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
import type { CrashReport } from "@carillon/process";
import { countAudience } from "./audience-count.ts";
import { DELIVERY_DEFAULTS, type DeliveryLimits } from "./delivery-limits.ts";
import type {
  DeliveryNodeDeps,
  DeliveryNodeOptions,
  DeliveryStats,
  RecipientProcesses,
} from "./delivery-node-api.ts";
import { DeliveryJournal } from "./delivery-journal.ts";
import { DurableTimers } from "./durable-timers.ts";
import { EnvelopeCache } from "./envelope.ts";
import { ExpansionWriter, type ExpansionWriterDeps } from "./expansion-writer.ts";
import { GatewayOutbox } from "./gateway-outbox.ts";
import { Intake } from "./intake.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import { LedgerFlusher } from "./ledger-flusher.ts";
import { loadPartitions } from "./load-partitions.ts";
import { Outcomes } from "./outcomes.ts";
import { Pacer } from "./pacer.ts";
import { Partition } from "./partition.ts";
import type { HeldPartition } from "./ports.ts";
import { tellRead } from "./read-sync.ts";
import { ReceiptDesk } from "./receipt-desk.ts";
import { createRecipientBehaviour } from "./recipient.ts";
import { SessionDesk } from "./session-desk.ts";
import { NO_CONTROLS } from "./control-book.ts";
import { NO_RATES } from "./rate-book.ts";
import { NO_POLICIES } from "./tenant-rules-book.ts";
import { Verdicts } from "./verdicts.ts";
import { ShelfReader } from "./shelf-reader.ts";
import { createTimerHandlers } from "./timer-handlers.ts";
import { type CountedParts, statsOf } from "./node-stats.ts";
import { NodeSweep } from "./node-sweep.ts";
import { ThreadSlices } from "./thread-slices.ts";

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
  readonly #shelves: ShelfReader;
  readonly #timers: DurableTimers<RecipientProcesses>;
  readonly #verdicts: Verdicts;
  readonly #journal: DeliveryJournal | undefined;
  readonly #serving = new Set<number>();
  readonly #outcomes: Outcomes;
  readonly #onBug: (cause: unknown) => void;
  readonly #sweep: NodeSweep;
  readonly #counted: CountedParts;
  #removeSliceListener: () => void = () => undefined;

  constructor(options: DeliveryNodeOptions, deps: DeliveryNodeDeps) {
    this.#options = options;
    this.#deps = deps;
    const limits = { ...DELIVERY_DEFAULTS, ...options.limits };
    this.#limits = limits;
    const { store, clock, scheduler, random, observer } = deps;
    const { home, memberId } = options;
    const onFault = observer.onFault.bind(observer);
    const onCrash = deps.onCrash?.bind(deps) ?? ((cause: unknown) => void Promise.reject(cause));
    this.#onBug = onCrash;
    const here = { home, store, clock };
    const fence: Pick<ExpansionWriterDeps, "isHeld" | "onFenced"> = {
      isHeld: ({ partition, epoch }) => this.#held.get(partition) === epoch,
      onFenced: (refused) => this.#fenced(refused),
    };
    const about = { home, node: memberId, clock, random, retry: limits.retry, onFault, onCrash };
    const journal =
      deps.journal &&
      new DeliveryJournal({ ...about, store: deps.journal, limits: limits.journal });
    this.#journal = journal;
    this.#outbox = new GatewayOutbox(
      {
        ownerId: memberId,
        home,
        messageMaxBytes: limits.deliverMaxBytes,
        queueMax: 20_000,
        defer: (run) => deps.scheduler.defer(run),
        ...(options.firstSeqs && { firstSeqs: options.firstSeqs }),
      },
      deps.gateways,
    );
    const expansions = new ExpansionWriter({
      ...here,
      rowsMax: limits.flushRowsMax,
      ...fence,
    });
    this.#pacer = new Pacer({
      ...{ home, clock, limits, scheduler: deps.scheduler },
      runnableCount: () => deps.runtime.runnableCount(),
      paceOf: (entry) => this.#verdicts.paceOf(entry),
    });
    const slices = new ThreadSlices({ clock, scheduler, sliceMs: limits.countSliceMs });
    const envelopes = new EnvelopeCache(limits.envelopesMax);
    this.#intake = new Intake({
      ...{ slices, pacer: this.#pacer },
      store,
      clock,
      random,
      home,
      envelopes,
      onWithdrawal: (id) => this.#verdicts.controls.recalled(id),
      limits,
      commitExpansion: (partition, entry) => expansions.commit(partition, entry),
      onFault,
      onCrash,
    });
    const onChanged = (partition: Partition, entry: LedgerEntry): void => {
      partition.changed(entry);
      this.#flusher.schedule();
      if (partition.shelf.count > 0) this.#shelves.pump();
    };
    this.#verdicts = new Verdicts({
      ...{ home, clock, limits, slices, onFault, onCrash, channels: ["socket"] },
      ...{ policies: deps.policies ?? NO_POLICIES, controls: deps.controls ?? NO_CONTROLS },
      ...{ rates: deps.rates ?? NO_RATES, onPace: (id) => this.#pacer.changed(id) },
      partitions: () => this.#partitions.values(),
      outcomes: () => this.#outcomes,
      flush: () => this.#flusher.flush(),
    });
    const { policy, rules, endOf, isPaused } = this.#verdicts;
    const outcomes = new Outcomes({
      ...{ onChanged, clock, endOf, isPaused },
      onOutcome: observer.onOutcome.bind(observer),
      verdictOf: deps.verdictOf?.bind(deps) ?? this.#verdicts.verdictOf,
      onHanded: policy.handed.bind(policy),
      isRecalled: this.#verdicts.controls.isRecalled.bind(this.#verdicts.controls),
      journal,
    });
    this.#outcomes = outcomes;
    this.#shelves = new ShelfReader({
      ...here,
      random,
      intake: this.#intake,
      retry: limits.retry,
      rowsPerRead: limits.rowsPerRead,
      dirtyMax: limits.openMax,
      lookEveryMs: limits.lapseLookEveryMs,
      partitions: () => this.#partitions.values(),
      onFault,
      onCrash,
    });
    this.#receipts = new ReceiptDesk({
      home,
      store,
      intake: this.#intake,
      unwrittenReportsMax: limits.unwrittenReportsMax,
      journal,
      onChanged,
      onReceipt: observer.onReceipt.bind(observer),
      onRead: (partition, offset, reader) =>
        tellRead(partition, offset, { reader, outbox: this.#outbox }),
      onFault,
    });
    this.#desk = new SessionDesk({
      ownerId: memberId,
      ...here,
      intake: this.#intake,
      outbox: this.#outbox,
      recoveryScanMax: limits.recoveryScanMax,
      receipts: this.#receipts,
      outcomes,
      flush: () => this.#flusher.flush(),
      journal,
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
      onMoved: (partition, entry, indexes) => partition.moved(entry, indexes),
      onRoom: (partition) => {
        this.#receipts.written(partition);
        partition.tellSettled();
        partition.trim();
        this.#intake.pump(partition);
        if (partition.shelf.count > 0) this.#shelves.pump();
      },
    });
    this.#sweep = new NodeSweep({
      ...here,
      limits,
      intake: this.#intake,
      rules,
      shelves: this.#shelves,
      partitions: () => this.#partitions,
      onFault,
      onCrash,
    });
    const { handlers, deferred } = createTimerHandlers({
      ...{ ...here, ...fence, random, limits, journal, intake: this.#intake },
      escalation: deps.escalation,
      partitionOf: (partition) => this.#loaded(partition),
      controlOf: (id) => this.#verdicts.controls.stateOf(id),
      flush: () => this.#flusher.flush(),
    });
    this.#timers = new DurableTimers({
      home,
      store: deps.timers,
      clock,
      random,
      limits: limits.timers,
      storeRetry: limits.retry,
      handlers: [...handlers, ...(deps.timerHandlers ?? [])],
      servedOf: (partition) => this.processesOf(partition),
      ...fence,
      onFault,
      onCrash,
      observer,
    });
    this.#counted = {
      ...{ pacer: this.#pacer, outbox: this.#outbox, timers: this.#timers, journal, expansions },
      ...{ deferred, desk: this.#desk, receipts: this.#receipts, verdicts: this.#verdicts },
      ...{ slices, envelopes },
    };
  }

  start(): void {
    this.#removeSliceListener = this.#deps.runtime.onSliceEnd(() => {
      this.#pacer.onSliceEnd();
      this.#outbox.flush();
    });
    this.#sweep.start();
    this.#verdicts.start();
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
      refreshRules: () => this.#verdicts.refresh(),
      loadRecent: (partitions) => this.#verdicts.load(partitions),
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
      onCrash: this.#onBug,
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
    const { releaseMaxMs, releaseFlushMs } = this.#limits;
    const endsAtMs = this.#deps.clock.monotonicMs() + releaseMaxMs;
    const drainMaxMs = releaseMaxMs - releaseFlushMs;
    const drains = partitions.flatMap((number) => {
      if (this.#serving.delete(number)) this.#deps.onServing(number, false);
      const partition = this.#partitions.get(number);
      return partition === undefined ? [] : [partition.table.drain(drainMaxMs)];
    });
    try {
      await Promise.all([...drains, this.#timers.drain(partitions, drainMaxMs)]); // DT5
      this.#outbox.flush();
      this.#journal?.flushSoon(); // not awaited: no handover waits for history
      await this.#flushWithin(endsAtMs - this.#deps.clock.monotonicMs());
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
      ...{ rules: this.#verdicts.rules, policy: this.#verdicts.policy },
      refreshDirectory: (partition) => this.#intake.refreshDirectory(partition),
      readUnread: (partition, audience) => this.#intake.readUnread(partition, audience),
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
    this.#outbox.flushLater();
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
    return statsOf(this.#counted, [...this.#partitions.values()], this.#serving.size);
  }

  stop(): void {
    this.#sweep.stop();
    this.#verdicts.stop();
    this.#pacer.stop();
    this.#removeSliceListener();
    this.#timers.stop();
    this.lose([...this.#held.keys()]);
    this.#journal?.stop();
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
        journal: this.#journal,
      }),
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
}

function ignored(): void {}
