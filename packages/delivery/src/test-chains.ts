// A world for chains: two regions' people in memory, a webhook's receiver, and nodes that die at any call to what
// is outside of them. What is committed, and what was received, outlives them.
import type { ControlState, Notification } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import type { DeliveryLimits } from "./delivery-limits.ts";
import { FakeLedgerStore, notificationOf, planted } from "./fake-ledger-store.ts";
import { FakeTimerStore } from "./fake-timer-store.ts";
import type { EscalationStore, RegionAcks } from "./escalation-ports.ts";
import { stepIdOf } from "./escalation-step.ts";
import { EMPTY_SETS, type JournalEvent, type WebhookPort } from "./ports.ts";
import { idOf, start } from "./test-delivery.ts";

export const HOME = "fra";
/** Who lives in the other region. */
export const AWAY = "lon";
export const WAIT_MS = 10_000;

type Answer = Awaited<ReturnType<WebhookPort["post"]>>;
interface Step {
  readonly notification: Notification;
  readonly recipientId: string;
  readonly region: string;
}

export interface Person {
  readonly id: string;
  readonly managerId?: string;
}

export interface ChainWorldOptions {
  readonly people: readonly Person[];
  /** Known beside the people, by home region. */
  readonly others: Readonly<Record<string, readonly string[]>>;
  readonly steps: readonly Record<string, unknown>[];
  /** They have acknowledged what it is about before the deadline. */
  readonly acknowledged?: readonly string[];
  /** They acknowledge each step that comes to them at once. */
  readonly acknowledging?: readonly string[];
  /** Of the n-th call for an id; the first is 0. */
  readonly webhook?: (id: string, call: number) => Answer;
  readonly limits?: Partial<DeliveryLimits>;
  readonly controls?: Map<string, ControlState>;
}

/** Dies at its n-th call, before it is done or after; 0: never. */
export interface Death {
  readonly atCall: number;
  readonly isAfter: boolean;
  /** Lives on: the store's call fails, before it is done or, its answer being lost, after. */
  readonly isFault?: boolean;
}

export class ChainWorld {
  readonly clock = new FakeClock();
  readonly store = new FakeLedgerStore();
  readonly timers = new FakeTimerStore(this.clock, this.store.epochs);
  /** What was accepted, by id. */
  readonly steps = new Map<string, Step>();
  /** What the receiver took, in order. */
  readonly received: { readonly id: string; readonly body: string }[] = [];
  readonly calls: string[] = []; // to the receiver, by id
  readonly journal: JournalEvent[] = [];
  readonly events: string[] = [];
  /** Regions that do not answer. */
  readonly silent = new Set<string>();
  readonly notification: Notification;
  callsCount = 0;
  acceptsRepeatedCount = 0;
  #epoch = 0;
  readonly #options: ChainWorldOptions;

  constructor(options: ChainWorldOptions) {
    this.#options = options;
    for (const { id, managerId } of options.people)
      this.store.addRecipient(0, id, { attributes: managerId === undefined ? {} : { managerId } });
    this.notification = notificationOf({
      id: idOf(1),
      priority: "high",
      expiresAtMs: 3_600_000,
      requireAck: { deadlineSeconds: WAIT_MS / 1_000, escalation: [...options.steps] },
    });
    const members = options.people.map((_, index) => index);
    const row = this.store.plan(0, this.notification, { members });
    const acknowledged = Bitset.of(
      options.people.flatMap(({ id }, at) =>
        options.acknowledged?.includes(id) === true ? at : [],
      ),
    ).toBytes();
    this.store.rows.set("0/1", { ...row, sets: { ...EMPTY_SETS, acknowledged } });
    this.timers.memory.putChain({ ...row, tenantId: "acme", ackSeconds: WAIT_MS / 1_000 });
  }

