// apps/cli/src/demo/demo.ts
// The demonstration: people over all regions, one broadcast, and what became of it.
//   DE2  It may run again and again on the same data: people are updated, the broadcast is new.
//   DE3  Latencies are measured here, from the accepting node's `acceptedAtMs` to the moment the
//        ack is handed to the socket: one machine, one clock.
import type { NotificationStatus } from "@carillon/contracts";
import { assert, type Clock } from "@carillon/kernel";
import { ApiClient } from "../clients/api-client.ts";
import { Latencies } from "../clients/latencies.ts";
import { affordableSockets } from "../clients/open-files.ts";
import { type Acked, Sessions, type SessionPlan } from "../clients/sessions.ts";
import { countText } from "../clients/text-table.ts";
import type { Terminal } from "../terminal.ts";
import { demoTable, progressText, type RegionResult } from "./demo-report.ts";
import { employeesOf, onlineOf } from "./employees.ts";
import { importPeople } from "./import.ts";

export interface DemoRegion {
  readonly region: string;
  readonly ingestUrl: string;
  readonly socketUrl: string;
}

export interface DemoOptions {
  readonly regions: readonly DemoRegion[];
  readonly apiKey: string;
  readonly employeesCount: number;
  /** Ctrl-C: ends the demonstration between two steps. */
  readonly signal: AbortSignal;
}

export interface DemoResult {
  readonly status: NotificationStatus;
  readonly regions: readonly RegionResult[];
  readonly wallTimeMs: number; // post → finished
}

const SOCKETS_SHARE = 0.2; // 2,000 of 10,000
const OPEN_MAX_MS = 60_000;
const FINISH_MAX_MS = 120_000; // the grace for lost sessions is 20 s; the rest is a slow machine
const PROGRESS_TTY_MS = 200;
const PROGRESS_PLAIN_MS = 1_000;
const POST_IN = "par";
const CONTENT = {
  en: { title: "All hands at 10:00", body: "The canteen, and live on every screen." },
  de: { title: "Betriebsversammlung um 10 Uhr", body: "In der Kantine und live auf jedem Schirm." },
  fr: { title: "Réunion générale à 10 h", body: "À la cantine, et en direct sur chaque écran." },
};

