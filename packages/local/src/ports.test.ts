// Goal: LO1 of ports.ts. Method: real binds, and a second process that takes ports meanwhile.
import { createServer } from "node:net";
import { expect, test } from "vitest";
import { freePort, freePorts } from "./ports.ts";
import { runProgram } from "./test-folder.ts";

test("LO1 — a process never gets a port twice, across blocks and at once", async () => {
  const ports = (await Promise.all(Array.from({ length: 10 }, () => freePorts(15)))).flat();
  expect(new Set(ports).size).toBe(150);
});

test("LO1 — two processes get different ports, though nobody listens on them yet", async () => {
  const other = runProgram("say(await local.freePorts(60)); setInterval(() => {}, 1000);");
  const theirs = (await other.nextLine()) as number[];
  const ours = await freePorts(60);
  other.child.kill("SIGKILL");
  expect(ours.filter((port) => theirs.includes(port))).toEqual([]);
});

test("LO1 — a port in use is passed over", async () => {
  const before = await freePort();
  const taken = createServer().listen(before + 1, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve).once("error", resolve));
  expect(await freePort()).not.toBe(before + 1);
  taken.close();
});
