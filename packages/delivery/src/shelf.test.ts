// packages/delivery/src/shelf.test.ts
// Goal: SH1–SH4, SD8, LP5: whoever is posted more than memory may hold of him waits by himself. Method: a
// whole node with little room, on a fake clock; Ada is flooded, Bob is her neighbour.
import { expect, test } from "vitest";
import { FakeLedgerStore, notificationOf, planted } from "./fake-ledger-store.ts";
import { GATEWAY, start } from "./test-delivery.ts";

const LIMITS = { openMax: 90, ownRowsMax: 8 };
const [ADA, BOB] = [0, 1];
const FLOOD = 100;

function newStore(): FakeLedgerStore {
  const store = new FakeLedgerStore();
  for (const name of ["ada", "bob"]) store.addRecipient(0, name);
  return store;
}

let lastId = 0;
const planOne = (
  store: FakeLedgerStore,
  audience: { kind: "broadcast" } | { members: number[] },
  more: Partial<Parameters<typeof notificationOf>[0]> = {},
) => {
  const id = `00000000-0000-7000-8000-${String(++lastId).padStart(12, "0")}`;
  return store.plan(0, notificationOf({ id, ...more }), audience);
};
const planFlood = (store: FakeLedgerStore, count = FLOOD, more = {}) =>
  Array.from({ length: count }, () => planOne(store, { members: [ADA] }, more));

const unclosed = (store: FakeLedgerStore): number[] =>
  [...store.rows.values()].filter(({ state }) => state !== "closed").map(({ offset }) => offset);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n + 1);
const offsetsOf = (lines: readonly string[], sid: number): number[] =>
  lines.filter((line) => line.split("→")[1] === String(sid)).map((line) => parseInt(line));

/** So many milliseconds one by one: what is read in one is handed in the next. */
async function pass(clock: { advance(ms: number): Promise<unknown> }, ms: number): Promise<void> {
  for (let left = ms; left > 0; left--) await clock.advance(1);
}

/** A node whose partition had another owner: who has no session may still come back for 5 s. */
function begin(options: Parameters<typeof start>[0] = {}) {
  const store = options.store ?? newStore();
  const limits = { ...LIMITS, ...options.limits };
  return start({ epoch: 2, isFirst: false, ...options, store, limits });
}

test("SH1, D7, IN4 — a hundred rows of one who is away: eight are in memory, and her neighbour is served", async () => {
  const { clock, node, store, taken, poke, open } = begin();
  await clock.advance(0);
  await open({ recipientId: "bob", sid: 7 });
  poke(...planFlood(store));
  await clock.advance(10);
  expect(node.stats()).toMatchObject({ openEntryCount: 8, incomingCount: 0 });
  expect(node.stats().shelvedRecipientCount).toBe(1);
  poke(planOne(store, { members: [BOB] }));
  await clock.advance(10);
  expect(taken()).toEqual(["101→7"]);
});

test("SH3, RD3 — nobody comes: all have an outcome when the grace is over, in reads of a page", async () => {
  const { clock, events, node, store, poke } = begin();
  await clock.advance(0);
  poke(...planFlood(store));
  await clock.advance(4_900);
  expect(events).toEqual(["serves 0"]);
  await pass(clock, 300);
  expect(events.slice(1)).toEqual(upTo(FLOOD).map((offset) => `noDevice ${offset}`));
  expect(unclosed(store)).toEqual([]);
  expect(Math.max(...store.readCounts)).toBe(4);
  expect(store.readCounts.length).toBeLessThan(30);
  expect(node.stats()).toMatchObject({ openEntryCount: 0, shelvedRecipientCount: 0 });
});

test("SH2, SH3, D3 — a device that acks has all in order, what others got between included", async () => {
  const { clock, store, taken, poke, open, ack } = begin();
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  await open({ recipientId: "bob", sid: 9 });
  poke(...planFlood(store, 40), planOne(store, { kind: "broadcast" }), ...planFlood(store, 40));
  await clock.advance(50);
  const [first] = [taken()];
  expect([offsetsOf(first, 7), offsetsOf(first, 9)]).toEqual([upTo(8), [41]]);
  const shown = offsetsOf(first, 7);
  for (let acked = 0; acked < shown.length;) {
    acked = shown.length;
    await ack(7, ADA, shown[acked - 1]!);
    await pass(clock, 5);
    shown.push(...offsetsOf(taken(), 7));
  }
  expect(shown).toEqual(upTo(81));
  await ack(9, BOB, 41);
  await clock.advance(300);
  expect(unclosed(store)).toEqual([]);
});

