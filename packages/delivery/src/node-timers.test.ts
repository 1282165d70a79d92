// Goal: DT1, DT2, DT5 in a whole node. Method: the real runtime on a fake clock, store and gateways in
// memory; the handler sends what is due to the recipient's process by its key.
import { expect, test } from "vitest";
import type { RecipientProcesses } from "./delivery-node-api.ts";
import type { TimerHandler } from "./durable-timers.ts";
import { notificationOf } from "./fake-ledger-store.ts";
import { start } from "./test-delivery.ts";

const setting = (inMs: number) =>
  ({ kind: "k", key: "ada", tenantId: "acme", due: { inMs }, payload: null }) as const;

test("DT1 — what is set while a partition is held finds the recipients' processes when it is due", async () => {
  const found: (number | undefined)[] = [];
  const handler: TimerHandler<RecipientProcesses> = {
    kind: "k",
    fire: ({ tenantId, key }, { slotOf }) => void found.push(slotOf(tenantId, key)),
  };
  const { clock, store, node, events } = start({ timerHandlers: [handler] });
  store.addRecipient(0, "bob");
  const ada = store.addRecipient(0, "ada");
  await clock.advance(10);
  void node.processesOf(0)?.timers.set(setting(1_000));
  await clock.advance(900);
  expect(found).toEqual([]);
  await clock.advance(200);
  expect(found).toEqual([ada]);
  expect(events).toEqual(["serves 0", "fires k"]);
});

test("DT2, DT5, DN3 — a release lets what is fired end; the next owner fires what came due meanwhile", async () => {
  const ending = Promise.withResolvers<void>();
  const handler = { kind: "k", fire: () => ending.promise };
  const { clock, node, timers, events } = start({ timerHandlers: [handler] });
  await clock.advance(10);
  void node.processesOf(0)?.timers.set(setting(0));
  void node.processesOf(0)?.timers.set({ ...setting(60_000), key: "bob" });
  await clock.advance(100);
  let isReleased = false;
  void node.release([0]).then(() => (isReleased = true));
  await clock.advance(1_000);
  expect(isReleased).toBe(false);
  ending.resolve();
  await clock.advance(100);
  expect(isReleased).toBe(true);
  expect([...timers.memory.rows.values()].map(({ key }) => key)).toEqual(["bob"]);
  await clock.advance(120_000);
  expect(events).toEqual(["serves 0", "fires k", "left 0"]);
  timers.epochs.set(0, 2);
  node.acquire([{ partition: 0, epoch: 2, isFirst: false }]);
  await clock.advance(10);
  expect(events.slice(3)).toEqual(["serves 0", "fires k"]);
});

test("DN3, DT5, C20 — a timer that does not end and a flush that does not either have one time together", async () => {
  const handler = { kind: "k", fire: () => new Promise<void>(() => undefined) };
  const { clock, store, node, poke, events } = start({ timerHandlers: [handler] });
  const ada = store.addRecipient(0, "ada");
  await clock.advance(10);
  void node.processesOf(0)?.timers.set(setting(0));
  await clock.advance(90);
  poke(store.plan(0, notificationOf(), { members: [ada] }));
  await clock.advance(1);
  store.writeRows = () => new Promise(() => undefined);
  let isReleased = false;
  void node.release([0]).then(() => (isReleased = true));
  await clock.advance(1_499);
  expect(isReleased).toBe(false);
  await clock.advance(1);
  expect(isReleased).toBe(true);
  expect(events.at(-1)).toBe("left 0");
});
