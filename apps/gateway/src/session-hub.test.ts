// Goal: GW15: a session whose code throws ends alone. Method: a hub on a memory network, an outlet
// that throws.
import { createMemoryNetwork } from "@carillon/bus";
import { partitionOf } from "@carillon/contracts";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { expect, test, vi } from "vitest";
import { InboxSession } from "./inbox-session.ts";
import { GATEWAY_LIMITS } from "./limits.ts";
import { SessionHub } from "./session-hub.ts";
import { recipientsOfOnePartition } from "./testing/gateway-fixture.ts";
import { HOME, ScriptedOwner, TENANT } from "./testing/scripted-owner.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 5 });

test("GW15 — one outlet throws: phx_error for it, the others of its group hear everything", async () => {
  const network = createMemoryNetwork();
  const owner = new ScriptedOwner(network.connect("owner"), "owner-1");
  owner.own(partitionOf(TENANT, "anna"), 1);
  const logged: string[] = [];
  const log = {
    info: () => undefined,
    warn: () => undefined,
    error: (event: string) => void logged.push(event),
  };
  const hub = new SessionHub({
    memberId: "gateway-1",
    bus: network.connect("gateway"),
    members: { onBeat: () => undefined, onMemberLost: () => undefined },
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
    log,
    openLimits: GATEWAY_LIMITS,
    reportEveryMs: 20,
  });
  hub.start();
  const ids = recipientsOfOnePartition(3);
  const told: string[] = [];
  const joinedCount = { value: 0 };
  ids.forEach((recipientId, index) => {
    const session = new InboxSession({
      sid: index + 1,
      identity: { tenantId: TENANT, recipientId, home: HOME, expiresAtMs: Infinity },
      partition: partitionOf(TENANT, recipientId),
      joinRef: "1",
      ref: "1",
      join: {},
      joinDeadlineMs: Infinity,
      outlet: {
        reply: () => void joinedCount.value++,
        push: (_, event) => void told.push(`${index}:${event}`),
        writeFrame() {
          if (index === 1) throw new Error("a bug");
          told.push(`${index}:ntf`);
        },
        onEnded: (ended) => hub.close(ended),
      },
    });
    hub.open(session);
  });
  await until(() => expect(joinedCount.value).toBe(3));
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
  hub.stop();
});
