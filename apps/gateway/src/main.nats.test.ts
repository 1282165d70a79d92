// Goal: main.ts as it is run in production: configuration, readiness, a socket, SIGTERM.
import { freePort, startNatsServer } from "@carillon/local";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { createIssuer, RawClient } from "./testing/gateway-fixture.ts";

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));
const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

function run(env: Record<string, string>, ...args: string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], { env });
  cleanUps.push(() => child.kill("SIGKILL"));
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exited = new Promise<number | null>((resolve) => child.on("exit", resolve));
  const nextEvent = async (event: string): Promise<Record<string, unknown>> => {
    for (;;) {
      const line = await lines.next();
      if (line.done === true) throw new Error(`ended before ${event}: ${errors}`);
      const logged = JSON.parse(line.value) as Record<string, unknown>;
      if (logged["event"] === event) return logged;
    }
  };
  return { child, exited, nextEvent, errors: () => errors };
}

test("without settings: exit code 78, and everything that is missing is named", async () => {
  const { exited, errors } = run({ CARILLON_GATEWAY_JWKS: "{}", CARILLON_GATEWAY_PORTS: "1" });
  expect(await exited).toBe(78);
  expect(errors().trim().split("\n")).toEqual([
    "CARILLON_GATEWAY_PORTS is not a known setting",
    "CARILLON_GATEWAY_REGION is required: the region that this node stands in",
    "CARILLON_GATEWAY_NATS_URLS is required: nats-servers of the region",
    'CARILLON_GATEWAY_JWKS must be a JSON Web Key Set ({"keys": […]}) with at least one key, all public',
  ]);
});

test("GW25 — starts, takes a socket, drains on SIGTERM and ends with 0", async () => {
  const folder = mkdtempSync(join(tmpdir(), "carillon-gateway-"));
  cleanUps.push(() => rmSync(folder, { recursive: true }));
  const natsPort = await freePort();
  const configText = `host: "127.0.0.1"\nport: ${natsPort}\nserver_name: "a"\n`;
  const server = await startNatsServer({ folder, name: "a", configText });
  cleanUps.push(() => server.stop());
  const issuer = await createIssuer();
  const keysFile = join(folder, "keys.json");
  writeFileSync(keysFile, JSON.stringify(issuer.jwks));
  const env = {
    CARILLON_GATEWAY_REGION: "fra",
    CARILLON_GATEWAY_HOST: "127.0.0.1",
    CARILLON_GATEWAY_PORT: "0",
    CARILLON_GATEWAY_NATS_URLS: server.clientUrl,
    CARILLON_GATEWAY_JWKS_FILE: keysFile,
    CARILLON_GATEWAY_DRAIN_MAX_MS: "100",
  };
  expect(await run(env, "--check-config").exited).toBe(0);
  const { child, exited, nextEvent } = run(env);
  const port = Number((await nextEvent("node.ready"))["port"]);
  const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
  expect(await ready.json()).toEqual({ status: "ready", isBusConnected: true });
  const client = await RawClient.open(port, { token: await issuer.sign() });
  child.kill("SIGTERM");
  expect((await client.closed).code).toBe(1012);
  await nextEvent("node.stopped");
  expect(await exited).toBe(0);
});
