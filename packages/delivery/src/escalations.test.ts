// Goal: FL1–FL7: what follows when something is not acknowledged, and that owners who die between any two calls
// neither lose a step nor take one twice. Method: a world in memory (test-chains.ts), a fake clock.
import type { ControlState } from "@carillon/contracts";
import { createSeededRandom } from "@carillon/kernel";
import { expect, test } from "vitest";
import { stepIdOf } from "./escalation-step.ts";
import { AWAY, ChainWorld, type ChainWorldOptions, HOME, WAIT_MS } from "./test-chains.ts";
import { DELIVERY_DEFAULTS } from "./delivery-limits.ts";
import { idOf } from "./test-delivery.ts";

const LIMITS = DELIVERY_DEFAULTS.flows;

const URL = "https://hooks.example/carillon";
const TO_MANAGER = { to: { attribute: "managerId" } };
const TO_WEBHOOK = { to: { webhook: URL } };
const TO_HIMSELF = { to: "recipient" };

/** Four steps; people for whom each way of a chain is another one. */
const FOUR: ChainWorldOptions = {
  people: [
    { id: "ada", managerId: "boss" },
    { id: "bob", managerId: "chef" },
    { id: "cyd" },
    { id: "dan", managerId: "boss" },
    { id: "eve", managerId: "nobody" },
    { id: "fay", managerId: "boss" },
  ],
  others: { [HOME]: ["boss"], [AWAY]: ["chef"] },
  steps: [TO_HIMSELF, TO_MANAGER, TO_WEBHOOK, TO_HIMSELF],
  acknowledged: ["dan"],
  acknowledging: ["chef", "fay"],
};
const FOUR_TAKEN = [
  ...["ada 1 → ada", "ada 2 → boss", "ada 3 → webhook", "ada 4 → ada"],
  ...["bob 1 → bob", "bob 2 → chef in lon"], // chef has acknowledged
  ...["cyd 1 → cyd", "cyd 3 → webhook", "cyd 4 → cyd"], // no manager
  ...["eve 1 → eve", "eve 3 → webhook", "eve 4 → eve"], // one that nobody knows
  "fay 1 → fay", // and has acknowledged it
];

test("FL3, FL4, FL5 — a chain of four steps: each goes to whom it is for, when its time has come", async () => {
  const world = new ChainWorld(FOUR);
  const { clock, journalNotes, crashes } = world.startNode();
  const counts: number[] = [];
  for (let step = 1; step <= 5; step++) {
    await clock.advance(WAIT_MS);
    counts.push(world.taken.length);
    await clock.advance(600); // it is looked for at the latest
    counts.push(world.taken.length);
  }
  await clock.advance(60_000);
  expect(counts).toEqual([5, 5, 9, 9, 10, 10, 13, 13, 13, 13]);
  expect(world.taken).toEqual(FOUR_TAKEN);
  expect(world.timers.memory.rows.size).toBe(0);
  expect(world.acceptsRepeatedCount).toBe(0);
  expect(world.calls.length).toBe(3);
  expect(crashes).toEqual([]);
  const notes = journalNotes().filter((note) => /escal|Escal/.test(note));
  expect(notes.filter((note) => note.startsWith("cyd"))).toEqual([
    "cyd escalated recipient",
    "cyd notEscalated no_attribute",
    "cyd escalated webhook",
    "cyd escalated recipient",
  ]);
  expect(notes.filter((note) => /^(bob|dan|eve|fay)/.test(note)).toSorted()).toEqual([
    "bob escalated attribute",
    "bob escalated recipient",
    "bob escalationEnded acknowledged",
    "eve escalated recipient",
    "eve escalated recipient",
    "eve escalated webhook",
    "eve notEscalated unknown_recipient",
    "fay escalated recipient",
    "fay escalationEnded acknowledged",
  ]);
});

