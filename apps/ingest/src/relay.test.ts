// Goal: IN32, IN33. Method: fake time, the memory network, an outbox that throws what is no Fault for
// one target; two other regions that answer.
import { createMemoryNetwork } from "@carillon/bus";
import { encodeMessage, subjects } from "@carillon/contracts";
import { createSeededRandom, Fault } from "@carillon/kernel";
import { exitText, type SupervisorReport, type TreeNode } from "@carillon/process";
import type { Store } from "@carillon/store";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { INGEST_LIMITS } from "./limits.ts";
import { createRelay } from "./relay.ts";

type Row = Awaited<ReturnType<Store["outbox"]["claim"]>>[number];

async function start() {
  const clock = new FakeClock();
  const random = { next: () => 0.5, bytes: createSeededRandom(1).bytes }; // jitter of zero
  const network = createMemoryNetwork({ clock, scheduler: clock, random });
  const bus = network.connect("fra");
  const log: string[] = [];
  const rows: Record<string, number[]> = { lon: [], par: [] };
  const plan = { crash: undefined as unknown, isSilent: false };
  for (const region of ["lon", "par"]) {
    const there = network.connect(region);
    there.subscribe(subjects.regionNotify(region), (message) => {
      const { items } = JSON.parse(new TextDecoder().decode(message.data)) as { items: unknown[] };
      log.push(`${region} ${items.length} at ${clock.monotonicMs()}`);
      if (!plan.isSilent) message.reply(encodeMessage({ kind: "committed" }));
    });
  }
  const outbox = {
    async takeOver({ targetRegion: target }: { targetRegion: string }) {
      if (target === "lon" && plan.crash !== undefined) throw plan.crash;
      const item = { notification: {}, audience: { kind: "broadcast" } };
      const taken = rows[target]!.splice(0);
      if (taken.length === 0) return { kind: "none" as const };
      const found = taken.map((id) => ({ id, kind: "notification", item }) as Row);
      return { kind: "rows" as const, rows: found };
    },
    async giveBack() {},
    endBacklog: async () => true,
    readWaiting: async () => [],
    claim: async () => [],
    async markDone() {},
    async defer() {},
    async withhold() {},
    async probe() {
      return [];
    },
    async release() {
      return 0;
    },
  };
  const relay = createRelay(
    {
      region: "fra",
      regions: ["fra", "lon", "par"],
      limits: INGEST_LIMITS.relay,
      onOutcome: (outcome, count) => outcome === "left_behind" && log.push(`left ${count}`),
      onFault: (operation) => log.push(`fault ${operation}`),
      onState: (target, state) => log.push(`${target} ${state}`),
      supervision: {
        onReport(report: SupervisorReport) {
          if (report.kind === "child_exited")
            log.push(`${report.id} ${exitText(report.exit)} at ${clock.monotonicMs()}`);
          if (report.kind === "escalated") log.push("escalated");
        },
      },
    },
    { store: { outbox }, bus, clock, random },
  );
  const supervisor = relay.createSupervisor((exit) => log.push(`relay ${exitText(exit)}`));
  await supervisor.start();
  await clock.advance(0);
  const offer = (target: string, id: number): void =>
    relay.offer(target, [{ outboxId: id, kind: "notification", json: "{}" }], "direct");
  const restarts = (): Record<string, number> =>
    Object.fromEntries(
      supervisor.tree().children.map(({ id, restartsCount }: TreeNode) => [id, restartsCount]),
    );
  return { clock, log, rows, plan, relay, supervisor, offer, restarts };
}

test("IN33 — a link that crashes by a bug is made anew alone; its rows wait, the others go", async () => {
  const { clock, log, rows, plan, relay, supervisor, offer, restarts } = await start();
  expect(log.splice(0)).toEqual(["lon direct", "par direct"]);
  plan.crash = new TypeError("no such column");
  relay.sweepSoon();
  await clock.advance(0);
  expect(log.splice(0)).toEqual(["lon error: no such column at 0", "lon backlog"]);
  plan.crash = undefined;
  rows["lon"]!.push(1); // as committed
  offer("lon", 1);
  offer("par", 2);
  relay.sweepSoon();
  await clock.advance(2_999);
  expect(log.splice(0)).toEqual(["left 1", "par 1 at 0"]);
  expect([relay.stateOf("lon"), relay.stateOf("par")]).toEqual(["backlog", "direct"]);
  await clock.advance(1);
  expect(log.splice(0)).toEqual(["lon 1 at 3000", "lon direct"]);
  expect(restarts()).toEqual({ lon: 1, par: 0 });
  await supervisor.stop();
  expect([clock.timersCount, relay.queuedCount]).toEqual([0, 0]);
});

test("IN32 — one that keeps crashing rests in between, for ever, and takes nobody with it", async () => {
  const { clock, log, plan, relay, supervisor, offer, restarts } = await start();
  log.length = 0;
  plan.crash = new TypeError("no such column");
  for (let seconds = 0; seconds < 60; seconds++) {
    relay.sweepSoon(); // as every write to the directory does
    await clock.advance(1_000);
  }
  offer("par", 7);
  await clock.advance(0);
  expect(restarts()).toEqual({ lon: 21, par: 0 });
  expect(log.filter((line) => line.startsWith("par") || line === "escalated")).toEqual([
    "par 1 at 60000",
  ]);
  await supervisor.stop();
  expect(clock.timersCount).toBe(0);
});

test("a database that is away crashes no link", async () => {
  const { clock, log, plan, relay, supervisor, restarts } = await start();
  log.length = 0;
  plan.crash = new Fault("down", { code: "store_unavailable", isRetryable: true });
  relay.sweepSoon();
  await clock.advance(0);
  expect([log, restarts()]).toEqual([["fault outbox.takeOver"], { lon: 0, par: 0 }]);
  await supervisor.stop();
});

test("IN9, IN33 — the next link begins when the batch under way has its answer, or its time-out", async () => {
  const { clock, log, plan, relay, supervisor, offer } = await start();
  log.length = 0;
  plan.isSilent = true;
  offer("lon", 1);
  await clock.advance(0);
  plan.crash = new TypeError("bug");
  relay.sweepSoon();
  await clock.advance(5_000);
  expect(log).toEqual([
    "lon 1 at 0",
    "lon backlog", // said by the crashed one, when its time-out came
    "lon error: bug at 5000",
    "lon backlog",
  ]);
  await supervisor.stop();
  expect(clock.timersCount).toBe(0);
});
