// packages/delivery/src/control-book.test.ts
// Goal: CB1 to CB5, and what pause, resume and cancel do in a whole node. Method: a register in memory, a fake clock; one
// person with a session and one who is away.
import { type ControlState, ROW_TIMER_KIND } from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import { expect, test } from "vitest";
import { ControlBook, type ControlStore } from "./control-book.ts";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import type { DeliveryLimits } from "./delivery-limits.ts";
import { GATEWAY, idOf, start } from "./test-delivery.ts";

const HEARD_MS = 1_000;
const FLUSHED_MS = 150;

async function started(
  before: readonly (readonly [n: number, state: ControlState])[] = [],
  options: { readonly limits?: Partial<DeliveryLimits>; readonly cancelledOnLoad?: number } = {},
) {
  const records = new Map<string, ControlState>(before.map(([n, state]) => [idOf(n), state]));
  const asked: (number | null)[] = [];
  const wokenFor: (readonly string[])[] = [];
  const plan = { isDown: false, changesBeforeWake: [] as [number, ControlState][] };
  const store = new FakeLedgerStore();
  const wakeUp = ({ cancelled, running }: Parameters<ControlStore["wake"]>[2]) => {
    for (const row of node.timers.memory.rows.values()) {
      const { notificationId, reason } = row.payload as { notificationId: string; reason: string };
      const state = records.get(notificationId);
      const isPaused = reason === "paused" && running?.includes(notificationId) !== false;
      if (
        (state === "cancelled" && cancelled.includes(notificationId)) ||
        (state === "running" && isPaused)
      )
        row.dueAtMs = node.clock.wallClockMs();
    }
  };
  const ada = store.addRecipient(0, "ada");
  const bob = store.addRecipient(0, "bob");
  if (options.cancelledOnLoad !== undefined)
    store.plan(0, notificationOf({ id: idOf(options.cancelledOnLoad), expiresAtMs: 1e15 }), {
      members: [ada, bob],
    });
  const node = start({
    store,
    ...(options.limits && { limits: options.limits }),
    controls: {
      async readChanged(lastSeconds) {
        asked.push(lastSeconds);
        if (plan.isDown) throw new Fault("down", { code: "store_unavailable", isRetryable: true });
        const answer = [...records].map(([notificationId, state]) => ({ notificationId, state }));
        if (options.cancelledOnLoad !== undefined)
          records.set(idOf(options.cancelledOnLoad), "cancelled");
        return answer;
      },
      async wake(_, held, heard) {
        expect(held).toEqual([{ partition: 0, epoch: 1 }]);
        wokenFor.push(heard.cancelled);
        const [n, state] = plan.changesBeforeWake.shift() ?? [];
        if (n !== undefined && state !== undefined) records.set(idOf(n), state);
        wakeUp(heard);
      },
    },
  });
  await node.clock.advance(0);
  await node.open({ recipientId: "ada", sid: 1 });
  const post = async (n: number, members: number[] = [ada, bob], lifeMs = 3_600_000) => {
    const expiresAtMs = node.clock.wallClockMs() + lifeMs;
    node.poke(store.plan(0, notificationOf({ id: idOf(n), expiresAtMs }), { members }));
    await node.clock.advance(FLUSHED_MS);
  };
  const set = async (n: number, state: ControlState) => {
    records.set(idOf(n), state);
    await node.clock.advance(HEARD_MS + 600);
  };
  const close = (sid: number, index: number): void => {
    const nothing = { acks: [], reads: [], acknowledges: [] };
    node.node.report(0, { kind: "report", gatewayId: GATEWAY, ...nothing, closed: [[sid, index]] });
  };
  /** Offset of its newest row: who is released before the change is heard is put off once more. */
  const lastOf = (n: number) =>
    Math.max(
      ...Array.from(store.rows.values(), (row) =>
        row.notificationId === idOf(n) ? row.offset : 0,
      ),
    );
  return { ...node, store, ada, bob, post, set, close, asked, plan, lastOf, wokenFor };
}

test("CB1, CB2 — paused: nobody is handed it; resumed: everybody gets it, once", async () => {
  const { post, set, taken, store, ack, ada, lastOf } = await started([[1, "paused"]]);
  await post(1);
  expect(taken()).toEqual([]);
  expect(store.setOf(0, 1, "moved")).toEqual([0, 1]);
  await post(2);
  expect(taken()).toEqual(["2→1"]); // others go on
  await ack(1, ada, 2);
  await set(1, "running");
  expect(taken()).toEqual([`${lastOf(1)}→1`]);
  expect(store.setOf(0, lastOf(1), "noDevice")).toEqual([1]);
});

