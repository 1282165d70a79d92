// packages/delivery/src/recall.test.ts
// Goal: RC1–RC5 in a whole node: what a recall, its withdrawal and a reminder do to people online, away and put off.
// Method: a register and a ledger in memory, a fake clock; the events that gateways are sent, in order.
import type { ControlState, Notification, RegionAudience } from "@carillon/contracts";
import { expect, test } from "vitest";
import { FakeLedgerStore, notificationOf, planted } from "./fake-ledger-store.ts";
import { GATEWAY, idOf, start } from "./test-delivery.ts";
import { ALLOW, type Verdict } from "./verdict.ts";

const FLUSHED_MS = 150;
const ACK_MAX_MS = 30_000;
const EVERYBODY: [partition: number, directoryVersion: number] = [0, 0];

async function started() {
  const store = new FakeLedgerStore();
  const recalled = new Map<string, ControlState>();
  const node = start({
    store,
    controls: {
      readChanged: async () =>
        [...recalled].map(([notificationId, state]) => ({ notificationId, state })),
      wake: () => Promise.resolve(),
    },
  });
  const people = ["ada", "bob", "eve"].map((name) => store.addRecipient(0, name));
  await node.clock.advance(0);
  const post = async (n: number, audience: RegionAudience | { members: number[] }, more = {}) => {
    const expiresAtMs = node.clock.wallClockMs() + 3_600_000;
    const notification: Notification = notificationOf({ id: idOf(n), expiresAtMs, ...more });
    const row = store.plan(0, notification, audience);
    node.poke(row);
    await node.clock.advance(FLUSHED_MS);
    return row.offset;
  };
  /** As accept does it: the register has it before the row comes. */
  const recall = (n: number, by: number) => {
    recalled.set(idOf(n), "recalled");
    return post(by, about(n, "sent"), { withdraws: idOf(n), priority: "critical", content: {} });
  };
  /** "event offset→sids" of everything sent so far; takes it. */
  const events = (): string[] =>
    node.sent
      .splice(0)
      .flatMap(({ items }) =>
        items.flatMap(({ event = "ntf", groups }) =>
          groups.map(
            ({ offset, sids, isResend }) =>
              `${event} ${offset}→${sids.join()}${isResend ? "!" : ""}`,
          ),
        ),
      );
  const close = async (sid: number, index: number) => {
    const nothing = { acks: [], reads: [], acknowledges: [] };
    node.node.report(0, { kind: "report", gatewayId: GATEWAY, ...nothing, closed: [[sid, index]] });
    await node.clock.advance(0);
  };
  const read = async (sid: number, index: number, offset: number) => {
    const nothing = { acks: [], acknowledges: [], closed: [] };
    const reads: [number, number, number][] = [[sid, index, offset]];
    node.node.report(0, { kind: "report", gatewayId: GATEWAY, ...nothing, reads });
    await node.clock.advance(FLUSHED_MS);
  };
  const [ada = -1, bob = -1, eve = -1] = people;
  return {
    ...node,
    store,
    ada,
    bob,
    eve,
    post,
    recall,
    eventsSent: events,
    close,
    read,
    recalled,
  };
}

const about = (n: number, who: "sent" | "unread"): RegionAudience => ({
  ...{ kind: "unread", notificationId: idOf(n), who },
});

/** Whom a reminder of it would be for, by the owner. */
async function countOf(
  { node, clock }: Pick<ReturnType<typeof start>, "node" | "clock">,
  n: number,
) {
  const asked = { home: "fra", tenantId: "acme", exclude: [], audience: about(n, "unread") };
  const counting = node.count({ ...asked, partitions: [EVERYBODY] });
  await clock.advance(2); // the partitions of one time are read for together
  return await counting;
}

