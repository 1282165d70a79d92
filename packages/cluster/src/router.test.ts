// Goal: RO1–RO8, each outcome of a send and a call. Method: nodes on a network in memory and one fake
// clock; who owns what is as the test says, in each node's own view.
import { type Bus, createMemoryNetwork, ownBus } from "@carillon/bus";
import { encodeMessage, partitionOf, type RoutedSend, subjects } from "@carillon/contracts";
import { FakeClock } from "@carillon/testkit";
import { describe, expect, test } from "vitest";
import { ASK, key, NOTE, placeOf, startTestNode, type TestNodeOptions } from "./test-routes.ts";

function network(options: { payloadMaxBytes?: number } = {}) {
  const clock = new FakeClock();
  const nats = createMemoryNetwork({ clock, scheduler: clock, ...options });
  const sizes: number[] = [];
  const join = (memberId: string, more: Partial<TestNodeOptions> = {}) => {
    const bus = nats.connect(memberId);
    const counted = countedBus(bus, sizes);
    return startTestNode({ memberId, bus: counted, clock, ...more });
  };
  return { clock, nats, join, sizes };
}

/** Notes the size of what is published, as far as it is sent. */
function countedBus(bus: Bus, sizes: number[]): Bus {
  const forever = { isCurrent: true, guarded: <F>(f: F) => f, onOver: () => undefined };
  const own = ownBus(forever, bus);
  return Object.assign(own, {
    publish(subject: string, data: Uint8Array) {
      const outcome = bus.publish(subject, data);
      if (outcome.kind === "sent") sizes.push(data.length);
      return outcome;
    },
  });
}

const ada = key("ada");
const ask = (id: string) => ({ kind: ASK, body: { id } });
const note = (id: string, text?: string) => ({ kind: NOTE, body: { id, text } });
const never = (): Promise<never> => new Promise(() => undefined);

