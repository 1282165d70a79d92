// Goal: DT8, DT3: timers that end their owners. Method: owners one after the other on one table in
// memory, with a fake clock; each is gone without a word when the guilty timer is fired.
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { FakeTimerStore } from "./fake-timer-store.ts";
import type { ClaimedTimer } from "./ports.ts";
import { HELD, keysOf, owner, setting } from "./test-timers.ts";

/** Owners of partition 0, one after the other; each is gone at once when `fatal` is fired. */
function heirs(keys: readonly string[], isFatal: (key: string) => boolean) {
  const clock = new FakeClock();
  const store = new FakeTimerStore(clock, new Map([[0, 1]]));
  store.memory.write(
    keys.map((key) => ({ ...HELD, change: "set", ...setting(key, { inMs: 0 }) }) as const),
  );
  const deaths: string[] = [];
  const next = () => {
    const epoch = deaths.length + 1;
    const it = owner({
      clock,
      store,
      fire({ key }) {
        if (!isFatal(key)) return;
        deaths.push(key);
        it.lose(0);
        it.timers.stop();
        store.epochs.set(0, epoch + 1);
      },
    });
    it.own({ partition: 0, epoch });
    return it;
  };
  return { clock, store, deaths, next };
}

test("DT8, DT3 — a timer that ends its owners is buried after five of them, and no other one", async () => {
  const keys = Array.from({ length: 300 }, (_, n) => `t${n}`);
  const { clock, store, deaths, next } = heirs(keys, (key) => key === "t200");
  const fired = new Set<string>();
  let last = next();
  for (let looks = 0; looks < 20; looks++) {
    const deathsBefore = deaths.length;
    await clock.advance(2_000);
    for (const one of last.fired) fired.add(one);
    if (deaths.length > deathsBefore) last = next();
  }
  expect(deaths).toEqual(Array.from({ length: 5 }, () => "t200"));
  expect(fired).toEqual(new Set(keys.map((key) => `${key} of 0`)));
  expect(last.events).toEqual([
    "buried t200: its owner was gone before the end of it 5 times in a row",
  ]);
  expect(keysOf(store)).toEqual(["t200"]); // for a person to look at
});

test("DT8 — three that end their owners are found one after the other, and no other one is buried", async () => {
  const keys = Array.from({ length: 60 }, (_, n) => `t${n}`);
  const guilty = ["t3", "t4", "t40"];
  const { clock, store, deaths, next } = heirs(keys, (key) => guilty.includes(key));
  next();
  for (let looks = 0; looks < 40; looks++) {
    const deathsBefore = deaths.length;
    await clock.advance(3_000);
    if (deaths.length > deathsBefore) next();
  }
  expect(keysOf(store)).toEqual(guilty);
  for (const row of store.memory.rows.values()) expect(row.buriedReason).toContain("gone");
});

test("DT8 — of doubtful ones few are fired at a time; a new one does not wait for them", async () => {
  const clock = new FakeClock();
  const store = new FakeTimerStore(clock, new Map([[0, 1]]));
  const keys = Array.from({ length: 40 }, (_, n) => `old${n}`);
  store.memory.write(
    keys.map((key) => ({ ...HELD, change: "set", ...setting(key, { inMs: 0 }) }) as const),
  );
  const claim = { kinds: ["k"], exceptIds: [], limitCount: 256, mayBeDoubtful: true };
  store.memory.claim({ ...claim, held: [HELD] }); // its owner is gone
  store.epochs.set(0, 2);
  const endings: (() => void)[] = [];
  const fire = ({ key }: ClaimedTimer) =>
    key === "new" ? undefined : new Promise<void>((resolve) => void endings.push(resolve));
  const it = owner({ clock, store, fire });
  const held = { partition: 0, epoch: 2 };
  it.own(held);
  await clock.advance(1_000);
  expect(it.timers.firingCount).toBe(16);
  void it.timers.set(held, setting("new", { inMs: 0 }));
  await clock.advance(600);
  expect(it.fired).toEqual([...keys.slice(0, 16), "new"].map((key) => `${key} of 0`));
  for (const end of endings.splice(0)) end();
  await clock.advance(100);
  expect(it.timers.firingCount).toBe(16);
});

test("DT8 — what its owner told, or lived to tell, is not doubtful: failures, lost answers, releases", async () => {
  const clock = new FakeClock();
  const store = new FakeTimerStore(clock, new Map([[0, 1]]));
  store.memory.write([{ ...HELD, change: "set", ...setting("a", { inMs: 0 }) }]);
  const told: string[] = [];
  const tell = ({ failureCount, lostCount, attemptCount }: ClaimedTimer): void =>
    void told.push(`claim ${attemptCount}, failed ${failureCount}, lost ${lostCount}`);
  for (let epoch = 1; epoch <= 8; epoch++) {
    store.epochs.set(0, epoch);
    const it = owner({
      clock,
      store,
      fire(timer) {
        tell(timer);
        return new Promise<void>(() => undefined); // it does not end before the release
      },
    });
    store.lostAnswersLeft = 1;
    it.own({ partition: 0, epoch });
    await clock.advance(1_000);
    void it.timers.drain([0], 1_500);
    await clock.advance(1_500);
    it.lose(0);
  }
  expect(told).toEqual(Array.from({ length: 8 }, (_, n) => `claim ${2 * n + 2}, failed 0, lost 0`));
});
