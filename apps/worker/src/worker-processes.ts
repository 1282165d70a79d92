// apps/worker/src/worker-processes.ts
// One run of the recipients' processes, with everything that is heard for them. What throws in a
// timer or for a message is the run's crash (OR1), and its subscriptions end with it (OR2).
import { type Message, ownBus, type Subscription } from "@carillon/bus";
import { type BeatSource, createRouter, startDispatcher } from "@carillon/cluster";
import {
  decodeMessage,
  encodeMessage,
  type OpenReply,
  partitionRequestSchema,
  pokeSchema,
  type ReportReply,
  subjects,
} from "@carillon/contracts";
import { DELIVERY_DEFAULTS, DeliveryNode } from "@carillon/delivery";
import {
  createRuntime,
  ownClock,
  ownScheduler,
  type OwnRun,
  type ProcessRuntime,
} from "@carillon/process";
import { createObserver, reasonOf, routerObserver } from "./worker-metrics.ts";
import { escalationPart } from "./worker-escalation.ts";
import { servePlans } from "./worker-plans.ts";
import type { WorkerDeps, WorkerOptions } from "./worker-options.ts";

export interface WorkerProcesses {
  readonly runtime: ProcessRuntime;
  readonly delivery: DeliveryNode;
  /** Partitions that are heard here. */
  readonly servedCount: number;
  stop(): void;
}

export interface ProcessesRun {
  readonly run: OwnRun;
  readonly firstSeqs: Readonly<Record<string, number>>;
  /** WK1. */
  readonly mayServe: () => boolean;
  /** The store knows a newer owner of some partitions. */
  readonly onFenced: () => void;
}

/** A tenant that is withheld: its sessions wait, as for an owner that is busy. */
const ASK_AGAIN: OpenReply["results"][number] = { kind: "refused", code: "overloaded" };
const NOTHING: BeatSource = { owned: () => ({}), links: () => ({}) };