  /** One more owner, which takes everything over. */
  startNode(death: Death = { atCall: 0, isAfter: false }) {
    const life = { isOver: false };
    this.callsCount = 0;
    const call = async <T>(name: string, effect: () => T | Promise<T>): Promise<T> => {
      if (life.isOver) return await new Promise<never>(() => undefined);
      const isLast = ++this.callsCount === death.atCall;
      this.events.push(`${this.callsCount} ${name}`);
      const isFault =
        isLast && death.isFault === true && name !== "post" && name !== "acknowledged";
      if (isFault && !death.isAfter) throw planted();
      if (isFault) {
        await effect();
        throw planted();
      }
      if (death.isFault === true) return await effect();
      if (isLast && !death.isAfter) life.isOver = true;
      if (life.isOver) return await new Promise<never>(() => undefined);
      const answer = await effect();
      if (isLast) life.isOver = true;
      if (life.isOver) return await new Promise<never>(() => undefined);
      return answer;
    };
    const gated = <T extends object>(port: T, names: readonly (keyof T & string)[]): T =>
      new Proxy(port, {
        get(of, name) {
          const value: unknown = Reflect.get(of, name);
          if (typeof value !== "function") return value;
          const method = (...args: unknown[]): unknown => Reflect.apply(value, of, args);
          if (!names.some((one) => one === name))
            return (...args: unknown[]) =>
              life.isOver ? new Promise(() => undefined) : method(...args);
          return (...args: unknown[]) => call(String(name), () => method(...args));
        },
      });
    // A claim of nothing changes nothing: there are very many of them.
    const timers = gated(this.timers, ["write"]);
    const claim = this.timers.claim.bind(this.timers);
    const counting = new Proxy(timers, {
      get: (of, name) =>
        name === "claim"
          ? async (...args: Parameters<typeof claim>) => {
              if (life.isOver) return await new Promise<never>(() => undefined);
              const isDue = [...this.timers.memory.rows.values()].some(
                ({ dueAtMs }) => dueAtMs <= this.clock.wallClockMs(),
              );
              return isDue ? await call("claim", () => claim(...args)) : await claim(...args);
            }
          : Reflect.get(of, name),
    });
    const { limits, controls } = this.#options;
    const node = start({
      ...{ clock: this.clock, timers: counting, epoch: ++this.#epoch, isFirst: this.#epoch === 1 },
      store: gated(this.store, ["readRows", "readNotifications", "writeRows"]),
      escalation: {
        store: gated(this.#store(), ["readPeople", "readSteps", "accept"]),
        regions: gated(this.#regions(), ["acknowledged"]),
        webhooks: gated(this.#webhooks(), ["post"]),
      },
      ...(limits && { limits }),
      ...(controls && {
        controls: {
          readChanged: async () =>
            Array.from(controls, ([notificationId, state]) => ({ notificationId, state })),
          wake: async () => undefined,
        },
      }),
    });
    this.journal.length = 0;
    return {
      ...node,
      life,
      journalNotes: () =>
        node.journal.map(
          ([, , , index, , , kind, code]) =>
            `${this.#options.people[index]?.id} ${kind} ${code ?? ""}`,
        ),
    };
  }

  /** Until nothing waits any more, or `maxMs`; who dies is followed by one that does not. */
  async run(
    deaths: readonly Death[],
    maxMs = 180_000,
  ): Promise<ReturnType<ChainWorld["startNode"]>> {
    const next = deaths.values();
    let node = this.startNode(next.next().value);
    for (let ms = 0; ms < maxMs && this.timers.memory.rows.size > 0; ms += 250) {
      await this.clock.advance(250);
      if (!node.life.isOver) continue;
      node.node.stop();
      node = this.startNode(next.next().value);
    }
    await this.clock.advance(1_000);
    return node;
  }

  /** "ada 1 → ada", "ada 3 → webhook": what came of it, by id and thus once each, in order of names. */
  get taken(): string[] {
    const { people, steps } = this.#options;
    const names = new Map<string, string>();
    for (const [index, { id }] of people.entries())
      for (const step of steps.keys()) {
        const place = { notificationId: this.notification.id, home: HOME, partition: 0, index };
        names.set(stepIdOf({ ...place, step: step + 1 }), `${id} ${step + 1}`);
      }
    const nameOf = (id: string): string => names.get(id) ?? `unknown ${id}`;
    const told = Array.from(
      this.steps,
      ([id, { recipientId, region }]) =>
        `${nameOf(id)} → ${recipientId}${region === HOME ? "" : ` in ${region}`}`,
    );
    const called = new Set(this.received.map(({ id }) => `${nameOf(id)} → webhook`));
    return [...told, ...called].toSorted();
  }

  #store(): EscalationStore {
    const { people, others } = this.#options;
    const homes = new Map([
      ...people.map(({ id }) => [id, HOME] as const),
      ...Object.entries(others).flatMap(([region, ids]) => ids.map((id) => [id, region] as const)),
    ]);
    return {
      readPeople: async (_, partition, indexes) =>
        (this.store.directory.get(partition) ?? []).filter(({ index }) => indexes.includes(index)),
      readSteps: async (home, ids) =>
        ids.flatMap((id) => {
          const step = this.steps.get(id);
          if (step === undefined) return [];
          const isAcknowledged = step.region === home && this.#isAcknowledged(step);
          return [{ notificationId: id, isAcknowledged, targetRegions: [step.region] }];
        }),
      accept: async (_, steps) =>
        steps.map(({ notification, recipientId }) => {
          const region = homes.get(recipientId);
          if (region === undefined) return "unknown";
          if (this.steps.has(notification.id)) {
            this.acceptsRepeatedCount++;
            return "repeated";
          }
          this.steps.set(notification.id, { notification, recipientId, region });
          return "accepted";
        }),
    };
  }

  #regions(): RegionAcks {
    return {
      acknowledged: async (region, _, ids) =>
        this.silent.has(region)
          ? undefined
          : ids.filter((id) => {
              const step = this.steps.get(id);
              return step?.region === region && this.#isAcknowledged(step);
            }),
    };
  }

  #webhooks(): WebhookPort {
    return {
      post: async ({ id, body }) => {
        const count = this.calls.filter((one) => one === id).length;
        this.calls.push(id);
        const answer = this.#options.webhook?.(id, count) ?? { kind: "accepted" };
        if (answer.kind === "accepted") this.received.push({ id, body });
        return answer;
      },
    };
  }

  #isAcknowledged({ recipientId }: Step): boolean {
    return this.#options.acknowledging?.includes(recipientId) === true;
  }
}
