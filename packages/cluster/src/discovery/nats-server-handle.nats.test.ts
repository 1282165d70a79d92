// Goal: NH1, NH2. Method: a real nats-server and a process that is none, with their pids in a file.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { systemClock } from "@carillon/kernel";
import { freePorts, startNatsServer } from "@carillon/local";
import { FakeClock } from "@carillon/testkit";
import { expect, onTestFinished, test } from "vitest";
import { createNatsServerHandle } from "./nats-server-handle.ts";
import { newFolder } from "./test-folder.ts";

const TEST_MAX_MS = 90_000;

test(
  "NH1 — found by its pid file; told by SIGHUP; another run is another one",
  async () => {
    const [port = 0, monitorPort = 0] = await freePorts(2);
    const folder = newFolder();
    const pidFile = join(folder, "nats.pid");
    const handle = createNatsServerHandle({
      pidFile,
      monitorUrl: `http://127.0.0.1:${monitorPort}`,
      clock: systemClock,
    });
    expect([await handle.find(), await handle.loadedAtMs()]).toEqual([undefined, undefined]);
    const configText = `listen: 127.0.0.1:${port}\nhttp: 127.0.0.1:${monitorPort}\npid_file: "${pidFile}"\n`;
    const server = await startNatsServer({ folder, name: "fra-a", configText });
    onTestFinished(async () => void (await server.stop()));
    const run = await handle.find();
    const beforeMs = await handle.loadedAtMs();
    expect(run?.pid).toBe(server.pid);
    expect(beforeMs).toBeGreaterThan(systemClock.wallClockMs() - TEST_MAX_MS);
    expect(await handle.hangUp({ pid: server.pid, mark: "of another run" })).toBe("gone");
    expect(await handle.loadedAtMs()).toBe(beforeMs);
    expect(await handle.hangUp(run!)).toBe("told");
    while ((await handle.loadedAtMs()) === beforeMs);
    server.kill("SIGKILL");
    await server.exited;
    expect([await handle.find(), await handle.hangUp(run!)]).toEqual([undefined, "gone"]);
  },
  TEST_MAX_MS,
);

test(
  "NH1 — a pid that belongs to something else by now is no server, and gets no signal",
  async () => {
    const pidFile = join(newFolder(), "nats.pid");
    const handle = createNatsServerHandle({
      pidFile,
      monitorUrl: "http://127.0.0.1:1",
      clock: systemClock,
    });
    const other = spawn("sleep", ["60"], { stdio: "ignore" });
    const exited = new Promise((resolve) => other.once("exit", (code, signal) => resolve(signal)));
    onTestFinished(() => void other.kill("SIGKILL"));
    await new Promise((resolve) => other.once("spawn", resolve));
    const pid = other.pid ?? 0;
    writeFileSync(pidFile, String(pid));
    expect([await handle.find(), await handle.hangUp({ pid, mark: "" })]).toEqual([
      undefined,
      "gone",
    ]);
    for (const text of ["", "-1", "0", "1", "one", "99999999999"]) {
      writeFileSync(pidFile, text);
      expect([text, await handle.find()]).toEqual([text, undefined]);
    }
    other.kill("SIGTERM");
    expect(await exited).toBe("SIGTERM"); // and not SIGHUP
  },
  TEST_MAX_MS,
);

test("NH2 — monitoring that hangs, or says something else, is not known after its limit", async () => {
  let asked = (): void => undefined;
  const isAsked = new Promise<void>((resolve) => (asked = resolve));
  let body: string | undefined;
  const server = createServer((_request, response) => {
    asked();
    if (body !== undefined) response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const clock = new FakeClock();
  const options = { pidFile: "/nowhere", monitorUrl: `http://127.0.0.1:${port}`, clock };
  const handle = createNatsServerHandle(options);
  const loaded = handle.loadedAtMs();
  await isAsked;
  await clock.advance(2_000);
  expect([await loaded, clock.timersCount]).toEqual([undefined, 0]);
  for (body of ["<html>", "{}", '{"config_load_time":"soon"}', '{"config_load_time":5}'])
    expect([body, await handle.loadedAtMs()]).toEqual([body, undefined]);
});
