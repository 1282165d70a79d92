// Goal: IN9 to IN11 of relay-link.ts, step by step. Method: fake time, the memory network, an outbox
// in an array; the target's answers are scripted.
import { createMemoryNetwork } from "@carillon/bus";
import { encodeMessage, subjects } from "@carillon/contracts";
import { createSeededRandom, Fault } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { INGEST_LIMITS } from "./limits.ts";
import { type RelayEntry, RelayLink, type RelayLimits } from "./relay-link.ts";

type Script = "committed" | "silent" | { readonly failed: string } | { withheld: number[] };

function start(limits: Partial<RelayLimits> = {}) {
  const clock = new FakeClock();
  const random = { next: () => 0.5, bytes: createSeededRandom(1).bytes }; // jitter of zero
  const network = createMemoryNetwork({ clock, scheduler: clock, random });
  const [bus, there] = [network.connect("fra"), network.connect("lon")];
  const rows: RelayEntry[] = []; // due in Postgres
  const done: number[] = [];
  const deferred: number[] = [];
  const heard: { atMs: number; ids: number[] }[] = [];
  const answers = { script: "committed" as Script | ((ids: number[]) => Script) };
  const states: string[] = [];
  const faults: string[] = [];
  const claims = { isBroken: false };
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
            ? { kind: "partly", ...answer }
            : { kind: "failed", code: answer.failed };
      message.reply(encodeMessage(reply));
    });
  const link = new RelayLink(
    {
      from: "fra",
      target: "lon",
      limits: { ...INGEST_LIMITS.relay, ...limits },
      async claim(_target, limitCount) {
        if (claims.isBroken)
          throw new Fault("down", { code: "store_unavailable", isRetryable: true });
        return rows.splice(0, limitCount);
      },
      async markDone(ids) {
        done.push(...ids);
      },
      async defer(ids) {
        deferred.push(...ids);
      },
      onOutcome: () => undefined,
      onFault: (operation) => faults.push(operation),
      onState: (_target, state) => states.push(state),
      onCrash: (cause) => faults.push(`crash ${String(cause)}`),
    },
    { bus, clock, random },
  );
  return { clock, link, rows, done, deferred, heard, answers, states, faults, claims };
}

function entries(...ids: number[]): RelayEntry[] {
  return ids.map((id) => ({ outboxId: id, kind: "notification", json: String(id) }));
}

test("IN9, IN10 — takes over what is left, then sends at once, one batch after the other", async () => {
  const { clock, link, rows, done, heard, states } = start();
  rows.push(...entries(1, 2));
  link.start();
  await clock.advance(0);
  expect([heard, done, states]).toEqual([[{ atMs: 0, ids: [1, 2] }], [1, 2], ["direct"]]);
  link.offer(entries(3));
  link.offer(entries(4, 5));
  link.offer(entries(6));
  await clock.advance(0);
  expect(heard.slice(1)).toEqual([{ atMs: 0, ids: [3, 4, 5, 6] }]);
  expect(done).toEqual([1, 2, 3, 4, 5, 6]);
  await link.stop();
  await link.stop();
});

test("IN10 — after a time-out nothing goes out directly; back-off 0.5, 1, 2, 3, 3 s; oldest first", async () => {
  const { clock, link, rows, done, heard, answers, states } = start();
  link.start();
  await clock.advance(0);
  answers.script = { failed: "overloaded" };
  link.offer(entries(1));
  await clock.advance(0);
  link.offer(entries(2));
  rows.push(...entries(2, 3)); // as committed
  await clock.advance(9_500);
  expect(heard.map(({ atMs }) => atMs)).toEqual([0, 0, 500, 1_500, 3_500, 6_500, 9_500]);
  expect(heard.every(({ ids }) => ids.join() === "1")).toBe(true);
  answers.script = "committed";
  await clock.advance(3_000);
  expect(heard.slice(7)).toEqual([
    { atMs: 12_500, ids: [1] },
    { atMs: 12_500, ids: [2, 3] },
  ]);
  expect([done, states]).toEqual([
    [1, 2, 3],
    ["direct", "backlog", "direct"],
  ]);
  await link.stop();
});

test("D5 — a hint that the connection is back cuts the delay short", async () => {
  const { clock, link, heard, answers } = start();
  link.start();
  await clock.advance(0);
  answers.script = "silent";
  link.offer(entries(1));
  await clock.advance(10_000); // two time-outs of 5 s
  answers.script = "committed";
  link.sweepSoon(); // instead of 500 ms later
  await clock.advance(0);
  expect(heard).toEqual([0, 5_000, 10_000].map((atMs) => ({ atMs, ids: [1] })));
  await link.stop();
});

test("a row that the target refuses for good holds up nobody and is not done", async () => {
  const { clock, link, done, heard, answers, states } = start();
  link.start();
  await clock.advance(0);
  answers.script = (ids) => (ids.includes(2) ? { failed: "malformed" } : "committed");
  link.offer(entries(1, 2, 3));
  await clock.advance(0);
  expect(heard.map(({ ids }) => ids)).toEqual([[1, 2, 3], [1], [2], [3]]);
  expect([done, states]).toEqual([[1, 3], ["direct"]]);
  await link.stop();
});

test("IN36 — rows that the target withholds wait in the database; the others are done", async () => {
  const { clock, link, done, deferred, heard, answers, states } = start();
  link.start();
  await clock.advance(0);
  answers.script = { withheld: [1] };
  link.offer(entries(1, 2, 3));
  await clock.advance(0);
  expect(heard.map(({ ids }) => ids)).toEqual([[1, 2, 3]]);
  expect([done, deferred, states]).toEqual([[1, 3], [2], ["direct"]]);
  await link.stop();
});

test("IN11 — beyond the limit rows are left to the sweep, and it comes at once", async () => {
  const { clock, link, rows, done, states } = start({ queueItemsMax: 2 });
  link.start();
  await clock.advance(0);
  rows.push(...entries(1, 2, 3));
  link.offer(entries(1, 2, 3));
  await clock.advance(0);
  expect([done, link.queuedCount, states]).toEqual([[1, 2, 3], 0, ["direct", "backlog", "direct"]]);
  await link.stop();
});

test("IN10 — rows that a sweep finds on a healthy link go out beside the queue, each once", async () => {
  const { clock, link, rows, heard, states } = start();
  link.start();
  await clock.advance(0);
  rows.push({ outboxId: 1, kind: "homes", json: "1" }, ...entries(2));
  link.sweepSoon();
  link.offer(entries(3));
  await clock.advance(0);
  expect(new Set(heard.map(({ ids }) => ids.join()))).toEqual(new Set(["1", "2", "3"]));
  expect(heard.length).toBe(3);
  expect(states).toEqual(["direct"]);
  await link.stop();
});

test("a database that is away is asked again at the next sweep", async () => {
  const { clock, link, rows, done, faults, claims } = start();
  claims.isBroken = true;
  link.start();
  await clock.advance(0);
  rows.push(...entries(1));
  claims.isBroken = false;
  await clock.advance(2_000);
  expect([faults, done]).toEqual([["outbox.claim"], [1]]);
  await link.stop();
});
