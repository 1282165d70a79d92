// Goal: SD6. Method: one delivery node, or one after another over the same store; a gateway's reports of
// receipts, each with its confirmation, while the store fails, refuses, or has to be asked for the row.
import type { SessionReport } from "@carillon/contracts";
import { expect, test } from "vitest";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import { GATEWAY, idOf, start } from "./test-delivery.ts";

type Told = Partial<Pick<SessionReport, "reads" | "acknowledges">>;

/** Rows for ada and bob, all of which ada's session 7 was sent. */
async function startWith(rowsCount: number, options: Parameters<typeof start>[0] = {}) {
  const store = new FakeLedgerStore();
  for (const name of ["ada", "bob"]) store.addRecipient(0, name);
  const started = start({ store, ...options });
  await started.clock.advance(0);
  await started.open({ recipientId: "ada", sid: 7 });
  for (let n = 1; n <= rowsCount; n++)
    started.poke(store.plan(0, notificationOf({ id: idOf(n) }), { members: [0, 1] }));
  await started.clock.advance(200);
  await started.ack(7, 0, rowsCount);
  await started.clock.advance(5_200); // bob's grace: all are closed, and written
  return { ...started, store, ...reporter(started.node) };
}

/** For ada, who is not here. */
function storeOfOpen(rowsCount: number): FakeLedgerStore {
  const store = new FakeLedgerStore();
  store.addRecipient(0, "ada");
  for (let n = 1; n <= rowsCount; n++)
    store.plan(0, notificationOf({ id: idOf(n) }), { members: [0] });
  return store;
}

function reporter(node: ReturnType<typeof start>["node"]) {
  const kept: string[] = [];
  const report = (name: string, told: Told): void => {
    const message = { kind: "report" as const, gatewayId: GATEWAY, acks: [], closed: [] };
    const receipts = { reads: [], acknowledges: [], ...told };
    node.report(0, { ...message, ...receipts }, () => void kept.push(name));
  };
  return { kept, report };
}

test("SD6 — confirmed when all of a report is written, not before; once more, and nothing is written", async () => {
  const { clock, events, kept, report, store } = await startWith(2);
  const readOf = (offset: number) => store.setOf(0, offset, "read");
  report("first", { reads: [[7, 0, 1]], acknowledges: [[7, 1, 2]] });
  await clock.advance(99);
  expect([kept, readOf(1)]).toEqual([[], []]);
  await clock.advance(1);
  expect([kept, readOf(1), store.setOf(0, 2, "acknowledged")]).toEqual([["first"], [0], [1]]);
  report("again", { reads: [[7, 0, 1]], acknowledges: [[7, 1, 2]] });
  expect(kept).toEqual(["first", "again"]);
  expect(events.filter((event) => /^(read|acknowledged)$/.test(event))).toEqual([
    "read",
    "acknowledged",
  ]);
});

test("SD6 — the store is down: confirmed with the write that succeeds", async () => {
  const { clock, events, kept, report, store } = await startWith(1);
  store.failuresLeft = 2;
  report("read", { reads: [[7, 0, 1]] });
  await clock.advance(150); // the first flush has failed
  report("again", { reads: [[7, 0, 1]] }); // by a gateway that heard nothing
  expect([kept, events.filter((event) => event.startsWith("fault")).length > 0]).toEqual([
    [],
    true,
  ]);
  await clock.advance(5_000);
  expect([kept, store.setOf(0, 1, "read")]).toEqual([["read", "again"], [0]]);
});

