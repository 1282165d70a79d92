// packages/delivery/src/test-delivery.ts
// One delivery node for tests: the real runtime on a fake clock, a store and gateways in memory.
import {
  type Deliver,
  type OpenReply,
  type PokeEntry,
  type SessionOpen,
} from "@carillon/contracts";
import { createSeededRandom } from "@carillon/kernel";
import { createRuntime } from "@carillon/process";
import { FakeClock } from "@carillon/testkit";
import type { DeliveryLimits } from "./delivery-limits.ts";
import { DeliveryNode } from "./delivery-node.ts";
import type { DeliveryNodeDeps, RecipientProcesses } from "./delivery-node-api.ts";
import type { TimerHandler } from "./durable-timers.ts";
import type { ControlStore } from "./control-book.ts";
import type { RateStore } from "./rate-book.ts";
import type { PolicyStore } from "./tenant-rules-book.ts";
import type { JournalEvent } from "./ports.ts";
import type { EscalationParts } from "./timer-handlers.ts";
import { FakeLedgerStore } from "./fake-ledger-store.ts";
import { FakeTimerStore } from "./fake-timer-store.ts";

export const GATEWAY = "gw-1";

interface StartOptions {
  store?: FakeLedgerStore;
  epoch?: number;
  isFirst?: boolean;
  limits?: Partial<DeliveryLimits>;
  timerHandlers?: TimerHandler<RecipientProcesses>[];
  verdictOf?: DeliveryNodeDeps["verdictOf"];
  policies?: PolicyStore;
  controls?: ControlStore;
  /** Of a node before it, on the same clock. */
  clock?: FakeClock;
  timers?: FakeTimerStore;
  escalation?: EscalationParts;
  rates?: RateStore;
}

export function start(options: StartOptions = {}) {
  const clock = options.clock ?? new FakeClock();
  const store = options.store ?? new FakeLedgerStore();
  const epoch = options.epoch ?? 1;
  const timers = options.timers ?? new FakeTimerStore(clock, store.epochs);
  store.timers = timers.memory;
  const sent: Deliver[] = [];
  const events: string[] = [];
  const crashedKeys: string[] = [];
  const journal: JournalEvent[] = [];
  const crashes: unknown[] = [];
  const random = createSeededRandom(1);
  const runtime = createRuntime({
    clock,
    scheduler: clock,
    random,
    onCrash(report) {
      crashedKeys.push(report.key);
      node.onCrash(report);
    },
  });
  const node: DeliveryNode = new DeliveryNode(
    { home: "fra", memberId: `w-${epoch}`, limits: { graceMs: 5_000, ...options.limits } },
    {
      store,
      timers,
      ...(options.policies && { policies: options.policies }),
      ...(options.escalation && { escalation: options.escalation }),
      ...(options.controls && { controls: options.controls }),
      ...(options.rates && { rates: options.rates }),
      journal: { append: async (_, __, added) => void journal.push(...added) },
      ...(options.timerHandlers && { timerHandlers: options.timerHandlers }),
      ...(options.verdictOf && { verdictOf: options.verdictOf }),
      gateways: { deliver: (_, message) => sent.push(message) > 0 },
      runtime,
      clock,
      scheduler: clock,
      random,
      observer: {
        onFault: (cause) => void events.push(`fault ${String(cause)}`),
        onFlushed: () => undefined,
        onOutcome: (outcome, entry) => void events.push(`${outcome} ${entry.offset}`),
        onReceipt: (receipt) => void events.push(receipt),
        onTimerFired: (kind) => void events.push(`fires ${kind}`),
        onTimerFailed: (_, cause) => void events.push(`timer failed: ${String(cause)}`),
        onTimerBuried: (_, reason) => void events.push(`buried: ${reason}`),
      },
      onServing: (partition, isServing) =>
        void events.push(`${isServing ? "serves" : "left"} ${partition}`),
      onFenced: (partitions) => void events.push(`fenced ${partitions.join()}`),
      onCrash: (cause) => void crashes.push(cause),
    },
  );
  node.start();
  store.epochs.set(0, epoch);
  node.acquire([{ partition: 0, epoch, isFirst: options.isFirst ?? true }]);
  /** offset→sids of everything sent so far; takes it. */
  const taken = (): string[] =>
    sent
      .splice(0)
      .flatMap((message) => message.items.flatMap((item) => item.groups))
      .map((group) => `${group.offset}→${group.sids.join()}${group.isResend ? "!" : ""}`);
  const poke = (...rows: (PokeEntry & { notificationId: string })[]): void =>
    node.onPoke({
      home: "fra",
      directory: [],
      items: rows.map(({ notificationId, ...entry }) => {
        const stored = store.notifications.get(notificationId);
        if (stored === undefined) throw new Error("plan it first");
        const audience = entry.members === null ? stored.audience : null;
        return { notification: stored.notification, audience, entries: [entry] };
      }),
    });
  const open = async (session: Partial<SessionOpen> & { recipientId: string; sid: number }) => {
    let answer: OpenReply | undefined;
    const wanted = { tenantId: "acme", position: null, ackedOffset: 0, device: "", ...session };
    await node.open(0, { gatewayId: GATEWAY, sessions: [wanted] }, (reply) => (answer = reply));
    await clock.advance(0);
    return answer?.results[0];
  };
  const ack = async (sid: number, index: number, offset: number) => {
    const report = { kind: "report" as const, gatewayId: GATEWAY, reads: [], acknowledges: [] };
    node.report(0, { ...report, acks: [[sid, index, offset]], closed: [] });
    await clock.advance(0);
  };
  return {
    ...{ clock, store, timers, node, events, journal, crashes, crashedKeys },
    ...{ taken, poke, open, ack, sent },
  };
}

export const idOf = (n: number) => `00000000-0000-7000-8000-00000000000${n}`;
