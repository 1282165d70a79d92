// Goal: what the log tells of a stall (RN11, P16). Method: the real runtime on a fake clock; stalls as the
// watchdog tells them. A real stuck thread is in test/e2e/processes.test.ts.
import { createSeededRandom } from "@carillon/kernel";
import { createRuntime, IGNORE } from "@carillon/process";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { stallObserver } from "./node-telemetry.ts";

test("RN11, P16 — a stall is one line with the key of the process that held the thread", async () => {
  const clock = new FakeClock();
  const runtime = createRuntime({ clock, scheduler: clock, random: createSeededRandom(1) });
  runtime.createTable({
    name: "fra/7",
    keyOf: (slot) => `acme/employee-${slot}`,
    behaviour: { init: () => ({}), onCast: () => undefined },
  });
  const sessions = runtime.createTable({
    name: "gateway.sessions",
    activation: "spawned",
    keyOf: (slot) => (slot === 1 ? "acme/ada#17" : undefined),
    behaviour: { init: (slot) => (slot === 1 ? {} : IGNORE), onCast: () => undefined },
  });
  sessions.spawn(1);
  const lines: Record<string, unknown>[] = [];
  const stream = {
    write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  };
  const about = { region: "fra", node: "n", component: "node", level: "info" } as const;
  const metrics = createMetrics({ region: "fra", hasDefaults: false });
  const tell = stallObserver({
    log: createLogger({ ...about, stream }),
    metrics,
    runtimes: () => [runtime],
  });
  const told = (stall: Parameters<typeof tell>[0]) => {
    tell(stall);
    const { time: _when, region, node, component, ...fields } = lines.pop()!;
    expect([region, node, component]).toEqual(["fra", "n", "node"]);
    return fields;
  };
  const line = { level: "warn", event: "node.stalled", blockedMs: 1_234 };
  for (const [table, slot, key] of [
    ["fra/7", 3, "acme/employee-3"],
    ["gateway.sessions", 1, "acme/ada#17"],
    ["gateway.sessions", 2, null], // it has ended
    ["fra/8", 1, null], // its partition has gone
  ] as const)
    expect(told({ culprit: { kind: "process", table, slot }, blockedMs: 1_234 })).toEqual({
      ...line,
      culprit: "process",
      table,
      slot,
      process: key,
    });
  for (const kind of ["outside", "several"] as const)
    expect(told({ culprit: { kind }, blockedMs: 1_234 })).toEqual({ ...line, culprit: kind });
  const { text } = await metrics.render();
  expect(text).toContain('carillon_event_loop_stalls_total{region="fra"} 6\n');
});
