// Goal: RO7, RO9–RO11 and the handlers of a table. Method: a network in memory, one fake clock, the real
// process runtime behind the dispatcher.
import { createMemoryNetwork } from "@carillon/bus";
import { encodeMessage, partitionOf, type RoutedCall, subjects } from "@carillon/contracts";
import { createSeededRandom } from "@carillon/kernel";
import { type Behaviour, createRuntime, LoadError, NO_REPLY } from "@carillon/process";
import { FakeClock } from "@carillon/testkit";
import { describe, expect, test } from "vitest";
import { castHandler, type ServedTable, tableCallHandler } from "./dispatch-handler.ts";
import { type DispatchOutcome, type ServedPartition, startDispatcher } from "./dispatcher.ts";
import { createRouter } from "./router.ts";
import { ASK, key, NOTE, startTestNode, TestView } from "./test-routes.ts";

const ada = key("ada");
const ask = (id: string) => ({ kind: ASK, body: { id } });
const callOf = (more: Partial<RoutedCall>): RoutedCall => ({
  kind: "call",
  name: ASK.name,
  body: { id: "1" },
  ...ada,
  partition: partitionOf("acme", "ada"),
  timeoutMs: 1_000,
  ...more,
});

function network() {
  const clock = new FakeClock();
  const nats = createMemoryNetwork({ clock, scheduler: clock });
  const client = nats.connect("client");
  const raw = async (memberId: string, message: unknown) => {
    const asked = client.request(subjects.memberRoute(memberId), encodeMessage(message), 1_000);
    await clock.settle();
    const outcome = await asked;
    return outcome.kind === "reply"
      ? (JSON.parse(new TextDecoder().decode(outcome.data)) as unknown)
      : outcome.kind;
  };
  return { clock, nats, client, raw };
}

