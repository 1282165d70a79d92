// Goal: the fast way of castEach is the slow way, only faster: for any mix of operations each accepted
// message is handled or handed back exactly once, in order, and nothing is kept at the end.
// Method: the same operations on two tables, one of which has a behaviour with `messageBytes`, and so
// never uses the fan-out's array; each is checked against what it accepted.
import fc from "fast-check";
import { expect, test } from "vitest";
import { say, start, type Step } from "./harness.ts";

const SLOTS = 6;
const slots = fc.array(fc.nat(SLOTS - 1), { minLength: 1, maxLength: 8 });
const slot = fc.nat(SLOTS - 1);
/** What the handler does with it, next to handling it. */
const act = fc.constantFrom(
  ...["", "", "", "crash", "async", "async crash", "timer", "forget", "stop", "send", "end other"],
);
const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("castEach" as const), slots, act }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("cast" as const), slot, act }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("control" as const), slot, act }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("call" as const), slot, act }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("monitor" as const), slot }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("kill" as const), slot }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("exit" as const), slot }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("quarantine" as const), slot }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reset" as const), slot }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("spawn" as const), slot }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("pause" as const) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(300) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer One> ? One : never;

interface Kind {
  readonly activation: "on_demand" | "spawned";
  readonly isStateful: boolean;
  readonly mailboxMax: number;
  readonly turnMessagesMax: number;
  readonly seed: number;
}

async function run(operations: readonly Operation[], kind: Kind, isFast: boolean) {
  const { activation, isStateful, mailboxMax, turnMessagesMax, seed } = kind;
  const accepted: string[] = []; // "slot lane id" in the order of acceptance
  const ended: string[] = []; // the same, in the order in which they were handled or handed back
  const outcomes: string[] = [];
  const lanes = new Map<string, string>();
  const crashed = new Set<string>();
  const running = new Set<string>();
  let acceptedFirst: string[] | undefined; // before any handler ran: the same for both ways
  let lostCount = 0; // killed: told by number only
  let callsCount = 0;
  let sendsCount = 0;
  const nameOf = (at: number, id: string): string => `${at} ${lanes.get(`${at} ${id}`)} ${id}`;
  const accept = (at: number, id: string, lane: string): void => {
    lanes.set(`${at} ${id}`, lane);
    accepted.push(`${at} ${lane} ${id}`);
  };
  const end = (at: number, { say: text }: Step): void =>
    void ended.push(nameOf(at, text.split(":")[0]!));
  const harness = start({
    seed,
    activation,
    limits: { mailboxMax, turnMessagesMax, crashMax: 2, idleMs: 150 },
    behaviour: {
      init: () => (isStateful ? { count: 0 } : undefined),
      ...(isFast ? {} : { messageBytes: () => 0 }),
      onCast: (context, message) => {
        const { slot: at, generation } = context;
        const [id = "", what = ""] = message.say.split(":");
        const key = `${at}#${generation}`;
        if (running.has(key)) outcomes.push(`two turns of ${key}`);
        running.add(key);
        const finish = (): void => {
          running.delete(key);
          if (!context.isCurrent) return; // abandoned: counted by who ended it
          const isFirst = !crashed.has(`${at} ${id}`);
          crashed.add(`${at} ${id}`);
          if (what.includes("crash") && isFirst) throw new Error(message.say);
          end(at, message);
          if (what === "timer") context.setTimer(40);
          if (what === "forget") context.state = undefined;
          if (what === "stop") context.stop();
          if (what === "send")
            sendEach([at, (at + 1) % SLOTS, (at + 2) % SLOTS], `${id}s${sendsCount++}`);
          if (what === "end other") {
            lostCount += table.kill((at + 1) % SLOTS);
            table.exit((at + 2) % SLOTS);
          }
        };
        return what.startsWith("async") ? clock.sleep(25).then(finish) : finish();
      },
      onCall: (context, message) => `${context.slot} ${message.say}`,
      onTimer: () => undefined,
      onDrop: end,
      onDeadLetter: end,
      onQuarantine: (at, waiting) => {
        for (const message of waiting) end(at, message);
      },
      mayPassivate: () => true,
    },
  });
  const { clock, table, crashes } = harness;
  const sendEach = (to: readonly number[], id: string, what = ""): void => {
    const unique = to.filter((one, n) => to.indexOf(one) === n); // one id, one place per slot
    const refused: number[] = [];
    const count = table.castEach(unique, say(`${id}:${what}`), (at) => refused.push(at));
    if (count !== unique.length - refused.length) outcomes.push("count of castEach");
    for (const at of unique) if (!refused.includes(at)) accept(at, id, "normal");
  };
  if (activation === "spawned") for (let n = 0; n < SLOTS; n++) table.spawn(n);
  for (const [n, one] of operations.entries()) {
    const id = String(n);
    switch (one.kind) {
      case "castEach":
        sendEach(one.slots, id, one.act);
        break;
      case "cast":
      case "control": {
        const lane = one.kind === "cast" ? "normal" : "control";
        if (table.cast(one.slot, say(`${id}:${one.act}`), lane) === "accepted")
          accept(one.slot, id, lane);
        break;
      }
      case "call":
        callsCount++;
        void table.call(one.slot, say(id)).then(({ kind: answer }) => outcomes.push(answer));
        break;
      case "monitor":
        table.monitor(one.slot, () => undefined);
        break;
      case "kill": {
        const reportsCount = crashes.length;
        lostCount += table.kill(one.slot);
        if (crashes.length > reportsCount + 1) outcomes.push("reports of kill");
        break;
      }
      case "pause":
        if (!table.resume()) pauseOf(table);
        break;
      case "wait":
        acceptedFirst ??= [...accepted];
        await clock.advance(one.ms);
        break;
      case "quarantine":
        table.quarantine(one.slot, "by hand");
        break;
      default:
        table[one.kind](one.slot);
    }
    const waiting = Array.from({ length: SLOTS }, (_, at) => table.inspect(at).waitingCount);
    const sum = waiting.reduce((total, count) => total + count, 0);
    if (sum !== table.waitingCount) outcomes.push(`waiting ${sum} not ${table.waitingCount}`);
  }
  table.resume();
  await clock.advance(3 * 3_600_000);
  const broken = outcomes.filter((text) => text.includes(" "));
  const answersCount = outcomes.length - broken.length;
  return {
    ...harness,
    accepted,
    acceptedFirst,
    ended,
    broken,
    lostCount,
    callsCount,
    answersCount,
  };
}

