// Goal: CN2–CN5 and W2, W3, W5 of @carillon/client against this gateway, over real sockets.
import {
  createInbox,
  createSharedTimers,
  type Inbox,
  type InboxState,
  type Position,
} from "@carillon/client";
import type { InboxJoined, NtfPayload } from "@carillon/contracts";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Fixture, recipientsOfOnePartition, startFixture } from "./testing/gateway-fixture.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 5 });
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

let fixture: Fixture;
const inboxes: Inbox[] = [];
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(async () => {
  for (const inbox of inboxes.splice(0)) inbox.close();
  await fixture.stop();
});

interface Opened {
  readonly inbox: Inbox;
  readonly seen: NtfPayload[];
  readonly states: InboxState[];
  readonly resets: InboxJoined[];
  readonly offsets: () => number[];
}

function open(
  options: { position?: Position; recipientId?: string; token?: () => Promise<string> } = {},
): Opened {
  const [seen, states, resets]: [NtfPayload[], InboxState[], InboxJoined[]] = [[], [], []];
  const sub = options.recipientId ?? "anna";
  const inbox = createInbox({
    url: `ws://127.0.0.1:${fixture.port}/socket`,
    token: options.token ?? (() => fixture.issuer.sign({ sub })),
    device: "test",
    ...(options.position === undefined ? {} : { position: options.position }),
    onNotification: (notification) => void seen.push(notification),
    onStateChange: (state) => void states.push(state),
    onReset: (joined) => void resets.push(joined),
    random: () => 0, // the shortest back-off
    timers,
  });
  inboxes.push(inbox);
  return { inbox, seen, states, resets, offsets: () => seen.map(({ offset }) => offset) };
}
const timers = createSharedTimers(5);

test("W2, W3 — joins, hears, acks cumulatively", async () => {
  const { inbox, seen, states, resets } = open();
  await until(() => expect(inbox.state).toBe("live"));
  fixture.owner.post(["anna"], { id: "a", title: "Hi" });
  await until(() => expect(seen).toEqual([{ offset: 1, epoch: "e1", id: "a", title: "Hi" }]));
  await until(() => expect(fixture.owner.ackedOffsets).toEqual({ 1: 1 }));
  expect([states, resets, inbox.position]).toEqual([
    ["connecting", "joining", "live"],
    [],
    { offset: 1, epoch: "e1" },
  ]);
});

test("CN3 — 100 notifications at once are acked in a few messages", async () => {
  const { inbox, offsets } = open();
  await until(() => expect(inbox.state).toBe("live"));
  for (const id of range(1, 100)) fixture.owner.post(["anna"], { id: `n${id}` });
  await until(() => expect(offsets()).toEqual(range(1, 100)));
  await until(() => expect(fixture.owner.ackedOffsets).toEqual({ 1: 100 }));
  const told = fixture.owner.reports.flatMap(({ acks }) => acks.map(([, , offset]) => offset));
  expect(told).toEqual(told.toSorted((a, b) => a - b));
  expect(told.length <= 8).toBe(true); // the first, each 16th, and the last
});

test("CN2 — resumes over cuts at any moment: each offset once, in order", async () => {
  const { inbox, offsets } = open();
  await until(() => expect(inbox.state).toBe("live"));
  let posted = 0;
  for (const size of [1, 7, 30, 2]) {
    for (let count = 0; count < size; count++) posted = fixture.owner.post(["anna"], { id: "n" });
    await until(() => expect(offsets().length > posted - size).toBe(true)); // in the midst of it
    fixture.owner.forgetGateways();
    fixture.network.cut("gateway");
    for (let count = 0; count < size; count++) posted = fixture.owner.post(["anna"], { id: "n" });
    fixture.network.heal("gateway");
    await until(() => expect(offsets()).toEqual(range(1, posted)));
  }
  await until(() => expect(Math.max(...Object.values(fixture.owner.ackedOffsets))).toBe(posted));
});

