// Goal: RA1, and what a rate does in a whole node: sessions, pauses, ends, owners. Method: registers in memory, a fake
// clock; most people have a session that acks at once.
import type { ControlState, Notification } from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import { expect, test } from "vitest";
import type { DeliveryLimits } from "./delivery-limits.ts";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import { GATEWAY, idOf, start } from "./test-delivery.ts";

const HEARD_MS = 1_000;
const PEOPLE_COUNT = 60;
const everybody = Array.from({ length: PEOPLE_COUNT }, (_, n) => n);

interface Owner {
  store?: FakeLedgerStore;
  epoch?: number;
  isFirst?: boolean;
  limits?: Partial<DeliveryLimits>;
}

async function started(owner: Owner = {}) {
  const { store = new FakeLedgerStore() } = owner;
  const rates = new Map<string, { ratePerMinute: number | null; targetedCount: number }>();
  const controls = new Map<string, ControlState>();
  const asked: (number | null)[] = [];
  const plan = { isDown: false };
  const node = start({
    ...owner,
    store,
    rates: {
      async readChanged(lastSeconds) {
        asked.push(lastSeconds);
        if (plan.isDown) throw new Fault("down", { code: "store_unavailable", isRetryable: true });
        return Array.from(rates, ([notificationId, rate]) => ({ notificationId, ...rate }));
      },
    },
    controls: {
      readChanged: async () =>
        Array.from(controls, ([notificationId, state]) => ({ notificationId, state })),
      wake: async () => undefined,
    },
  });
  if (store.directory.size === 0) for (const n of everybody) store.addRecipient(0, `p${n}`);
  await node.clock.advance(0);
  /** By the number of its session, which is its person's; offsets in the order sent. */
  const got = new Map<number, number[]>();
  const sentAtMs: number[] = [];
  const deliver = node.sent.push.bind(node.sent);
  node.sent.push = (...messages) => {
    for (const { offset, sids } of messages.flatMap(({ items }) => items.flatMap((i) => i.groups)))
      for (const sid of sids) {
        got.set(sid, [...(got.get(sid) ?? []), offset]);
        sentAtMs.push(node.clock.monotonicMs());
        const acks: [number, number, number][] = [[sid, sid - 1, offset]];
        node.clock.defer(() =>
          node.node.report(0, {
            ...{ kind: "report", gatewayId: GATEWAY, reads: [], acknowledges: [], closed: [] },
            acks,
          }),
        );
      }
    return deliver(...messages);
  };
  const connect = async (people = everybody, position: { offset: number } | null = null) => {
    for (const n of people)
      await node.open({
        ...{ recipientId: `p${n}`, sid: n + 1, ackedOffset: position?.offset ?? 0 },
        position: position && { ...position, epoch: "e1" },
      });
  };
  const post = async (
    n: number,
    { members = everybody, ...more }: Partial<Notification> & { members?: number[] } = {},
  ) => {
    const expiresAtMs = node.clock.wallClockMs() + 3_600_000;
    const notification = notificationOf({ id: idOf(n), expiresAtMs, ...more });
    node.poke(store.plan(0, notification, { members }));
    await node.clock.advance(0);
  };
  return {
    ...{ ...node, store, rates, controls, asked, plan, got, sentAtMs, connect, post },
    sentCount: () => sentAtMs.length,
  };
}

const throttle = (ratePerMinute: number) => ({
  throttle: { ratePerMinute, targetedCount: PEOPLE_COUNT },
});

test("RA2 — a throttled one is sent at its rate, and others at once", async () => {
  const { clock, connect, post, sentCount, node, store } = await started();
  await connect();
  await post(1, throttle(60));
  await clock.advance(10_000);
  expect([sentCount(), node.stats().ratedRowsCount]).toEqual([10, 1]);
  await post(2, { members: [59] });
  expect(sentCount()).toBe(12); // and the throttled one before it, to whom it is for (PC4)
  await clock.advance(50_500);
  expect(sentCount()).toBe(61);
  expect(store.setOf(0, 1, "deliveredSocket")).toEqual(everybody);
});

test("RA1 — a rate that is told later is heard within a second, and so is that there is none any more", async () => {
  const { clock, connect, post, sentCount, rates } = await started();
  await connect();
  await post(1, throttle(1));
  await clock.advance(100);
  rates.set(idOf(1), { ratePerMinute: 120, targetedCount: PEOPLE_COUNT });
  await clock.advance(HEARD_MS + 10_000);
  expect(sentCount()).toBe(20);
  rates.set(idOf(1), { ratePerMinute: null, targetedCount: PEOPLE_COUNT });
  await clock.advance(HEARD_MS);
  expect(sentCount()).toBe(60);
});

test("RA1 — it is known before a partition serves; the store away: all is asked for that may have changed", async () => {
  const store = new FakeLedgerStore();
  for (const n of everybody) store.addRecipient(0, `p${n}`);
  const { clock, asked, plan, events, rates } = await started({ store });
  expect(asked[0]).toBeNull();
  expect(events.indexOf("serves 0")).toBeGreaterThanOrEqual(0);
  await clock.advance(10_000);
  plan.isDown = true;
  await clock.advance(120_000);
  expect(events).toContain("fault Fault: down");
  plan.isDown = false;
  rates.set(idOf(1), { ratePerMinute: 1, targetedCount: 1 });
  asked.length = 0;
  await clock.advance(HEARD_MS);
  expect(asked[0]).toBeGreaterThan(120);
  await clock.advance(HEARD_MS);
  expect(asked[1]).toBeLessThan(35);
});

