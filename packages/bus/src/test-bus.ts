// packages/bus/src/test-bus.ts
// Real nats-servers, and buses whose events can be waited for; for this package's own tests.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom } from "@carillon/kernel";
import { type NatsServer, startNatsServer } from "@carillon/local";
import type { Bus } from "./bus.ts";
import type { BusEvent } from "./events.ts";
import { connectBus, type ConnectBusOptions } from "./nats-bus.ts";

export interface TestBus {
  readonly bus: Bus;
  readonly events: BusEvent[];
  nextEvent(kind: BusEvent["kind"]): Promise<BusEvent>;
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (data: Uint8Array): string => new TextDecoder().decode(data);

/** What it starts ends with `cleanUp`, the last one first. */
export class BusFixture {
  readonly #cleanUps: (() => unknown)[] = [];

  onCleanUp(cleanUp: () => unknown): void {
    this.#cleanUps.push(cleanUp);
  }

  async cleanUp(): Promise<void> {
    for (const cleanUp of this.#cleanUps.splice(0).toReversed()) await cleanUp();
  }

  newFolder(): string {
    const folder = mkdtempSync(join(tmpdir(), "carillon-bus-"));
    this.onCleanUp(() => rmSync(folder, { recursive: true }));
    return folder;
  }

  async startServer(configText: string, name = "fra-a"): Promise<NatsServer> {
    const server = await startNatsServer({ folder: this.newFolder(), name, configText });
    this.onCleanUp(() => server.stop());
    return server;
  }

  async connected(
    options: Partial<ConnectBusOptions> & { readonly urls: readonly string[] },
  ): Promise<TestBus> {
    const events: BusEvent[] = [];
    const waiters: { kind: BusEvent["kind"]; resolve: (event: BusEvent) => void }[] = [];
    const bus = await connectBus({
      name: "test",
      clock: systemClock,
      random: systemRandom,
      ...options,
      onEvent(event) {
        events.push(event);
        const index = waiters.findIndex(({ kind }) => kind === event.kind);
        if (index >= 0) waiters.splice(index, 1)[0]?.resolve(event);
      },
    });
    this.onCleanUp(() => bus.drain());
    return {
      bus,
      events,
      nextEvent: (kind) => new Promise((resolve) => waiters.push({ kind, resolve })),
    };
  }
}

const ASK_AGAIN_MS = 20;

/** Resolves once a message of `from` reaches `to`; across gateways interest takes a while. */
export async function untilHeard(from: Bus, to: Bus): Promise<void> {
  const heard = Promise.withResolvers<void>();
  const unique = Buffer.from(systemRandom.bytes(8)).toString("hex");
  const subscription = to.subscribe(`heard.${unique}`, () => heard.resolve());
  const isHeard = heard.promise.then(() => true);
  do from.publish(`heard.${unique}`, bytes("?"));
  while (!(await Promise.race([isHeard, systemClock.sleep(ASK_AGAIN_MS)])));
  subscription.unsubscribe();
}
