// test/e2e/two-workers.test.ts
// Two workers in one region: partitions are shared, move when one dies, and a stopped owner that
// wakes up changes nothing (D4, C18, C19).
import { EMPTY_SETS } from "@carillon/delivery";
import type { Store } from "@carillon/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";
import { startTestCluster, type TestCluster } from "./cluster.ts";
import type { InboxLog } from "./inbox-log.ts";
import { type LeaseLog, openLeaseLog } from "./lease-log.ts";

let system: TestCluster;
let store: Store;
let log: LeaseLog;
const inboxes: InboxLog[] = [];
const api = () => system.api("fra");

/** owner → number of its partitions, by valid leases. */
const owners = async (): Promise<Map<string, number>> => {
  const counts = new Map<string, number>();
  for (const { ownerId, isExpired } of await store.leases.list("fra")) {
    const owner = isExpired || ownerId === null ? "nobody" : ownerId;
    counts.set(owner, (counts.get(owner) ?? 0) + 1);
  }
  return counts;
};
const shared = (memberId: string, limitMs = 30_000) =>
  until(`${memberId} owns its share`, limitMs, async () => {
    const counts = await owners();
    const own = counts.get(memberId) ?? 0;
    return counts.size === 2 && own >= 100 && own <= 156 ? counts : undefined;
  });

beforeAll(async () => {
  system = await startTestCluster(["fra"]);
  store = system.store("fra");
  log = await openLeaseLog(system.cluster.storeUrl("fra"));
});
afterAll(async () => {
  await log?.close();
  await system?.stop();
});

const team = Array.from({ length: 64 }, (_, n) => `worker-test-${n}`);
const post = (title: string) => api().post({ recipients: team }, title);

test("C18 — partitions are shared, and move to the survivor within 12 s of a kill -9", async () => {
  for (const id of team) await api().register(id, "fra");
  for (const id of team) inboxes.push(system.inbox(id, { region: "fra" }));
  await Promise.all(inboxes.map((inbox) => inbox.live()));
  const second = await system.cluster.addWorker("fra");
  await shared(second.memberId);
  const shown = await post("shared by two");
  expect((await api().finished(shown)).counts.deliveredSocket).toBe(64);

  const killedAtMs = await log.nowMs();
  second.kill("SIGKILL");
  await second.exited;
  const theirs = (await store.leases.list("fra")).flatMap(({ partition, ownerId }) =>
    ownerId === second.memberId ? [partition] : [],
  );
  const during = await post("half of the owners are dead");
  await until("one owner again", 30_000, async () => {
    const counts = await owners();
    return (
      (counts.size === 1 && !counts.has("nobody") && !counts.has(second.memberId)) || undefined
    );
  });
  const taken = (await log.takenSince(killedAtMs)).filter(
    ({ partition, memberId }) => theirs.includes(partition) && memberId !== second.memberId,
  );
  expect(taken.map(({ partition }) => partition).toSorted((a, b) => a - b)).toEqual(theirs);
  const takeoverMs = taken.at(-1)!.atMs - killedAtMs;
  console.log(`C18: taken ${Math.round(takeoverMs)} ms after the kill`);
  expect(takeoverMs).toBeLessThanOrEqual(12_000);
  expect((await api().finished(during)).counts).toMatchObject({
    targeted: 64,
    deliveredSocket: 64,
    pending: 0,
  });
  for (const inbox of inboxes)
    expect(inbox.titles).toEqual(["shared by two", "half of the owners are dead"]);
});

test("D4, C19 — an owner stopped for 20 s and continued: nothing of it is written, nothing twice", async () => {
  const sleeper = await system.cluster.addWorker("fra");
  await shared(sleeper.memberId);
  const epochsBefore = new Map(
    (await store.leases.list("fra")).map(({ partition, epoch }) => [partition, epoch]),
  );
  const ownedBefore = new Map(
    (await store.leases.list("fra"))
      .filter(({ ownerId }) => ownerId === sleeper.memberId)
      .map(({ partition, epoch }) => [partition, epoch]),
  );
  const seenBefore = inboxes[0]!.titles.length;
  // It is stopped with work in hand: posted, and not yet written back.
  const inHand = await post("in hand");
  sleeper.kill("SIGSTOP");
  const stoppedAtMs = performance.now();
  const id = await post("while the owner sleeps");
  await until("the sleeper owns nothing", 30_000, async () =>
    (await owners()).has(sleeper.memberId) ? undefined : true,
  );
  for (const posted of [inHand, id])
    expect((await api().finished(posted)).counts).toMatchObject({
      targeted: 64,
      deliveredSocket: 64,
      pending: 0,
    });
  const settled = await api().status(inHand);
  // What the sleeper may still have in hand: a write under the epochs it had. Refused, all of it.
  const held = (await store.leases.list("fra")).flatMap(({ partition, epoch, ownerId }) => {
    const before = ownedBefore.get(partition);
    expect(ownerId).not.toBe(sleeper.memberId);
    return before === undefined ? [] : [{ partition, before, epoch }];
  });
  expect(held.length).toBeGreaterThanOrEqual(100);
  const lateWrites = held.map(({ partition, before }) => ({
    partition,
    epoch: before,
    offset: 1,
    state: "closed" as const,
    sets: EMPTY_SETS,
  }));
  const { fencedPartitions } = await store.ledger.writeRows("fra", lateWrites);
  expect(fencedPartitions.toSorted((a, b) => a - b)).toEqual(
    held.map(({ partition }) => partition).toSorted((a, b) => a - b),
  );
  expect((await api().status(inHand)).counts).toEqual(settled.counts);
  await new Promise((resolve) =>
    setTimeout(resolve, Math.max(0, 20_000 - (performance.now() - stoppedAtMs))),
  );
  sleeper.kill("SIGCONT");
  await shared(sleeper.memberId); // it comes back as a member, with new epochs
  expect((await api().status(inHand)).counts).toEqual(settled.counts);
  const epochsAfter = await store.leases.list("fra");
  const again = epochsAfter.filter(({ ownerId }) => ownerId === sleeper.memberId);
  for (const { partition, epoch } of again)
    expect(epoch).toBeGreaterThan(epochsBefore.get(partition) ?? 0);
  const last = await post("after it woke");
  expect((await api().finished(last)).counts.deliveredSocket).toBe(64);
  for (const inbox of inboxes)
    expect(inbox.titles.slice(seenBefore)).toEqual([
      "in hand",
      "while the owner sleeps",
      "after it woke",
    ]);
  for (const { seen } of inboxes) {
    const offsets = seen.map(({ offset }) => offset);
    expect(offsets).toEqual([...new Set(offsets)].toSorted((one, other) => one - other)); // each once
  }
});
