// packages/delivery/src/suppressed.test.ts
// Goal: RD4, DL5, SD7 for what is not handed on purpose, in a whole node: nobody is sent it, now or later, and no
// place covers it before it is written. Method: a store that fails when told, verdicts of the test, a fake clock.
import { expect, test } from "vitest";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import { GATEWAY, idOf, start } from "./test-delivery.ts";
import { ALLOW, type Verdict } from "./verdict.ts";

const ACK_MAX_MS = 30_000;
const OPTED_OUT: Verdict = { kind: "suppress", outcome: "optedOut" };

/** Of offset 1 nobody wants anything. */
async function optedOutOfFirst() {
  const store = new FakeLedgerStore();
  const node = start({
    store,
    verdictOf: (_, __, { offset }) => (offset === 1 ? OPTED_OUT : ALLOW),
  });
  const index = store.addRecipient(0, "ada");
  await node.clock.advance(0);
  const plan = (offset: number, expiresAtMs = node.clock.wallClockMs() + 1e8) =>
    store.plan(0, notificationOf({ id: idOf(offset), expiresAtMs }), { members: [index] });
  const close = (sid: number): void => {
    const nothing = { acks: [], reads: [], acknowledges: [] };
    node.node.report(0, { kind: "report", gatewayId: GATEWAY, ...nothing, closed: [[sid, index]] });
  };
  return { ...node, store, index, plan, close };
}

test("DL5 — what comes after it is sent when it is written that it is not handed, and not before", async () => {
  const { store, clock, open, poke, plan, taken } = await optedOutOfFirst();
  await open({ recipientId: "ada", sid: 1 });
  poke(plan(1), plan(2));
  await clock.advance(0);
  store.failuresLeft = 1_000; // of every flush
  await clock.advance(5_000);
  expect(taken()).toEqual([]); // its owner may die: the next one would find 1 open, below a place
  store.failuresLeft = 0;
  await clock.advance(3_000);
  expect(store.setOf(0, 1, "optedOut")).toEqual([0]);
  expect(taken()).toEqual(["2→1"]);
});

test("SD7, DL5 — a session opens above it when that is written, and not before", async () => {
  const { store, clock, open, poke, plan, close, taken } = await optedOutOfFirst();
  await open({ recipientId: "ada", sid: 1 });
  close(1);
  poke(plan(1), plan(2));
  await clock.advance(100); // he may come back
  store.failuresLeft = 2;
  const opened: unknown[] = [];
  const opening = open({ recipientId: "ada", sid: 2, position: { epoch: "e1", offset: 0 } });
  void opening.then((result) => opened.push(result));
  await clock.advance(0);
  while (opened.length === 0) {
    expect(taken()).toEqual([]);
    await clock.advance(50);
  }
  expect(store.setOf(0, 1, "optedOut")).toEqual([0]);
  expect(taken()).toEqual(["2→2"]);
});

test("SD7, DL5 — that it is not handed is being written when a session opens: it waits for that write, too", async () => {
  const { store, clock, open, poke, plan } = await optedOutOfFirst();
  const writeRows = store.writeRows.bind(store);
  const gate = Promise.withResolvers<void>();
  poke(plan(1));
  await clock.advance(0);
  store.writeRows = (home, updates) => gate.promise.then(() => writeRows(home, updates));
  await clock.advance(200); // the flush is under way, and nothing else is dirty
  const opened: unknown[] = [];
  const opening = open({ recipientId: "ada", sid: 1, position: { epoch: "e1", offset: 0 } });
  void opening.then((result) => opened.push(result));
  await clock.advance(500);
  expect(opened).toEqual([]); // what comes next would move its place over what may not be written
  gate.resolve();
  await clock.advance(500);
  expect(opened).toMatchObject([{ kind: "opened", missed: 0 }]);
});

test("RD4 — what a session's opening has ended is not sent again when nobody acks it", async () => {
  const { clock, open, poke, plan, close, taken } = await optedOutOfFirst();
  await open({ recipientId: "ada", sid: 1 });
  close(1);
  poke(plan(1));
  await clock.advance(100);
  const opening = open({ recipientId: "ada", sid: 2, position: { epoch: "e1", offset: 0 } });
  await clock.advance(500);
  expect(await opening).toMatchObject({ kind: "opened", missed: 0 });
  await clock.advance(5 * ACK_MAX_MS);
  expect(taken()).toEqual([]);
});

test("RD4 — it has expired before he was asked about: he is not sent it as one that he has missed", async () => {
  const { store, clock, open, poke, plan, taken } = await optedOutOfFirst();
  poke(plan(1, clock.wallClockMs() - 1));
  await clock.advance(500);
  expect(store.setOf(0, 1, "optedOut")).toEqual([0]);
  expect(store.setOf(0, 1, "expired")).toEqual([]);
  await open({ recipientId: "ada", sid: 1, position: { epoch: "e1", offset: 0 } });
  expect(taken()).toEqual([]);
});
