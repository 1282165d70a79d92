// packages/delivery/src/delivery-node.test.ts
// Goal: D1, D2, D3, D4 and IN, SD, LF, DN of one node. Method: the real runtime on a fake clock, a
// store and gateways in memory; the test moves time and reads what was sent and what was stored.
import { UNKNOWN_INDEX } from "@carillon/contracts";
import { expect, test } from "vitest";
import { FakeLedgerStore, notificationOf, planted } from "./fake-ledger-store.ts";
import { GATEWAY, idOf, start } from "./test-delivery.ts";

test("D1, LF1, RE2 — a broadcast: no device for those without a session, the session is sent it", async () => {
  const { clock, store, events, taken, poke, open, ack } = start();
  const [ada, bob] = ["ada", "bob"].map((name) => store.addRecipient(0, name));
  await clock.advance(0);
  expect(await open({ recipientId: "ada", sid: 7 })).toMatchObject({ kind: "opened", offset: 0 });
  poke(store.plan(0, notificationOf(), { kind: "broadcast" }));
  await clock.advance(10);
  expect(taken()).toEqual(["1→7"]);
  await ack(7, ada!, 1);
  await clock.advance(200);
  expect(store.setOf(0, 1, "targeted")).toEqual([ada, bob]);
  expect(store.setOf(0, 1, "deliveredSocket")).toEqual([ada]);
  expect(store.setOf(0, 1, "noDevice")).toEqual([bob]);
  expect(store.rows.get("0/1")?.state).toBe("closed");
  expect(events).toEqual(["serves 0", "noDevice 1", "deliveredSocket 1"]);
});

test("D3, IN2, PA1, PA2 — a small audience behind a broadcast waits until that is committed", async () => {
  const { clock, store, taken, poke, open } = start();
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  const first = store.plan(0, notificationOf({ id: idOf(1) }), { kind: "broadcast" });
  const second = store.plan(0, notificationOf({ id: idOf(2) }), { members: [ada] });
  poke(second, first); // the later one is heard first
  await clock.advance(100);
  expect(taken()).toEqual(["1→7", "2→7"]);
});

test("IN1 — a lost poke is found by the sweep, in order", async () => {
  const { clock, store, taken, open } = start();
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  for (const n of [1, 2, 3]) store.plan(0, notificationOf({ id: idOf(n) }), { members: [ada] });
  await clock.advance(2_100);
  expect(taken()).toEqual(["1→7", "2→7", "3→7"]);
});

test("IN3 — a recipient stored before the broadcast is in it, though no poke told of them", async () => {
  const { clock, store, poke } = start();
  store.addRecipient(0, "ada");
  await clock.advance(0);
  store.addRecipient(0, "late");
  poke(store.plan(0, notificationOf(), { kind: "broadcast" }));
  await clock.advance(300);
  expect(store.setOf(0, 1, "noDevice")).toEqual([0, 1]);
});

test("IN3, AU4 — who was put into a group before it was written to is in it, though no poke told", async () => {
  const { clock, store, poke } = start();
  store.addRecipient(0, "ada", { groups: ["board"] });
  const bob = store.addRecipient(0, "bob");
  await clock.advance(0);
  const [ada, before] = store.directory.get(0)!;
  store.directory.set(0, [ada!, { ...before!, groups: ["board", "wardens"], version: 3 }]);
  poke(store.plan(0, notificationOf(), { kind: "group", tag: "wardens" }));
  await clock.advance(300);
  expect(store.setOf(0, 1, "noDevice")).toEqual([bob]);
});

test("SD1, SD2, SD3, SE2 — a session resumes from its offset: all that it missed, in order, nothing twice", async () => {
  const { clock, store, taken, poke, open, ack } = start();
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  for (const n of [1, 2, 3])
    poke(store.plan(0, notificationOf({ id: idOf(n) }), { members: [ada] }));
  await clock.advance(100);
  expect(taken()).toEqual(["1→7", "2→7", "3→7"]);
  const again = await open({ recipientId: "ada", sid: 8, position: { offset: 1, epoch: "e1" } });
  expect(again).toMatchObject({ recovered: true, offset: 1, missed: 2 });
  expect(taken()).toEqual(["2→8", "3→8"]);
  await ack(8, ada, 3);
  await clock.advance(200);
  expect(store.setOf(0, 3, "deliveredSocket")).toEqual([0]);
});

