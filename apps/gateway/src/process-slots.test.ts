// Goal: GW29, GW30, GW33: what a slot's occupant is told of its end, and when its slot is used again.
// Method: a real runtime on a clock that only the test moves.
import { createRuntime, type CrashReport, type ProcessRuntime } from "@carillon/process";
import { FakeClock } from "@carillon/testkit";
import { beforeEach, expect, test } from "vitest";
import { NO_SLOT, type Occupant, ProcessSlots } from "./process-slots.ts";

class Person implements Occupant {
  slot = NO_SLOT;
  readonly processKey: string;
  constructor(name: string) {
    this.processKey = name;
  }
}
interface Word {
  readonly kind: "word" | "throw";
  readonly bytes: number;
}
const WORD: Word = { kind: "word", bytes: 1 };
const THROW: Word = { kind: "throw", bytes: 1 };
const BUG = new Error("a bug");

let clock: FakeClock;
let runtime: ProcessRuntime;
let slots: ProcessSlots<Person, Word>;
let told: string[];
let crashes: CrashReport[];

beforeEach(() => {
  clock = new FakeClock();
  [told, crashes] = [[], []];
  const random = { next: () => 0.5, bytes: (count: number) => new Uint8Array(count) };
  runtime = createRuntime({
    clock,
    scheduler: clock,
    random,
    limits: { mailboxMax: 4, mailboxMaxBytes: 100 },
    onCrash: (report) => slots.onCrash(report),
  });
  slots = new ProcessSlots<Person, Word>(runtime, "people", {
    onCast(person, { kind }) {
      if (kind === "throw") throw BUG;
      told.push(`${person.processKey}: word`);
    },
    onDrop: () => void told.push("dropped"),
    onStop: ({ processKey }) => void told.push(`${processKey}: stop`),
    onCrash({ processKey }, report) {
      told.push(`${processKey}: crash`);
      crashes.push(report);
    },
  });
});

function spawned(name: string): Person {
  const person = new Person(name);
  expect(slots.spawn(person)).toBe(true);
  return person;
}

test("GW29 — a throw in a turn is told once, what waited is dropped, the others go on", async () => {
  const [anna, ben] = [spawned("anna"), spawned("ben")];
  for (const word of [THROW, WORD]) slots.cast(anna, word);
  slots.cast(ben, WORD);
  await clock.settle();
  expect(told).toEqual(["dropped", "anna: crash", "ben: word"]);
  expect([anna.slot, ben.slot, slots.cast(anna, WORD)]).toEqual([NO_SLOT, 1, "noproc"]);
  expect(crashes[0]).toMatchObject({ key: "anna", messageKind: "throw", cause: BUG });
});

test("GW29 — thrown outside of its turns: it crashes before what waits, also when it is to exit", async () => {
  const anna = spawned("anna");
  slots.cast(anna, WORD);
  slots.fail(anna, "delivery", BUG);
  slots.fail(anna, "delivery", new Error("another"));
  slots.exit(anna);
  await clock.settle();
  expect(told).toEqual(["dropped", "anna: crash"]);
  expect(crashes[0]).toMatchObject({ key: "anna", messageKind: "delivery", cause: BUG });
  slots.fail(anna, "delivery", BUG); // it has no process any more
  await clock.settle();
  expect(runtime.stats().crashesTotal).toBe(1);
});

test("GW29 — a quiet end is told once: by exit, and by the end of the runtime", async () => {
  const [anna, ben] = [spawned("anna"), spawned("ben")];
  slots.cast(anna, WORD);
  slots.exit(anna);
  slots.exit(anna);
  await clock.settle();
  runtime.stop();
  expect(told).toEqual(["anna: stop", "dropped", "ben: stop"]);
  expect([slots.spawn(anna), slots.cast(ben, WORD)]).toEqual([false, "noproc"]);
});

test("GW29 — a mailbox takes so many messages and bytes, no more", async () => {
  const [anna, ben] = [spawned("anna"), spawned("ben")];
  const outcomes = [1, 2, 3, 4, 5].map(() => slots.cast(anna, WORD));
  expect(outcomes).toEqual(["accepted", "accepted", "accepted", "accepted", "overloaded"]);
  const big: Word = { kind: "word", bytes: 60 };
  expect([slots.cast(ben, big), slots.cast(ben, big)]).toEqual(["accepted", "overloaded"]);
  await clock.settle();
  expect(told.length).toBe(5);
});

test("GW30 — a slot is used again, never by two, and nothing of its last process reaches the next", async () => {
  const anna = spawned("anna");
  slots.cast(anna, WORD);
  slots.exit(anna); // its process is in the ready queue yet
  const [ben, cid] = [spawned("ben"), spawned("cid")];
  expect(ben.slot === cid.slot).toBe(false);
  await clock.settle();
  expect(told).toEqual(["anna: stop", "dropped"]);
  const most = Math.max(spawned("dan").slot, spawned("eva").slot);
  for (let round = 0; round < 1_000; round++) {
    slots.cast(spawned("fay"), THROW);
    await clock.settle();
  }
  expect(spawned("gus").slot <= most + 1).toBe(true);
});

test("GW30 — a quarantined slot is used again after its release; its key stays readable", async () => {
  const anna = spawned("anna");
  const [table] = runtime.tables();
  table!.quarantine(anna.slot, BUG);
  expect([told, anna.slot]).toEqual([["anna: crash"], NO_SLOT]);
  expect(table!.quarantined(9).map(({ key }) => key)).toEqual(["anna"]);
  for (let round = 0; round < 10; round++) {
    const person = spawned("ben");
    expect(person.slot).toBe(1);
    slots.exit(person);
    await clock.settle();
  }
  table!.reset(0);
  expect([spawned("cid").slot, spawned("dan").slot]).toEqual([0, 1]);
});

test("GW33 — a process is found by its key, idle or in quarantine, until it has ended", async () => {
  const [anna, ben] = [spawned("demo/anna#1"), spawned("demo/ben#2")];
  const [table] = runtime.tables();
  const found = (key: string) => table!.find(key);
  expect([found("demo/anna#1"), found("demo/ben#2"), found("demo/ben")]).toEqual([0, 1, undefined]);
  expect(found("#1")).toBe(1);
  table!.quarantine(anna.slot, BUG);
  slots.exit(ben);
  await clock.settle();
  expect([found("demo/anna#1"), found("demo/ben#2")]).toEqual([0, undefined]);
  const dan = spawned("demo/dan#3");
  expect([dan.slot, found("demo/dan#3"), found("demo/ben#2")]).toEqual([1, 1, undefined]);
});
