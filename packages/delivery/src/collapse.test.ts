// packages/delivery/src/collapse.test.ts
// Goal: CO1 in a whole node. Method: one person with and without a session, rows of one key in many orders.
import { expect, test } from "vitest";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import { idOf, start } from "./test-delivery.ts";
import { ALLOW, type Verdict } from "./verdict.ts";

const GRACE_MS = 5_000;
const FLUSHED_MS = 150;

function started(verdictOf: (offset: number) => Verdict = () => ALLOW) {
  const store = new FakeLedgerStore();
  const node = start({ store, isFirst: true, verdictOf: (_, __, { offset }) => verdictOf(offset) });
  const index = store.addRecipient(0, "ada");
  const post = (n: number, more: Parameters<typeof notificationOf>[0]) =>
    node.poke(
      store.plan(
        0,
        notificationOf({ id: idOf(n), collapseKey: "shift", acceptedAtMs: n, ...more }),
        {
          members: [index],
        },
      ),
    );
  const left = async (sid: number) => {
    const closed = {
      acks: [],
      reads: [],
      acknowledges: [],
      closed: [[sid, index] as [number, number]],
    };
    node.node.report(0, { kind: "report", gatewayId: "gw-1", ...closed });
    await node.clock.advance(0);
  };
  return { ...node, store, index, post, left };
}

test("CO1 — of three while somebody is away, the newest is sent when he is back", async () => {
  const { clock, open, post, left, taken, store } = started();
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 1 });
  await left(1);
  for (const n of [1, 2, 3]) post(n, {});
  await clock.advance(GRACE_MS / 2);
  expect(taken()).toEqual([]);
  await open({ recipientId: "ada", sid: 2, position: { epoch: "e1", offset: 0 } });
  await clock.advance(FLUSHED_MS);
  expect(taken()).toEqual(["3→2"]);
  expect([1, 2].map((offset) => store.setOf(0, offset, "collapsed"))).toEqual([[0], [0]]);
  expect(store.setOf(0, 3, "collapsed")).toEqual([]);
});

test("CO1 — who is not back in time has one outcome for lack of a device", async () => {
  const { clock, open, post, left, store } = started();
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 1 });
  await left(1);
  for (const n of [1, 2]) post(n, {});
  await clock.advance(GRACE_MS + FLUSHED_MS);
  expect([store.setOf(0, 1, "collapsed"), store.setOf(0, 2, "noDevice")]).toEqual([[0], [0]]);
});

test("CO1 — what has been sent is sent, other keys and tenants are others", async () => {
  const { clock, open, post, taken } = started();
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 1 });
  post(1, {});
  await clock.advance(0);
  post(2, { collapseKey: "menu" });
  post(3, { tenantId: "bolt" });
  post(4, {});
  await clock.advance(0);
  expect(taken()).toEqual(["1→1", "2→1", "3→1", "4→1"]);
});

test("CO1 — one that was put off comes back behind a newer one, and gives way to it", async () => {
  let isQuiet = true;
  const quiet = started(() =>
    isQuiet ? { kind: "defer", untilMs: wakesAtMs, reason: "ownQuietHours" } : ALLOW,
  );
  const { clock, open, post, taken, store } = quiet;
  const wakesAtMs = clock.wallClockMs() + 10_000;
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 1 });
  post(1, {});
  await clock.advance(FLUSHED_MS);
  isQuiet = false;
  post(2, {});
  await clock.advance(11_000);
  expect(taken()).toEqual(["2→1"]);
  expect(store.setOf(0, 3, "collapsed")).toEqual([0]);
});

test.each([
  ["is held back itself", (): Verdict => ({ kind: "suppress", outcome: "capped" }), {}],
  ["is put off itself", (): Verdict => ({ kind: "defer", untilMs: 1e13, reason: "holiday" }), {}],
  ["is no critical one", (): Verdict => ALLOW, { priority: "critical" as const }],
])("CO1 — a newer one that %s takes nobody's place", async (_, ofNewer, more) => {
  const { clock, open, post, left, taken, store } = started((offset) =>
    offset === 2 ? ofNewer() : ALLOW,
  );
  await clock.advance(0);
  await open({ recipientId: "ada", sid: 1 });
  await left(1);
  post(1, more);
  post(2, {});
  await clock.advance(GRACE_MS / 2);
  void open({ recipientId: "ada", sid: 2, position: { epoch: "e1", offset: 0 } });
  await clock.advance(FLUSHED_MS);
  expect(taken()[0]).toBe("1→2");
  expect(store.setOf(0, 1, "collapsed")).toEqual([]);
});