test("SD1 — another epoch, or an offset from the future: nothing is recovered", async () => {
  const { clock, store, open } = start();
  store.addRecipient(0, "ada");
  await clock.advance(0);
  for (const position of [
    { offset: 0, epoch: "other" },
    { offset: 99, epoch: "e1" },
  ])
    expect(await open({ recipientId: "ada", sid: 7, position })).toMatchObject({
      recovered: false,
      epoch: "e1",
      offset: 0,
    });
});

test("D1, D4, LP2, DN1, DN2, LF2 — after a crash the next owner goes on with targeted AND NOT terminal", async () => {
  const before = start();
  const ada = before.store.addRecipient(0, "ada");
  const bob = before.store.addRecipient(0, "bob");
  await before.clock.advance(0);
  await before.open({ recipientId: "ada", sid: 7 });
  await before.open({ recipientId: "bob", sid: 8 });
  before.poke(before.store.plan(0, notificationOf(), { kind: "broadcast" }));
  await before.clock.advance(10);
  await before.ack(7, ada, 1);
  await before.clock.advance(200);
  expect(before.store.setOf(0, 1, "deliveredSocket")).toEqual([ada]);

  const after = start({ store: before.store, epoch: 2, isFirst: false });
  await after.clock.advance(10);
  expect(after.events).toEqual(["serves 0"]); // bob may still come back: grace
  expect(await after.open({ recipientId: "bob", sid: 3 })).toMatchObject({ missed: 1, offset: 0 });
  expect(after.taken()).toEqual(["1→3"]);
  await after.ack(3, bob, 1);
  await after.clock.advance(200);
  expect(after.store.setOf(0, 1, "deliveredSocket")).toEqual([ada, bob]);

  await before.ack(8, bob, 1); // D4: the old owner wakes up and writes
  await before.clock.advance(300);
  expect(before.events.at(-1)).toBe("fenced 0");
  expect(after.store.fencedCount).toBe(1);
});

test("SD3 — an ack that comes after another outcome is counted as received late", async () => {
  const { ack, clock, open, poke, store } = start();
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  const expiresAtMs = clock.wallClockMs() + 1_000;
  poke(store.plan(0, notificationOf({ expiresAtMs }), { members: [ada] }));
  await clock.advance(1_200); // sent, and expired before its ack
  expect(store.setOf(0, 1, "expired")).toEqual([0]);
  await ack(7, ada, 1);
  await clock.advance(200);
  expect(store.setOf(0, 1, "receivedLate")).toEqual([0]);
  expect(store.setOf(0, 1, "deliveredSocket")).toEqual([]);
});

test("DN4, D1 — a refusal that comes late ends no later ownership of the same partition", async () => {
  const { clock, events, node, poke, store } = start();
  store.addRecipient(0, "ada");
  await clock.advance(0);
  const slow = Promise.withResolvers<void>();
  const write = store.writeRows.bind(store);
  store.writeRows = async (home, updates) => {
    if (updates.some(({ epoch }) => epoch === 1)) await slow.promise;
    return await write(home, updates);
  };
  poke(store.plan(0, notificationOf(), { members: [0] }));
  await clock.advance(150); // the outcome is being written, slowly
  node.lose([0]); // the lease was not refreshed in time …
  store.epochs.set(0, 2);
  node.acquire([{ partition: 0, epoch: 2, isFirst: false }]); // … and is got again
  await clock.advance(10);
  expect(node.owned()).toEqual([[0, 2]]);
  slow.resolve();
  await clock.advance(10);
  expect(store.fencedCount).toBe(1);
  expect([node.owned(), events.filter((event) => event.startsWith("fenced"))]).toEqual([
    [[0, 2]],
    [],
  ]);
  await clock.advance(6_000); // the grace of the new owner
  expect(store.setOf(0, 1, "noDevice")).toEqual([0]);
});

test("RD3 — a session that closes and does not come back: unacked after the grace", async () => {
  const { clock, store, node, events, poke, open } = start();
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  poke(store.plan(0, notificationOf(), { members: [ada] }));
  await clock.advance(10);
  node.closeGateway(GATEWAY);
  await clock.advance(4_900);
  expect(events).toEqual(["serves 0"]);
  await clock.advance(300);
  expect(events).toEqual(["serves 0", "unacked 1"]);
});

