// apps/cli/src/process-command.test.ts
// Goal: PC1. Method: the command as a process of its own, against nothing that answers; what it says
// of running nodes is in test/e2e/processes.test.ts.
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
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
    const { stdout, stderr } = await run(process.execPath, [main, "process", ...words], {
      env: { PATH: process.env["PATH"] ?? "", ...env },
      timeout: 30_000,
    });
    return { code: 0, stdout, stderr };
  } catch (cause) {
    const { code, stdout, stderr } = cause as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

test("PC1 — without a cluster or a key it says what it needs (64); a silent address is 2", async () => {
  const folder = mkdtempSync(join(tmpdir(), "carillon-process-"));
  const nothing = await carillon(["tree", "--data", folder]);
  expect(nothing).toEqual({
    code: 64,
    stdout: "",
    stderr:
      `carillon process: --url is missing, and no carillon dev is up in ${folder}; valid: the HTTP ` +
      "API of any region, instead --data, the folder of a carillon dev that is up\n",
  });
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  expect(await carillon(["list", "--url", url])).toEqual({
    code: 64,
    stdout: "",
    stderr:
      "carillon process: CARILLON_OPERATOR_KEY is missing; valid: the operator key that the nodes have\n",
  });
  const silent = await carillon(["inspect", "acme/ada", "--url", url], {
    CARILLON_OPERATOR_KEY: "operator-key-of-the-tests-1",
  });
  expect(silent.code).toBe(2);
  expect(silent.stderr).toContain(url);
  expect(silent.stdout + silent.stderr).not.toContain("operator-key");
  const key = { CARILLON_OPERATOR_KEY: "operator-key-of-the-tests-1" };
  for (const words of [
    ["tree", "--url", "nonsense"],
    ["tree", "--url", "ftp://127.0.0.1"],
    ["tree", "--agent", "nonsense"],
    ["tree", "--agent", url, "--node", "n"],
    ["list", "--limit", "0", "--url", url],
    ["inspect", "--url", url],
    ["inspect", "acme/ada", "--node", "n", "--url", url],
    ["bogus"],
  ])
    expect((await carillon(words, key)).code).toBe(64);
  const strange = await carillon(["tree", "--url", url], { CARILLON_OPERATOR_KEY: "ключ" });
  expect([strange.code, (strange.stdout + strange.stderr).includes("ключ")]).toEqual([64, false]);
  rmSync(folder, { recursive: true });
});

test("PC2 — with --json refusals are JSON, and what is not Carillon is told without a stack", async () => {
  const server = createServer((_request, answer) => void answer.end("<html>502</html>"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const env = { CARILLON_OPERATOR_KEY: "operator-key-of-the-tests-1" };
  const url = `http://127.0.0.1:${port}`;
  const { code, stdout } = await carillon(["resume", "fra/1", "--json", "--url", url], env);
  expect([code, JSON.parse(stdout)]).toEqual([
    2,
    { error: { code: "not_carillon", message: `${url}: answered 200, and not as Carillon does` } },
  ]);
  server.close();
});

test("PC2, UE2 — what the API says of a field, its code too, is in the refusal", async () => {
  const problem = {
    code: "invalid_field",
    title: "A field is not valid",
    errors: [{ field: "limit", message: "must be a whole number from 1 to 10" }],
  };
  const server = createServer((_request, answer) =>
    answer.writeHead(422).end(JSON.stringify(problem)),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const env = { CARILLON_OPERATOR_KEY: "operator-key-of-the-tests-1" };
  const { code, stdout } = await carillon(
    ["list", "--json", "--url", `http://127.0.0.1:${port}`],
    env,
  );
  expect([code, JSON.parse(stdout)]).toEqual([
    64,
    {
      error: {
        code: "invalid_field",
        message: "422 A field is not valid. limit must be a whole number from 1 to 10",
        field: "limit",
        valid: ["a whole number from 1 to 10"],
      },
    },
  ]);
  server.close();
});

test.each([
  [404, 1],
  [422, 64],
  [503, 2],
])("PC1 — an answer %i is exit %i", async (status, exitCode) => {
  const server = createServer((_request, answer) =>
    answer.writeHead(status, { "content-type": "application/problem+json" }).end('{"title":"x"}'),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const env = { CARILLON_OPERATOR_KEY: "operator-key-of-the-tests-1" };
  const words = ["inspect", "acme/ada", "--url", `http://127.0.0.1:${port}`];
  expect(await carillon(words, env)).toEqual({
    code: exitCode,
    stdout: "",
    stderr: `carillon process: ${status} x\n`,
  });
  server.close();
});
