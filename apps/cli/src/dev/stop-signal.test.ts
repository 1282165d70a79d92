// Goal: DV14. Method: a process in a group of its own that stops for ever, and real signals to it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "vitest";

const ECHO_OVER_MS = 550;
const PROGRAM = `
  const { systemClock } = await import("@carillon/kernel");
  const { onStopSignal } = await import(${JSON.stringify(join(import.meta.dirname, "stop-signal.ts"))});
  onStopSignal((signal) => console.log(signal), systemClock);
  setInterval(() => {}, 1_000);
  console.log("up");`;

const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
});

async function start() {
  const child = spawn(process.execPath, ["--input-type=module", "-e", PROGRAM], {
    cwd: import.meta.dirname, // where its imports are looked for
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  cleanUps.push(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit");
  const lines: string[] = [];
  const printed = createInterface({ input: child.stdout });
  printed.on("line", (line) => lines.push(line));
  const send = (...signals: NodeJS.Signals[]): void => {
    for (const signal of signals) process.kill(-child.pid!, signal); // as a terminal's Ctrl-C
  };
  await once(printed, "line");
  return { child, lines, send, exited, nextLine: () => once(printed, "line") };
}

test("DV14 — an echo within 500 ms is not a second signal; a later one ends at once with 130", async () => {
  const { child, lines, send, exited, nextLine } = await start();
  const asked = nextLine();
  // Both wait for it when it continues, whichever is first: no load comes between them.
  send("SIGSTOP", "SIGINT", "SIGTERM", "SIGCONT");
  const [first] = (await asked) as [string];
  expect(["Ctrl-C", "SIGTERM"]).toContain(first);
  await new Promise((resolve) => setTimeout(resolve, ECHO_OVER_MS)); // it is silent: no event tells
  expect([child.exitCode, lines]).toEqual([null, ["up", first]]);
  send("SIGINT");
  expect(await exited).toEqual([130, null]);
  expect(lines).toEqual(["up", first]);
});
