// Goal: LO2, LO5, LO13. Method: real nats-servers, real signals, sockets to ask them.
import { mkdirSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import {
  findNatsServer,
  freePort,
  reapLeftovers,
  startNatsServer,
  type NatsServer,
} from "./index.ts";
import { commandLineOf } from "./os-process.ts";
import { recordPid } from "./leftovers.ts";
import { createFolder } from "./test-folder.ts";

const TEST_MAX_MS = 60_000;
const stops: (() => Promise<unknown>)[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function newFolder(): string {
  const folder = createFolder();
  folders.push(folder);
  return folder;
}

async function start(
  folder: string,
  configText: string,
  options: Partial<Parameters<typeof startNatsServer>[0]> = {},
): Promise<NatsServer> {
  const server = await startNatsServer({ configText, folder, name: "fra-a", ...options });
  stops.push(() => server.stop());
  return server;
}

/** The INFO line that the server greets with. */
function infoOf(url: string): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const socket = createConnection({ host: hostname, port: Number(port) });
    socket.once("error", reject);
    socket.once("data", (data) => {
      socket.destroy();
      resolve(JSON.parse(data.toString().slice("INFO ".length)) as Record<string, unknown>);
    });
  });
}

test(
  "LO13 — serves when started; stop is bounded and may be called twice",
  async () => {
    const folder = newFolder();
    const port = await freePort();
    const exits: unknown[] = [];
    const server = await start(folder, `listen: 127.0.0.1:${port}\nserver_name: fra-a`, {
      onExit: (exit) => exits.push(exit),
    });
    expect(server.clientUrl).toBe(`nats://127.0.0.1:${port}`);
    expect(await infoOf(server.clientUrl)).toMatchObject({ server_name: "fra-a", port });
    expect(statSync(join(folder, "fra-a", "nats.conf")).mode & 0o777).toBe(0o600);
    expect(await server.stop()).toBe("stopped");
    expect(await server.stop()).toBe("already_exited");
    expect(exits).toEqual([{ code: 1, signal: null, isExpected: true }]); // its code for SIGTERM
  },
  TEST_MAX_MS,
);

test(
  "LO5, LO13 — killed and started again on its port; a stopped one is ended",
  async () => {
    const folder = newFolder();
    const configText = `listen: 127.0.0.1:${await freePort()}`;
    const first = await start(folder, configText);
    process.kill(first.pid, "SIGKILL");
    expect(await first.exited).toEqual({ code: null, signal: "SIGKILL", isExpected: false });
    const second = await start(folder, configText);
    expect(second.clientUrl).toBe(first.clientUrl);
    second.kill("SIGSTOP");
    expect(await second.stop()).toBe("stopped");
  },
  TEST_MAX_MS,
);

test(
  "reload — SIGHUP takes the new text",
  async () => {
    const folder = newFolder();
    const port = await freePort();
    const server = await start(folder, `listen: 127.0.0.1:${port}\nmax_payload: 1024`);
    expect((await infoOf(server.clientUrl))["max_payload"]).toBe(1024);
    server.reload(`listen: 127.0.0.1:${port}\nmax_payload: 2048`);
    while ((await infoOf(server.clientUrl))["max_payload"] !== 2048);
    await vi.waitFor(() => expect(readFileSync(server.logFile, "utf8")).toContain("Reloaded"));
  },
  TEST_MAX_MS,
);

test(
  "LO2 — a recorded pid that another program has by now is left alone",
  async () => {
    const folder = newFolder();
    recordPid(folder, {
      pid: process.pid,
      place: join(folder, "nats.conf"),
      stopSignal: "SIGTERM",
    });
    expect(await reapLeftovers(folder)).toEqual({ endedPids: [], keptPids: [] });
    expect(commandLineOf(process.pid)).toBeDefined();
  },
  TEST_MAX_MS,
);

test(
  "a bad configuration: start_failed with what the server says",
  async () => {
    const failure = start(newFolder(), "listen: nowhere:at:all");
    await expect(failure).rejects.toMatchObject({ name: "Fault", code: "start_failed" });
    await expect(failure).rejects.toThrow("nowhere");
  },
  TEST_MAX_MS,
);

test(
  "LO15 — on PATH only, in a folder that the system's PATH lacks: started all the same",
  async () => {
    const folder = newFolder();
    const { command } = await findNatsServer();
    expect(command).toMatch(/^\/.*nats-server$/);
    const tools = join(folder, "tools");
    mkdirSync(tools);
    symlinkSync(command, join(tools, "carillon-test-nats"));
    vi.stubEnv("PATH", `${tools}:${process.env["PATH"] ?? ""}`);
    const configText = `listen: 127.0.0.1:${await freePort()}\nserver_name: fra-a`;
    const server = await start(folder, configText, { binary: "carillon-test-nats" });
    expect(await infoOf(server.clientUrl)).toMatchObject({ server_name: "fra-a" });
  },
  TEST_MAX_MS,
);

test(
  "no nats-server: says how to install it",
  async () => {
    const failure = start(newFolder(), "", { binary: "/nowhere/nats-server" });
    await expect(failure).rejects.toMatchObject({
      code: "nats_server_missing",
      isRetryable: false,
    });
    await expect(failure).rejects.toThrow("apt-get install nats-server");
    await expect(failure).rejects.toThrow("brew install nats-server");
  },
  TEST_MAX_MS,
);
