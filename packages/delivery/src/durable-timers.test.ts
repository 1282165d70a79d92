// Goal: DT1–DT7, D4 of one owner's timers. Method: a fake clock, the table in memory with a clock of its
// own; the test moves both, owns and loses partitions, and ends what is being fired.
import { LIMITS } from "@carillon/contracts";
import { expect, test } from "vitest";
import { HELD, keysOf, owner, placeOf, setting } from "./test-timers.ts";

test("DT1 — a timer fires when it is due, not before, and is gone when its handler has ended", async () => {
  const { clock, store, timers, fired, lateMs, own } = owner();
  own();
  const isSet = timers.set(HELD, setting("a", { inMs: 10_000 }));
  await clock.advance(5);
  expect(await isSet).toBe(true);
  await clock.advance(9_994);
  expect(fired).toEqual([]);
  await clock.advance(26); // looks are at least 25 ms apart
  expect(fired).toEqual(["a of 0"]);
  expect(lateMs).toEqual([20]); // set 5 ms after it was asked for
  await clock.advance(10);
  expect(keysOf(store)).toEqual([]);
  await clock.advance(60_000);
  expect(fired).toHaveLength(1);
});

test("DT1 — the database's clock decides: ahead or back by an hour, nothing is early by it", async () => {
  const { clock, timers, fired, own } = owner();
  own();
  void timers.set(HELD, setting("a", { atMs: clock.wallClockMs() + 7_200_000 }));
  await clock.advance(3_600_000);
  clock.jumpWallClock(-3_600_000);
  await clock.advance(7_199_400);
  expect(fired).toEqual([]);
  await clock.advance(700);
  expect(fired).toEqual(["a of 0"]);
  void timers.set(HELD, setting("b", { atMs: clock.wallClockMs() + 3_600_000 }));
  clock.jumpWallClock(3_600_000);
  await clock.advance(510);
  expect(fired).toEqual(["a of 0", "b of 0"]);
});

test("DT1 — what somebody else sets is seen within half a second", async () => {
  const { clock, store, fired, own } = owner();
  own();
  await clock.advance(60_100);
  store.memory.write([{ ...HELD, change: "set", ...setting("a", { inMs: 0 }) }]);
  await clock.advance(500);
  expect(fired).toEqual(["a of 0"]);
});

test("DT2 — the owner dies before the handler has ended: the next one fires it, the last one changes nothing", async () => {
  const ending = Promise.withResolvers<void>();
  const first = owner({ fire: () => ending.promise });
  const { clock, store } = first;
  first.own();
  void first.timers.set(HELD, setting("a", { inMs: 100 }));
  await clock.advance(200);
  expect(first.fired).toEqual(["a of 0"]);

  store.epochs.set(0, 2); // it hangs, and another one takes its partition
  const second = owner({ clock, store, fire: () => new Promise<void>(() => undefined) });
  second.own({ partition: 0, epoch: 2 });
  await clock.advance(10);
  expect(second.fired).toEqual(["a of 0"]);
  ending.resolve();
  await clock.advance(10);
  expect(first.events).toEqual(["fenced 0/1"]); // D4: its `done` was refused
  expect(keysOf(store)).toEqual(["a"]);
});

test("DT2 — set again while it is fired, by its own handler too: that is another timer, and it fires", async () => {
  const rearmed: Promise<boolean>[] = [];
  const it = owner({
    fire: ({ payload }) => {
      if (payload !== "last") rearmed.push(it.timers.set(HELD, setting("a", { inMs: 0 }, "last")));
    },
  });
  it.own();
  void it.timers.set(HELD, setting("a", { inMs: 0 }, "first"));
  await it.clock.advance(200);
  expect(await Promise.all(rearmed)).toEqual([true]);
  expect(it.fired).toEqual(["a of 0", "a of 0"]);
  expect(keysOf(it.store)).toEqual([]);
});

test("DT2 — a setting and the end of the one before in one write: the setting stays", async () => {
  const ending = Promise.withResolvers<void>();
  const { clock, store, timers, own } = owner({ fire: () => ending.promise });
  own();
  void timers.set(HELD, setting("a", { inMs: 0 }));
  await clock.advance(100);
  void timers.set(HELD, setting("a", { inMs: 60_000 }));
  ending.resolve();
  await clock.advance(100);
  expect(store.writes.map((changes) => changes.map(({ change }) => change))).toEqual([
    ["set"],
    ["set"],
  ]);
  expect(keysOf(store)).toEqual(["a"]);
});

test("DT2 — two settings of one key end in one write: both are done, and neither fires again", async () => {
  const endings: (() => void)[] = [];
  const { clock, store, timers, fired, own } = owner({
    fire: () => new Promise<void>((resolve) => void endings.push(resolve)),
  });
  own();
  void timers.set(HELD, setting("a", { inMs: 0 }, 1));
  await clock.advance(100);
  void timers.set(HELD, setting("a", { inMs: 0 }, 2));
  await clock.advance(100);
  for (const end of endings.splice(0).toReversed()) end(); // the later one first
  await clock.advance(2_000);
  expect(store.writes.at(-1)?.map(({ change }) => change)).toEqual(["done", "done"]);
  expect(fired).toEqual(["a of 0", "a of 0"]);
  expect(keysOf(store)).toEqual([]);
});