test("SD6 — told while the row is being written: confirmed by the first write that contains it", async () => {
  const { clock, kept, report, store } = await startWith(1);
  const writes: (() => void)[] = [];
  const writeRows = store.writeRows.bind(store);
  store.writeRows = async (...args) => {
    await new Promise<void>((resolve) => void writes.push(resolve));
    return await writeRows(...args);
  };
  const writeNext = async (): Promise<void> => {
    writes.shift()?.();
    await clock.advance(0);
  };
  report("read", { reads: [[7, 0, 1]] });
  await clock.advance(100); // under way
  report("same", { reads: [[7, 0, 1]] });
  expect(kept).toEqual([]);
  await writeNext();
  expect(kept).toEqual(["read", "same"]);
  report("next", { acknowledges: [[7, 0, 1]] });
  await clock.advance(100); // under way
  report("other", { reads: [[7, 1, 1]] });
  await writeNext(); // of the row as it was before "other"
  expect([kept.slice(2), store.setOf(0, 1, "acknowledged")]).toEqual([["next"], [0]]);
  expect(store.setOf(0, 1, "read")).toEqual([0]);
  await clock.advance(100);
  expect(kept.slice(2)).toEqual(["next"]);
  await writeNext();
  expect([kept.slice(2), store.setOf(0, 1, "read")]).toEqual([
    ["next", "other"],
    [0, 1],
  ]);
});

test("SD6 — the row changes during every write: each report is confirmed with the next write all the same", async () => {
  const store = new FakeLedgerStore();
  const members = Array.from({ length: 150 }, (_, n) => store.addRecipient(0, `person ${n}`));
  const row = store.plan(0, notificationOf(), { members });
  const { clock, node } = start({ store });
  await clock.advance(200); // nobody is there: closed, and written
  const writeRows = store.writeRows.bind(store);
  store.writeRows = async (...args) => {
    await clock.sleep(30);
    return await writeRows(...args);
  };
  const waitsMs: number[] = [];
  const report = (index: number): void => {
    const toldAtMs = clock.monotonicMs();
    const reads: SessionReport["reads"] = [[7, index, row.offset]];
    const rest = { gatewayId: GATEWAY, acks: [], closed: [], acknowledges: [] };
    node.report(0, { kind: "report", reads, ...rest }, () => {
      expect(store.setOf(0, row.offset, "read")).toContain(index);
      waitsMs.push(clock.monotonicMs() - toldAtMs);
    });
  };
  for (const index of members) {
    report(index);
    await clock.advance(20); // 50 a second
  }
  await clock.advance(200);
  // Five come until a write begins, 100 ms after the first of them; it takes 30 ms.
  expect(waitsMs).toEqual(Array.from({ length: 30 }, () => [130, 110, 90, 70, 50]).flat());
});

test("SD6, D4 — the write is refused: never confirmed here, and by the next owner when it has it", async () => {
  const { clock, events, kept, node, report, store } = await startWith(1);
  store.epochs.set(0, 2);
  report("read", { reads: [[7, 0, 1]] });
  await clock.advance(200);
  expect([kept, events.at(-1)]).toEqual([[], "fenced 0"]);
  report("again", { reads: [[7, 0, 1]] });
  node.stop();
  const next = start({ store, epoch: 3, isFirst: false });
  await next.clock.advance(0);
  const told = reporter(next.node);
  told.report("next", { reads: [[7, 0, 1]] });
  await next.clock.advance(100);
  expect([kept, told.kept, store.setOf(0, 1, "read")]).toEqual([[], ["next"], [0]]);
});

test("SD6, DN3 — a planned handover: what came before it is written, and confirmed before the lease goes", async () => {
  const { kept, node, report, store } = await startWith(1);
  report("read", { reads: [[7, 0, 1]] });
  await node.release([0]);
  expect([kept, store.setOf(0, 1, "read")]).toEqual([["read"], [0]]);
  report("late", { reads: [[7, 1, 1]] }); // of a partition that is here no more
  expect(kept).toEqual(["read"]);
});