test("RA4, SD8, D3 — who opens a session is not sent what waits for its rate, but in order when its turn comes", async () => {
  const { clock, connect, post, got, sentCount } = await started();
  await post(1, throttle(60));
  await connect();
  expect(sentCount()).toBe(0);
  await clock.advance(5_000);
  const [reached] = [...got.keys()];
  await connect([reached! - 1], { offset: 1 }); // again, from where it was
  await post(2, { members: [...everybody] });
  await clock.advance(0);
  expect(got.size).toBe(PEOPLE_COUNT);
  for (const offsets of got.values()) expect(offsets).toEqual([1, 2]);
});

test("RA4, SD5, D1 — who joins anew begins below it, also where what came after it is over for others", async () => {
  const { clock, connect, post, got, open } = await started();
  await connect(everybody.slice(1));
  await post(1, throttle(60));
  await post(2, { members: [1, 2, 3] });
  for (let n = 3; n < 9; n++) await post(n, { members: [4] });
  await clock.advance(200);
  expect(await open({ recipientId: "p0", sid: 1 })).toMatchObject({ offset: 0, missed: 0 });
  await clock.advance(60_500);
  expect(got.get(1)).toEqual([1]);
});

test("RA5 — paused: nobody is sent it and nobody leaves its row; resumed: it goes on at its rate", async () => {
  const { clock, connect, post, sentCount, controls, store, timers } = await started();
  await connect();
  await post(1, throttle(60));
  await clock.advance(10_000);
  controls.set(idOf(1), "paused");
  await clock.advance(HEARD_MS);
  const sentBefore = sentCount();
  await clock.advance(300_000);
  expect([sentCount(), store.setOf(0, 1, "moved"), timers.memory.rows.size]).toEqual([
    ...[sentBefore, [], 0],
  ]);
  controls.set(idOf(1), "running");
  await clock.advance(HEARD_MS + 20_000);
  expect(sentCount() - sentBefore).toBe(20);
});

test("RA5 — cancelled: what is left has that outcome within two seconds, and nobody is sent it", async () => {
  const { clock, connect, post, sentCount, controls, store, node } = await started();
  await connect();
  await post(1, throttle(60));
  await clock.advance(10_000);
  controls.set(idOf(1), "cancelled");
  await clock.advance(2_000);
  const delivered = store.setOf(0, 1, "deliveredSocket");
  expect(delivered.length).toBe(sentCount());
  expect(store.setOf(0, 1, "cancelled").length).toBe(PEOPLE_COUNT - sentCount());
  expect(node.stats()).toMatchObject({ openEntryCount: 0, ratedRowsCount: 0, heldRowsCount: 0 });
});

test("RA5 — cancelled while it is paused: the same", async () => {
  const { clock, connect, post, sentCount, controls, store } = await started();
  await connect();
  controls.set(idOf(1), "paused");
  await clock.advance(HEARD_MS);
  await post(1, throttle(60));
  await clock.advance(60_000);
  controls.set(idOf(1), "cancelled");
  await clock.advance(2_000);
  expect([sentCount(), store.setOf(0, 1, "cancelled").length]).toEqual([0, PEOPLE_COUNT]);
});

test("RA5 — what is not handed in its life has expired then, and is sent to nobody", async () => {
  const { clock, connect, post, sentCount, store } = await started();
  await connect();
  await post(1, { ...throttle(60), expiresAtMs: clock.wallClockMs() + 20_010 });
  await clock.advance(20_500);
  expect(sentCount()).toBe(20);
  expect(store.setOf(0, 1, "expired").length).toBe(PEOPLE_COUNT - 20);
  expect(store.rows.get("0/1")?.state).toBe("closed");
});

test("RA2, LP2, D1 — a new owner goes on with what is left, at the same rate, also as all sessions come back", async () => {
  const first = await started();
  await first.connect();
  await first.post(1, throttle(60));
  await first.clock.advance(20_000);
  await first.node.release([0]);
  const before = first.sentCount();
  const { clock, connect, sentCount, got } = await started({
    ...{ store: first.store, epoch: 2, isFirst: false },
  });
  await connect(
    [...first.got.keys()].map((sid) => sid - 1),
    { offset: 1 },
  );
  await connect(
    everybody.filter((n) => !first.got.has(n + 1)),
    { offset: 0 },
  );
  expect(sentCount()).toBe(0);
  await clock.advance(10_000);
  expect(sentCount()).toBe(10);
  await clock.advance(32_000);
  expect(before + sentCount()).toBe(PEOPLE_COUNT);
  for (const offsets of [...first.got.values(), ...got.values()]) expect(offsets).toEqual([1]);
  expect(first.store.setOf(0, 1, "deliveredSocket")).toEqual(everybody);
});

test("RA4, SH1 — who has more of his own than he may have is handed what waits for its rate, in order", async () => {
  const { clock, connect, post, got, node } = await started({ limits: { ownRowsMax: 4 } });
  await connect();
  for (let n = 1; n <= 6; n++)
    await post(n, { members: [0], throttle: { ratePerMinute: 1, targetedCount: 1_000 } });
  await clock.advance(500);
  expect(got.get(1)).toEqual([1, 2, 3, 4, 5]); // the fifth was one too many; then there was room again
  expect(node.stats()).toMatchObject({ ratedRowsCount: 1, shelvedRecipientCount: 0 });
});

test("IN4, RA7 — rows that wait for their rate take nobody else's room", async () => {
  const { clock, post, store, node } = await started({ limits: { openMax: 4 } });
  for (let n = 1; n <= 5; n++) await post(n, throttle(1));
  await post(6, { members: [1, 2] });
  await clock.advance(200);
  expect(node.stats()).toMatchObject({ openEntryCount: 5, ratedRowsCount: 5, incomingCount: 0 });
  expect(store.rows.get("0/6")?.state).toBe("closed");
});