test("W2 — a position that means nothing any more: reset, then live ones follow", async () => {
  fixture.owner.post(["anna"], { id: "a" });
  const { inbox, offsets, resets } = open({ position: { offset: 5, epoch: "old" } });
  await until(() => expect(inbox.state).toBe("live"));
  expect(resets).toEqual([{ recovered: false, epoch: "e1", offset: 1, missed: 0, unread: 0 }]);
  fixture.owner.post(["anna"], { id: "b" });
  await until(() => expect(offsets()).toEqual([2]));
});

test("W3 — a resend after a lost ack is not shown again, and acked again", async () => {
  const { inbox, offsets } = open();
  await until(() => expect(inbox.state).toBe("live"));
  fixture.owner.post(["anna"], { id: "a" });
  await until(() => expect(fixture.owner.ackedOffsets).toEqual({ 1: 1 }));
  fixture.owner.reports.length = 0;
  fixture.owner.resend("anna", 1);
  await until(() => expect(fixture.owner.ackedOffsets).toEqual({ 1: 1 }));
  expect(offsets()).toEqual([1]);
});

test("CN4 — receipts given while away arrive after the reconnect", async () => {
  fixture.owner.post(["anna"], { id: "a" });
  const gate = Promise.withResolvers<string>();
  const { inbox } = open({ position: { offset: 1, epoch: "e1" }, token: () => gate.promise });
  inbox.read(1);
  inbox.acknowledge(1);
  gate.resolve(await fixture.issuer.sign());
  await until(() =>
    expect(fixture.owner.reports.flatMap(({ reads }) => reads)).toEqual([[1, 1_001, 1]]),
  );
  await until(() =>
    expect(fixture.owner.reports.flatMap(({ acknowledges }) => acknowledges)).toEqual([
      [1, 1_001, 1],
    ]),
  );
});

test("W5 — a token that is not valid stops it; an expired one is fetched anew", async () => {
  const bad = open({ token: () => Promise.resolve("nonsense") });
  await until(() => expect(bad.inbox.state).toBe("stopped"));
  expect(bad.inbox.closeCode).toBe(4501);
  const tokens = [await fixture.issuer.sign({ exp: 1_000 }), await fixture.issuer.sign()];
  const expired = open({ token: () => Promise.resolve(tokens.shift() ?? "") });
  await until(() => expect(expired.inbox.state).toBe("live"));
  expect(expired.inbox.closeCode).toBe(4001);
});

test("W5 — a drained client waits as long as it was told, then comes back", async () => {
  const { inbox, states } = open();
  await until(() => expect(inbox.state).toBe("live"));
  const { port } = fixture;
  await fixture.gateway.stop();
  await until(() => expect(inbox.state).toBe("waiting"));
  fixture = await startFixture({ config: { port } });
  fixture.owner.post(["anna"], { id: "a" });
  // Another node's issuer: the old token is refused there.
  await until(() => expect(inbox.state).toBe("live"));
  expect(states.filter((state) => state === "stopped")).toEqual([]);
});

test("CN5 — after close nothing comes, and the owner hears of it", async () => {
  const { inbox, offsets, states } = open();
  await until(() => expect(inbox.state).toBe("live"));
  inbox.close();
  inbox.close();
  await until(() => expect(fixture.owner.sessionsCount).toBe(0));
  fixture.owner.post(["anna"], { id: "a" });
  expect([inbox.state, states, offsets()]).toEqual([
    "stopped",
    ["connecting", "joining", "live", "stopped"],
    [],
  ]);
});

test("W7 — 200 inboxes in one process, one post: each hears it once and acks it", async () => {
  const ids = recipientsOfOnePartition(200);
  const all = ids.map((recipientId) => open({ recipientId }));
  await until(() => expect(all.every(({ inbox }) => inbox.state === "live")).toBe(true));
  fixture.owner.post(ids, { id: "a" });
  await until(() => expect(all.map(({ offsets }) => offsets())).toEqual(ids.map(() => [1])));
  await until(() => expect(Object.keys(fixture.owner.ackedOffsets).length).toBe(200));
});