test("SD6 — rows that have left memory are read, each once; the store fails, and the gateway tells it again", async () => {
  const { clock, kept, report, store } = await startWith(5, { limits: { tailMax: 1 } });
  const readAfter: number[] = [];
  const readRows = store.readRows.bind(store);
  store.readRows = (home, partition, options) => {
    readAfter.push(options.afterOffset);
    return readRows(home, partition, options);
  };
  store.failuresLeft = 1;
  report("in vain", { reads: [[7, 0, 1]] });
  await clock.advance(0);
  readAfter.length = 0;
  report("old", {
    reads: [
      [7, 0, 1],
      [7, 1, 1],
      [7, 0, 3],
    ],
    acknowledges: [[7, 0, 5]], // in memory
  });
  await clock.advance(200);
  expect(readAfter).toEqual([0, 2]);
  expect(kept).toEqual(["old"]);
  expect([1, 3].map((offset) => store.setOf(0, offset, "read"))).toEqual([[0, 1], [0]]);
  expect(store.setOf(0, 5, "acknowledged")).toEqual([0]);
});

test.each([1, 2])(
  "SD6, D1, D2 — the row waits to be handed (openMax %i): told again, it is kept beside the outcome",
  async (openMax) => {
    const store = storeOfOpen(70); // the first 64 are handed together
    const { clock, node } = start({
      store,
      epoch: 2,
      isFirst: false,
      limits: { openMax, ownRowsMax: 1_000 },
    });
    const { kept, report } = reporter(node);
    await clock.advance(0);
    expect(node.stats()).toMatchObject({ openEntryCount: 64, incomingCount: 6 });
    report("early", { reads: [[7, 0, 70]] });
    await clock.advance(200);
    expect([kept, store.setOf(0, 70, "read")]).toEqual([[], []]);
    await clock.advance(5_200); // the grace is over: nobody has come
    expect(node.stats()).toMatchObject({ openEntryCount: 0, incomingCount: 0 });
    report("again", { reads: [[7, 0, 70]] });
    await clock.advance(200);
    report("later", { acknowledges: [[7, 0, 70]] });
    await clock.advance(200);
    expect(kept).toEqual(["again", "later"]);
    expect(store.rows.get("0/70")?.state).toBe("closed");
    const found = (["noDevice", "read", "acknowledged"] as const).map((name) =>
      store.setOf(0, 70, name),
    );
    expect(found).toEqual([[0], [0], [0]]);
  },
);

test("SD6, D1, D2 — told while the partition is being loaded: not confirmed, and kept when it is told again", async () => {
  const store = storeOfOpen(1);
  const loads = Promise.withResolvers<void>();
  const streamDirectory = store.streamDirectory.bind(store);
  store.streamDirectory = async (...args) => {
    await loads.promise;
    await streamDirectory(...args);
  };
  const { clock, events, node } = start({ store, epoch: 2, isFirst: false });
  const { kept, report } = reporter(node);
  await clock.advance(0);
  report("early", { reads: [[7, 0, 1]] });
  await clock.advance(200);
  expect([events, kept, store.setOf(0, 1, "read")]).toEqual([[], [], []]);
  loads.resolve();
  await clock.advance(0);
  report("again", { reads: [[7, 0, 1]] });
  await clock.advance(5_200);
  expect([events, kept]).toEqual([["serves 0", "read", "noDevice 1"], ["again"]]);
  expect(["noDevice", "read"].map((name) => store.setOf(0, 1, name as "read"))).toEqual([[0], [0]]);
});

test("SD6 — what nobody can keep is not told for ever: no such row, or not meant for her", async () => {
  const { kept, report, store } = await startWith(1);
  report("no row", {
    reads: [
      [7, 0, 99],
      [7, 0, 0],
    ],
  });
  report("not hers", { reads: [[7, 5, 1]] });
  expect([kept, store.setOf(0, 1, "read")]).toEqual([["no row", "not hers"], []]);
});

test("SD6 — more reports wait for a write than may: the oldest is not confirmed, and written all the same", async () => {
  const { clock, kept, report, store } = await startWith(1, { limits: { unwrittenReportsMax: 2 } });
  report("first", { reads: [[7, 0, 1]] });
  report("second", { reads: [[7, 1, 1]] });
  report("third", { acknowledges: [[7, 1, 1]] });
  await clock.advance(100);
  expect([kept, store.setOf(0, 1, "read")]).toEqual([
    ["second", "third"],
    [0, 1],
  ]);
});
