// Goal: RO1, RO3, RO4, RO7 for any keys, owners that change at any moment, views that are behind, and
// links that break. Method: nodes on a network in memory and one fake clock, steps by fast-check.
import { createMemoryNetwork } from "@carillon/bus";
import { createSeededRandom } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { CallRouteOutcome } from "./router-outcome.ts";
import { ASK, key, NOTE, placeOf, startTestNode } from "./test-routes.ts";

const NODES = ["a", "b", "c", "d"] as const;
const KEYS = ["ada", "bob", "eve", "kim", "zoë", "김"].flatMap((name) => [
  key(name),
  key(name, "lon"),
  key(name, "fra", "globex"),
]);

const node = fc.constantFrom(...NODES);
const at = fc.nat(KEYS.length - 1);
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("send" as const), from: node, at }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("sendEach" as const),
      from: node,
      keys: fc.uniqueArray(at, { minLength: 1 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("call" as const),
      from: node,
      at,
      deadlineMs: fc.integer({ min: 1, max: 400 }),
    }),
  },
  /** The truth changes; each node hears of it when `learn` comes, or never. */
  { weight: 4, arbitrary: fc.record({ do: fc.constant("move" as const), at, to: node }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("learn" as const),
      who: node,
      at,
      /** Not the truth, but what it was once, or never. */
      wrong: fc.option(fc.option(node, { nil: undefined }), { nil: null }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("cut" as const), who: node }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("heal" as const), who: node }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("lose" as const), who: node }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sleep" as const), who: node }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 90 }) }),
  },
);

const nameOf = (one: (typeof KEYS)[number]): string =>
  `${one.home}/${one.tenantId}/${one.recipientId}`;
const placeOfName = new Map(KEYS.map((one) => [nameOf(one), placeOf(one)]));

/** Nodes that agree at first, and a record of what became of everything. */
function play(seed: number) {
  const clock = new FakeClock();
  const random = createSeededRandom(seed);
  const nats = createMemoryNetwork({ clock, scheduler: clock, random, payloadMaxBytes: 600 });
  const truth = new Map<string, string>(); // place → who may handle
  const handledBy = new Map<string, string[]>(); // "id key" → members
  const wrong: string[] = [];
  const start = (memberId: string) => {
    const one = startTestNode({
      memberId,
      bus: nats.connect(memberId),
      clock,
      onHandled({ key: name, id }) {
        const what = `${id} ${name}`;
        handledBy.set(what, [...(handledBy.get(what) ?? []), memberId]);
        if (truth.get(placeOfName.get(name)!) !== memberId) wrong.push(`${what}: no owner`);
        if (!one.node.mayServe) wrong.push(`${what}: may not serve`);
      },
      // Some answers take long, some never come.
      answer: async (id) => {
        await clock.sleep(random.next() * 300);
        return random.next() < 0.2
          ? await new Promise(() => undefined)
          : { kind: "reply", reply: { id } };
      },
    });
    return one;
  };
  const nodes = { a: start("a"), b: start("b"), c: start("c"), d: start("d") };
  for (const [index, one] of KEYS.entries()) {
    const owner = NODES[index % NODES.length]!;
    truth.set(placeOf(one), owner);
    for (const { view } of Object.values(nodes)) view.owners.set(placeOf(one), owner);
  }
  return { clock, nats, nodes, truth, handledBy, wrong };
}

test("RO1, RO3, RO4, RO7 — whatever changes hands: handled at most once, by an owner; every call ends by its deadline, and says what is so", async () => {
  const seen: Record<string, number> = {};
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 20, maxLength: 60 }),
      fc.nat(),
      async (steps, seed) => {
        const { clock, nats, nodes, truth, handledBy, wrong } = play(seed);
        const sentTo = new Map<string, ReadonlySet<string>>(); // id → whom it is for
        const calls: { id: string; name: string; outcome: CallRouteOutcome<unknown> }[] = [];
        const running: Promise<unknown>[] = [];
        for (const [n, now] of steps.entries()) {
          const id = `${n}`;
          if (now.do === "send") {
            sentTo.set(id, new Set([nameOf(KEYS[now.at]!)]));
            nodes[now.from].router.send(KEYS[now.at]!, { kind: NOTE, body: { id } });
          } else if (now.do === "sendEach") {
            const keys = now.keys.map((place) => KEYS[place]!);
            sentTo.set(id, new Set(keys.map(nameOf)));
            const { router } = nodes[now.from];
            const told = router.sendEach(keys, { kind: NOTE, body: { id } });
            if (told.sentCount + told.noConnection.length !== keys.length)
              wrong.push(`${id}: some are in no count`);
          } else if (now.do === "call") {
            const name = nameOf(KEYS[now.at]!);
            sentTo.set(id, new Set([name]));
            const dueMs = clock.monotonicMs() + now.deadlineMs;
            const { router } = nodes[now.from];
            const asked = router.call(KEYS[now.at]!, { kind: ASK, body: { id } }, now.deadlineMs);
            running.push(
              asked.then((outcome) => {
                if (clock.monotonicMs() > dueMs) wrong.push(`call ${id}: late`);
                calls.push({ id, name, outcome });
                return outcome.kind;
              }),
            );
          } else if (now.do === "move") {
            const place = placeOf(KEYS[now.at]!);
            // The old owner has let go before the new one begins: that is what leases are for.
            nodes[truth.get(place) as "a"].view.owners.set(place, undefined);
            truth.set(place, now.to);
            nodes[now.to].view.owners.set(place, now.to);
          } else if (now.do === "learn") {
            const place = placeOf(KEYS[now.at]!);
            const heard = now.wrong === null ? truth.get(place) : now.wrong;
            // Of itself a node is never wrong.
            if (heard !== now.who && truth.get(place) !== now.who)
              nodes[now.who].view.owners.set(place, heard);
          } else if (now.do === "cut") nats.cut(now.who);
          else if (now.do === "heal") nats.heal(now.who);
          else if (now.do === "lose")
            for (const { view } of Object.values(nodes)) view.lose(now.who);
          else if (now.do === "sleep") nodes[now.who].node.mayServe = !nodes[now.who].node.mayServe;
          else await clock.advance(now.ms);
        }
        await clock.advance(60_000);
        await Promise.all(running);

        for (const [what, members] of handledBy) {
          const [id = "", name = ""] = what.split(" ");
          expect([what, members.length, sentTo.get(id)?.has(name)]).toEqual([what, 1, true]);
        }
        for (const { id, name, outcome } of calls) {
          seen[outcome.kind] = (seen[outcome.kind] ?? 0) + 1;
          const members = handledBy.get(`${id} ${name}`) ?? [];
          if (outcome.kind === "reply" && members.join() !== outcome.ownerId)
            wrong.push(`call ${id}: replied by ${outcome.ownerId}, handled by ${members.join()}`);
          const isUntouched = "effect" in outcome && outcome.effect === "none";
          if ((isUntouched || outcome.kind === "noproc") && members.length > 0)
            wrong.push(`call ${id}: ${outcome.kind}, and yet handled`);
        }
        expect(wrong).toEqual([]);
        for (const { router, crashes } of Object.values(nodes))
          expect([router.callsOpenCount, crashes]).toEqual([0, []]);
      },
    ),
    { numRuns: 300 },
  );
  for (const kind of ["reply", "noconnection", "timeout"]) expect(seen[kind]).toBeGreaterThan(50);
}, 120_000);