test("W3 — no ack: three resends 30 s apart, then unacked; a late ack is a receipt", async () => {
  const { clock, store, events, taken, poke, open, ack } = start();
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  poke(store.plan(0, notificationOf(), { members: [ada] }));
  await clock.advance(120_200);
  expect(taken()).toEqual(["1→7", "1→7!", "1→7!", "1→7!"]);
  expect(events).toEqual(["serves 0", "unacked 1"]);
  expect(await open({ recipientId: "ada", sid: 9, position: { offset: 0, epoch: "e1" } })).toEqual(
    expect.objectContaining({ missed: 1 }),
  );
  await ack(9, ada, 1);
  await clock.advance(200);
  expect(store.setOf(0, 1, "receivedLate")).toEqual([ada]);
  expect(store.setOf(0, 1, "deliveredSocket")).toEqual([]);
});

test("LF3, IN2 — the store is down for a while: nothing is lost, nothing is sent before the commit", async () => {
  const { clock, store, taken, poke, open, events } = start();
  store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  store.failuresLeft = 3;
  poke(store.plan(0, notificationOf(), { kind: "broadcast" }));
  await clock.advance(50);
  expect(taken()).toEqual([]); // IN2
  await clock.advance(3_000);
  expect(taken()).toEqual(["1→7"]);
  expect(events.filter((event) => event.startsWith("fault"))).toHaveLength(3);
});

test("DN3 — release flushes what is dirty and stops serving", async () => {
  const { clock, store, node, events, poke } = start();
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  poke(store.plan(0, notificationOf(), { members: [ada] }));
  await clock.advance(1);
  const released = node.release([0]);
  await clock.advance(100);
  await released;
  expect(events).toEqual(["serves 0", "noDevice 1", "left 0"]);
  expect(store.setOf(0, 1, "noDevice")).toEqual([0]);
  expect(node.stats().partitionCount).toBe(0);
});

test("W8 — an eleventh session of one recipient is refused", async () => {
  const { clock, store, open } = start();
  store.addRecipient(0, "ada");
  await clock.advance(0);
  for (let sid = 1; sid <= 10; sid++)
    expect(await open({ recipientId: "ada", sid })).toMatchObject({ kind: "opened" });
  expect(await open({ recipientId: "ada", sid: 11 })).toEqual({
    kind: "refused",
    code: "too_many_sessions",
  });
  expect(await open({ recipientId: "nobody", sid: 12 })).toEqual({
    kind: "refused",
    code: "unknown_recipient",
  });
});

test("PA4 — a mailbox that is full: what is refused comes later, in order, nothing is lost", async () => {
  const { clock, store, taken, poke, open, ack } = start({ limits: { ownRowsMax: 1_000 } });
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  const rows = Array.from({ length: 600 }, (_, n) => {
    const notification = notificationOf({
      id: `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`,
    });
    return store.plan(0, notification, { members: [ada] });
  });
  poke(...rows); // 600 for one mailbox of 256
  await clock.advance(5_000);
  const offsets = taken().map((line) => Number(line.split("→")[0]));
  expect(offsets).toEqual(Array.from({ length: 600 }, (_, n) => n + 1));
  await ack(7, ada, 600);
  await clock.advance(300);
  expect([...store.rows.values()].filter(({ state }) => state !== "closed")).toEqual([]);
});

test("IN4 — more open entries than memory may hold: the rest waits in the ledger, then comes", async () => {
  const { clock, store, node, taken, open, ack } = start({
    limits: { openMax: 8, incomingMax: 8, ownRowsMax: 1_000 },
  });
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  for (let n = 1; n <= 200; n++) {
    const id = `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`;
    store.plan(0, notificationOf({ id }), { members: [ada] });
  }
  let shown = 0;
  let openMax = 0;
  for (let round = 0; shown < 200 && round < 500; round++) {
    await clock.advance(500);
    openMax = Math.max(openMax, node.stats().openEntryCount);
    shown += taken().length;
    if (shown > 0) await ack(7, ada, shown);
  }
  expect(shown).toBe(200);
  expect(openMax).toBeLessThanOrEqual(8 + 64); // one batch may be under way
  expect(node.stats().incomingCount).toBe(0);
});