/** Throws Fault when a request fails; throws the signal's reason when it is aborted. */
export async function runDemo(
  options: DemoOptions,
  deps: { readonly terminal: Terminal; readonly clock: Clock },
): Promise<DemoResult> {
  const demo = new Demo(options, deps.terminal, deps.clock);
  try {
    return await demo.run();
  } finally {
    demo.close();
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #terminal: Terminal;
  readonly #clock: Clock;
  readonly #apis: ReadonlyMap<string, ApiClient>;
  readonly #sessions: Sessions;
  readonly #acks: Acked[] = [];

  constructor(options: DemoOptions, terminal: Terminal, clock: Clock) {
    this.#options = options;
    this.#terminal = terminal;
    this.#clock = clock;
    const { apiKey, regions } = options;
    this.#apis = new Map(
      regions.map(({ region, ingestUrl }) => [
        region,
        new ApiClient({ baseUrl: ingestUrl, apiKey, connectionsMax: 4 }, clock),
      ]),
    );
    this.#sessions = new Sessions({ onAck: (acked) => void this.#acks.push(acked) }, clock);
  }

  async run(): Promise<DemoResult> {
    const { signal, employeesCount } = this.#options;
    const regions = this.#options.regions.map(({ region }) => region);
    const employees = employeesOf(regions, employeesCount);
    await this.#import(employees);
    signal.throwIfAborted();
    const wanted = Math.round(employeesCount * SOCKETS_SHARE);
    const { count, note } = affordableSockets(wanted);
    if (note !== undefined) this.#terminal.line(note);
    await this.#connect(onlineOf(employees, count));
    signal.throwIfAborted();
    return await this.#broadcast(regions.includes(POST_IN) ? POST_IN : (regions[0] ?? ""));
  }

  close(): void {
    this.#sessions.close();
    for (const api of this.#apis.values()) api.close();
  }

  async #import(employees: ReturnType<typeof employeesOf>): Promise<void> {
    const startedAtMs = this.#clock.monotonicMs();
    this.#terminal.progress("registering employees …");
    const totals = await Promise.all(
      [...employees].map(([region, people]) => importPeople(this.#api(region), people)),
    );
    const created = totals.reduce((sum, total) => sum + total.createdCount, 0);
    const updated = totals.reduce((sum, total) => sum + total.updatedCount, 0);
    const places = [...employees].map(
      ([region, people]) => `${region} ${countText(people.length)}`,
    );
    const known = updated > 0 ? `, ${countText(updated)} of them known from before` : "";
    this.#terminal.line(
      `${countText(created + updated)} employees registered${known} (${places.join(", ")}) ` +
        `in ${this.#secondsSince(startedAtMs)}`,
    );
  }

  async #connect(wishes: ReturnType<typeof onlineOf>): Promise<void> {
    const startedAtMs = this.#clock.monotonicMs();
    this.#terminal.progress("connecting employees …");
    const tokens = await this.#tokens(wishes);
    const plans = wishes.map(({ employee, region }): SessionPlan => {
      const { recipientId, homeRegion: home } = employee;
      const token = tokens.get(recipientId);
      const place = this.#options.regions.find((one) => one.region === region);
      assert(token !== undefined && place !== undefined, "DE2 each online employee has a token");
      return { recipientId, home, region, socketUrl: place.socketUrl, token };
    });
    const live = await this.#sessions.open(plans, OPEN_MAX_MS);
    const elsewhere = plans.filter(({ home, region }) => home !== region).length;
    const short = live < plans.length ? ` of ${countText(plans.length)}` : "";
    this.#terminal.line(
      `${countText(live)}${short} of them online, ${countText(elsewhere)} in a region that is ` +
        `not their home, in ${this.#secondsSince(startedAtMs)}`,
    );
  }

  async #tokens(wishes: ReturnType<typeof onlineOf>): Promise<Map<string, string>> {
    const homes = Map.groupBy(wishes, ({ employee }) => employee.homeRegion);
    const byHome = await Promise.all(
      [...homes].map(([home, some]) =>
        this.#api(home).tokensOf(some.map(({ employee }) => employee.recipientId)),
      ),
    );
    return new Map(byHome.flatMap((tokens) => [...tokens]));
  }

  async #broadcast(region: string): Promise<DemoResult> {
    const api = this.#api(region);
    const startedAtMs = this.#clock.monotonicMs();
    const { id } = await api.post({ audience: { broadcast: true }, content: CONTENT });
    const acceptedAfterMs = this.#clock.monotonicMs() - startedAtMs;
    this.#terminal.line(
      `one broadcast posted in ${region}: accepted after ${Math.round(acceptedAfterMs)} ms`,
    );
    const status = await this.#follow(api, id, startedAtMs);
    const wallTimeMs = this.#clock.monotonicMs() - startedAtMs;
    const regions = this.#resultsOf(status);
    this.#terminal.line("");
    this.#terminal.line(demoTable(regions, status, wallTimeMs));
    return { status, regions, wallTimeMs };
  }

  /** Until it is finished, or the limit is reached; tells how far it is. */
  async #follow(api: ApiClient, id: string, startedAtMs: number): Promise<NotificationStatus> {
    const { signal } = this.#options;
    const everyMs = this.#terminal.isTty ? PROGRESS_TTY_MS : PROGRESS_PLAIN_MS;
    let toldAtMs = -Infinity;
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop -- polls
      const status = await api.statusOf(id);
      const elapsedMs = this.#clock.monotonicMs() - startedAtMs;
      const isOver = status.state === "finished" || elapsedMs > FINISH_MAX_MS;
      if (isOver || elapsedMs - toldAtMs >= everyMs) {
        this.#terminal.progress(progressText(status, elapsedMs));
        toldAtMs = elapsedMs;
      }
      if (isOver) return status;
      signal.throwIfAborted();
      // oxlint-disable-next-line no-await-in-loop
      await this.#clock.sleep(100);
    }
  }

  #resultsOf(status: NotificationStatus): RegionResult[] {
    return status.regions.map(({ region, counts, state }) => {
      const latencies = new Latencies();
      let elsewhereCount = 0;
      for (const { plan, notificationId, latencyMs } of this.#acks) {
        if (notificationId !== status.id || plan.home !== region) continue;
        latencies.record(latencyMs);
        if (plan.region !== region) elsewhereCount++;
      }
      return { region, state, counts, elsewhereCount, latencies };
    });
  }

  #api(region: string): ApiClient {
    const api = this.#apis.get(region);
    assert(api, "DE2 each region has a client");
    return api;
  }

  #secondsSince(startedAtMs: number): string {
    return `${((this.#clock.monotonicMs() - startedAtMs) / 1_000).toFixed(1)} s`;
  }
}