test("SH3 — rows that are posted while a page is read are not forgotten, nor is one read twice", async () => {
  const store = newStore();
  const { clock, taken, poke, open, ack } = begin({ store });
  const read = store.readOwnRows.bind(store);
  let postsLeft = 60;
  store.readOwnRows = async (...asked) => {
    const rows = await read(...asked);
    if (postsLeft > 0) poke(...planFlood(store, 3)); // committed after the read, here before its answer
    postsLeft -= 3;
    return rows;
  };
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  poke(...planFlood(store, 20));
  const shown: number[] = [];
  for (let round = 0; round < 200; round++) {
    await pass(clock, 5);
    shown.push(...offsetsOf(taken(), 7));
    await ack(7, ADA, shown.at(-1) ?? 0);
  }
  expect(postsLeft).toBeLessThanOrEqual(0);
  expect(shown).toEqual(upTo(80));
  await clock.advance(300);
  expect(unclosed(store)).toEqual([]);
});

test("SH3, D1 — the store fails while they are read: tried again, and nothing is left behind", async () => {
  const store = newStore();
  const { clock, events, poke } = begin({ store });
  const read = store.readOwnRows.bind(store);
  let readsCount = 0;
  store.readOwnRows = (...asked) => {
    if (++readsCount % 3 === 0) throw planted();
    return read(...asked);
  };
  await clock.advance(0);
  poke(...planFlood(store));
  await clock.advance(4_900);
  await pass(clock, 5_000);
  expect(events.filter((event) => event.startsWith("noDevice"))).toEqual(
    upTo(FLOOD).map((offset) => `noDevice ${offset}`),
  );
  expect(events.filter((event) => event.startsWith("fault")).length).toBeGreaterThan(5);
  expect(unclosed(store)).toEqual([]);
});

test("SH4, RD3 — what expires on the shelf, or withheld because of it, ends then, whoever does not ack", async () => {
  const { clock, events, store, poke, open } = begin({ limits: { lapseLookEveryMs: 3_000 } });
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  await open({ recipientId: "bob", sid: 9 });
  const soon = { expiresAtMs: clock.wallClockMs() + 10_000 };
  poke(...planFlood(store, 20), ...planFlood(store, 40, soon));
  poke(planOne(store, { kind: "broadcast" }, soon), ...planFlood(store, 20));
  await clock.advance(9_900);
  expect(events.filter((event) => event.startsWith("expired"))).toEqual([]);
  await pass(clock, 5_200);
  const expired = events.filter((event) => event.startsWith("expired"));
  const late = upTo(61).slice(20);
  expect(new Set(expired)).toEqual(new Set(late.map((offset) => `expired ${offset}`)));
  expect(late.slice(0, 40).map((offset) => store.setOf(0, offset, "expired"))).toEqual(
    late.slice(0, 40).map(() => [0]), // the only member
  );
  expect(store.setOf(0, 61, "expired")).toEqual([ADA, BOB]);
});

test("SH3 — a crash of her process: what is in memory goes on, and the shelf after it", async () => {
  const { clock, events, store, node, poke, taken, open, ack } = begin();
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  poke(...planFlood(store, 30));
  await clock.advance(10);
  const shown = offsetsOf(taken(), 7);
  node.processesOf(0)!.table.quarantine(ADA, new Error("by hand"), 1_000);
  await clock.advance(4_000);
  for (let round = 0; round < 20; round++) {
    await ack(7, ADA, shown.at(-1)!);
    await clock.advance(2_000);
    shown.push(...offsetsOf(taken(), 7));
  }
  expect(shown).toEqual(upTo(30));
  expect(unclosed(store)).toEqual([]);
  expect(events.filter((event) => event.startsWith("deliveredSocket"))).toHaveLength(30);
});

