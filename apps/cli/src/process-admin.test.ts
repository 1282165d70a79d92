// apps/cli/src/process-admin.test.ts
// Goal: PA1, and what operators may ask a node. Method: the real runtime on a fake clock.
import { adminReplySchema, type AdminRequest, PROCESS_INSPECT } from "@carillon/contracts";
import { createSeededRandom, Fault } from "@carillon/kernel";
import { createRuntime } from "@carillon/process";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { answerTo } from "./process-admin.ts";
import { processHandlers } from "./process-routes.ts";
import { processLines, processTable, treeLines } from "./process-view.ts";

const SECRET = "salary-of-ada";
const ALL = {
  kind: "processes",
  table: null,
  isQuarantinedOnly: false,
  isIdleToo: false,
  limit: 10,
} as const;

async function startNode() {
  const clock = new FakeClock();
  const runtime = createRuntime({ clock, scheduler: clock, random: createSeededRandom(1) });
  const table = runtime.createTable<{ note: string }, { kind: "step"; isPoison: boolean }>({
    name: "fra/7",
    keyOf: (slot) => `acme/employee-${slot}`,
    slotOf: (key) => (key.startsWith("acme/employee-") ? Number(key.slice(14)) : undefined),
    behaviour: {
      init: () => ({ note: SECRET }),
      onCast: (_, { isPoison }) => {
        if (isPoison) throw new Error("cannot go on");
      },
    },
  });
  const forgotten: string[] = [];
  const ask = (request: AdminRequest) =>
    answerTo(request, {
      tree: () => ({
        id: "node",
        type: "supervisor",
        status: "running",
        restartsCount: 0,
        lastExit: undefined,
        childrenCount: 0,
        children: [],
      }),
      runtimes: () => [runtime],
      forgetQuarantine: async (name, slot) => void forgotten.push(`${name} ${slot}`),
      timers: {
        home: "fra",
        list: async () => [],
        revive: async () => false,
        remove: async () => false,
      },
    });
  table.cast(1, { kind: "step", isPoison: false });
  for (let n = 0; n < 4; n++) table.cast(3, { kind: "step", isPoison: true });
  await clock.advance(60_000);
  return { clock, runtime, table, forgotten, ask };
}

test("PA1, O8 — the list, one process and the tree hold keys, phases and error texts, and no state", async () => {
  const { ask, table } = await startNode();
  table.quarantine(5, new Error("an operator saw it"));
  const listed = await ask({ ...ALL, isQuarantinedOnly: true });
  const one = await ask({ kind: "inspect", table: "fra/7", key: "acme/employee-5" });
  const tree = await ask({ kind: "tree" });
  for (const answer of [listed, one, tree]) {
    expect(adminReplySchema.parse(answer)).toEqual(answer); // travels whole
    expect(JSON.stringify(answer)).not.toContain(SECRET);
  }
  if (listed.kind !== "processes" || one.kind !== "process" || tree.kind !== "tree")
    throw new Error("wrong answers");
  expect(listed.processes.map(({ key, phase }) => [key, phase])).toContainEqual([
    "acme/employee-5",
    "quarantined",
  ]);
  expect(one.process).toMatchObject({
    table: "fra/7",
    slot: 5,
    phase: "quarantined",
    lastError: "Error: an operator saw it",
  });
  expect(tree.tables).toEqual([table.sums()]);
  const node = "fra-node-1";
  const lines = processTable({
    processes: listed.processes.map((process) => ({ ...process, node })),
    unreachable: ["fra-node-2"],
    isCut: true,
  }).join("\n");
  const [header, first] = lines.split("\n").map((line) => line.split(/ {2,}/));
  expect(header).toEqual([
    ...["NODE", "TABLE", "PROCESS", "PHASE", "WAITING", "BYTES", "RESTARTS", "CRASHES", "AGE"],
    ...["NOW/LAST", "RETRY", "LAST ERROR"],
  ]);
  const { restartCount, recentCrashCount } = table.inspect(3);
  expect(first?.slice(0, 8)).toEqual(
    [node, "fra/7", "acme/employee-3", "quarantined", 0, 0, restartCount, recentCrashCount].map(
      String,
    ),
  );
  expect(lines).toContain("an operator saw it");
  expect(lines).toContain("… and more, or not all were looked at");
  expect(lines).toContain("fra-node-2 did not answer");
  expect(processLines({ ...one.process, node }).join("\n")).toContain("phase        quarantined");
  expect(treeLines(tree).join("\n")).toContain("fra/7");
});

