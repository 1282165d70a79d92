// packages/bus/src/conformance.ts
// What every Bus keeps, run on the memory network and on real nats-servers.
import { afterEach, describe, expect, test } from "vitest";
import type { Bus, Message, RequestOutcome } from "./bus.ts";

export interface BusHarness {
  /** Resolves when the bus is connected. */
  readonly connect: (name: string) => Promise<Bus>;
  /** Takes the bus's connection away; resolves when the bus knows. */
  readonly cut: (name: string) => Promise<void>;
  /** Gives it back; resolves when the bus is connected. */
  readonly heal: (name: string) => Promise<void>;
  readonly stop: () => Promise<void>;
  readonly payloadMaxBytes: number;
}

const TEST_MAX_MS = 60_000;
const REQUEST_MAX_MS = 20_000; // generous: shared machines
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);
/** Adapters may hand over any kind of Uint8Array: compared by content. */
function plain(outcome: RequestOutcome): { readonly kind: string; readonly reply?: string } {
  return outcome.kind === "reply" ? { kind: "reply", reply: text(outcome.data) } : outcome;
}
const SENT = { kind: "sent" };
const DISCONNECTED = { kind: "disconnected" };

/** Everything the bus asked for before is in force once its own message came back. */
let marksCount = 0;
async function settled(...buses: Bus[]): Promise<void> {
  for (const bus of buses) {
    const subject = `mark.${++marksCount}`;
    const arrived = Promise.withResolvers<void>();
    const subscription = bus.subscribe(subject, () => arrived.resolve());
    bus.publish(subject, bytes("mark"));
    await arrived.promise;
    subscription.unsubscribe();
  }
}

/** Collects what arrives; `until(count)` resolves when so many have. */
function recorder(): {
  readonly seen: string[];
  readonly record: (message: Message) => void;
  readonly until: (count: number) => Promise<string[]>;
} {
  const seen: string[] = [];
  let wanted = { count: Infinity, resolve: (_seen: string[]): void => undefined };
  return {
    seen,
    record(message) {
      seen.push(`${message.subject}=${text(message.data)}`);
      if (seen.length >= wanted.count) wanted.resolve(seen);
    },
    until(count) {
      if (seen.length >= count) return Promise.resolve(seen);
      return new Promise((resolve) => (wanted = { count, resolve }));
    },
  };
}