describe("sends", () => {
  test("RO1 — a message reaches the owner in another node, and in this one without NATS", async () => {
    const { clock, nats, join } = network();
    const [a, b] = [join("a"), join("b")];
    a.view.elsewhere = b.view.elsewhere = "b";
    expect(a.router.send(ada, note("1"))).toBe("sent");
    await clock.settle();
    expect(b.handled).toEqual([{ key: "fra/acme/ada", id: "1" }]);
    nats.cut("b");
    expect(b.router.send(ada, note("2"))).toBe("sent");
    await clock.settle();
    expect(b.handled.map(({ id }) => id)).toEqual(["1", "2"]);
    expect(a.handled).toEqual([]);
  });

  test("RO1 — nobody owns it, or there is no link: noconnection, and nothing comes out later", async () => {
    const { clock, nats, join } = network();
    const [a, b] = [join("a"), join("b")];
    b.view.elsewhere = "b";
    expect(a.router.send(ada, note("1"))).toBe("noconnection");
    a.view.elsewhere = "b";
    nats.cut("a");
    expect(a.router.send(ada, note("2"))).toBe("noconnection");
    nats.heal("a");
    await clock.advance(60_000);
    expect(b.handled).toEqual([]);
  });

  test("RO2 — many recipients of three nodes and two homes: one message to each node, the body once in it", async () => {
    const { clock, join, sizes } = network();
    const [a, b, c] = [join("a"), join("b"), join("c")];
    const nodes = [a, b, c];
    for (const { view } of nodes)
      for (let n = 0; n < 256; n++) {
        view.owners.set(`fra/${n}`, n % 2 === 0 ? "a" : "b");
        view.owners.set(`lon/${n}`, "c");
      }
    const keys = Array.from({ length: 3_000 }, (_, n) =>
      key(`employee-${n}`, n % 3 === 0 ? "lon" : "fra", n % 5 === 0 ? "acme" : "globex"),
    );
    const text = "x".repeat(10_000);
    const outcome = a.router.sendEach(keys, note("1", text));
    expect(outcome).toEqual({
      sentCount: 3_000,
      noConnection: [],
      tooLarge: [],
      messageCount: 3,
      bytesCount: sizes.reduce((sum, size) => sum + size, 0),
    });
    await clock.settle();
    const got = nodes.flatMap(({ handled }) => handled.map((one) => one.key));
    expect(got.toSorted()).toEqual(
      keys.map((k) => `${k.home}/${k.tenantId}/${k.recipientId}`).toSorted(),
    );
    expect(c.handled).toHaveLength(1_000);
    // 10,000 bytes of body a message, some 30 bytes a recipient.
    expect(outcome.bytesCount).toBeLessThan(3 * 10_200 + 3_000 * 30);
  });

  test("RO2 — what the bus would not take goes in more messages, each within its limit, to everybody once", async () => {
    const { clock, join, sizes } = network({ payloadMaxBytes: 2_048 });
    const [a, b] = [join("a"), join("b")];
    a.view.elsewhere = b.view.elsewhere = "b";
    const keys = Array.from({ length: 500 }, (_, n) => key(`größe-${n}`)); // two bytes a letter
    const { sentCount, messageCount } = a.router.sendEach(keys, note("1", "y".repeat(1_000)));
    await clock.settle();
    expect([sentCount, messageCount]).toEqual([500, sizes.length]);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2_048);
    expect(Math.min(...sizes.slice(0, -1))).toBeGreaterThan(2_048 - 40); // and they are full
    expect(b.handled.map((one) => one.key).toSorted()).toEqual(
      keys.map(({ recipientId }) => `fra/acme/${recipientId}`).toSorted(),
    );
  });

  test("RO2 — a message is taken up to the last byte of the bus's limit; one more is too_large and nothing leaves", async () => {
    const { clock, join, sizes } = network({ payloadMaxBytes: 4_096 });
    const [a, b] = [join("a"), join("b")];
    a.view.elsewhere = b.view.elsewhere = "b";
    a.router.send(ada, note("1", ""));
    const room = 4_096 - sizes[0]!;
    expect(a.router.send(ada, note("2", "z".repeat(room)))).toBe("sent");
    expect(a.router.send(ada, note("3", "z".repeat(room + 1)))).toBe("too_large");
    expect(sizes.at(-1)).toBe(4_096);
    const many = [ada, key("bob"), key("eve")];
    expect(a.router.sendEach(many, note("4", "z".repeat(4_096)))).toEqual({
      sentCount: 0,
      noConnection: [],
      tooLarge: many,
      messageCount: 0,
      bytesCount: 0,
    });
    await clock.settle();
    expect(b.handled.map(({ id }) => id)).toEqual(["1", "2"]);
  });

  test("RO7 — a node that does not own it hands a message on once, and no further", async () => {
    const { clock, join } = network();
    const [a, b, c] = [join("a"), join("b"), join("c")];
    a.view.elsewhere = "b"; // is behind
    b.view.elsewhere = "c";
    c.view.elsewhere = "c";
    a.router.send(ada, note("1"));
    await clock.settle();
    expect([b.handled, c.handled.map(({ id }) => id)]).toEqual([[], ["1"]]);
    expect(b.dispatched).toEqual({ forwarded: 1 });
    c.view.elsewhere = "b"; // now b and c take each other for the owner
    a.router.send(ada, note("2"));
    await clock.settle();
    expect(c.dispatched).toEqual({ handed: 1, not_owner: 1 });
    expect(b.dispatched).toEqual({ forwarded: 2 });
    b.view.elsewhere = undefined;
    a.router.send(ada, note("3"));
    await clock.settle();
    expect(b.dispatched).toEqual({ forwarded: 2, not_owner: 1 });
  });
});

