// apps/cli/src/process-command.test.ts
// Goal: PC1. Method: the command as a process of its own, against nothing that answers; what it says
// of running nodes is in test/e2e/processes.test.ts.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePorts } from "@carillon/local";
import { expect, test } from "vitest";

const run = promisify(execFile);
const main = new URL("main.ts", import.meta.url).pathname;

async function carillon(words: readonly string[], env: Record<string, string> = {}) {
  try {
    const { stdout } = await run(process.execPath, [main, "process", ...words], {
      env: { PATH: process.env["PATH"] ?? "", ...env },
      timeout: 30_000,
    });
    return { code: 0, stdout };
  } catch (cause) {
    const { code, stdout } = cause as { code: number; stdout: string };
    return { code, stdout };
  }
}

test("PC1 — without a cluster or a key it says what it needs (64); a silent address is 1", async () => {
  const folder = mkdtempSync(join(tmpdir(), "carillon-process-"));
  const nothing = await carillon(["tree", "--data", folder]);
  expect([nothing.code, nothing.stdout]).toEqual([
    64,
    `carillon process: no carillon dev is up in ${folder}; name a node with --url\n`,
  ]);
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  expect(await carillon(["list", "--url", url])).toEqual({
    code: 64,
    stdout: "carillon process: the operator key is expected in CARILLON_OPERATOR_KEY\n",
  });
  const silent = await carillon(["inspect", "acme/ada", "--url", url], {
    CARILLON_OPERATOR_KEY: "operator-key-of-the-tests-1",
  });
  expect(silent.code).toBe(1);
  expect(silent.stdout).toContain(url);
  expect(silent.stdout).not.toContain("operator-key");
  expect((await carillon(["tree", "--url", "nonsense"], { CARILLON_OPERATOR_KEY: "x" })).code).toBe(
    64,
  );
  rmSync(folder, { recursive: true });
});