test("CB1 — cancelled while it is paused, or before it comes: that is everybody's outcome", async () => {
  const { post, set, taken, store, lastOf } = await started([
    [1, "paused"],
    [2, "cancelled"],
  ]);
  await post(1);
  await post(2);
  expect(store.setOf(0, 2, "cancelled")).toEqual([0, 1]);
  await set(1, "cancelled");
  expect(store.setOf(0, lastOf(1), "cancelled")).toEqual([0, 1]);
  expect(taken()).toEqual([]);
});

test("CB1 — cancelled under way: who has it on a socket keeps it, who waits for a session does not get it", async () => {
  const { post, set, taken, store, ack, ada, open, close, bob } = await started();
  await open({ recipientId: "bob", sid: 2 });
  close(2, bob);
  await post(1);
  expect(taken()).toEqual(["1→1"]);
  await set(1, "cancelled");
  expect(store.setOf(0, 1, "cancelled")).toEqual([1]); // bob is in his grace
  await open({ recipientId: "bob", sid: 3 });
  await ack(1, ada, 1);
  await open({ recipientId: "bob", sid: 4 });
  expect(taken()).toEqual([]);
  await post(2);
  expect(store.setOf(0, 1, "deliveredSocket")).toEqual([0]);
});

test("CB1 — the store away: everything is asked for that may have changed meanwhile", async () => {
  const { clock, asked, plan, events } = await started();
  await clock.advance(10_000);
  plan.isDown = true;
  await clock.advance(120_000);
  expect(events).toContain("fault Fault: down");
  plan.isDown = false;
  asked.length = 0;
  await clock.advance(HEARD_MS);
  expect(asked.length).toBe(1);
  expect(asked[0]).toBeGreaterThan(120);
  await clock.advance(HEARD_MS);
  expect(asked[1]).toBeLessThan(35);
});

test("CB2 — cancelled in the moment in which it is woken: nobody is sent what its owner has not heard of", async () => {
  const { post, set, taken, store, plan, lastOf, clock } = await started([[1, "paused"]]);
  await post(1);
  plan.changesBeforeWake.push([1, "cancelled"]);
  await set(1, "running");
  await clock.advance(HEARD_MS + 600);
  expect(taken()).toEqual([]);
  expect(store.setOf(0, lastOf(1), "cancelled")).toEqual([0, 1]);
});

test("CB2 — what was accepted beside the cancel, and is there after it was heard, is woken, too", async () => {
  const { set, taken, store, ada, clock, timers } = await started();
  await set(1, "cancelled");
  const dueAtMs = clock.wallClockMs() + 3_600_000;
  const notification = notificationOf({ id: idOf(1), expiresAtMs: dueAtMs + 1_000 });
  store.notifications.set(idOf(1), { notification, audience: { kind: "broadcast" } });
  timers.memory.put({
    ...{ partition: 0, kind: ROW_TIMER_KIND, key: `${idOf(1)}/`, tenantId: "acme", dueAtMs },
    payload: {
      ...{ notificationId: idOf(1), reason: "sendAt" },
      ...{ count: 1, members: [ada] },
    },
  });
  await clock.advance(3 * HEARD_MS);
  expect(store.setOf(0, 1, "cancelled")).toEqual([0]);
  expect(taken()).toEqual([]);
});