describe("calls", () => {
  test("RO1, RO3 — reply: the owner has handled it once, and says who it is", async () => {
    const { clock, join } = network();
    const [a, b] = [join("a"), join("b")];
    a.view.elsewhere = b.view.elsewhere = "b";
    const asked = a.router.call(ada, ask("1"), 1_000);
    await clock.settle();
    expect(await asked).toEqual({ kind: "reply", reply: { id: "1" }, ownerId: "b" });
    expect(b.handled).toEqual([{ key: "fra/acme/ada", id: "1" }]);
    expect(clock.timersCount).toBe(0);
    expect(a.router.callsOpenCount).toBe(0);
  });

  test("RO3 — timeout at the deadline, not before and not after; a late reply changes nothing", async () => {
    const { clock, join } = network();
    let answer: (answer: { kind: "reply"; reply: { id: string } }) => void = () => undefined;
    const a = join("a");
    const b = join("b", { answer: () => new Promise((resolve) => (answer = resolve)) });
    a.view.elsewhere = b.view.elsewhere = "b";
    let endedAtMs = 0;
    const asked = a.router.call(ada, ask("1"), 700).finally(() => {
      endedAtMs = clock.monotonicMs();
    });
    await clock.advance(2_000);
    expect([await asked, endedAtMs]).toEqual([{ kind: "timeout", effect: "unknown" }, 700]);
    answer({ kind: "reply", reply: { id: "1" } });
    await clock.settle();
    expect(b.handled).toHaveLength(1);
    expect([a.router.callsOpenCount, b.dispatcher.callsOpenCount]).toEqual([0, 0]);
  });

  test("RO3 — a deadline that is none, or longer than a minute, is a bug of the caller", async () => {
    const { join } = network();
    const { router } = join("a");
    for (const deadlineMs of [0, -1, Number.NaN, 60_001, Number.POSITIVE_INFINITY])
      await expect(router.call(ada, ask("1"), deadlineMs)).rejects.toThrow("RO3");
  });

  test("RO10 — noproc: the owner knows no such recipient", async () => {
    const { clock, join } = network();
    const [a, b] = [join("a"), join("b", { people: (id) => id !== "ada" })];
    a.view.elsewhere = b.view.elsewhere = "b";
    const asked = a.router.call(ada, ask("1"), 1_000);
    await clock.settle();
    expect(await asked).toEqual({ kind: "noproc" });
    expect([b.handled, b.dispatched]).toEqual([[], { noproc: 1 }]);
  });

  test("RO4 — a stale owner names the new one: asked there, once, with what is left of the deadline", async () => {
    const { clock, join } = network();
    const timeouts: number[] = [];
    const a = join("a");
    const b = join("b");
    const c = join("c", {
      answer: (id, timeoutMs) => {
        timeouts.push(timeoutMs);
        return { kind: "reply", reply: { id } };
      },
    });
    a.view.elsewhere = "b";
    b.view.elsewhere = c.view.elsewhere = "c";
    const asked = a.router.call(ada, ask("1"), 1_000);
    clock.block(300); // the first way took so long
    await clock.settle();
    expect(await asked).toEqual({ kind: "reply", reply: { id: "1" }, ownerId: "c" });
    expect(timeouts).toEqual([700]);
    expect([b.handled, c.handled.length, b.dispatched]).toEqual([[], 1, { not_owner: 1 }]);
  });

  test("RO4 — what this node has learned meanwhile counts before what the stale owner says", async () => {
    const { clock, join } = network();
    const [a, b, c] = [join("a"), join("b"), join("c")];
    a.view.elsewhere = "b";
    b.view.elsewhere = undefined;
    c.view.elsewhere = "c";
    const asked = a.router.call(ada, ask("1"), 1_000);
    a.view.elsewhere = "c";
    await clock.settle();
    expect(await asked).toMatchObject({ kind: "reply", ownerId: "c" });
  });

  test("RO4 — two nodes that name each other are asked once each: noconnection, nothing done", async () => {
    const { clock, join } = network();
    const [a, b, c] = [join("a"), join("b"), join("c")];
    a.view.elsewhere = "b";
    b.view.elsewhere = "c";
    c.view.elsewhere = "b";
    const asked = a.router.call(ada, ask("1"), 1_000);
    await clock.settle();
    expect(await asked).toEqual({ kind: "noconnection", effect: "none" });
    expect([b.dispatched, c.dispatched]).toEqual([{ not_owner: 1 }, { not_owner: 1 }]);
    expect(clock.monotonicMs()).toBe(0);
  });

  test("RO4 — the deadline comes between two tries: timeout, nothing done", async () => {
    const { clock, join } = network();
    const [a, b, c] = [join("a"), join("b"), join("c")];
    a.view.elsewhere = "b";
    b.view.elsewhere = c.view.elsewhere = "c";
    const asked = a.router.call(ada, ask("1"), 1_000);
    clock.block(1_000); // the answer is here before the timer is looked at
    await clock.settle();
    expect(await asked).toEqual({ kind: "timeout", effect: "none" });
    expect(c.handled).toEqual([]);
  });

  test("RO4 — nobody listens at the owner: noconnection at once, or the owner that is known by then", async () => {
    const { clock, join } = network();
    const [a, b] = [join("a"), join("b")];
    a.view.elsewhere = "gone";
    b.view.elsewhere = "b";
    const nobody = a.router.call(ada, ask("1"), 1_000);
    await clock.settle();
    expect(await nobody).toEqual({ kind: "noconnection", effect: "none" });
    const asked = a.router.call(ada, ask("2"), 1_000);
    a.view.elsewhere = "b";
    await clock.settle();
    expect(await asked).toMatchObject({ kind: "reply", ownerId: "b" });
  });

  test("RO1 — noconnection, nothing done: no owner is known", async () => {
    const { join } = network();
    const { router } = join("a");
    expect(await router.call(ada, ask("1"), 1_000)).toEqual({
      kind: "noconnection",
      effect: "none",
    });
  });

  test("RO5 — the owner is lost meanwhile: noconnection when that is known, with an unknown effect", async () => {
    const { clock, join } = network();
    const [a, b] = [join("a"), join("b", { answer: never })];
    a.view.elsewhere = b.view.elsewhere = "b";
    const asked = a.router.call(ada, ask("1"), 30_000);
    await clock.advance(4_000);
    a.view.lose("somebody else");
    a.view.lose("b");
    expect(await asked).toEqual({ kind: "noconnection", effect: "unknown" });
    expect(b.handled).toHaveLength(1);
    expect(a.router.callsOpenCount).toBe(1); // the bus holds it to its deadline
    await clock.advance(30_000);
    expect(a.router.callsOpenCount).toBe(0);
  });

  test("RO5 — the link breaks meanwhile, or the router is stopped: noconnection, with an unknown effect", async () => {
    const { clock, nats, join } = network();
    const [a, b] = [join("a"), join("b", { answer: never })];
    a.view.elsewhere = b.view.elsewhere = "b";
    const cut = a.router.call(ada, ask("1"), 30_000);
    await clock.settle();
    nats.cut("a");
    await clock.settle();
    expect(await cut).toEqual({ kind: "noconnection", effect: "unknown" });
    nats.heal("a");
    await clock.settle();
    const stopped = a.router.call(ada, ask("2"), 30_000);
    a.router.stop();
    expect(await stopped).toEqual({ kind: "noconnection", effect: "unknown" });
    const after = await a.router.call(ada, ask("3"), 30_000);
    expect(after).toEqual({ kind: "noconnection", effect: "none" });
  });

  test("RO6 — overloaded, by the caller's own limit; when calls end there is room again", async () => {
    const { clock, join } = network();
    const a = join("a", { router: { callsMax: 2 } });
    const b = join("b", { answer: never });
    a.view.elsewhere = b.view.elsewhere = "b";
    const two = [a.router.call(ada, ask("1"), 500), a.router.call(ada, ask("2"), 500)];
    expect(await a.router.call(ada, ask("3"), 500)).toEqual({
      kind: "overloaded",
      where: "caller",
    });
    await clock.advance(500);
    expect((await Promise.all(two)).map(({ kind }) => kind)).toEqual(["timeout", "timeout"]);
    expect(b.handled.map(({ id }) => id)).toEqual(["1", "2"]);
    const again = a.router.call(ada, ask("4"), 500);
    await clock.advance(500);
    expect((await again).kind).toBe("timeout");
  });

  test("RO2 — a request above the bus's limit is too_large, and not sent", async () => {
    const { join } = network({ payloadMaxBytes: 1_024 });
    const a = join("a");
    a.view.elsewhere = "a";
    expect(await a.router.call(ada, ask("x".repeat(1_024)), 500)).toEqual({
      kind: "too_large",
      maxBytes: 1_024,
    });
    expect(a.router.callsOpenCount).toBe(0);
  });

  test("RO3 — a reply that does not fit the bus, or not its schema, or is no answer at all: failed, bad_reply", async () => {
    const { clock, join } = network({ payloadMaxBytes: 1_024 });
    const answers: unknown[] = [{ id: "x".repeat(1_024) }, { id: 7 }];
    const a = join("a");
    const b = join("b", { answer: () => ({ kind: "reply", reply: answers.shift() as never }) });
    a.view.elsewhere = b.view.elsewhere = "b";
    const badReply = { kind: "failed", reason: "bad_reply", effect: "unknown" };
    for (const id of ["too large", "refused by the schema"]) {
      const asked = a.router.call(ada, ask(id), 500);
      await clock.settle();
      expect(await asked).toEqual(badReply);
    }
    const rude = join("rude", {});
    rude.dispatcher.stop();
    rude.bus.subscribe(subjects.memberRoute("rude"), (message) => {
      message.reply(encodeMessage({ kind: "who knows" }));
    });
    a.view.elsewhere = "rude";
    const asked = a.router.call(ada, ask("1"), 500);
    await clock.settle();
    expect(await asked).toEqual(badReply);
  });

  test("RO3 — a failure for a reason that only a newer build knows counts as one of unknown effect", async () => {
    const { clock, nats, join } = network();
    const newer = nats.connect("newer");
    newer.subscribe(subjects.memberRoute("newer"), (message) => {
      message.reply(encodeMessage({ kind: "failed", reason: "bored", more: 1 }));
    });
    const a = join("a");
    a.view.elsewhere = "newer";
    const asked = a.router.call(ada, ask("1"), 500);
    await clock.settle();
    expect(await asked).toEqual({ kind: "failed", reason: "exit", effect: "unknown" });
  });
});