test("DT2 — cancelled before it is due it never fires; cancelling nothing is no error", async () => {
  const { clock, store, timers, fired, own } = owner();
  own();
  void timers.set(HELD, setting("a", { inMs: 1_000 }));
  await clock.advance(500);
  const cancelled = [timers.cancel(HELD, placeOf("a")), timers.cancel(HELD, placeOf("unknown"))];
  await clock.advance(2_000);
  expect(await Promise.all(cancelled)).toEqual([true, true]);
  expect(fired).toEqual([]);
  expect(keysOf(store)).toEqual([]);
});

test("DT2 — the store is down when it is done: it is written later, and not fired again meanwhile", async () => {
  const it = owner({ fire: () => void (it.store.failuresLeft = 1) });
  it.own();
  void it.timers.set(HELD, setting("a", { inMs: 0 }));
  await it.clock.advance(1_000);
  expect(it.events).toEqual(["fault"]);
  expect(it.fired).toEqual(["a of 0"]);
  expect(keysOf(it.store)).toEqual([]);
});

test("DT2 — an answer that was lost: the claim is made again, the setting is told as not certain", async () => {
  const { clock, store, timers, fired, events, own } = owner();
  own();
  await clock.advance(1);
  store.lostAnswersLeft = 1;
  const set = timers.set(HELD, setting("a", { inMs: 1_000 }));
  set.catch(() => undefined);
  await clock.advance(10);
  await expect(set).rejects.toThrow("planted");
  await clock.advance(700);
  store.lostAnswersLeft = 1;
  await clock.advance(1_500);
  expect(events).toEqual(["fault", "fault"]);
  expect(fired).toEqual(["a of 0"]);
  expect(keysOf(store)).toEqual([]);
});

test("DT3 — a poison timer is tried with growing delays and buried; the others go on", async () => {
  const it = owner({
    limits: { failuresMax: 3 },
    fire: ({ key }) => {
      if (key === "poison") throw new Error("no");
    },
  });
  it.own();
  void it.timers.set(HELD, setting("poison", { inMs: 0 }));
  void it.timers.set(HELD, setting("good", { inMs: 0 }));
  await it.clock.advance(1_500);
  void it.timers.set(HELD, setting("later", { inMs: 2_000 }));
  await it.clock.advance(60_000);
  expect(it.fired).toEqual([
    "poison of 0",
    "good of 0",
    "poison of 0",
    "later of 0",
    "poison of 0",
  ]);
  expect(it.events).toEqual([
    "failed poison 1: Error: no",
    "failed poison 2: Error: no",
    "failed poison 3: Error: no",
    "buried poison: Error: no",
  ]);
  expect(keysOf(it.store)).toEqual(["poison"]); // for a person to look at
});

test("DT4, DT6 — a handler that never ends has failed after its time; meanwhile at most so many are here", async () => {
  const it = owner({
    limits: { firingMax: 3, claimMax: 2, fireMaxMs: 10_000 },
    fire: ({ key }) => (key.startsWith("stuck") ? new Promise<void>(() => undefined) : undefined),
  });
  it.own();
  for (const [n, key] of ["stuck1", "stuck2", "a", "b", "c"].entries())
    void it.timers.set(HELD, setting(key, { inMs: n }));
  let most = 0;
  for (let ms = 0; ms < 400; ms++) {
    await it.clock.advance(1);
    most = Math.max(most, it.timers.firingCount);
  }
  expect(most).toBe(3);
  expect(it.fired).toEqual(["stuck1 of 0", "stuck2 of 0", "a of 0", "b of 0", "c of 0"]);
  await it.clock.advance(10_000);
  expect(it.events).toEqual([
    "failed stuck1 1: Error: has not ended within 10000 ms",
    "failed stuck2 1: Error: has not ended within 10000 ms",
  ]);
});

test("DT4 — all places taken, it looks again as soon as one is free", async () => {
  const endings: (() => void)[] = [];
  const it = owner({
    limits: { firingMax: 1, claimMax: 1 },
    fire: () => new Promise<void>((resolve) => void endings.push(resolve)),
  });
  it.own();
  for (const key of ["a", "b"]) void it.timers.set(HELD, setting(key, { inMs: 0 }));
  await it.clock.advance(3_000);
  expect(it.fired).toEqual(["a of 0"]);
  const claimsBefore = it.store.claimsCount;
  endings.shift()?.();
  await it.clock.advance(50);
  expect(it.fired).toEqual(["a of 0", "b of 0"]);
  expect(it.store.claimsCount).toBe(claimsBefore + 1);
});