test("CB5 — what was heard 90 days ago is forgotten, whenever it was asked for; what was heard since is not", async () => {
  const day = 86_400_000;
  let nowMs = 0;
  let changed: { notificationId: string; state: ControlState }[] = [];
  const book = new ControlBook({
    store: { readChanged: async () => changed, wake: async () => undefined },
    clock: { monotonicMs: () => nowMs } as ConstructorParameters<typeof ControlBook>[0]["clock"],
    ...{ home: "fra", everyMs: 1_000, held: () => [], flush: async () => true },
    ...{ onChanged: async () => undefined, onFault: () => undefined, onCrash: () => undefined },
  });
  const heldAt = async (atDays: number, ...news: [n: number, state: ControlState][]) => {
    nowMs = atDays * day;
    changed = news.map(([n, state]) => ({ notificationId: idOf(n), state }));
    await book.refresh();
    return book.count;
  };
  expect(await heldAt(0, [1, "paused"], [2, "paused"])).toBe(2);
  expect(await heldAt(30, [2, "paused"], [3, "paused"])).toBe(3); // 2 is no news
  expect(await heldAt(60, [1, "running"])).toBe(3); // 1 is to be woken
  expect(await heldAt(61, [1, "paused"])).toBe(4); // heard anew, and still to be woken
  expect(await heldAt(90)).toBe(4);
  expect(await heldAt(91)).toBe(3); // without 2
  expect(await heldAt(121)).toBe(2); // without 3
  expect(await heldAt(151)).toBe(2);
  expect(await heldAt(152)).toBe(1); // whom nobody has woken, since no look has come
});

test("CB1 — cancelled while its owner loads: that is known before anything is handed", async () => {
  const { store, taken, clock } = await started([], { cancelledOnLoad: 1 });
  await clock.advance(FLUSHED_MS);
  expect(store.setOf(0, 1, "cancelled")).toEqual([0, 1]);
  expect(taken()).toEqual([]);
});

test("CB2 — what waits is woken again while something accepted before may be committed", async () => {
  const { set, wokenFor, clock } = await started();
  wokenFor.length = 0;
  await set(1, "cancelled");
  await clock.advance(3 * HEARD_MS);
  expect(wokenFor).toEqual(Array.from({ length: 4 }, () => [idOf(1)]));
});

test("CB3 — cancelled while the pacer holds it back, or in quarantine: that is his outcome at once", async () => {
  const { post, set, taken, store } = await started([], { limits: { turnsMax: 0 } });
  await post(1);
  await set(1, "cancelled");
  expect(store.setOf(0, 1, "cancelled")).toEqual([0, 1]);
  expect(taken()).toEqual([]);
  const other = await started();
  other.node.processesOf(0)?.table.quarantine(other.bob, new Error("an operator's"));
  await other.post(1);
  await other.set(1, "cancelled");
  expect(other.store.setOf(0, 1, "cancelled")).toEqual([1]);
  expect(other.taken()).toEqual(["1→1"]);
});

test("CB3 — cancelled behind his shelf: that is his outcome, though he is handed nothing", async () => {
  const { post, set, store, ada, taken } = await started([], { limits: { ownRowsMax: 1 } });
  await post(1, [ada]);
  await post(2, [ada]);
  await post(3);
  expect(taken()).toEqual(["1→1"]);
  await set(3, "cancelled");
  expect(store.setOf(0, 3, "cancelled")).toEqual([0]);
  expect(store.setOf(0, 3, "noDevice")).toEqual([1]);
});

test("CB4 — cancelled when it had ended unsent: no recovery shows it, and no place says it was received", async () => {
  const { post, set, taken, store, open, ack, bob, clock } = await started();
  await post(1);
  await post(2);
  expect(store.setOf(0, 1, "noDevice")).toEqual([1]);
  await set(1, "cancelled");
  taken();
  const position = { epoch: "e1", offset: 0 };
  expect(await open({ recipientId: "bob", sid: 2, position })).toMatchObject({ missed: 1 });
  expect(taken()).toEqual(["2→2"]);
  await ack(2, bob, 2);
  await open({ recipientId: "bob", sid: 3, position: { epoch: "e1", offset: 2 }, ackedOffset: 2 });
  await clock.advance(FLUSHED_MS);
  expect(store.setOf(0, 1, "receivedLate")).toEqual([]);
  expect(store.setOf(0, 2, "receivedLate")).toEqual([1]);
});

test("CB4 — what expired unsent in a pause is shown by no recovery while the pause lasts", async () => {
  const { post, taken, store, open, close, bob, clock } = await started([[1, "paused"]]);
  await open({ recipientId: "bob", sid: 2 });
  close(2, bob);
  await post(1, [bob], 2_000); // he is in his grace
  await clock.advance(2_500);
  expect(store.setOf(0, 1, "expired")).toEqual([0]);
  const position = { epoch: "e1", offset: 0 };
  expect(await open({ recipientId: "bob", sid: 3, position })).toMatchObject({ missed: 0 });
  expect(taken()).toEqual([]);
});
