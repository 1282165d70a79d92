// apps/worker/src/worker.ts
// A worker node: holds leases of partitions and delivers for them (DESIGN §5 steps 3–6, §6).
//   WK1  A message for a partition is handled only while its lease is held by this node's own
//        clock; a node that slept gives everything up before it looks at a message (D4).
//   WK2  A partition is heard on its subject exactly while it is served here.
//   WK3  Drain hands partitions over: flushed, released, and said so in a beat (C20).
import type { Bus, Message, Subscription } from "@carillon/bus";
import {
  createOwnership,
  type LeaseStore,
  type Membership,
  type Ownership,
} from "@carillon/cluster";
import {
  decodeMessage,
  encodeMessage,
  LIMITS,
  type OpenReply,
  partitionRequestSchema,
  pokeSchema,
  subjects,
} from "@carillon/contracts";
import { type DeliveryLimits, DeliveryNode, type LedgerStore } from "@carillon/delivery";
import type { Clock, Random, Scheduler } from "@carillon/kernel";
import { createRuntime, type ProcessRuntime } from "@carillon/process";
import type { Logger, Metrics } from "@carillon/telemetry";
import { createObserver, publishStats, reasonOf } from "./worker-metrics.ts";

export interface WorkerOptions {
  readonly home: string;
  readonly memberId: string;
  readonly limits?: Partial<DeliveryLimits>;
}

export interface WorkerDeps {
  readonly bus: Bus;
  readonly store: { readonly ledger: LedgerStore; readonly leases: LeaseStore };
  readonly membership: Membership;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}

export interface Worker {
  start(): void;
  /** Hands all partitions over; bounded by the release limit of delivery. Safe to call twice. */
  drain(): Promise<void>;
  stop(): void;
  /** Partitions served here now. */
  readonly servedCount: number;
}

const LEASE = { leaseMs: 10_000, refreshEveryMs: 3_000, selfStopMs: 8_000, checkEveryMs: 1_000 };

export function createWorker(options: WorkerOptions, deps: WorkerDeps): Worker {
  const { home, memberId } = options;
  const { bus, membership, log, clock } = deps;
  const subscriptions = new Map<number, Subscription>();
  let poke: Subscription | undefined;
  let phase: "idle" | "running" | "draining" | "stopped" = "idle";

  const runtime: ProcessRuntime = createRuntime({
    clock,
    scheduler: deps.scheduler,
    random: deps.random,
    onCrash(report) {
      delivery.onCrash(report);
      log.warn("process.crashed", {
        table: report.table,
        slot: report.slot,
        reason: report.reason,
        during: report.during,
        messageKind: report.messageKind,
        next: report.next,
        cause: String(report.cause),
      });
    },
    onQuarantine: (report) =>
      log.error("process.quarantined", { table: report.table, slot: report.slot }),
    onCallbackError: (callback, cause) =>
      log.error("process.callback_failed", { callback, cause: String(cause) }),
  });
  const onFault = (cause: unknown): void => log.warn("worker.fault", { reason: reasonOf(cause) });

  const delivery: DeliveryNode = new DeliveryNode(
    { home, memberId, ...(options.limits && { limits: options.limits }) },
    {
      store: deps.store.ledger,
      gateways: {
        deliver: (gatewayId, message) =>
          bus.publish(subjects.memberDeliver(gatewayId), encodeMessage(message)).kind === "sent",
      },
      runtime,
      clock,
      scheduler: deps.scheduler,
      random: deps.random,
      observer: createObserver({ ...deps, onFault }),
      onServing(partition, isServing) {
        if (isServing) serve(partition);
        else unserve(partition);
        announceSoon();
      },
      onFenced(partitions) {
        log.warn("worker.fenced", { partitionCount: partitions.length });
        deps.metrics.partitionsLost.inc({ reason: "fenced" }, partitions.length);
        ownership.check();
      },
    },
  );

  const ownership: Ownership = createOwnership(
    { home, memberId, partitionCount: LIMITS.partitionCount, ...LEASE },
    {
      leases: deps.store.leases,
      workers: () => membership.workers(),
      clock,
      onAcquired(partitions) {
        log.info("worker.acquired", { partitionCount: partitions.length });
        delivery.acquire(partitions);
      },
      onLost(partitions, reason) {
        log.warn("worker.lost", { partitionCount: partitions.length, reason });
        deps.metrics.partitionsLost.inc({ reason }, partitions.length);
        delivery.lose(partitions);
      },
      async onRelease(partitions) {
        log.info("worker.released", { partitionCount: partitions.length });
        await delivery.release(partitions);
      },
      onFault,
    },
  );

  const serve = (partition: number): void => {
    subscriptions.get(partition)?.unsubscribe();
    const subject = subjects.partitionSessions(home, partition);
    const subscription = bus.subscribe(subject, (message) => onSessions(partition, message), {
      isSole: true,
    });
    subscriptions.set(partition, subscription); // WK2
  };

  const unserve = (partition: number): void => {
    subscriptions.get(partition)?.unsubscribe();
    subscriptions.delete(partition);
  };

  const onSessions = (partition: number, message: Message): void => {
    if (!ownership.mayServe()) return; // WK1
    const decoded = decodeMessage(partitionRequestSchema, message.data);
    if (decoded.kind === "malformed") {
      deps.metrics.messagesMalformed.inc({ subject: "sessions" });
      return;
    }
    const request = decoded.message;
    if (request.kind === "report") {
      delivery.report(partition, request);
      return;
    }
    const reply = (answer: OpenReply): void => message.reply(encodeMessage(answer));
    void delivery.open(partition, request, reply); // never rejects
  };

  const onPoke = (message: Message): void => {
    if (!ownership.mayServe()) return; // WK1
    const decoded = decodeMessage(pokeSchema, message.data);
    if (decoded.kind === "malformed") deps.metrics.messagesMalformed.inc({ subject: "poke" });
    else delivery.onPoke(decoded.message);
  };

  let isAnnouncing = false;
  const announceSoon = (): void => {
    if (isAnnouncing) return; // 256 partitions become ready in one turn: one beat
    isAnnouncing = true;
    deps.scheduler.defer(() => {
      isAnnouncing = false;
      if (phase !== "stopped") membership.beatNow();
    });
  };

  const stopStats = publishStats({ ...deps, delivery, runtime });

  return {
    start() {
      if (phase !== "idle") return;
      phase = "running";
      poke = bus.subscribe(subjects.memberPoke(memberId), onPoke, { isSole: true });
      membership.describe({
        owned: () => (ownership.mayServe() ? { [home]: delivery.owned() } : {}),
        links: () => delivery.links(),
      });
      let workers = "";
      membership.onBeat(() => {
        const now = membership.workers().join();
        if (now !== workers) ownership.check();
        workers = now;
      });
      membership.onMemberLost((lostId) => {
        delivery.closeGateway(lostId);
        ownership.check();
      });
      delivery.start();
      ownership.start();
    },
    async drain() {
      if (phase !== "running") return;
      phase = "draining";
      await ownership.drain(); // WK3
      membership.beatNow();
    },
    stop() {
      if (phase === "stopped") return;
      phase = "stopped";
      stopStats();
      poke?.unsubscribe();
      ownership.stop();
      delivery.stop();
      runtime.stop();
    },
    get servedCount() {
      return subscriptions.size;
    },
  };
}