export function busConformance(title: string, start: () => Promise<BusHarness>): void {
  describe(`${title}: conformance of a Bus`, { timeout: TEST_MAX_MS }, () => {
    const harnesses: BusHarness[] = [];
    afterEach(async () => {
      for (const harness of harnesses.splice(0)) await harness.stop();
    });

    async function buses<const Names extends string[]>(
      ...names: Names
    ): Promise<BusHarness & Record<Names[number], Bus>> {
      const harness = await start();
      harnesses.push(harness);
      const connected: Record<string, Bus> = {};
      for (const name of names) connected[name] = await harness.connect(name);
      return { ...harness, ...(connected as Record<Names[number], Bus>) };
    }

    test("BU2 — one publisher's messages arrive in order, across subscriptions", async () => {
      const { ann, bob } = await buses("ann", "bob");
      const { record, until } = recorder();
      for (const subject of ["t.0", "t.1", "t.*"]) bob.subscribe(subject, record);
      await settled(bob);
      const expected: string[] = [];
      for (let n = 0; n < 600; n++) {
        const subject = `t.${n % 3}`;
        expect(ann.publish(subject, bytes(String(n)))).toEqual(SENT);
        // Two subscriptions match t.0 and t.1: which of the two comes first is not promised.
        expected.push(...Array<string>(n % 3 === 2 ? 1 : 2).fill(`${subject}=${n}`));
      }
      expect(await until(expected.length)).toEqual(expected);
    });

    test("BU2, BU6 — its own messages come back to it, later and in order", async () => {
      const { ann } = await buses("ann");
      const { seen, record, until } = recorder();
      ann.subscribe("self", record);
      for (const n of ["1", "2", "3"]) ann.publish("self", bytes(n));
      expect(seen).toEqual([]);
      expect(await until(3)).toEqual(["self=1", "self=2", "self=3"]);
    });

    test("queue groups — one member of each group gets a message, every other subscriber too", async () => {
      const { ann, bob, cid } = await buses("ann", "bob", "cid");
      const shared = recorder();
      const single = recorder();
      for (const bus of [bob, cid]) bus.subscribe("work", shared.record, { queue: "q" });
      for (const bus of [bob, cid]) bus.subscribe("work", single.record);
      await settled(bob, cid);
      for (let n = 0; n < 100; n++) ann.publish("work", bytes(String(n)));
      await Promise.all([shared.until(100), single.until(200)]);
      await settled(ann, bob, cid);
      expect([shared.seen.length, single.seen.length]).toEqual([100, 200]);
      expect(new Set(shared.seen).size).toBe(100);
    });

    test("requests — reply, no responders, timeout; only the first reply counts", async () => {
      const { ann, bob } = await buses("ann", "bob");
      bob.subscribe("ask", (message) => {
        message.reply(bytes(`${text(message.data)}!`));
        message.reply(bytes("too late"));
      });
      const silent = recorder();
      bob.subscribe("silent", silent.record);
      await settled(bob);
      const first = await ann.request("ask", bytes("a"), REQUEST_MAX_MS);
      expect(plain(first)).toEqual({ kind: "reply", reply: "a!" });
      expect(await ann.request("nobody", bytes("a"), REQUEST_MAX_MS)).toEqual({
        kind: "no_responders",
      });
      expect(await ann.request("silent", bytes("a"), 50)).toEqual({ kind: "timeout" });
      await silent.until(1);
      const many = Array.from({ length: 200 }, (_, n) =>
        ann.request("ask", bytes(String(n)), REQUEST_MAX_MS),
      );
      const replies = await Promise.all(many);
      expect(replies.map((outcome) => outcome.kind === "reply" && text(outcome.data))).toEqual(
        replies.map((_, n) => `${n}!`),
      );
    });

    test("requests — an empty reply is a reply; replying to a publish does nothing", async () => {
      const { ann, bob } = await buses("ann", "bob");
      const { record, until } = recorder();
      bob.subscribe("empty", (message) => {
        record(message);
        message.reply(new Uint8Array());
      });
      await settled(bob);
      ann.publish("empty", bytes("p"));
      const outcome = await ann.request("empty", bytes("r"), REQUEST_MAX_MS);
      expect(plain(outcome)).toEqual({ kind: "reply", reply: "" });
      expect(await until(2)).toEqual(["empty=p", "empty=r"]);
    });

    test("BU5 — what a peer publishes after its reply comes after the awaiter has run", async () => {
      const { ann, bob } = await buses("ann", "bob");
      const log: string[] = [];
      const done = Promise.withResolvers<void>();
      ann.subscribe("news", (message) => {
        log.push(`news ${text(message.data)}`);
        if (log.length === 300) done.resolve();
      });
      bob.subscribe("join", (message) => {
        bob.publish("news", bytes(`before ${text(message.data)}`));
        message.reply(message.data);
        bob.publish("news", bytes(`after ${text(message.data)}`));
      });
      await settled(ann, bob);
      // Awaited through several layers of async functions, as real callers do.
      const ask = async (n: number) => await ann.request("join", bytes(String(n)), REQUEST_MAX_MS);
      const join = async (n: number): Promise<void> => {
        const outcome = await ask(n);
        log.push(`reply ${outcome.kind === "reply" ? text(outcome.data) : outcome.kind}`);
      };
      await Promise.all(Array.from({ length: 100 }, (_, n) => join(n)));
      await done.promise;
      const expected = Array.from({ length: 100 }, (_, n) => [
        `news before ${n}`,
        `reply ${n}`,
        `news after ${n}`,
      ]);
      expect(log).toEqual(expected.flat());
    });

    test("BU3, BU6 — a sole subscriber hears its own process later, in order, without a network", async () => {
      const { ann, bob, cut, heal } = await buses("ann", "bob");
      const { seen, record, until } = recorder();
      ann.subscribe("mine", record, { isSole: true });
      await settled(ann);
      for (const n of ["1", "2"]) expect(ann.publish("mine", bytes(n))).toEqual(SENT);
      expect(seen).toEqual([]);
      expect(await until(2)).toEqual(["mine=1", "mine=2"]);
      bob.publish("mine", bytes("3")); // others reach it over the network
      await until(3);
      await cut("ann");
      expect(ann.publish("mine", bytes("4"))).toEqual(SENT);
      expect(ann.publish("other", bytes("x"))).toEqual(DISCONNECTED);
      expect(await until(4)).toEqual(["mine=1", "mine=2", "mine=3", "mine=4"]);
      await heal("ann");
      await settled(ann, bob);
      bob.publish("mine", bytes("5"));
      expect((await until(5))[4]).toBe("mine=5");
    });

    test("BU3 — a sole subscriber answers, is silent, is gone; also without a network", async () => {
      const { ann, cut } = await buses("ann");
      const log: string[] = [];
      const subscription = ann.subscribe(
        "mine",
        (message) => {
          log.push(`message ${text(message.data)}`);
          if (text(message.data) !== "silent") message.reply(bytes("ok"));
        },
        { isSole: true },
      );
      await cut("ann");
      const first = ann.request("mine", bytes("a"), REQUEST_MAX_MS).then((outcome) => {
        log.push(outcome.kind);
        return outcome;
      });
      expect(log).toEqual([]);
      expect(await first).toEqual({ kind: "reply", data: bytes("ok") });
      expect(log).toEqual(["message a", "reply"]);
      expect(await ann.request("mine", bytes("silent"), 50)).toEqual({ kind: "timeout" });
      const late = ann.request("mine", bytes("b"), REQUEST_MAX_MS);
      subscription.unsubscribe();
      expect(await late).toEqual({ kind: "no_responders" });
      expect(await ann.request("mine", bytes("c"), REQUEST_MAX_MS)).toEqual(DISCONNECTED);
      expect(log).toEqual(["message a", "reply", "message silent"]);
    });

    test("BU3 — two sole subscribers of a subject, or one of a pattern, are a bug", async () => {
      const { ann } = await buses("ann");
      const subscription = ann.subscribe("mine", () => undefined, { isSole: true });
      const again = () => ann.subscribe("mine", () => undefined, { isSole: true });
      expect(again).toThrow("BU3");
      subscription.unsubscribe();
      expect(again).not.toThrow();
      expect(() => ann.subscribe("all.*", () => undefined, { isSole: true })).toThrow("BU3");
    });

    test("BU4 — a message as large as allowed passes, one byte more is refused", async () => {
      const { ann, bob, payloadMaxBytes } = await buses("ann", "bob");
      const arrived = Promise.withResolvers<number>();
      bob.subscribe("big", (message) => arrived.resolve(message.data.length));
      ann.subscribe("mine", () => undefined, { isSole: true });
      await settled(bob);
      expect(ann.payloadMaxBytes).toBe(payloadMaxBytes);
      const refusal = { kind: "too_large", maxBytes: payloadMaxBytes };
      const tooLarge = new Uint8Array(payloadMaxBytes + 1);
      expect(ann.publish("big", tooLarge)).toEqual(refusal);
      expect(ann.publish("mine", tooLarge)).toEqual(refusal);
      expect(await ann.request("big", tooLarge, REQUEST_MAX_MS)).toEqual(refusal);
      expect(ann.publish("big", new Uint8Array(payloadMaxBytes))).toEqual(SENT);
      expect(await arrived.promise).toBe(payloadMaxBytes);
    });

    test("BU1 — what is published while cut off never arrives; subscriptions do come back", async () => {
      const { ann, bob, cut, heal } = await buses("ann", "bob");
      const { seen, record, until } = recorder();
      const changes: boolean[] = [];
      ann.onConnection((isConnected) => changes.push(isConnected));
      ann.subscribe("t", record);
      bob.subscribe("t", record);
      bob.subscribe("silent", () => undefined);
      await settled(ann, bob);
      const waiting = ann.request("silent", bytes("q"), REQUEST_MAX_MS);
      await cut("ann");
      expect(await waiting).toEqual(DISCONNECTED);
      expect(ann.isConnected).toBe(false);
      for (let n = 0; n < 100; n++) expect(ann.publish("t", bytes("cut"))).toEqual(DISCONNECTED);
      expect(await ann.request("t", bytes("cut"), REQUEST_MAX_MS)).toEqual(DISCONNECTED);
      ann.subscribe("u", record); // made while away
      await heal("ann");
      expect([ann.isConnected, changes]).toEqual([true, [false, true]]);
      await settled(ann, bob);
      ann.publish("t", bytes("healed"));
      bob.publish("u", bytes("healed"));
      await until(3);
      expect(seen.toSorted()).toEqual(["t=healed", "t=healed", "u=healed"]);
    });

    test("unsubscribe — from inside, nothing more is handed over; twice is fine", async () => {
      const { ann, bob } = await buses("ann", "bob");
      const { seen, record } = recorder();
      const subscription = bob.subscribe("t", (message) => {
        record(message);
        subscription.unsubscribe();
        subscription.unsubscribe();
      });
      await settled(bob);
      for (const n of ["1", "2", "3"]) ann.publish("t", bytes(n));
      await settled(ann, bob);
      expect(seen).toEqual(["t=1"]);
    });

    test("drain — what is under way is delivered, then nothing; twice is fine", async () => {
      const { ann, bob } = await buses("ann", "bob");
      const { seen, record } = recorder();
      const changes: boolean[] = [];
      bob.onConnection((isConnected) => changes.push(isConnected));
      bob.subscribe("mine", record, { isSole: true });
      ann.subscribe("silent", () => undefined);
      await settled(ann, bob);
      const waiting = bob.request("silent", bytes("q"), REQUEST_MAX_MS);
      for (let n = 0; n < 50; n++) bob.publish("mine", bytes(String(n)));
      await Promise.all([bob.drain(), bob.drain()]);
      expect(seen).toEqual(Array.from({ length: 50 }, (_, n) => `mine=${n}`));
      expect(await waiting).toEqual(DISCONNECTED);
      expect([bob.isConnected, changes]).toEqual([false, [false]]);
      expect(bob.publish("mine", bytes("x"))).toEqual(DISCONNECTED);
      expect(bob.publish("t", bytes("x"))).toEqual(DISCONNECTED);
      expect(await bob.request("mine", bytes("x"), REQUEST_MAX_MS)).toEqual(DISCONNECTED);
      expect(ann.isConnected).toBe(true);
    });

    test("BU7 — a subject that would break the protocol is a bug", async () => {
      const { ann } = await buses("ann");
      for (const subject of ["", "a b", "a\r\nPUB x 0"]) {
        expect(() => ann.publish(subject, bytes("x"))).toThrow("BU7");
        expect(() => ann.subscribe(subject, () => undefined)).toThrow("BU7");
        expect(() => ann.request(subject, bytes("x"), 10)).toThrow("BU7");
      }
    });
  });
}
