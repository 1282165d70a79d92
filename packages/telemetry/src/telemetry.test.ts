// packages/telemetry/src/telemetry.test.ts
// Goal: TE1–TE3 and the rules for metric names (STYLE §6). Method: read what is really printed.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  CATALOGUE,
  catalogueTable,
  createLogger,
  createMetrics,
  type MetricSpec,
} from "./index.ts";
import { REDACTED_KEYS } from "./index.ts";

function logged(write: (log: ReturnType<typeof createLogger>) => void): Record<string, unknown>[] {
  const lines: string[] = [];
  const stream = { write: (line: string) => void lines.push(line) };
  const options = {
    region: "fra",
    node: "fra-1",
    component: "main",
    level: "info",
    stream,
  } as const;
  write(createLogger(options));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("TE1 — what may be secret or personal is not printed, at three depths", () => {
  const secrets = Object.fromEntries(REDACTED_KEYS.map((key) => [key, "canary"]));
  const lines = logged((log) => {
    log.info("all", { ...secrets, one: secrets, two: { deep: secrets } });
  });
  expect(JSON.stringify(lines)).not.toContain("canary");
  expect(lines[0]).toMatchObject({ event: "all", token: "[redacted]" });
});

test("TE2 — an event's name, flat fields, and where it comes from", () => {
  const [line, quiet] = logged((log) => {
    log.child("relay").warn("relay.behind", { target: "dub", level: 3, cause: new Error("why") });
    log.debug("not printed");
  });
  expect(line).toMatchObject({
    level: "warn",
    region: "fra",
    node: "fra-1",
    component: "relay",
    event: "relay.behind",
    target: "dub",
    level_: 3,
    cause: "Error: why",
  });
  expect(quiet).toBeUndefined();
});

test("TE3 — names have the prefix and a base unit, labels are no ids, help is there", () => {
  const specs = Object.values<MetricSpec>(CATALOGUE);
  expect(new Set(specs.map(({ name }) => name)).size).toBe(specs.length);
  for (const { name, kind, help, labels } of specs) {
    expect(name).toMatch(/^carillon(_[a-z]+)+_(total|seconds|bytes|count)$/);
    expect([name, name.endsWith("_total")]).toEqual([name, kind === "counter"]);
    expect(help.length).toBeGreaterThan(5);
    for (const label of labels) expect(label).not.toMatch(/id$/i);
    expect(catalogueTable()).toContain(`| \`${name}\` | ${kind} |`);
  }
});

test("TE3 — what is counted is rendered", async () => {
  const metrics = createMetrics({ region: "lon", hasDefaults: true });
  metrics.outcomes.inc({ outcome: "noDevice" }, 3);
  metrics.flushes.observe(0.02);
  const { text, contentType } = await metrics.render();
  expect(contentType).toContain("text/plain");
  expect(text).toContain('carillon_worker_outcomes_total{outcome="noDevice",region="lon"} 3');
  expect(text).toContain("carillon_worker_ledger_flush_duration_seconds_count");
  expect(text).toContain("nodejs_eventloop_lag_seconds");
});

test("TE3 — docs/metrics.md is the catalogue", () => {
  const rowsOf = (text: string): string[] =>
    text
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .map((line) => line.replaceAll(/\s*\|\s*/g, "|"));
  const page = readFileSync(new URL("../../../docs/metrics.md", import.meta.url), "utf8");
  expect(rowsOf(page)).toEqual(rowsOf(catalogueTable()));
  expect(rowsOf(page).length).toBe(Object.keys(CATALOGUE).length);
});