test("O8 — reset lets it run again, and the store forgets it; what is not there is not found", async () => {
  const { ask, table, forgotten } = await startNode();
  table.quarantine(5, new Error("an operator saw it"));
  const reset = { kind: "reset", table: "fra/7", key: "acme/employee-5" } as const;
  expect(await ask(reset)).toEqual({ kind: "done", isChanged: true });
  expect(await ask(reset)).toEqual({ kind: "done", isChanged: false });
  expect(forgotten).toEqual(["fra/7 5", "fra/7 5"]);
  expect(table.cast(5, { kind: "step", isPoison: false })).toBe("accepted");
  expect(await ask({ ...reset, table: "fra/8" })).toEqual({ kind: "not_found" });
  expect(await ask({ ...reset, key: "nobody" })).toEqual({ kind: "not_found" });
  expect(await ask({ kind: "resume", table: "fra/7" })).toEqual({ kind: "done", isChanged: false });
  expect(await ask({ kind: "resume", table: "fra/9" })).toEqual({ kind: "not_found" });
});

test("O8 — the list has idle ones when asked, tells when it is cut, and knows no table that is not there", async () => {
  const { ask, table, clock } = await startNode();
  table.quarantine(5, new Error("an operator saw it"));
  for (const slot of [2, 4, 70]) table.cast(slot, { kind: "step", isPoison: false });
  await clock.advance(100);
  const slotsOf = async (more: Partial<AdminRequest>) => {
    const answer = await ask({ ...ALL, ...more } as AdminRequest);
    if (answer.kind !== "processes") throw new Error(answer.kind);
    return { slots: answer.processes.map(({ slot }) => slot), isCut: answer.isCut };
  };
  const busy = { slots: [3, 5], isCut: false };
  const resident = { slots: [1, 2, 3, 4, 5, 70], isCut: false };
  expect(await slotsOf({})).toEqual(busy);
  expect(await slotsOf({ isIdleToo: true })).toEqual(resident);
  expect(await slotsOf({ isIdleToo: true, limit: 6 })).toEqual(resident);
  expect(await slotsOf({ isIdleToo: true, limit: 5 })).toEqual({
    slots: [1, 2, 3, 4, 5],
    isCut: true,
  });
  expect(await slotsOf({ limit: 2 })).toEqual(busy);
  expect(await slotsOf({ limit: 1 })).toEqual({ slots: [3], isCut: true });
  // So many slots are looked at, and no more: it costs the node's own thread.
  table.cast(30_000, { kind: "step", isPoison: false });
  await clock.advance(100);
  expect(await slotsOf({ isIdleToo: true })).toEqual({ ...resident, isCut: true });
  expect(await ask({ ...ALL, table: "fra/8" })).toEqual({ kind: "not_found" });
});

test("PA1, O8 — what the router brings is answered beside the process; a store that is away is no crash of the worker", async () => {
  const { table } = await startNode();
  table.quarantine(5, new Error("an operator saw it"));
  const away = new Fault("the store is away", { code: "away", isRetryable: true });
  const faults: unknown[] = [];
  const forgotten: string[] = [];
  let isAway = false;
  const [inspect, reset] = processHandlers({
    async forgetQuarantine(name, slot) {
      if (isAway) throw away;
      forgotten.push(`${name} ${slot}`);
    },
    onFault: (cause) => faults.push(cause),
  });
  const call = { served: { table }, slot: 5, body: {}, timeoutMs: 1_000 };
  const seen = await inspect?.call?.(call);
  if (seen?.kind !== "reply") throw new Error("no reply");
  expect(PROCESS_INSPECT.reply.parse(seen.reply)).toMatchObject({ slot: 5, phase: "quarantined" });
  expect(JSON.stringify(seen)).not.toContain(SECRET);
  isAway = true;
  expect(await reset?.call?.(call)).toEqual({ kind: "failed", reason: "exit" });
  expect(faults).toEqual([away]);
  table.quarantine(5, new Error("an operator saw it"));
  isAway = false;
  expect(await reset?.call?.(call)).toEqual({ kind: "reply", reply: { isChanged: true } });
  expect(await reset?.call?.(call)).toEqual({ kind: "reply", reply: { isChanged: false } });
  expect(forgotten).toEqual(["fra/7 5", "fra/7 5"]);
});
