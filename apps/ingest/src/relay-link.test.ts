// Goal: IN9 to IN11, IN39 to IN42 of relay-link.ts, step by step. Method: fake time, the memory network,
// an outbox in an array, for one node or two; the target's answers are scripted.
import { createMemoryNetwork } from "@carillon/bus";
import { encodeMessage, subjects } from "@carillon/contracts";
import { createSeededRandom, Fault } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { INGEST_LIMITS } from "./limits.ts";
import { RelayLink, type RelayLimits } from "./relay-link.ts";
import type { RelayOutbox } from "./relay-outbox.ts";
import type { RelayEntry } from "./relay-sender.ts";

type Script = "committed" | "silent" | { readonly failed: string } | { withheld: number[] };

/** What nodes of a region share. `turn` waits in turn, `apart` is due out of turn. */
function createOutbox(clock: FakeClock) {
  const state = {
    turn: [] as RelayEntry[],
    apart: [] as RelayEntry[],
    backlog: undefined as { holder: string; untilMs: number } | undefined,
    isOverdue: false,
    isBroken: false,
    failsOnce: undefined as string | undefined, // a call
    done: [] as number[],
    deferred: [] as number[],
    withheld: [] as RelayEntry[], // of one tenant, in order
    releasedMax: Infinity, // by one statement
    calls: [] as string[],
  };
  const withoutIds = (ids: readonly number[]) => (rows: RelayEntry[]) =>
    rows.filter(({ outboxId }) => !ids.includes(outboxId));
  const connect = (holder: string): RelayOutbox => {
    const call = (name: string): void => {
      state.calls.push(`${holder} ${name}`);
      const isFailing = state.failsOnce === name;
      if (isFailing) state.failsOnce = undefined;
      if (state.isBroken || isFailing)
        throw new Fault("down", { code: "store_unavailable", isRetryable: true });
    };
    const remove = (ids: readonly number[]): void => {
      state.turn = withoutIds(ids)(state.turn);
    };
    return {
      async takeOver({ limitCount, holdMs, isBeginning }) {
        call(isBeginning ? "begins" : "asks");
        const nowMs = clock.monotonicMs();
        const { backlog } = state;
        if (backlog === undefined && !isBeginning && !state.isOverdue) return { kind: "none" };
        if (backlog !== undefined && backlog.holder !== holder && backlog.untilMs > nowMs)
          return { kind: "held" };
        state.isOverdue = false;
        state.backlog = { holder, untilMs: nowMs + holdMs };
        return { kind: "rows", rows: state.turn.slice(0, limitCount) };
      },
      async giveBack() {
        call("gives back");
        if (state.backlog?.holder === holder) state.backlog = { holder: "", untilMs: 0 };
      },
      async endBacklog() {
        call("ends");
        if (state.backlog?.holder !== holder || state.turn.length > 0) return false;
        state.backlog = undefined;
        return true;
      },
      async readWaiting(limitCount) {
        call("reads");
        return state.turn.slice(0, limitCount);
      },
      async claim(limitCount) {
        call("claims");
        return state.apart.splice(0, limitCount);
      },
      async markDone(ids) {
        call("done");
        state.done.push(...ids);
        remove(ids);
        state.withheld = withoutIds(ids)(state.withheld);
      },
      async defer(ids) {
        call("defers");
        state.deferred.push(...ids);
        remove(ids);
      },
      async withhold(ids) {
        call("withholds");
        // Whatever way they went: in turn, as a probe, or released.
        state.withheld = [...withoutIds(ids)(state.withheld), ...entries(...ids)].toSorted(
          (one, other) => one.outboxId - other.outboxId,
        );
        remove(ids);
      },
      async probe() {
        const rows = state.withheld.slice(0, 1);
        const release = async () => {
          call("releases");
          const isTaken = rows.some(({ outboxId }) => state.done.includes(outboxId));
          const due = isTaken ? state.withheld.splice(0, state.releasedMax) : [];
          state.apart.push(...due);
          return { count: due.length, isWhole: due.length < state.releasedMax };
        };
        return { rows, release };
      },
    };
  };
  return { state, connect };
}