test("LP5, D7 — a new owner reads nine of a thousand open rows, serves her neighbour, and ends them all", async () => {
  const store = newStore();
  planFlood(store, 1_000);
  planOne(store, { kind: "broadcast" });
  const { clock, node, taken, open, ack } = begin({ store });
  await clock.advance(10);
  expect(store.readCounts).toEqual([10]);
  await open({ recipientId: "bob", sid: 9 });
  expect(taken()).toEqual(["1001→9"]);
  expect(node.stats()).toMatchObject({ openEntryCount: 9, shelvedRecipientCount: 1 });
  await ack(9, BOB, 1_001);
  await clock.advance(4_900);
  await pass(clock, 1_600);
  expect(unclosed(store)).toEqual([]);
  expect(store.setOf(0, 1_001, "noDevice")).toEqual([ADA]);
  expect(node.stats()).toMatchObject({ openEntryCount: 0, shelvedRecipientCount: 0 });
});

test("LP5, D3 — the shelf waits for rows that are expanded after it was found", async () => {
  const store = newStore();
  const gate = Promise.withResolvers<void>();
  planFlood(store, 4);
  planOne(store, { kind: "broadcast" });
  planFlood(store, 40);
  const write = store.writeRows.bind(store);
  let isGated = true;
  store.writeRows = async (...asked) => {
    if (isGated) await gate.promise; // the broadcast's commit is slow
    return write(...asked);
  };
  const { clock, taken, open, ack } = begin({ store });
  await clock.advance(10);
  isGated = false;
  gate.resolve();
  await clock.advance(10);
  await open({ recipientId: "ada", sid: 7 });
  const shown: number[] = [];
  for (let round = 0; round < 60; round++) {
    await pass(clock, 5);
    shown.push(...offsetsOf(taken(), 7));
    await ack(7, ADA, shown.at(-1) ?? 0);
  }
  expect(shown).toEqual(upTo(45));
});

test("SD8, SD1, SD5 — who goes on has what lies below the shelf at once, and then the rest, in order", async () => {
  const store = newStore();
  planFlood(store, 60);
  for (const position of [null, { epoch: "e1", offset: 3 }]) {
    const { clock, taken, open, ack, node } = begin({ store });
    await clock.advance(0);
    const opened = await open({ recipientId: "ada", sid: 7, position, ackedOffset: 0 });
    expect(opened).toMatchObject({
      ...(position === null
        ? { recovered: true, offset: 0, missed: 8 }
        : { recovered: true, offset: 3, missed: 5 }),
    });
    const from = position?.offset ?? 0;
    const shown = offsetsOf(taken(), 7);
    expect(shown).toEqual(upTo(8).slice(from));
    if (position === null) {
      node.stop();
      continue;
    }
    for (let round = 0; round < 30; round++) {
      await ack(7, ADA, shown.at(-1)!);
      await pass(clock, 5);
      shown.push(...offsetsOf(taken(), 7));
    }
    expect(shown).toEqual(upTo(60).slice(3));
    await clock.advance(300);
    expect(unclosed(store)).toEqual([]);
  }
});

test("SD8, SE2, D1 — a place above the shelf: nothing below it is sent again, all of it is delivered", async () => {
  const store = newStore();
  planFlood(store, 60);
  const { clock, taken, open } = begin({ store });
  await clock.advance(0);
  const place = { epoch: "e1", offset: 50 };
  const opened = await open({ recipientId: "ada", sid: 7, position: place, ackedOffset: 50 });
  expect(opened).toMatchObject({ recovered: true, offset: 50, missed: 0 });
  await pass(clock, 500);
  expect(offsetsOf(taken(), 7)).toEqual(upTo(56).slice(50)); // six are open: no room for four more
  expect(upTo(50).map((offset) => store.setOf(0, offset, "deliveredSocket"))).toEqual(
    upTo(50).map(() => [0]),
  );
});

test("SD6, SH1, D2 — a receipt of a shelved row is kept, and its outcome follows", async () => {
  const { clock, node, store, poke } = begin();
  await clock.advance(0);
  poke(...planFlood(store, 30));
  await clock.advance(10);
  const kept: string[] = [];
  const reads: [number, number, number][] = upTo(30).map((offset) => [7, ADA, offset]);
  const report = { kind: "report" as const, gatewayId: GATEWAY, acks: [], closed: [] };
  node.report(0, { ...report, acknowledges: [], reads }, () => void kept.push("kept"));
  await clock.advance(300);
  expect(kept).toEqual(["kept"]);
  await clock.advance(6_000);
  expect(unclosed(store)).toEqual([]);
  for (const offset of upTo(30))
    expect([store.setOf(0, offset, "read"), store.setOf(0, offset, "noDevice")]).toEqual([
      [0],
      [0],
    ]);
});