test("LP1 — rows committed while a partition is loaded are not missed", async () => {
  const store = new FakeLedgerStore();
  const ada = store.addRecipient(0, "ada");
  store.plan(0, notificationOf({ id: idOf(1) }), { members: [ada] });
  const { clock, poke } = start({ store });
  poke(store.plan(0, notificationOf({ id: idOf(2) }), { members: [ada] })); // nobody hears it yet
  await clock.advance(2_500);
  expect([1, 2].map((offset) => store.setOf(0, offset, "noDevice"))).toEqual([[0], [0]]);
});

test("LP1 — a sweep and a poke while the directory is loaded: unfinished rows first, none lost", async () => {
  const store = new FakeLedgerStore();
  const ada = store.addRecipient(0, "ada");
  for (const n of [1, 2]) store.plan(0, notificationOf({ id: idOf(n) }), { members: [ada] });
  const gate = Promise.withResolvers<void>();
  const stream = store.streamDirectory.bind(store);
  store.streamDirectory = async (...asked) => {
    await gate.promise;
    await stream(...asked);
  };
  const { clock, events, poke } = start({ store });
  await clock.advance(100);
  poke(store.plan(0, notificationOf({ id: idOf(3) }), { members: [ada] }));
  await clock.advance(5_000); // two sweeps
  expect(events).toEqual([]);
  gate.resolve();
  await clock.advance(3_000);
  expect(events).toEqual(["serves 0", "noDevice 1", "noDevice 2", "noDevice 3"]);
});

test("LP1 — a load that fails half-way is begun again, and serves once", async () => {
  const store = new FakeLedgerStore();
  const ada = store.addRecipient(0, "ada");
  store.plan(0, notificationOf({ id: idOf(1) }), { members: [ada] });
  const stream = store.streamDirectory.bind(store);
  let failuresLeft = 2;
  store.streamDirectory = async (...asked) => {
    if (failuresLeft-- > 0) throw planted();
    await stream(...asked);
  };
  const { clock, events, node } = start({ store });
  await clock.advance(5_000);
  expect(events.filter((event) => !event.startsWith("fault"))).toEqual(["serves 0", "noDevice 1"]);
  expect(node.stats().partitionCount).toBe(1);
});

test("LP4 — of many partitions the first serve while the others load; one that fails keeps back its group only", async () => {
  const store = new FakeLedgerStore();
  const stream = store.streamDirectory.bind(store);
  const slow = Promise.withResolvers<void>();
  store.streamDirectory = async (home, partitions, onRows) => {
    if (partitions.includes(3)) throw planted();
    if (partitions.includes(5)) await slow.promise;
    await stream(home, partitions, onRows);
  };
  const { clock, events, node } = start({ store, limits: { loadGroupMax: 2 } });
  const more = [1, 2, 3, 4, 5, 6, 7].map((partition) => ({ partition, epoch: 1, isFirst: true }));
  for (const { partition } of more) store.epochs.set(partition, 1);
  node.acquire(more);
  await clock.advance(10_000);
  const served = () => events.filter((event) => event.startsWith("serves"));
  expect(served()).toEqual([0, 1, 2, 7].map((partition) => `serves ${partition}`));
  slow.resolve();
  await clock.advance(10_000);
  expect(served().slice(4)).toEqual([5, 6].map((partition) => `serves ${partition}`));
  node.stop();
});

test("D4, DN4 — what waits to be committed for an ownership that is over is not written with the next one's", async () => {
  const { clock, store, node, poke, events } = start();
  for (const partition of [1, 2]) store.epochs.set(partition, 1);
  node.acquire([1, 2].map((partition) => ({ partition, epoch: 1, isFirst: true })));
  const ada = store.addRecipient(0, "ada");
  await clock.advance(10);
  const slow = Promise.withResolvers<void>();
  const write = store.writeRows.bind(store);
  store.writeRows = async (...asked) => {
    await slow.promise;
    return await write(...asked);
  };
  const broadcast = (n: number, partition: number): void =>
    poke(store.plan(partition, notificationOf({ id: idOf(n) }), { kind: "broadcast" }));
  broadcast(1, 1);
  await clock.advance(5);
  broadcast(2, 2); // both lanes are slow now
  await clock.advance(5);
  broadcast(3, 0); // waits, under epoch 1
  await clock.advance(5);
  node.lose([0]);
  store.epochs.set(0, 2);
  node.acquire([{ partition: 0, epoch: 2, isFirst: true }]); // hands the same row again
  await clock.advance(500);
  slow.resolve();
  await clock.advance(2_000);
  expect(events.filter((event) => event.startsWith("fault"))).toEqual([]);
  expect([store.setOf(0, 1, "noDevice"), store.fencedCount]).toEqual([[ada], 0]);
});