function start(limits: Partial<RelayLimits> = {}) {
  const clock = new FakeClock();
  const random = { next: () => 0.5, bytes: createSeededRandom(1).bytes }; // jitter of zero
  const network = createMemoryNetwork({ clock, scheduler: clock, random });
  const there = network.connect("lon");
  const outbox = createOutbox(clock);
  const heard: { atMs: number; ids: number[] }[] = [];
  const answers = { script: "committed" as Script | ((ids: number[]) => Script) };
  const states: string[] = [];
  const faults: string[] = [];
  for (const subject of [subjects.regionNotify("lon"), subjects.regionHomes("lon")])
    there.subscribe(subject, (message) => {
      const batch = JSON.parse(new TextDecoder().decode(message.data)) as {
        items?: number[];
        tenants?: number[];
      };
      const ids = batch.items ?? batch.tenants ?? [];
      heard.push({ atMs: clock.monotonicMs(), ids });
      const answer = typeof answers.script === "function" ? answers.script(ids) : answers.script;
      if (answer === "silent") return;
      const reply =
        answer === "committed"
          ? { kind: answer }
          : "withheld" in answer
            ? { kind: "partly", withheld: answer.withheld }
            : { kind: "failed", code: answer.failed };
      message.reply(encodeMessage(reply));
    });
  const createLink = (node: string): RelayLink =>
    new RelayLink(
      {
        from: "fra",
        target: "lon",
        limits: { ...INGEST_LIMITS.relay, ...limits },
        outbox: outbox.connect(node),
        onOutcome: () => undefined,
        onFault: (operation) => faults.push(operation),
        onState: (_target, state) => states.push(state),
        onCrash: (cause) => faults.push(`crash ${String(cause)}`),
      },
      { bus: network.connect(node), clock, random },
    );
  /** As the acceptor does: committed, then offered with the word of that commit. */
  const commit = (to: RelayLink, ...ids: number[]): void => {
    const way = outbox.state.backlog === undefined ? "direct" : "backlog";
    outbox.state.turn.push(...entries(...ids));
    to.offer(entries(...ids), way);
  };
  const link = createLink("a");
  return { clock, link, createLink, commit, outbox: outbox.state, heard, answers, states, faults };
}

function entries(...ids: number[]): RelayEntry[] {
  return ids.map((id) => ({ outboxId: id, kind: "notification", json: String(id) }));
}

test("IN9, IN10 — takes over what is left, then sends at once, one batch after the other", async () => {
  const { clock, link, commit, outbox, heard, states } = start();
  outbox.turn.push(...entries(1, 2));
  outbox.isOverdue = true; // of a node that died
  link.start();
  await clock.advance(50);
  expect([heard, outbox.done, states]).toEqual([[{ atMs: 0, ids: [1, 2] }], [1, 2], ["direct"]]);
  const callsCount = outbox.calls.length;
  commit(link, 3);
  commit(link, 4, 5);
  commit(link, 6);
  await clock.advance(0);
  expect(heard.slice(1)).toEqual([{ atMs: 50, ids: [3, 4, 5, 6] }]);
  expect(outbox.calls.slice(callsCount)).toEqual(["a done"]); // no other statement while all is well
  expect(outbox.done).toEqual([1, 2, 3, 4, 5, 6]);
  await link.stop();
  await link.stop();
});

test("IN10 — after a failure nothing goes out directly; back-off 0.5, 1, 2, 3, 3 s; oldest first", async () => {
  const { clock, link, commit, outbox, heard, answers, states } = start();
  link.start();
  await clock.advance(0);
  answers.script = { failed: "overloaded" };
  commit(link, 1);
  await clock.advance(0);
  commit(link, 2, 3);
  await clock.advance(9_500);
  expect(heard.map(({ atMs }) => atMs)).toEqual([0, 0, 500, 1_500, 3_500, 6_500, 9_500]);
  expect(heard.map(({ ids }) => ids.join()).slice(2)).toEqual(Array(5).fill("1,2,3"));
  answers.script = "committed";
  await clock.advance(3_000);
  expect(heard.slice(7)).toEqual([{ atMs: 12_500, ids: [1, 2, 3] }]);
  expect([outbox.done, states]).toEqual([
    [1, 2, 3],
    ["direct", "backlog", "direct"],
  ]);
  await link.stop();
});

