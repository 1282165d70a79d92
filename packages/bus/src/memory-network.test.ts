// Goal: the memory network keeps what the port says; BU4 for local output.
import { expect, test } from "vitest";
import { createSeededRandom } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { busConformance } from "./conformance.ts";
import type { Bus } from "./bus.ts";
import { createMemoryNetwork, type BusEvent } from "./index.ts";

busConformance("memory network", async () => {
  const network = createMemoryNetwork({ random: createSeededRandom(7), payloadMaxBytes: 65_536 });
  const all: Bus[] = [];
  return {
    payloadMaxBytes: 65_536,
    connect: async (name) => {
      const bus = network.connect(name);
      all.push(bus);
      return bus;
    },
    cut: async (name) => network.cut(name),
    heal: async (name) => network.heal(name),
    stop: async () => {
      for (const bus of all) await bus.drain();
    },
  };
});

test("time is the test's own: a request times out exactly then", async () => {
  const clock = new FakeClock();
  const network = createMemoryNetwork({ clock, scheduler: clock, random: createSeededRandom(1) });
  const [ann, bob] = [network.connect("ann"), network.connect("bob")];
  bob.subscribe("silent", () => undefined);
  const outcomes: string[] = [];
  void ann.request("silent", new Uint8Array(), 1_000).then(({ kind }) => outcomes.push(kind));
  await clock.advance(999);
  expect(outcomes).toEqual([]);
  await clock.advance(1);
  expect(outcomes).toEqual(["timeout"]);
});

test("BU4 — what waits for a sole subscriber is bounded, refused beyond, and told", async () => {
  const clock = new FakeClock();
  const events: [string, BusEvent][] = [];
  const network = createMemoryNetwork({
    clock,
    scheduler: clock,
    random: createSeededRandom(1),
    onEvent: (name, event) => events.push([name, event]),
  });
  const ann = network.connect("ann");
  let arrivedCount = 0;
  ann.subscribe("mine", () => arrivedCount++, { isSole: true });
  const megabyte = new Uint8Array(2 ** 20);
  const kinds = Array.from({ length: 65 }, () => ann.publish("mine", megabyte).kind);
  expect(kinds).toEqual([...Array<string>(64).fill("sent"), "disconnected"]);
  expect(events).toEqual([
    ["ann", { kind: "connected", server: "memory" }],
    ["ann", { kind: "refused", operation: "publish", reason: "full" }],
  ]);
  await clock.advance(0);
  expect([arrivedCount, ann.publish("mine", megabyte).kind]).toEqual([64, "sent"]);
});
