// packages/cluster/src/test-traffic.ts
// Requests and messages that go on while a topology changes; every one is counted. For this
// package's own tests.
import { subjects } from "@carillon/contracts";
import { systemClock } from "@carillon/kernel";
import type { TestClient, TestTopology } from "./test-topology.ts";

export interface TrafficReport {
  readonly asked: number;
  readonly answered: number;
  readonly unanswered: string[]; // beyond all tries
  /** Tries that failed, by outcome. */
  readonly retries: Readonly<Record<string, number>>;
  readonly triesMax: number;
  readonly longestMs: number;
  /** Answered more than once: a try whose answer was lost. */
  readonly handledTwice: number;
  /** Beats of each region heard in each other one. */
  readonly published: number;
  readonly refused: number;
  readonly heard: number;
  readonly heardTwice: number;
}

interface Region {
  readonly region: string;
  readonly asker: TestClient;
  readonly answerers: readonly [TestClient, TestClient];
}

const TRY_MAX_MS = 1_000;
const RETRY_MAX_MS = 30_000; // the relay tries for ever
const PAUSE_MS = 25;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (data: Uint8Array): string => new TextDecoder().decode(data);

/** In each region one who asks its own and all others in turn, and two who answer. */
export class TestTraffic {
  readonly #regions: readonly Region[];
  readonly #handled = new Map<string, number>(); // request → times
  readonly #heard = new Map<string, number>(); // region/region/number → times
  readonly #retries: Record<string, number> = {};
  readonly #unanswered: string[] = [];
  #asked = 0;
  #answered = 0;
  #triesMax = 0;
  #longestMs = 0;
  #published = 0;
  #refused = 0;
  #isOver = false;
  #loops: Promise<unknown>[] = [];

  private constructor(regions: readonly Region[]) {
    this.#regions = regions;
  }

  static async connect(topology: TestTopology): Promise<TestTraffic> {
    const names = [...new Set(topology.slots.map(({ region }) => region))];
    const regions = await Promise.all(
      names.map(async (region) => ({
        region,
        asker: await topology.connect(region),
        answerers: [await topology.connect(region), await topology.connect(region)] as const,
      })),
    );
    return new TestTraffic(regions);
  }

  get clients(): TestClient[] {
    return this.#regions.flatMap(({ asker, answerers }) => [asker, ...answerers]);
  }

  start(): void {
    for (const { region, asker, answerers } of this.#regions) {
      for (const { bus } of answerers)
        bus.subscribe(
          subjects.regionStatus(region),
          (message) => {
            const asked = decode(message.data);
            this.#handled.set(asked, (this.#handled.get(asked) ?? 0) + 1);
            message.reply(message.data);
          },
          { queue: "ingest" },
        );
      asker.bus.subscribe(subjects.beats, ({ data }) => {
        const key = `${region}/${decode(data)}`;
        this.#heard.set(key, (this.#heard.get(key) ?? 0) + 1);
      });
      this.#loops.push(this.#ask(region, asker), this.#beat(region, answerers[0]));
    }
  }

  /** Resolves once `count` more requests have been answered from each region. */
  async answered(count: number): Promise<void> {
    const goal = this.#answered + count * this.#regions.length;
    while (this.#answered < goal) await systemClock.sleep(PAUSE_MS);
  }

  async stop(): Promise<TrafficReport> {
    this.#isOver = true;
    await Promise.all(this.#loops);
    await Promise.all(this.clients.map(({ bus }) => bus.drain()));
    const times = (counts: Map<string, number>): number =>
      [...counts.values()].filter((count) => count > 1).length;
    return {
      asked: this.#asked,
      answered: this.#answered,
      unanswered: this.#unanswered,
      retries: this.#retries,
      triesMax: this.#triesMax,
      longestMs: Math.round(this.#longestMs),
      handledTwice: times(this.#handled),
      published: this.#published,
      refused: this.#refused,
      heard: this.#heard.size,
      heardTwice: times(this.#heard),
    };
  }

  async #ask(from: string, { bus }: TestClient): Promise<void> {
    for (let number = 0; !this.#isOver; number++) {
      const to = this.#regions[number % this.#regions.length]?.region ?? "";
      const name = `${from}-${to}-${number}`;
      this.#asked++;
      const startedAtMs = systemClock.monotonicMs();
      for (let tries = 1; ; tries++) {
        const outcome = await bus.request(subjects.regionStatus(to), encode(name), TRY_MAX_MS);
        this.#triesMax = Math.max(this.#triesMax, tries);
        if (outcome.kind === "reply" && decode(outcome.data) === name) {
          this.#answered++;
          break;
        }
        this.#retries[outcome.kind] = (this.#retries[outcome.kind] ?? 0) + 1;
        if (systemClock.monotonicMs() - startedAtMs > RETRY_MAX_MS) {
          this.#unanswered.push(name);
          break;
        }
        await systemClock.sleep(PAUSE_MS);
      }
      this.#longestMs = Math.max(this.#longestMs, systemClock.monotonicMs() - startedAtMs);
      await systemClock.sleep(PAUSE_MS);
    }
  }

  async #beat(region: string, { bus }: TestClient): Promise<void> {
    for (let number = 0; !this.#isOver; number++) {
      const subject = subjects.beat(region, `${region}-ingest-1`);
      const { kind } = bus.publish(subject, encode(`${region}/${number}`));
      if (kind === "sent") this.#published++;
      else this.#refused++;
      await systemClock.sleep(PAUSE_MS);
    }
  }
}