test("IN40 — two nodes: after a failure the other one's posts wait, and go out in order of the outbox", async () => {
  const { clock, link: a, createLink, commit, outbox, heard, answers } = start();
  const b = createLink("b");
  a.start();
  b.start();
  await clock.advance(0);
  answers.script = { failed: "overloaded" };
  commit(a, 1);
  await clock.advance(0); // failed at once, and once more from the backlog
  answers.script = "committed";
  commit(b, 2); // b's link has seen no failure
  commit(b, 3);
  expect([a.state, b.state, b.queuedCount]).toEqual(["backlog", "direct", 0]);
  await clock.advance(500);
  expect(heard.slice(2)).toEqual([{ atMs: 500, ids: [1, 2, 3] }]);
  await clock.advance(50);
  commit(b, 4);
  await clock.advance(0);
  expect(heard.slice(3)).toEqual([{ atMs: 550, ids: [4] }]);
  expect([outbox.done, a.state, b.state]).toEqual([[1, 2, 3, 4], "direct", "direct"]);
  await a.stop();
  await b.stop();
});

test("IN40 — a node that dies while it holds the backlog leaves it to the others after 6 s", async () => {
  const { clock, link, outbox, heard } = start();
  outbox.turn.push(...entries(1, 2));
  outbox.backlog = { holder: "dead", untilMs: 6_000 };
  link.start();
  await clock.advance(5_999);
  expect(heard).toEqual([]);
  link.offer(entries(2), "backlog");
  await clock.advance(501); // asks every 500 ms
  expect(heard).toEqual([{ atMs: 6_000, ids: [1, 2] }]);
  await clock.advance(50);
  expect([outbox.backlog, link.state]).toEqual([undefined, "direct"]);
  await link.stop();
});

test("IN40 — what was committed while the backlog ended is found, and goes before what follows", async () => {
  const { clock, link, commit, outbox, heard, answers } = start();
  link.start();
  await clock.advance(0);
  answers.script = { failed: "overloaded" };
  commit(link, 1);
  await clock.advance(0);
  answers.script = "committed";
  await clock.advance(500);
  expect([outbox.backlog, link.state]).toEqual([undefined, "direct"]);
  outbox.turn.push(...entries(2));
  link.offer(entries(2), "backlog"); // its commit had seen the backlog
  await clock.advance(50);
  expect(heard.slice(3)).toEqual([{ atMs: 550, ids: [2] }]);
  await link.stop();
});

test("IN41 — a batch without an answer begins a backlog after 1 s; another node then waits, and may drain it", async () => {
  const { clock, link: a, createLink, commit, outbox, heard, answers } = start();
  const b = createLink("b");
  a.start();
  b.start();
  await clock.advance(0);
  answers.script = (ids) => (ids.join() === "1" ? "silent" : "committed");
  commit(a, 1);
  await clock.advance(999);
  expect(outbox.backlog).toBeUndefined();
  await clock.advance(1);
  expect(outbox.backlog).toEqual({ holder: "a", untilMs: 1_000 });
  commit(b, 2);
  await clock.advance(1_000); // b sweeps every 2 s
  expect(heard).toEqual([
    { atMs: 0, ids: [1] },
    { atMs: 2_000, ids: [1, 2] },
  ]);
  await clock.advance(10_000);
  expect([outbox.done, a.state, b.state]).toEqual([[1, 2], "direct", "direct"]);
  await a.stop();
  await b.stop();
});

test("D5 — a hint that the connection is back cuts the delay short", async () => {
  const { clock, link, commit, outbox, heard, answers } = start();
  link.start();
  await clock.advance(0);
  answers.script = "silent";
  commit(link, 1);
  await clock.advance(10_000); // two time-outs of 5 s
  answers.script = "committed";
  link.sweepSoon(); // instead of 500 ms later
  await clock.advance(0);
  expect(heard).toEqual([0, 5_000, 10_000].map((atMs) => ({ atMs, ids: [1] })));
  expect(outbox.calls.filter((call) => call === "a gives back").length).toBe(1);
  await link.stop();
});

