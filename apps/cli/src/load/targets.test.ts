// Goal: LD1. Method: addresses of all kinds.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { UsageError } from "../refusal.ts";
import { targetsOf } from "./targets.ts";

const given = (ingest: string, socket: string) =>
  targetsOf({ dev: false, data: "", key: "crl_k", ingest: [ingest], socket: [socket] });

test.each([
  ["http://127.0.0.1:8080", "ws://127.0.0.1:8081/socket"],
  ["http://localhost:8080/", "ws://localhost:8081/socket"],
  ["http://[::1]:8080", "ws://[::1]:8081/socket"],
  ["http://127.9.9.9:8080", "ws://127.0.0.1:8081/socket"],
])("LD1 — %s is this machine", (ingest, socket) => {
  const ingestUrl = ingest.replace(/\/$/, "");
  expect(given(ingest, socket)).toEqual({
    apiKey: "crl_k",
    targets: [{ ingestUrl, socketUrl: socket, name: "region 1" }],
  });
});

test.each([
  ["http://example.com:8080", "ws://127.0.0.1:8081/socket"],
  ["http://127.0.0.1:8080", "ws://10.0.0.5:8081/socket"],
  ["http://127.0.0.1.example.com", "ws://127.0.0.1:8081/socket"],
  ["http://127.0.0.1@example.com", "ws://127.0.0.1:8081/socket"],
  ["https://127.0.0.1:8080", "ws://127.0.0.1:8081/socket"],
  ["not an address", "ws://127.0.0.1:8081/socket"],
  ["http://127.0.0.1:8080", "http://127.0.0.1:8081/socket"], // no socket
])("LD1, UE1 — %s, %s is refused, and the option is named", (ingest, socket) => {
  const isIngestGood = ingest === "http://127.0.0.1:8080";
  const [field, scheme] = isIngestGood ? ["--socket", "ws"] : ["--ingest", "http"];
  expect(() => given(ingest, socket)).toThrow(
    new UsageError(field, "is no address of this machine, where alone load goes", [
      `an address such as ${scheme}://127.0.0.1:8080`,
    ]),
  );
});

test("LD1, UE1 — says what is missing, or too much", () => {
  const folder = mkdtempSync(join(tmpdir(), "carillon-cli-"));
  expect(() => targetsOf({ dev: true, data: folder })).toThrow(
    `--data names ${folder}, where no carillon dev is up; valid: the folder of a carillon dev that is up`,
  );
  rmSync(folder, { recursive: true });
  const ingest = ["http://127.0.0.1"];
  for (const [options, refusal] of [
    [{}, "--ingest is missing; valid: --dev, instead --ingest, --socket and --key"],
    [{ ingest }, "--key is missing; valid: --dev, instead --ingest, --socket and --key"],
    [
      { key: "k", ingest, socket: [] },
      "--socket names not as many regions as --ingest; valid: the same regions, in the same order",
    ],
    [{ dev: true, ingest }, "--ingest contradicts --dev, which knows it; valid: --dev alone"],
  ] as const)
    expect(() => targetsOf({ dev: false, data: "", ...options })).toThrow(refusal);
});
