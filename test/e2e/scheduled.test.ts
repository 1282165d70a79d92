// test/e2e/scheduled.test.ts
// Goal: A2's `sendAt` through whole regions: nobody has it before, everybody has it soon after, once, whatever
// dies meanwhile. Method: real nodes of two regions; clients write down when they are shown something.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";
import { startTestCluster, type TestCluster } from "./cluster.ts";

let system: TestCluster;
const fra = () => system.api("fra");
const HOMES = ["fra", "lon"];

beforeAll(async () => {
  system = await startTestCluster(HOMES);
  for (const home of HOMES)
    for (const name of ["ada", "bob"]) await fra().register(`${name}-${home}`, home);
});
afterAll(() => system?.stop());

const inMs = (delayMs: number) => new Date(Date.now() + delayMs).toISOString();
/** performance.now() of an instant of the wall clock. */
const monotonicOf = (iso: string) => performance.now() + Date.parse(iso) - Date.now();
/** Each database has a clock of its own; here they are one machine's, and timers have milliseconds. */
const CLOCKS_MS = 5;

test("A2 — sent at its time in each region: not before, within a second, and the status tells", async () => {
  const logs = await Promise.all(
    HOMES.map((home) => system.connect(`ada-${home}`, { region: home, issuer: "fra" })),
  );
  const sendAt = inMs(3_000);
  const ids = [
    await fra().post({ broadcast: true }, "to all", { sendAt }),
    await fra().post({ recipients: ["ada-lon", "ada-fra"] }, "to two", { sendAt }),
  ];
  const before = await Promise.all(ids.map((id) => fra().status(id)));
  expect(before.map(({ sendAt: told }) => told)).toEqual([sendAt, sendAt]);
  expect(before[1]?.regions.find(({ region }) => region === "fra")).toMatchObject({
    state: "scheduled",
    counts: { targeted: 1, deferred: 1 },
  });
  const dueMs = monotonicOf(sendAt);
  for (const log of logs) {
    await log.has(2);
    expect(log.titles.toSorted()).toEqual(["to all", "to two"]);
    for (const atMs of log.seenAtMs) {
      expect(atMs).toBeGreaterThan(dueMs - CLOCKS_MS);
      expect(atMs).toBeLessThan(dueMs + 1_500); // a timer is ≤ 1 s late, and it is sent
    }
    expect(log.seen.map(({ offset }) => offset)).toEqual(
      log.seen.map(({ offset }) => offset).toSorted((a, b) => a - b),
    );
  }
  const [all, two] = await Promise.all(ids.map((id) => fra().finished(id)));
  expect(all?.counts).toMatchObject({ targeted: 4, deliveredSocket: 2, noDevice: 2, deferred: 0 });
  expect(two?.counts).toMatchObject({ targeted: 2, deliveredSocket: 2, pending: 0 });
});

test("D1, D2 — kill -9 of the region while it waits, and as it is due: sent once, by who is there then", async () => {
  const log = await system.connect("bob-fra", { region: "lon", issuer: "lon" });
  const post = (title: string, delayMs: number) =>
    system.api("lon").post({ recipients: ["bob-fra"] }, title, { sendAt: inMs(delayMs) });
  const posted = [await post("while it waits", 4_000), await post("as it is due", 1_500)];
  await until("the second one is due", 10_000, async () => {
    const { state } = await system.api("lon").status(posted[1]!);
    return state !== "scheduled" || undefined;
  });
  system.cluster.killNode("fra", "SIGKILL");
  const states = await Promise.all(posted.map((id) => system.api("lon").finished(id, 120_000)));
  await log.has(2, 60_000);
  expect(log.titles.toSorted()).toEqual(["as it is due", "while it waits"]);
  for (const { counts } of states)
    expect(counts).toMatchObject({ targeted: 1, deliveredSocket: 1, pending: 0 });
});

test("A13 — a time that is too far ahead is refused by name, one that has passed means at once", async () => {
  const request = { audience: { recipients: ["bob-lon"] }, content: { en: { title: "x" } } };
  const far = await fra().call<{ errors: unknown }>("POST", "/v1/notifications", {
    ...request,
    sendAt: inMs(32 * 86_400_000),
  });
  expect([far.status, far.body.errors]).toEqual([
    422,
    [{ field: "sendAt", message: "must be at most 31 days ahead" }],
  ]);
  const wrong = await fra().call<{ errors: { field: string }[] }>("POST", "/v1/notifications", {
    ...request,
    sendAt: "tomorrow",
  });
  expect([wrong.status, wrong.body.errors[0]?.field]).toEqual([422, "sendAt"]);
  const past = await fra().finished(
    await fra().post(request.audience, "x", { sendAt: inMs(-9e4) }),
  );
  expect(past.counts).toMatchObject({ targeted: 1, noDevice: 1 });
});