test("IN39 — a row that the target refuses for good holds up nobody, and is put off", async () => {
  const { clock, link, commit, outbox, heard, answers, states } = start();
  link.start();
  await clock.advance(0);
  answers.script = (ids) => (ids.includes(2) ? { failed: "malformed" } : "committed");
  commit(link, 1, 2, 3);
  await clock.advance(0);
  expect(heard.map(({ ids }) => ids)).toEqual([[1, 2, 3], [1], [2], [3]]);
  expect([outbox.done, outbox.deferred, states]).toEqual([[1, 3], [2], ["direct"]]);
  await link.stop();
});

test("IN36 — rows that the target withholds wait in the database; the others are done", async () => {
  const { clock, link, commit, outbox, heard, answers, states } = start();
  link.start();
  await clock.advance(0);
  answers.script = { withheld: [1] };
  commit(link, 1, 2, 3);
  await clock.advance(0);
  expect(heard.map(({ ids }) => ids)).toEqual([[1, 2, 3]]);
  expect([outbox.done, outbox.deferred, states]).toEqual([[1, 3], [], ["direct"]]);
  expect(outbox.withheld.map(({ outboxId }) => outboxId)).toEqual([2]);
  await link.stop();
});

test("IN42 — more than a batch that is due out of turn goes out at once, batch after batch", async () => {
  const { clock, link, outbox, heard } = start({ batchItemsMax: 2 });
  outbox.apart.push(...entries(1, 2, 3, 4, 5));
  link.start();
  await clock.advance(0);
  expect(heard.map(({ atMs, ids }) => [atMs, ids])).toEqual([
    [0, [1, 2]],
    [0, [3, 4]],
    [0, [5]],
  ]);
  await link.stop();
});

test("IN42 — of withheld rows one goes out every 15 s; once it is taken the others follow, at once and in order", async () => {
  const { clock, link, commit, outbox, heard, answers, states } = start();
  link.start();
  await clock.advance(0);
  answers.script = (ids) => ({ withheld: ids.map((_, at) => at) });
  commit(link, 1, 2, 3, 4, 5);
  await clock.advance(0);
  for (let count = 0; count < 100; count++) await clock.advance(500);
  answers.script = "committed";
  for (let count = 0; count < 40; count++) await clock.advance(500);
  expect(heard).toEqual([
    { atMs: 0, ids: [1, 2, 3, 4, 5] },
    { atMs: 16_000, ids: [1] }, // with the sweep after 15 s
    { atMs: 32_000, ids: [1] },
    { atMs: 48_000, ids: [1] },
    { atMs: 64_000, ids: [1] },
    { atMs: 64_000, ids: [2, 3, 4, 5] },
  ]);
  expect([outbox.done, outbox.withheld, states]).toEqual([[1, 2, 3, 4, 5], [], ["direct"]]);
  await link.stop();
});

test("IN42 — what one statement does not release, or cannot, is released by the next, without another probe", async () => {
  const { clock, link, outbox, heard, faults } = start();
  outbox.withheld.push(...entries(1, 2, 3, 4, 5, 6));
  outbox.releasedMax = 2;
  link.start();
  for (let count = 0; count < 29; count++) await clock.advance(500);
  outbox.failsOnce = "releases";
  for (let count = 0; count < 10; count++) await clock.advance(500);
  expect(heard.map(({ ids }) => ids)).toEqual([[1], [2, 3], [4, 5], [6]]);
  expect(faults).toEqual(["outbox.release"]);
  expect([outbox.done, outbox.withheld]).toEqual([[1, 2, 3, 4, 5, 6], []]);
  await link.stop();
});

test("IN42 — a tenant that is withheld again while its rows go out is released no further before its next probe", async () => {
  const { clock, link, outbox, heard, answers } = start();
  outbox.withheld.push(...entries(1, 2, 3, 4, 5, 6));
  outbox.releasedMax = 2;
  answers.script = (ids) => (ids.includes(1) ? "committed" : { withheld: ids.map((_, at) => at) });
  link.start();
  for (let count = 0; count < 66; count++) await clock.advance(500);
  expect(heard).toEqual([
    { atMs: 16_000, ids: [1] },
    { atMs: 16_000, ids: [2, 3] },
    { atMs: 32_000, ids: [2] },
  ]);
  answers.script = "committed";
  for (let count = 0; count < 32; count++) await clock.advance(500);
  expect(heard.slice(3).map(({ atMs, ids }) => [atMs, ids])).toEqual([
    [48_000, [2]],
    [48_000, [3, 4]],
    [48_000, [5, 6]],
  ]);
  await link.stop();
});