test("RC1, RC3 — who has it is sent its withdrawal, after it; who waits for a session is cancelled", async () => {
  const { store, post, recall, eventsSent, open, ack, ada, bob, close } = await started();
  await open({ recipientId: "ada", sid: 1 });
  await open({ recipientId: "bob", sid: 2 });
  await close(2, bob); // he may come back
  await post(1, { members: [ada, bob] });
  expect(eventsSent()).toEqual(["ntf 1→1"]);
  expect(await recall(1, 2)).toBe(2);
  expect(eventsSent()).toEqual(["withdraw 2→1"]);
  expect(store.setOf(0, 2, "targeted")).toEqual([ada, bob]);
  await ack(1, ada, 2); // both
  await open({ recipientId: "bob", sid: 3, position: { epoch: "e1", offset: 0 } });
  expect(eventsSent()).toEqual(["withdraw 2→3"]);
  await ack(3, bob, 2);
  await post(3, { members: [ada] });
  expect(store.setOf(0, 1, "deliveredSocket")).toEqual([0]);
  expect(store.setOf(0, 1, "cancelled")).toEqual([1]);
  expect(store.setOf(0, 2, "deliveredSocket")).toEqual([ada, bob]);
});

test("RC1 — the withdrawal comes before the register is asked again, and before a row that was put off", async () => {
  const { store, post, recall, eventsSent, open, ada, clock } = await started();
  await open({ recipientId: "ada", sid: 1 });
  await recall(1, 2); // of what nobody was sent yet
  await post(1, { members: [ada] }); // its other row, released a moment later
  await clock.advance(FLUSHED_MS);
  expect(eventsSent()).toEqual([]);
  expect(store.setOf(0, 2, "cancelled")).toEqual([0]);
  expect(store.setOf(0, 1, "targeted")).toEqual([]);
  expect(store.rows.get("0/1")?.state).toBe("closed");
});

test("RC1 — an answer of the register that is older than the withdrawal gives nothing back", async () => {
  const { post, recall, eventsSent, open, ada, clock, recalled } = await started();
  await open({ recipientId: "ada", sid: 1 });
  await recall(1, 2);
  recalled.set(idOf(1), "running"); // as it was when it was asked
  await clock.advance(1_500);
  await post(1, { members: [ada] });
  expect(eventsSent()).toEqual([]);
});

test("RC2 — who comes back is sent the withdrawal, not what it withdraws, and neither is counted", async () => {
  const { post, recall, eventsSent, open, store, ada } = await started();
  await post(1, { members: [ada] }); // she is away
  await post(2, { members: [ada] });
  expect(store.setOf(0, 1, "noDevice")).toEqual([0]);
  await recall(1, 3);
  const position = { epoch: "e1", offset: 0 };
  expect(await open({ recipientId: "ada", sid: 1, position })).toMatchObject({
    ...{ recovered: true, missed: 1, unread: 1 },
  });
  expect(eventsSent()).toEqual(["ntf 2→1", "withdraw 3→1"]);
});

test("RC2 — her place covers what she was not sent: that counts as no receipt, now or later", async () => {
  const { post, recall, open, ack, store, ada, clock, close, eventsSent } = await started();
  await post(1, { members: [ada] });
  await recall(1, 2);
  await open({ recipientId: "ada", sid: 1, position: { epoch: "e1", offset: 0 } });
  await ack(1, ada, 2);
  await close(1, ada);
  await open({ recipientId: "ada", sid: 2, position: { epoch: "e1", offset: 2 }, ackedOffset: 2 });
  await clock.advance(FLUSHED_MS);
  expect(eventsSent()).toEqual(["withdraw 2→1"]);
  expect(store.setOf(0, 1, "receivedLate")).toEqual([]);
  expect(store.setOf(0, 2, "receivedLate")).toEqual([ada]); // away when it came, and she has it
});

test("RC2 — one session has it unacked: another one opens above it when that is written, and it is never resent", async () => {
  const { post, recall, open, ack, store, ada, clock, eventsSent } = await started();
  await open({ recipientId: "ada", sid: 1 });
  await post(1, { members: [ada] });
  await recall(1, 2);
  expect(eventsSent()).toEqual(["ntf 1→1", "withdraw 2→1"]);
  store.failuresLeft = 1;
  const opening = open({ recipientId: "ada", sid: 2, position: { epoch: "e1", offset: 0 } });
  await clock.advance(500);
  expect(await opening).toMatchObject({ missed: 0 });
  expect(eventsSent()).toEqual(["withdraw 2→2"]);
  expect(store.setOf(0, 1, "unacked")).toEqual([0]);
  await ack(2, ada, 2);
  await clock.advance(5 * ACK_MAX_MS);
  expect(eventsSent()).toEqual([]);
  await ack(1, ada, 2); // the first one had it, after all
  await clock.advance(FLUSHED_MS);
  expect(store.setOf(0, 1, "receivedLate")).toEqual([0]);
});