/** As a storm would do. */
function pauseOf(table: object): void {
  (table as { core: { pause(count: number): void } }).core.pause(1);
}

for (const activation of ["on_demand", "spawned"] as const)
  test(`P1, P2, P14, P19, FO1 — castEach is many casts, ${activation}: each message ends once, in order`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation, { maxLength: 60 }),
        fc.record({
          activation: fc.constant(activation),
          isStateful: fc.boolean(),
          mailboxMax: fc.integer({ min: 1, max: 6 }),
          turnMessagesMax: fc.integer({ min: 1, max: 4 }),
          seed: fc.integer(),
        }),
        async (operations, kind) => {
          const fast = await run(operations, kind, true);
          const slow = await run(operations, kind, false);
          for (const one of [fast, slow]) check(one);
          expect(fast.acceptedFirst).toEqual(slow.acceptedFirst);
        },
      ),
      { numRuns: 400 },
    );
  });

function check(one: Awaited<ReturnType<typeof run>>): void {
  const { accepted, ended, broken, lostCount, runtime, table, keptCount } = one;
  expect(broken).toEqual([]);
  expect(new Set(ended).size).toBe(ended.length); // none twice
  const acceptedSet = new Set(accepted);
  for (const name of ended) expect(acceptedSet).toContain(name);
  const lost = accepted.length - ended.length;
  expect(lost).toBeLessThanOrEqual(lostCount); // kill counts what it drops, calls among it
  expect(one.answersCount).toBe(one.callsCount);
  expect(runtime.stats()).toMatchObject({
    waitingCount: 0,
    callsCount: 0,
    busyCount: 0,
    queuedCount: 0,
    pausedTablesCount: 0,
  });
  for (let at = 0; at < SLOTS; at++) {
    table.kill(at);
    expect(table.inspect(at)).toMatchObject({ waitingCount: 0, isTimerArmed: false });
  }
  table.stop();
  runtime.stop();
  expect(runtime.stats()).toMatchObject({ residentCount: 0, timersCount: 0, quarantinedCount: 0 });
  expect([keptCount(), one.clock.timersCount]).toEqual([0, 0]);
}

const quiet = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("castEach" as const),
      slots,
      act: fc.constantFrom("", "async", "timer", "forget", "stop"),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("cast" as const),
      slot,
      act: fc.constantFrom("", "async", "crash"),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("control" as const), slot, act: fc.constant("") }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(60) }) },
);

test("P1, FO1 — per process and lane the order of acceptance is kept, as without the fan-out's array", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(quiet, { maxLength: 60 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 4 }),
      async (operations, isStateful, turnMessagesMax) => {
        const kind = { activation: "on_demand", isStateful, mailboxMax: 50, seed: 1 } as const;
        for (const isFast of [true, false]) {
          const { accepted, ended } = await run(operations, { ...kind, turnMessagesMax }, isFast);
          for (const lane of ["normal", "control"])
            for (let at = 0; at < SLOTS; at++) {
              const mine = (name: string): boolean => name.startsWith(`${at} ${lane} `);
              expect(ended.filter(mine)).toEqual(accepted.filter(mine));
            }
        }
      },
    ),
    { numRuns: 200 },
  );
});