test("RE1, S41 — a process that crashes comes back with what is open; the poison is given up", async () => {
  const { clock, store, events, taken, poke, open, ack } = start();
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  poke(store.plan(0, notificationOf({ id: idOf(1) }), { members: [ada] }));
  await clock.advance(10);
  const poison = {
    title: "cannot be encoded",
    toJSON: () => {
      throw new Error("poison");
    },
  };
  poke(
    store.plan(0, notificationOf({ id: idOf(2), content: { en: poison } }), { members: [ada] }),
    store.plan(0, notificationOf({ id: idOf(3) }), { members: [ada] }),
  );
  await clock.advance(10_000);
  await ack(7, ada, 3);
  await clock.advance(300);
  expect(new Set(taken())).toEqual(new Set(["1→7", "3→7"]));
  expect(events).toEqual(["serves 0", "failed 2", "deliveredSocket 1", "deliveredSocket 3"]);
  expect(store.setOf(0, 2, "failed")).toEqual([ada]);
});

test("SE1 — a session whose end was not heard of: its gateway says so when it is sent something", async () => {
  const { clock, store, node, events, taken, poke, open } = start();
  const ada = store.addRecipient(0, "ada");
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 7 });
  poke(store.plan(0, notificationOf(), { members: [ada] }));
  await clock.advance(10);
  expect(taken()).toEqual(["1→7"]);
  const report = {
    kind: "report" as const,
    gatewayId: GATEWAY,
    acks: [],
    reads: [],
    acknowledges: [],
  };
  node.report(0, { ...report, closed: [[7, UNKNOWN_INDEX]] });
  expect(node.stats().sessionCount).toBe(0);
  await clock.advance(5_100);
  expect(events).toEqual(["serves 0", "unacked 1"]);
});

test("LP3, P16, D7 — who held an earlier owner's thread waits in quarantine; the others are served", async () => {
  const store = new FakeLedgerStore();
  const [ada, bob] = ["ada", "bob"].map((name) => store.addRecipient(0, name));
  store.plan(0, notificationOf(), { kind: "broadcast" });
  store.quarantined.push({ partition: 0, index: ada!, reason: "held it", remainingMs: 60_000 });
  const { clock, events, crashedKeys } = start({ store, isFirst: false });
  await clock.advance(20_000);
  expect(crashedKeys).toEqual(["acme/ada"]); // told by name
  expect(store.setOf(0, 1, "targeted")).toEqual([ada, bob]);
  expect(store.setOf(0, 1, "noDevice")).toEqual([bob]);
  await clock.advance(60_000); // its time is over: what was open is given back (D1)
  expect(store.setOf(0, 1, "noDevice")).toEqual([ada, bob]);
  expect(events.filter((event) => event.startsWith("fault"))).toEqual([]);
});

test("IN5 — a bug while rows are read, or the directory, is told once, as a crash, and not tried again", async () => {
  for (const operation of ["readRows", "readDirectory"] as const) {
    const store = new FakeLedgerStore();
    const ada = store.addRecipient(0, "ada");
    const { clock, crashes, events, poke } = start({ store });
    let callsCount = 0;
    store[operation] = () => {
      callsCount++;
      throw new TypeError("bug");
    };
    await clock.advance(10);
    if (operation === "readDirectory") store.addRecipient(0, "bob");
    const rows = [1, 2, 3].map((n) =>
      store.plan(0, notificationOf({ id: idOf(n) }), { members: [ada] }),
    );
    poke(...(operation === "readRows" ? rows.slice(2) : rows)); // or a gap is read
    await clock.advance(10_000);
    expect(events).toEqual(["serves 0"]);
    expect([callsCount, crashes.map(String)]).toEqual([1, ["TypeError: bug"]]);
  }
});

test("IN5 — a bug while a partition is loaded is told once, as a crash: it never serves", async () => {
  const store = new FakeLedgerStore();
  const { clock, crashes, events } = start({ store });
  store.streamDirectory = () => {
    throw new TypeError("bug");
  };
  await clock.advance(10_000);
  expect([events, crashes.map(String)]).toEqual([[], ["TypeError: bug"]]);
});