test("RC2 — what was sent and is never acked is not resent once it is recalled; its withdrawal is", async () => {
  const { post, recall, open, store, ada, clock, eventsSent } = await started();
  await open({ recipientId: "ada", sid: 1 });
  await post(1, { members: [ada] });
  await recall(1, 2);
  eventsSent();
  await clock.advance(ACK_MAX_MS + FLUSHED_MS);
  expect(eventsSent()).toEqual(["withdraw 2→1!"]);
  expect(store.setOf(0, 1, "unacked")).toEqual([0]);
});

test("RC3 — the store away: the row waits, and with it what comes behind; nobody is left out", async () => {
  const { post, recall, open, store, ada, clock, eventsSent, events } = await started();
  await open({ recipientId: "ada", sid: 1 });
  await post(1, { members: [ada] });
  eventsSent();
  store.failuresLeft = 3;
  await recall(1, 2);
  await clock.advance(10_000);
  expect(events).toContain(`fault ${String(planted())}`);
  expect(eventsSent()).toEqual(["withdraw 2→1"]);
});

test("RC3 — parent and withdrawal in one batch of a new owner: nobody is handed anything", async () => {
  const store = new FakeLedgerStore();
  const ada = store.addRecipient(0, "ada");
  const expiresAtMs = 4e12;
  store.plan(0, notificationOf({ id: idOf(1), expiresAtMs }), { kind: "broadcast" });
  const withdrawal = { id: idOf(2), withdraws: idOf(1), content: {}, expiresAtMs };
  store.plan(0, notificationOf(withdrawal), about(1, "sent"));
  const { clock, open, sent } = start({ store });
  await clock.advance(FLUSHED_MS);
  expect(store.setOf(0, 1, "targeted")).toEqual([ada]);
  expect(store.setOf(0, 1, "cancelled")).toEqual([ada]);
  expect(store.setOf(0, 2, "targeted")).toEqual([ada]);
  await open({ recipientId: "ada", sid: 1 });
  expect(sent).toEqual([]);
});

test("RC4 — a reminder is for who has not read it and was not spared it; also what is not written yet counts", async () => {
  const store = new FakeLedgerStore();
  const out = new Map<number, Verdict>();
  const node = start({ store, verdictOf: (_, index) => out.get(index) ?? ALLOW });
  const names = ["reader", "confirmer", "away", "optedOut", "unacked"];
  const [reader, confirmer, away, optedOut, unacked] = names.map((name) =>
    store.addRecipient(0, name),
  ) as [number, number, number, number, number];
  out.set(optedOut, { kind: "suppress", outcome: "optedOut" });
  await node.clock.advance(0);
  const sessions = [reader, confirmer, unacked];
  for (const index of sessions)
    await node.open({ recipientId: names[index] ?? "", sid: index + 1 });
  const post = async (n: number, audience: RegionAudience) => {
    const expiresAtMs = node.clock.wallClockMs() + 3_600_000;
    node.poke(store.plan(0, notificationOf({ id: idOf(n), expiresAtMs }), audience));
    await node.clock.advance(0);
  };
  await post(1, { kind: "broadcast" });
  await node.clock.advance(FLUSHED_MS);
  const receipts = { kind: "report" as const, gatewayId: GATEWAY, acks: [], closed: [] };
  store.failuresLeft = 1; // of the flush: the ledger does not have them
  node.node.report(0, {
    ...receipts,
    reads: [[reader + 1, reader, 1]],
    acknowledges: [[confirmer + 1, confirmer, 1]],
  });
  await node.clock.advance(0);
  store.failuresLeft = 0;
  expect(await countOf(node, 1)).toMatchObject({ partitions: [0], targeted: 2 });
  await post(2, about(1, "unread"));
  await node.clock.advance(FLUSHED_MS);
  expect(store.setOf(0, 2, "targeted")).toEqual([away, unacked]);
});