test("FL1 — a step is a notification of its own: whose it is, what it says, how long it lives", async () => {
  const content = { de: { title: "Ada hat nicht bestätigt" } };
  const world = new ChainWorld({
    ...FOUR,
    steps: [TO_HIMSELF, { ...TO_MANAGER, content, waitSeconds: 60 }],
  });
  await world.run([]);
  const idFor = (index: number, step: number) =>
    stepIdOf({ notificationId: idOf(1), home: HOME, partition: 0, index, step });
  expect(idFor(0, 1)).toMatch(/^00000000-0000-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(world.steps.get(idFor(0, 1))?.notification).toMatchObject({
    content: world.notification.content,
    priority: "high",
    requireAck: { deadlineSeconds: 10 },
    escalation: { of: idOf(1), recipientId: "ada", step: 1 },
    expiresAtMs: 3_600_000 + (world.steps.get(idFor(0, 1))?.notification.acceptedAtMs ?? 0),
  });
  expect(world.steps.get(idFor(0, 2))?.notification).toMatchObject({
    content,
    requireAck: { deadlineSeconds: 60 },
  });
});

test("FL1 — the id of a step depends on all that it is a step of", () => {
  const place = { notificationId: idOf(1), home: HOME, partition: 0, index: 0, step: 1 };
  const others = [
    { notificationId: idOf(2) },
    { home: AWAY },
    { partition: 1 },
    { index: 1 },
    { step: 2 },
  ];
  const ids = [place, ...others.map((other) => ({ ...place, ...other }))].map(stepIdOf);
  expect(new Set(ids).size).toBe(6);
  expect(stepIdOf({ ...place })).toBe(ids[0]);
});

test("FL3, D1 — killed before or after any call of any firing: every step is taken, none twice", async () => {
  const undisturbed = new ChainWorld(FOUR);
  await undisturbed.run([]);
  const { callsCount, events } = undisturbed;
  expect(callsCount).toBeGreaterThan(30);
  for (let atCall = 1; atCall <= callsCount; atCall++)
    for (const isAfter of [false, true]) {
      const world = new ChainWorld(FOUR);
      const { crashes } = await world.run([{ atCall, isAfter }]);
      const where = `${isAfter ? "after" : "before"} call ${atCall}`;
      expect([where, world.taken]).toEqual([where, FOUR_TAKEN]);
      expect([where, world.timers.memory.rows.size, crashes]).toEqual([where, 0, []]);
      // The receiver knows a repeat by its id; and once the next step is set, none is taken again.
      const isOver = isAfter && events.includes(`${atCall} write`);
      const repeatsCount = world.acceptsRepeatedCount + world.received.length - 3;
      expect(repeatsCount).toBeLessThanOrEqual(isOver ? 0 : 5); // who was in the firing
    }
});

test("FL3 — any call to the store fails, or its answer is lost: the step is taken all the same, and none twice", async () => {
  const undisturbed = new ChainWorld(FOUR);
  await undisturbed.run([]);
  for (let atCall = 1; atCall <= undisturbed.callsCount; atCall++)
    for (const isAfter of [false, true]) {
      const world = new ChainWorld(FOUR);
      const { crashes } = await world.run([{ atCall, isAfter, isFault: true }]);
      const where = `${isAfter ? "after" : "before"} call ${atCall}`;
      expect([where, world.taken, crashes]).toEqual([where, FOUR_TAKEN, []]);
      expect([where, world.timers.memory.rows.size]).toEqual([where, 0]);
    }
});

test("FL3, D1 — killed three times, anywhere: every step is taken, none twice", async () => {
  for (let seed = 1; seed <= 150; seed++) {
    const random = createSeededRandom(seed);
    const deaths = Array.from({ length: 3 }, () => ({
      atCall: 1 + Math.floor(random.next() * 40),
      isAfter: random.next() < 0.5,
    }));
    const world = new ChainWorld(FOUR);
    await world.run(deaths, 600_000);
    expect([seed, world.taken]).toEqual([seed, FOUR_TAKEN]);
    expect([seed, world.timers.memory.rows.size]).toEqual([seed, 0]);
  }
});

const PLACE = { notificationId: idOf(1), home: HOME, partition: 0, step: 1 };
const MANY = Array.from({ length: 23 }, (_, n) => ({ id: `p${n}` }));
const paged = (more: Partial<ChainWorldOptions> = {}) =>
  new ChainWorld({
    people: MANY,
    others: {},
    steps: [TO_WEBHOOK, TO_HIMSELF],
    limits: { flows: { ...LIMITS, webhookPeopleMax: 5, peopleMax: 8, webhooksAtOnceMax: 2 } },
    ...more,
  });
const allOf = (step: number, to: (id: string) => string) =>
  MANY.map(({ id }) => `${id} ${step} → ${to(id)}`);
const PAGED_TAKEN = [...allOf(1, () => "webhook"), ...allOf(2, (id) => id)].toSorted();

test("FL3, D6 — many people of a row are taken page by page, and an owner that dies goes on with its page", async () => {
  const undisturbed = paged();
  await undisturbed.run([]);
  expect(undisturbed.taken).toEqual(PAGED_TAKEN);
  expect(undisturbed.calls.length).toBe(MANY.length);
  for (let atCall = 1; atCall <= undisturbed.callsCount; atCall += 3) {
    const world = paged();
    await world.run([{ atCall, isAfter: true }]);
    expect([atCall, world.taken]).toEqual([atCall, PAGED_TAKEN]);
    expect(world.calls.length).toBeLessThanOrEqual(MANY.length + 5);
  }
});

test("FL6 — a webhook that fails is called again, and nobody of its page who has been told", async () => {
  const failing = new Set<string>();
  const world = paged({
    webhook: (id, call) => {
      if (call === 0 && failing.size < 2) failing.add(id);
      return failing.has(id) && call < 3
        ? { kind: "failed", code: "http_503" }
        : { kind: "accepted" };
    },
  });
  await world.run([]);
  expect(world.taken).toEqual(PAGED_TAKEN);
  expect(world.received.length).toBe(MANY.length);
  expect(world.calls.length).toBe(MANY.length + 2 * 3);
});

test("FL6 — a webhook that has been given up for some is tried as often for others, if it took anything", async () => {
  const first = new Map<string, number>();
  const bad = new Set(["p0", "p7"]); // of two pages
  const world = paged({
    steps: [TO_WEBHOOK],
    webhook: (id) => {
      first.set(id, (first.get(id) ?? 0) + 1);
      const index = MANY.findIndex((_, at) => id === stepIdOf({ ...PLACE, index: at }));
      return bad.has(`p${index}`) ? { kind: "failed", code: "http_500" } : { kind: "accepted" };
    },
  });
  await world.run([], 900_000);
  expect(world.taken.length).toBe(MANY.length - 2);
  for (const index of [0, 7]) expect(first.get(stepIdOf({ ...PLACE, index }))).toBe(6);
  expect(world.timers.memory.rows.size).toBe(0);
});

test("FL6 — one that is down is waited for once, and gets one call for each of the others", async () => {
  const world = paged({
    steps: [TO_WEBHOOK],
    webhook: () => ({ kind: "failed", code: "http_503" }),
  });
  await world.run([], 900_000);
  expect(world.taken).toEqual([]);
  expect(world.calls.length).toBe(5 * 6 + (MANY.length - 5));
  expect(world.timers.memory.rows.size).toBe(0);
});

test("FL6, FL5 — a webhook that refuses, or never answers: it is told, and the next step comes at once", async () => {
  const world = new ChainWorld({
    ...FOUR,
    people: [{ id: "ada" }, { id: "cyd" }],
    steps: [TO_WEBHOOK, TO_HIMSELF],
    webhook: (id) =>
      id === stepIdOf({ notificationId: idOf(1), home: HOME, partition: 0, index: 0, step: 1 })
        ? { kind: "refused", code: "http_410" }
        : { kind: "failed", code: "timeout", retryAfterMs: 1_000 },
  });
  const { journalNotes } = await world.run([], 900_000);
  expect(world.taken).toEqual(["ada 2 → ada", "cyd 2 → cyd"]);
  expect(journalNotes().filter((note) => note.includes("Escal"))).toEqual([
    "ada notEscalated http_410",
    "cyd notEscalated timeout",
  ]);
  expect(world.calls.length).toBe(1 + 6);
  expect(world.timers.memory.rows.size).toBe(0);
});

test("FL6 — a receiver that hangs holds up nobody for long: its call fails in time", async () => {
  const hanging = new Promise<never>(() => undefined);
  const world = paged({ steps: [TO_WEBHOOK], webhook: () => hanging as never });
  await world.run([], 900_000);
  expect(world.timers.memory.rows.size).toBe(0);
  expect(world.events.filter((event) => event.endsWith(" post")).length).toBeGreaterThan(6);
});

test("FL4 — a region that is silent is asked again, and in the end the chain goes on without it", async () => {
  const world = new ChainWorld({ ...FOUR, people: [{ id: "bob", managerId: "chef" }] });
  world.silent.add(AWAY);
  const { journalNotes } = await world.run([], 900_000);
  expect(world.taken).toEqual([
    ...["bob 1 → bob", "bob 2 → chef in lon", "bob 3 → webhook", "bob 4 → bob"],
  ]);
  expect(journalNotes().filter((note) => note.includes("unheard"))).toEqual([
    "bob unheard lon",
    "bob unheard lon",
  ]);
  expect(world.timers.memory.rows.size).toBe(0);
});

test("FL4 — and when it answers in time, who has acknowledged there is heard", async () => {
  const world = new ChainWorld({ ...FOUR, people: [{ id: "bob", managerId: "chef" }] });
  world.silent.add(AWAY);
  const { clock } = world.startNode();
  await clock.advance(35_000);
  world.silent.delete(AWAY);
  await clock.advance(120_000);
  expect(world.taken).toEqual(["bob 1 → bob", "bob 2 → chef in lon"]);
});

test("FL4 — a new owner waits for what was told to the one before: who acknowledged meanwhile is left alone", async () => {
  const world = new ChainWorld({ ...FOUR, people: [{ id: "ada" }, { id: "cyd" }] });
  const first = world.startNode({ atCall: 1, isAfter: true });
  await world.clock.advance(WAIT_MS + 500); // it has claimed the timer
  first.node.stop();
  const { clock, open, node } = world.startNode();
  await clock.advance(2_000);
  await open({ recipientId: "ada", sid: 1 });
  const report = { gatewayId: "gw-1", acks: [], reads: [], closed: [] };
  node.report(0, { ...report, kind: "report", acknowledges: [[1, 0, 1]] });
  await clock.advance(2_900);
  expect(world.taken).toEqual([]);
  await clock.advance(1_000);
  expect(world.taken).toEqual(["cyd 1 → cyd"]);
});

test("FL7 — cancelled: the chain ends; paused: it waits until it goes on", async () => {
  const controls = new Map<string, ControlState>([[idOf(1), "paused"]]);
  const world = new ChainWorld({ ...FOUR, controls });
  const { clock } = world.startNode();
  await clock.advance(60_000);
  expect(world.taken).toEqual([]);
  controls.set(idOf(1), "running");
  await clock.advance(8_000);
  expect(world.taken.length).toBe(5);
  controls.set(idOf(1), "cancelled");
  await clock.advance(60_000);
  expect(world.taken.length).toBe(5);
  expect(world.timers.memory.rows.size).toBe(0);
});

test("FL5 — all have had a step before its time: the one after it comes all the same", async () => {
  const world = new ChainWorld({
    people: [{ id: "cyd" }],
    others: {},
    steps: [TO_MANAGER, TO_HIMSELF, TO_WEBHOOK],
  });
  const { clock } = world.startNode();
  const counts: number[] = [];
  for (let step = 1; step <= 3; step++) {
    await clock.advance(WAIT_MS + 600);
    counts.push(world.taken.length);
  }
  expect(counts).toEqual([1, 1, 2]);
  expect(world.taken).toEqual(["cyd 2 → cyd", "cyd 3 → webhook"]);
});

test("FL5 — a step of a build to come is passed over, and told", async () => {
  const world = new ChainWorld({
    ...FOUR,
    people: [{ id: "ada" }],
    steps: [{ to: { carrierPigeon: "x" } }, TO_HIMSELF],
  });
  const { journalNotes } = await world.run([]);
  expect(world.taken).toEqual(["ada 2 → ada"]);
  expect(journalNotes()).toContain("ada notEscalated unknown_step");
});

test("FL2 — who is not to have it, or has left the row, is not escalated; who had no device is", async () => {
  const world = new ChainWorld({ ...FOUR, steps: [TO_HIMSELF] });
  const row = world.store.rows.get("0/1")!;
  const bit = (index: number) => Uint8Array.of(1 << index);
  const sets = { optedOut: bit(0), capped: bit(1), moved: bit(2), cancelled: bit(3) };
  world.store.rows.set("0/1", { ...row, sets: { ...row.sets, ...sets, collapsed: bit(4) } });
  await world.run([]);
  expect(world.taken).toEqual(["fay 1 → fay"]);
});
