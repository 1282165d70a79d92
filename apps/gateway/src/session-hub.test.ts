// Goal: GW15: a session whose code throws ends alone; GW13, GW16: what the owner was not told of
// closed sessions is told later; GW34: nor is a receipt lost in a handover. Method: a hub on a memory network, outlets that throw or count.
import { createMemoryNetwork } from "@carillon/bus";
import { partitionOf } from "@carillon/contracts";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { InboxSession, type SessionOutlet } from "./inbox-session.ts";
import { GATEWAY_LIMITS } from "./limits.ts";
import { Processes } from "./processes.ts";
import { SessionHub } from "./session-hub.ts";
import { recipientsOfOnePartition } from "./testing/gateway-fixture.ts";
import { HOME, ScriptedOwner, TENANT } from "./testing/scripted-owner.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 5 });

let network: ReturnType<typeof createMemoryNetwork>;
let owner: ScriptedOwner;
let hub: SessionHub;
let processes: Processes;
let logged: string[];
let joinedCount: number;

beforeEach(() => {
  network = createMemoryNetwork();
  owner = new ScriptedOwner(network.connect("owner"), "owner-1");
  owner.own(partitionOf(TENANT, "anna"), 1);
  [logged, joinedCount] = [[], 0];
  const log = {
    info: () => undefined,
    warn: () => undefined,
    error: (event: string) => void logged.push(event),
  };
  const process = { clock: systemClock, scheduler: systemScheduler, random: systemRandom };
  processes = new Processes({ ...process, log, limits: GATEWAY_LIMITS });
  hub = new SessionHub({
    processes,
    memberId: "gateway-1",
    bus: network.connect("gateway"),
    members: { onBeat: () => undefined, onMemberLost: () => undefined },
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
    log,
    openLimits: GATEWAY_LIMITS,
    reportLimits: { ...GATEWAY_LIMITS, receiptTimeoutMs: 200 },
  });
  hub.start();
});
afterEach(() => {
  processes.stop();
  hub.stop();
  owner.stop();
});

function open(sid: number, recipientId: string, outlet: Partial<SessionOutlet>): InboxSession {
  const session = new InboxSession({
    sid,
    identity: { tenantId: TENANT, recipientId, home: HOME, expiresAtMs: Infinity },
    partition: partitionOf(TENANT, recipientId),
    joinRef: "1",
    ref: "1",
    join: {},
    joinDeadlineMs: Infinity,
    outlet: {
      reply: () => void joinedCount++,
      push: () => undefined,
      writeFrame: () => undefined,
      onFrame: () => undefined,
      again: () => undefined,
      onEnded: (ended) => hub.close(ended),
      ...outlet,
    },
  });
  hub.open(session);
  return session;
}

test("GW15 — one outlet throws: phx_error for it, the others of its group hear everything", async () => {
  const ids = recipientsOfOnePartition(3);
  const told: string[] = [];
  ids.forEach((recipientId, index) =>
    open(index + 1, recipientId, {
      push: (_, event) => void told.push(`${index}:${event}`),
      writeFrame() {
        if (index === 1) throw new Error("a bug");
        told.push(`${index}:ntf`);
      },
    }),
  );
  await until(() => expect(joinedCount).toBe(3));
  owner.post(ids, { id: "a" });
  owner.post(ids, { id: "b" });
  await until(() =>
    expect(told.toSorted()).toEqual(["0:ntf", "0:ntf", "1:phx_error", "2:ntf", "2:ntf"]),
  );
  expect([hub.stats().crashesTotal, hub.stats().sessionsCount, logged]).toEqual([
    1,
    2,
    ["gateway.session_crashed"],
  ]);
  await until(() => expect(owner.sessionsCount).toBe(2));
});

test("GW13 — more sessions close than can wait: the owner hears of the rest when it sends", async () => {
  const forgottenCount = 50;
  const closedCount = GATEWAY_LIMITS.reportClosedMax + forgottenCount;
  const writtenTo: number[] = [];
  const all = Array.from({ length: closedCount + 1 }, (_, index) =>
    open(index, "anna", { writeFrame: () => void writtenTo.push(index) }),
  );
  await until(() => expect(joinedCount).toBe(all.length));
  network.cut("gateway"); // for so short that its owner keeps the sessions
  for (const session of all.slice(1)) hub.close(session);
  const { reportsWaitingCount, closedDroppedTotal } = hub.stats();
  expect([reportsWaitingCount, closedDroppedTotal]).toEqual([
    GATEWAY_LIMITS.reportClosedMax,
    forgottenCount,
  ]);
  network.heal("gateway");
  await until(() => expect(owner.sessionsCount).toBe(1 + forgottenCount));
  owner.post(["anna"], { id: "a" });
  await until(() => expect(owner.sessionsCount).toBe(1));
  await until(() => expect(writtenTo).toEqual([0]));
  await until(() => expect(hub.stats().reportsWaitingCount).toBe(0));
});

test("GW16 — the last session of a partition closes while the bus is away: told on its return", async () => {
  const session = open(1, "anna", {});
  await until(() => expect(joinedCount).toBe(1));
  network.cut("gateway");
  hub.close(session);
  expect(hub.stats()).toMatchObject({ partitionsCount: 0, reportsWaitingCount: 1 });
  network.heal("gateway");
  await until(() => expect(owner.sessionsCount).toBe(0));
  expect(hub.stats().reportsWaitingCount).toBe(0);
});

test("GW34 — a read is made while its partition changes hands: the next owner is told", async () => {
  const partition = partitionOf(TENANT, "anna");
  const session = open(1, "anna", {});
  await until(() => expect(joinedCount).toBe(1));
  const offset = owner.post(["anna"], { id: "a" });
  owner.keepsReceipts = false; // it hears the first, and is gone before it has written it
  hub.receipt("reads", session, offset);
  await until(() => expect(owner.reports.flatMap(({ reads }) => reads)).toHaveLength(1));
  owner.release(partition);
  hub.receipt("acknowledges", session, offset); // nobody is there
  const next = new ScriptedOwner(network.connect("next"), "owner-2", owner.ledger);
  next.own(partition, 2);
  await until(() => {
    expect(next.reports.flatMap(({ reads }) => reads)).toEqual([[1, 1_001, offset]]);
    expect(next.reports.flatMap(({ acknowledges }) => acknowledges)).toEqual([[1, 1_001, offset]]);
  });
  await until(() => expect(hub.stats()).toMatchObject({ receiptsAskedCount: 0 }));
  expect(hub.stats()).toMatchObject({ reportsWaitingCount: 0, receiptsDroppedTotal: 0 });
  next.stop();
});
