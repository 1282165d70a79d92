// Goal: LD1. Method: addresses of all kinds.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
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
    kind: "targets",
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
])("LD1 — %s, %s is refused", (ingest, socket) => {
  const outcome = given(ingest, socket);
  expect(outcome.kind === "refused" ? outcome.reason : outcome).toMatch(/not a loopback address/);
});

test("LD1 — says what is missing", () => {
  const folder = mkdtempSync(join(tmpdir(), "carillon-cli-"));
  expect(targetsOf({ dev: true, data: folder })).toEqual({
    kind: "refused",
    reason: `no carillon dev is up in ${folder}; start one, or name it with --data`,
  });
  rmSync(folder, { recursive: true });
  expect(targetsOf({ dev: false, data: "" }).kind).toBe("refused");
  const uneven = { dev: false, data: "", key: "k", ingest: ["http://127.0.0.1"], socket: [] };
  expect(targetsOf(uneven).kind).toBe("refused");
});