test("RC3, RC4 — who waits is not reminded: put off and not written yet, moved, or in a later row; nor is it withdrawn from him", async () => {
  const store = new FakeLedgerStore();
  const until = { kind: "defer", untilMs: 4e12, reason: "ownQuietHours" } as const;
  const waits = new Set<number>();
  const { clock, node, poke } = start({
    store,
    verdictOf: (_, index) => (waits.has(index) ? until : ALLOW),
  });
  const [ada, moved, moving] = ["ada", "moved", "moving"].map((name) =>
    store.addRecipient(0, name),
  ) as [number, number, number];
  waits.add(moved);
  await clock.advance(0);
  const expiresAtMs = 5e12;
  const parent = notificationOf({ id: idOf(1), expiresAtMs });
  poke(store.plan(0, parent, { kind: "broadcast" }));
  await clock.advance(FLUSHED_MS);
  expect(store.setOf(0, 1, "moved")).toEqual([moved]);
  const reminder = store.plan(0, notificationOf({ id: idOf(2), expiresAtMs }), about(1, "unread"));
  store.plan(0, parent, { members: [moved] }); // released, and its owner does not know yet
  poke(reminder);
  await clock.advance(FLUSHED_MS);
  expect(store.setOf(0, 2, "targeted")).toEqual([ada, moving]);
  expect(store.rows.get("0/2")?.state).not.toBe("planned");
  const withdrawal = notificationOf({ id: idOf(4), withdraws: idOf(1), content: {}, expiresAtMs });
  poke(store.plan(0, withdrawal, about(1, "sent")));
  await clock.advance(3_000);
  expect(store.setOf(0, 4, "targeted")).toEqual([ada, moved, moving]); // the later row lies below it
  waits.add(moving);
  poke(store.plan(0, notificationOf({ id: idOf(5), expiresAtMs }), { kind: "broadcast" }));
  await clock.advance(2); // expanded, and put off
  expect(await countOf({ node, clock }, 5)).toMatchObject({ targeted: 1 });
  expect(store.setOf(0, 5, "moved")).toEqual([]); // not written yet
  await clock.advance(FLUSHED_MS);
  const other = { ...withdrawal, id: idOf(6), withdraws: idOf(5) };
  poke(store.plan(0, other, about(5, "sent")));
  await clock.advance(FLUSHED_MS);
  expect(store.setOf(0, 6, "targeted")).toEqual([ada]); // who waits is not handed it later, either
});

test("RC4, AC2 — a count of whom a reminder is for: without the store the partition is left out", async () => {
  const { node, store, events, clock } = await started();
  store.failuresLeft = 1;
  expect(await countOf({ node, clock }, 1)).toMatchObject({ partitions: [] });
  expect(events).toContain(`fault ${String(planted())}`);
});

test("RC5 — read on one session: the others that were sent it hear of it, once; the reader does not", async () => {
  const { post, open, ada, read, eventsSent, clock } = await started();
  for (const sid of [1, 2]) await open({ recipientId: "ada", sid });
  const offset = await post(1, { members: [ada] });
  await open({ recipientId: "ada", sid: 3, position: { epoch: "e1", offset: 0 } });
  await open({ recipientId: "bob", sid: 4 });
  eventsSent();
  await read(1, ada, offset);
  expect(eventsSent()).toEqual([`read ${offset}→2,3`]);
  await read(2, ada, offset); // a repeat
  await clock.advance(0);
  expect(eventsSent()).toEqual([]);
});

test("RC5 — two gateways name a session alike: the reader alone is left out", async () => {
  const { post, ada, read, eventsSent, node, clock } = await started();
  for (const gatewayId of [GATEWAY, "gw-2"]) {
    const session = { sid: 1, tenantId: "acme", recipientId: "ada", position: null };
    const sessions = [{ ...session, ackedOffset: 0, device: "" }];
    await node.open(0, { gatewayId, sessions }, () => undefined);
  }
  await clock.advance(0);
  const offset = await post(1, { members: [ada] });
  eventsSent();
  await read(1, ada, offset);
  expect(eventsSent()).toEqual([`read ${offset}→1`]);
});

test("RC5 — of who has one session nothing is sent", async () => {
  const { post, open, ada, read, eventsSent } = await started();
  await open({ recipientId: "ada", sid: 1 });
  const offset = await post(1, { members: [ada] });
  eventsSent();
  await read(1, ada, offset);
  expect(eventsSent()).toEqual([]);
});
