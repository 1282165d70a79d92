// Goal: PC1 and PC2 of `carillon members`. Method: the table by example; the command as a process of
// its own, against nothing that answers. What it says of running nodes: test/e2e/three-workers.test.ts.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { freePorts } from "@carillon/local";
import { expect, test } from "vitest";
import { membersTable } from "./members-command.ts";

const main = new URL("main.ts", import.meta.url).pathname;

async function carillon(words: readonly string[], env: Record<string, string> = {}) {
  try {
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [main, "members", ...words],
      {
        env: { PATH: process.env["PATH"] ?? "", ...env },
        timeout: 30_000,
      },
    );
    return { code: 0, stdout, stderr };
  } catch (cause) {
    const { code, stdout, stderr } = cause as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

test("C12 — members with state, phi, silence, load, weight, partitions and build", () => {
  const shown = membersTable([
    {
      memberId: "fra-worker-a",
      region: "fra",
      roles: ["worker"],
      isDraining: false,
      build: "1.2.0",
      ownedCount: 128,
      state: "suspect",
      phi: 312.7,
      silentMs: 6_420,
      load: 0.35,
      weight: 2,
    },
    {
      memberId: "lon-node-b", // of a build that does not say more
      region: "lon",
      roles: ["ingest", "gateway"],
      isDraining: true,
      build: "1.1.0",
      ownedCount: 0,
    },
  ]);
  const words = shown.split("\n").map((line) => line.split(/\s{2,}/));
  expect([words[0], ...words.slice(2)]).toEqual([
    ["MEMBER", "REGION", "ROLES", "STATE", "PHI", "SILENT", "LOAD", "WEIGHT", "OWNS", "BUILD"],
    ["fra-worker-a", "fra", "worker", "suspect", "99.0", "6.4 s", "35 %", "2", "128", "1.2.0"],
    ["lon-node-b", "lon", "ingest,gateway", "draining", "–", "–", "–", "1", "0", "1.1.0"],
  ]);
});

test("PC1, PC2 — no key: 64; a silent address: 2; with --json refusals are JSON", async () => {
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  expect(await carillon(["--url", url])).toEqual({
    code: 64,
    stdout: "",
    stderr:
      "carillon members: CARILLON_OPERATOR_KEY is missing; valid: the operator key that the nodes have\n",
  });
  const env = { CARILLON_OPERATOR_KEY: "operator-key-of-the-tests-1" };
  const { code, stdout, stderr } = await carillon(["--url", url, "--json"], env);
  expect([code, JSON.parse(stdout), stderr]).toEqual([
    2,
    { error: { code: "unreachable", message: `${url}: connect ECONNREFUSED 127.0.0.1:${port}` } },
    "",
  ]);
  expect((await carillon(["--bogus"], env)).code).toBe(64);
});