describe("the dispatcher", () => {
  const start = (options: { callsMax?: number; isSilent?: boolean } = {}) => {
    const net = network();
    const b = startTestNode({
      memberId: "b",
      bus: net.nats.connect("b"),
      clock: net.clock,
      ...(options.callsMax !== undefined && { callsMax: options.callsMax }),
      ...(options.isSilent === true && { answer: () => new Promise(() => undefined) }),
    });
    b.view.elsewhere = "b";
    return { ...net, b };
  };

  test("RO7 — a node whose leases may have run out hands nothing over, though it takes itself for the owner", async () => {
    const { b, raw, client, clock } = start();
    b.node.mayServe = false;
    expect(await raw("b", callOf({}))).toEqual({ kind: "not_owner", ownerId: null });
    b.view.owners.set("fra/5", "c");
    expect(await raw("b", callOf({ partition: 5 }))).toEqual({ kind: "not_owner", ownerId: "c" });
    const send = {
      kind: "send",
      name: NOTE.name,
      body: { id: "1" },
      isForwarded: false,
      places: [["fra", "acme"]],
      to: [[0, partitionOf("acme", "ada"), "ada"]],
    };
    client.publish(subjects.memberRoute("b"), encodeMessage(send));
    await clock.settle();
    expect([b.handled, b.dispatched]).toEqual([[], { not_owner: 3 }]);
  });

  test("RO9 — a call that is over is not begun", async () => {
    const { b, raw } = start();
    for (const timeoutMs of [0, -5])
      expect(await raw("b", callOf({ timeoutMs }))).toEqual({ kind: "timeout" });
    expect([b.handled, b.dispatched]).toEqual([[], { expired: 2 }]);
  });

  test("RO10 — unknown kinds, refused bodies and malformed messages change nothing, and are counted", async () => {
    const { b, raw, client, clock } = start();
    expect(await raw("b", callOf({ name: "of.tomorrow" }))).toEqual({
      kind: "failed",
      reason: "unsupported",
    });
    expect(await raw("b", callOf({ name: NOTE.name }))).toEqual({
      kind: "failed",
      reason: "unsupported", // it can be sent, not called
    });
    expect(await raw("b", callOf({ body: { id: 7 } }))).toEqual({
      kind: "failed",
      reason: "malformed",
    });
    const send = { kind: "send", isForwarded: false, places: [["fra", "acme"]], body: { id: "1" } };
    const to = [[0, partitionOf("acme", "ada"), "ada"]];
    const publish = (message: unknown): unknown =>
      client.publish(subjects.memberRoute("b"), encodeMessage(message));
    publish({ ...send, name: "of.tomorrow", to });
    publish({ ...send, name: NOTE.name, body: {}, to });
    publish({ ...send, name: NOTE.name, to: [[1, 3, "ada"]] }); // there is no such place
    await clock.settle();
    expect(b.dispatched).toEqual({ unsupported: 3, malformed: 3 });
    publish({ ...send, name: NOTE.name, to: [[0, 256, "ada"]] });
    publish({ ...send, name: NOTE.name, to: [[0, 1.5, "ada"]] });
    publish({ ...send, name: NOTE.name, to: [[0, 1, 7]] });
    publish({ ...send, name: NOTE.name, to: [null] });
    publish(callOf({ partition: -1 }));
    publish("nonsense");
    await clock.settle();
    expect([b.handled, b.dispatched]).toEqual([[], { unsupported: 3, malformed: 9 }]);
  });

  test("RO11 — calls that wait are limited: the next is overloaded and not begun", async () => {
    const { b, clock, nats } = start({ callsMax: 2, isSilent: true });
    const view = new TestView();
    view.elsewhere = "b";
    const router = createRouter({ bus: nats.connect("a"), clock, members: view });
    const calls = ["1", "2", "3"].map((id) => router.call(ada, ask(id), 500));
    await clock.advance(500);
    expect(await Promise.all(calls)).toEqual([
      { kind: "timeout", effect: "unknown" },
      { kind: "timeout", effect: "unknown" },
      { kind: "overloaded", where: "owner" },
    ]);
    expect(b.handled.map(({ id }) => id)).toEqual(["1", "2"]);
  });

  test("RO11 — a call holds its place for a minute at most, whatever its deadline says", async () => {
    const { clock, nats, raw } = network();
    const deadlinesMs: number[] = [];
    const b = startTestNode({
      memberId: "b",
      bus: nats.connect("b"),
      clock,
      answer(id, timeoutMs) {
        deadlinesMs.push(timeoutMs);
        return { kind: "reply", reply: { id } };
      },
    });
    b.view.elsewhere = "b";
    for (const timeoutMs of [59_999, 60_000, 60_001, Number.MAX_SAFE_INTEGER])
      await raw("b", callOf({ timeoutMs }));
    expect(deadlinesMs).toEqual([59_999, 60_000, 60_000, 60_000]);
  });

  test("RO11 — a handler that is rejected is told; its caller hears exit, and it holds no place", async () => {
    const { clock, nats } = network();
    const b = startTestNode({
      memberId: "b",
      bus: nats.connect("b"),
      clock,
      answer: () => Promise.reject(new TypeError("planted")),
    });
    b.view.elsewhere = "b";
    const asked = b.router.call(ada, ask("1"), 500);
    await clock.settle();
    expect(await asked).toEqual({ kind: "failed", reason: "exit", effect: "unknown" });
    expect(b.crashes).toEqual([new TypeError("planted")]);
    expect(b.dispatcher.callsOpenCount).toBe(0);
  });
});