test("IN42 — a release goes on though a row that was posted meanwhile is withheld", async () => {
  const { clock, link, commit, outbox, heard, answers } = start();
  outbox.withheld.push(...entries(1, 2, 3, 4, 5));
  outbox.releasedMax = 2;
  answers.script = (ids) => {
    if (ids.includes(2)) commit(link, 9);
    return ids.includes(9) ? { withheld: [ids.indexOf(9)] } : "committed";
  };
  link.start();
  for (let count = 0; count < 36; count++) await clock.advance(500);
  expect(heard).toEqual([1, 2, 9, 4, 5].map(() => expect.objectContaining({ atMs: 16_000 })));
  expect(heard.map(({ ids }) => ids)).toEqual([[1], [2, 3], [9], [4, 5], [9]]);
  expect(outbox.withheld).toEqual(entries(9));
  await link.stop();
});

test("IN42 — three nodes: each released row goes out once, a node's in the order of the outbox; new ones do not wait", async () => {
  const { clock, link: a, createLink, commit, outbox, heard } = start({ batchItemsMax: 2 });
  const [b, c] = [createLink("b"), createLink("c")];
  for (const link of [a, b, c]) link.start();
  await clock.advance(0);
  outbox.apart.push(...entries(1, 2, 3, 4, 5, 6)); // released
  outbox.calls.length = 0;
  a.sweepSoon();
  b.sweepSoon();
  commit(c, 7);
  await clock.advance(0);
  expect(heard.map(({ ids }) => ids)).toEqual([[7], [1, 2], [3, 4], [5, 6]]);
  expect(outbox.calls.filter((call) => call.endsWith("claims")).slice(0, 2)).toEqual([
    "a claims",
    "b claims",
  ]);
  expect(outbox.done.toSorted((left, right) => left - right)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  for (const link of [a, b, c]) await link.stop();
});

test("IN11 — beyond the limit rows are left to the sweep, and it comes at once", async () => {
  const { clock, link, commit, outbox, states } = start({ queueItemsMax: 2 });
  link.start();
  await clock.advance(0);
  commit(link, 1, 2, 3);
  await clock.advance(0);
  expect([outbox.done, link.queuedCount, states]).toEqual([
    [1, 2, 3],
    0,
    ["direct", "backlog", "direct"],
  ]);
  await link.stop();
});

test("IN9 — what goes out of turn on a healthy link goes beside the queue, each once", async () => {
  const { clock, link, commit, outbox, heard, states } = start();
  link.start();
  await clock.advance(0);
  outbox.apart.push({ outboxId: 1, kind: "homes", json: "1" }, ...entries(2));
  link.sweepSoon();
  commit(link, 3);
  await clock.advance(0);
  expect(new Set(heard.map(({ ids }) => ids.join()))).toEqual(new Set(["1", "2", "3"]));
  expect(heard.length).toBe(3);
  expect(states).toEqual(["direct"]);
  await link.stop();
});

test("IN10 — homes that failed are kept and sent before the backlog ends", async () => {
  const { clock, link, outbox, heard, answers, states } = start();
  link.start();
  await clock.advance(0);
  answers.script = { failed: "overloaded" };
  outbox.apart.push({ outboxId: 1, kind: "homes", json: "1" });
  link.sweepSoon();
  await clock.advance(0);
  answers.script = "committed";
  await clock.advance(500);
  expect(heard.map(({ ids }) => ids)).toEqual([[1], [1]]);
  expect([outbox.done, states]).toEqual([[1], ["direct", "backlog", "direct"]]);
  await link.stop();
});

test("a database that is away is asked again at the next sweep", async () => {
  const { clock, link, outbox, faults } = start();
  outbox.isBroken = true;
  link.start();
  await clock.advance(0);
  outbox.turn.push(...entries(1));
  outbox.isOverdue = true;
  outbox.isBroken = false;
  await clock.advance(2_000);
  expect([faults, outbox.done]).toEqual([["outbox.takeOver"], [1]]);
  await link.stop();
});