export function startProcesses(
  options: WorkerOptions,
  deps: WorkerDeps,
  { run, firstSeqs, mayServe, onFenced }: ProcessesRun,
): WorkerProcesses {
  const { home, memberId, journalOneIn: oneIn = DELIVERY_DEFAULTS.journal.oneIn } = options;
  const limits = { ...options.limits, journal: { ...DELIVERY_DEFAULTS.journal, oneIn } };
  const { membership, log, metrics, random } = deps;
  const bus = ownBus(run, deps.bus);
  const clock = ownClock(run, deps.clock);
  const scheduler = ownScheduler(run, deps.scheduler);
  const subscriptions = new Map<number, Subscription>();

  const runtime: ProcessRuntime = createRuntime({
    clock,
    scheduler,
    random,
    ...(deps.pulse && { pulse: deps.pulse }),
    onCrash(report) {
      delivery.onCrash(report);
      log.warn("process.crashed", {
        table: report.table,
        slot: report.slot,
        process: report.key,
        reason: report.reason,
        during: report.during,
        messageKind: report.messageKind,
        next: report.next,
        cause: String(report.cause),
      });
    },
    onPause: (report) => log.error("process.table_paused", { ...report }),
    onResume: (table) => log.info("process.table_resumed", { table }),
    onQuarantine: (report) =>
      log.error("process.quarantined", { table: report.table, slot: report.slot }),
    onCallbackError: (callback, cause) =>
      log.error("process.callback_failed", { callback, cause: String(cause) }),
  });
  const onFault = (cause: unknown): void => log.warn("worker.fault", { reason: reasonOf(cause) });

  const delivery: DeliveryNode = new DeliveryNode(
    { home, memberId, firstSeqs, limits },
    {
      store: deps.store.ledger,
      timers: deps.store.timers,
      ...(deps.store.policies && { policies: deps.store.policies }),
      ...(deps.store.controls && { controls: deps.store.controls }),
      ...(deps.store.rates && { rates: deps.store.rates }),
      ...(deps.store.journal && { journal: deps.store.journal }),
      ...escalationPart(deps, bus),
      ...(deps.timerHandlers && { timerHandlers: deps.timerHandlers }),
      ...(deps.verdictOf && { verdictOf: deps.verdictOf }),
      gateways: {
        deliver: (gatewayId, message) =>
          bus.publish(subjects.memberDeliver(gatewayId), encodeMessage(message)).kind === "sent",
      },
      runtime,
      clock,
      scheduler,
      random,
      observer: createObserver({ metrics, clock, log, onFault }),
      onServing(partition, isServing) {
        if (isServing) serve(partition);
        else unserve(partition);
        announceSoon();
      },
      onFenced(partitions) {
        log.warn("worker.fenced", { partitionCount: partitions.length });
        metrics.partitionsLost.inc({ reason: "fenced" }, partitions.length);
        onFenced();
      },
      onCrash: run.crashed,
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
    if (!mayServe()) return; // WK1
    const decoded = decodeMessage(partitionRequestSchema, message.data);
    if (decoded.kind === "malformed") {
      metrics.messagesMalformed.inc({ subject: "sessions" });
      return;
    }
    const request = decoded.message;
    if (request.kind === "report") {
      const kept: ReportReply = { ownerId: memberId };
      delivery.report(partition, request, () => message.reply(encodeMessage(kept)));
      return;
    }
    const isServed = request.sessions.map(({ tenantId }) => options.withholds?.(tenantId) !== true);
    const sessions = request.sessions.filter((_, at) => isServed[at]);
    const reply = (answer: OpenReply): void => {
      const opened = answer.results.values();
      const results = isServed.map((is) => (is ? opened.next().value : undefined) ?? ASK_AGAIN);
      message.reply(encodeMessage({ ...answer, results }));
    };
    run.watch(delivery.open(partition, { ...request, sessions }, reply));
  };

  const onPoke = (message: Message): void => {
    if (!mayServe()) return; // WK1
    const decoded = decodeMessage(pokeSchema, message.data);
    if (decoded.kind === "malformed") metrics.messagesMalformed.inc({ subject: "poke" });
    else delivery.onPoke(decoded.message);
  };

  let isAnnouncing = false;
  const announceSoon = (): void => {
    if (isAnnouncing) return; // 256 partitions become ready in one turn: one beat
    isAnnouncing = true;
    scheduler.defer(() => {
      isAnnouncing = false;
      membership.beatNow();
    });
  };

  /** Asked from the membership's timer: what it throws is this run's crash all the same. */
  const answered = <Answer>(ask: () => Answer, otherwise: Answer): Answer => {
    let answer = otherwise;
    run.guarded(() => void (answer = ask()))();
    return answer;
  };

  bus.subscribe(subjects.memberPoke(memberId), onPoke, { isSole: true });
  servePlans(memberId, {
    run,
    bus,
    delivery,
    metrics,
    mayServe,
    withholds: (tenantId) => options.withholds?.(tenantId) === true,
  });
  serveRoutes();
  membership.describe({
    owned: () => answered(() => (mayServe() ? { [home]: delivery.owned() } : {}), {}),
    links: () => answered(() => delivery.links(), {}),
  });
  const onLost = (lostId: string): void => delivery.closeGateway(lostId);
  run.onOver(membership.onMemberLost(run.guarded(onLost)));
  run.onOver(() => {
    membership.describe(NOTHING);
    membership.beatNow(); // gateways look for another owner now, not at the next beat
  });
  delivery.start();

  /** Messages and calls to recipients by their key (RO7–RO11). */
  function serveRoutes(): void {
    const observer = routerObserver(metrics);
    const router = createRouter({ bus, clock, members: membership, observer });
    run.onOver(() => router.stop());
    startDispatcher({
      memberId,
      bus,
      owners: membership,
      router,
      handlers: deps.handlers ?? [],
      mayServe, // WK1
      servedPartition: (of, partition) =>
        of === home ? delivery.processesOf(partition) : undefined,
      onDispatched: (outcome, count) => metrics.routeArrivals.inc({ outcome }, count),
      onCallsOpen: (openCount) => metrics.routeCallsOpen.set({ side: "owner" }, openCount),
      onCrash: run.crashed,
    });
  }

  return {
    runtime,
    delivery,
    get servedCount() {
      return subscriptions.size;
    },
    stop() {
      try {
        delivery.stop();
      } finally {
        runtime.stop();
      }
    },
  };
}