test("DT5 — a partition that is not served fires nothing; what came due meanwhile fires when it is", async () => {
  const { clock, timers, fired, own, lose } = owner();
  own();
  void timers.set(HELD, setting("a", { inMs: 1_000 }));
  await clock.advance(100);
  lose(0);
  await clock.advance(5_000);
  expect(fired).toEqual([]);
  own();
  await clock.advance(1);
  expect(fired).toEqual(["a of 0"]);
});

test("DT5 — a partition that is served while another one is looked at does not wait for the next look", async () => {
  const { clock, store, fired, own } = owner();
  store.epochs.set(1, 1);
  store.memory.write([{ partition: 1, epoch: 1, change: "set", ...setting("a", { inMs: 0 }) }]);
  const claim = store.claim.bind(store);
  store.claim = async (home, options) => {
    store.claim = claim;
    const answer = await claim(home, options);
    await clock.sleep(10);
    return answer;
  };
  own();
  await clock.advance(5);
  own({ partition: 1, epoch: 1 });
  await clock.advance(30);
  expect(fired).toEqual(["a of 1"]);
});

test("DT5 — a release waits for what is being fired, and writes its end", async () => {
  const ending = Promise.withResolvers<void>();
  const { clock, store, timers, fired, own } = owner({ fire: () => ending.promise });
  own();
  void timers.set(HELD, setting("a", { inMs: 0 }));
  void timers.set(HELD, setting("b", { inMs: 300 }));
  await clock.advance(100);
  let isDrained = false;
  void timers.drain([0], 5_000).then(() => (isDrained = true));
  await clock.advance(1_000);
  expect(isDrained).toBe(false);
  ending.resolve();
  await clock.advance(10);
  expect(isDrained).toBe(true);
  expect(fired).toEqual(["a of 0"]);
  expect(keysOf(store)).toEqual(["b"]);
});

test("DT5 — a release does not wait longer than its time", async () => {
  const { clock, timers, own } = owner({ fire: () => new Promise<void>(() => undefined) });
  own();
  void timers.set(HELD, setting("a", { inMs: 0 }));
  await clock.advance(100);
  let isDrained = false;
  void timers.drain([0], 1_500).then(() => (isDrained = true));
  await clock.advance(1_499);
  expect(isDrained).toBe(false);
  await clock.advance(1);
  expect(isDrained).toBe(true);
});

test("D4 — a refused setting says so, and ends the ownership", async () => {
  const { clock, store, timers, events, own } = owner();
  own();
  store.epochs.set(0, 2);
  const set = timers.set(HELD, setting("a", { inMs: 0 }));
  await clock.advance(10);
  expect(await set).toBe(false);
  expect(events).toEqual(["fenced 0/1"]);
  const again = timers.set(HELD, setting("a", { inMs: 0 }));
  await clock.advance(10);
  expect(await again).toBe(false);
  expect(store.writes).toHaveLength(1); // of what is not held nothing is even tried
});

test("DT2 — a bug in a look is its runner's crash, not a silent end", async () => {
  const { clock, store, events, own } = owner();
  store.claim = () => Promise.reject(new Error("a bug"));
  own();
  await clock.advance(10);
  expect(events).toEqual(["crash Error: a bug"]);
});

test("DT7 — what the table cannot keep is refused where it is asked for; what goes with it is set", async () => {
  const { clock, fired, own, timers } = owner();
  own();
  await clock.advance(0);
  const inMs = { inMs: 100 };
  const refused = [
    setting("long", inMs, "x".repeat(LIMITS.timerPayloadMaxCharacters)), // and its quotes
    setting("nul", inMs, { text: "a\u0000b" }),
    setting("name", inMs, { "\ud800": 1 }),
    { ...setting("nothing", inMs), payload: undefined },
    setting("a\u0000key", inMs),
    setting("k".repeat(600), inMs), // and its kind
    setting("never", { inMs: Number.NaN }),
    setting("ever", { atMs: Infinity }),
  ];
  for (const one of refused) await expect(timers.set(HELD, one)).rejects.toThrow(/^DT7/);
  const good = [setting("plain", inMs), setting("escaped", inMs, "\\u0000 and \u0001")];
  const set = Promise.all(good.map((one) => timers.set(HELD, one)));
  await clock.advance(1_000);
  expect(await set).toEqual([true, true]);
  expect(fired.toSorted()).toEqual(["escaped of 0", "plain of 0"]);
});

test("DT7, DT3 — the reason of a failure can be kept, whatever the handler threw", async () => {
  const { clock, events, own, store, timers } = owner({
    limits: { failuresMax: 1 },
    fire: () => Promise.reject(new Error(`\u0000${"x".repeat(192)}\u{1f514}`)), // cut in the bell
  });
  own();
  const set = timers.set(HELD, setting("a", { inMs: 10 }));
  await clock.advance(2_000);
  await set;
  const [buried] = store.memory.rows.values();
  expect(buried?.buriedReason).toBe(`Error: ${"x".repeat(192)}`.slice(0, 199) + "\ufffd");
  expect(events).not.toEqual([]);
});