test("RO8 — from one router to one recipient messages and calls come in order, far and near", async () => {
  for (const from of ["a", "b"]) {
    const { clock, join } = network();
    const nodes = { a: join("a"), b: join("b", { answer: never }) };
    nodes.a.view.elsewhere = nodes.b.view.elsewhere = "b";
    const { router } = nodes[from as "a" | "b"];
    const ids = Array.from({ length: 60 }, (_, n) => `${n}`);
    const calls: Promise<unknown>[] = [];
    for (const [n, id] of ids.entries())
      if (n % 3 === 0) calls.push(router.call(ada, ask(id), 1_000));
      else if (n % 3 === 1) router.send(ada, note(id));
      else router.sendEach([key("bob"), ada], note(id));
    await clock.settle();
    expect(nodes.b.handled.filter((one) => one.key.endsWith("ada")).map(({ id }) => id)).toEqual(
      ids,
    );
    await clock.advance(1_000);
    expect(await Promise.all(calls)).toHaveLength(20);
  }
});

test("RO10 — the partition in a message is the sender's word: a recipient is found in its own one only", async () => {
  const { clock, join } = network();
  const [a, b] = [join("a"), join("b", { people: () => false })];
  b.view.elsewhere = "b";
  const wrong = (partitionOf("acme", "ada") + 1) % 256;
  const message: RoutedSend = {
    kind: "send",
    name: NOTE.name,
    body: { id: "1" },
    isForwarded: false,
    places: [["fra", "acme"]],
    to: [[0, wrong, "ada"]],
  };
  a.bus.publish(subjects.memberRoute("b"), encodeMessage(message));
  await clock.settle();
  expect([b.handled, b.dispatched]).toEqual([[], { noproc: 1 }]);
  expect(placeOf(ada)).not.toBe(`fra/${wrong}`);
});