describe("a table behind it", () => {
  interface Step {
    readonly id: string;
  }
  const start = (behaviour: Partial<Behaviour<string[], Step>> = {}, mailboxMax?: number) => {
    const { clock, nats } = network();
    const runtime = createRuntime({
      clock,
      scheduler: clock,
      random: createSeededRandom(7),
      ...(mailboxMax !== undefined && { limits: { mailboxMax } }),
    });
    const handled: string[] = [];
    const table = runtime.createTable<string[], Step>({
      name: "fra/1",
      behaviour: {
        init: () => [],
        onCast: (_, { id }) => void handled.push(id),
        onCall: (_, { id }) => {
          handled.push(id);
          return { id };
        },
        ...behaviour,
      },
    });
    const bus = nats.connect("b");
    const view = new TestView();
    view.elsewhere = "b";
    const router = createRouter({ bus, clock, members: view });
    const dispatched: Partial<Record<DispatchOutcome, number>> = {};
    startDispatcher<ServedPartition & ServedTable<Step>>({
      memberId: "b",
      bus,
      owners: view,
      router,
      handlers: [
        castHandler(NOTE, ({ id }): Step => ({ id })),
        tableCallHandler(ASK, ({ id }): Step => ({ id })),
      ],
      mayServe: () => true,
      servedPartition: () => ({
        table,
        slotOf: (_, id) => (id === "ada" ? 0 : id === "bob" ? 1 : undefined),
      }),
      onDispatched(outcome, count) {
        dispatched[outcome] = (dispatched[outcome] ?? 0) + count;
      },
      onCrash: (cause) => {
        throw cause;
      },
    });
    const call = async (id: string, timeoutMs = 1_000) => {
      const asked = router.call(ada, ask(id), timeoutMs);
      await clock.advance(timeoutMs);
      return await asked;
    };
    return { clock, runtime, table, router, handled, dispatched, call };
  };

  test("RO8 — casts and calls reach the process in the order in which they were sent", async () => {
    const { clock, router, handled, dispatched } = start();
    for (let n = 0; n < 30; n += 3) {
      router.send(ada, { kind: NOTE, body: { id: `${n}` } });
      void router.call(ada, ask(`${n + 1}`), 1_000);
      router.sendEach([ada, key("eve")], { kind: NOTE, body: { id: `${n + 2}` } });
    }
    await clock.advance(1_000);
    expect(handled).toEqual(Array.from({ length: 30 }, (_, n) => `${n}`));
    expect(dispatched).toEqual({ handed: 30, noproc: 10 });
  });

  test("RO9 — a call whose deadline comes while it waits in the mailbox is never handled", async () => {
    const first = Promise.withResolvers<void>();
    const { clock, router, handled } = start({
      onCast: async (_, { id }) => {
        handled.push(id);
        await first.promise;
      },
    });
    router.send(ada, { kind: NOTE, body: { id: "slow" } });
    const asked = router.call(ada, ask("late"), 300);
    await clock.advance(300);
    expect(await asked).toEqual({ kind: "timeout", effect: "unknown" });
    first.resolve();
    await clock.advance(1_000);
    expect(handled).toEqual(["slow"]);
  });

  test("RO3 — reply, and what a process that crashes, is full, paused or in quarantine is to the caller", async () => {
    const { call, table, clock, router, handled, dispatched } = start(
      {
        onCall: (_, { id }) => {
          if (id === "crash") throw new Error("planted");
          return id === "later" ? NO_REPLY : { id };
        },
        onCast: () => new Promise(() => undefined),
      },
      2,
    );
    expect(await call("1")).toEqual({ kind: "reply", reply: { id: "1" }, ownerId: "b" });
    expect(await call("later", 200)).toEqual({ kind: "timeout", effect: "unknown" });
    expect(await call("crash")).toEqual({ kind: "failed", reason: "exit", effect: "unknown" });
    await clock.advance(10_000);
    table.quarantine(0, new Error("an operator saw it"));
    expect(await call("2")).toEqual({ kind: "failed", reason: "quarantined", effect: "none" });
    table.reset(0);
    const send = (id: string): unknown => router.send(ada, { kind: NOTE, body: { id } });
    send("a");
    await clock.advance(10);
    for (const id of ["b", "c", "d"]) send(id);
    await clock.advance(10);
    expect(dispatched.refused).toBe(1); // one runs, two wait, the fourth is refused
    expect(await call("3")).toEqual({ kind: "overloaded", where: "owner" });
    expect(handled).toEqual([]);
  });

  test("RO3 — a state that cannot be loaded: failed, load_failed, nothing done", async () => {
    const { call } = start({
      onContinue: () => Promise.reject(new LoadError("the store is away")),
    });
    expect(await call("1")).toEqual({ kind: "failed", reason: "load_failed", effect: "none" });
  });

  test("RO7 — a table that drains for its next owner takes nothing more: noconnection, nothing done", async () => {
    const { call, table, handled } = start();
    await table.drain(100);
    expect(await call("1")).toEqual({ kind: "noconnection", effect: "none" });
    expect(handled).toEqual([]);
  });

  test("RO7 — a partition that is lost while a call waits: failed, exit, and it is not handled later", async () => {
    const { clock, router, table, handled } = start({ onCast: () => new Promise(() => undefined) });
    router.send(ada, { kind: NOTE, body: { id: "slow" } });
    const asked = router.call(ada, ask("1"), 60_000);
    await clock.settle();
    table.stop();
    await clock.settle();
    expect(await asked).toEqual({ kind: "failed", reason: "exit", effect: "unknown" });
    await clock.advance(60_000);
    expect(handled).toEqual([]);
  });
});
