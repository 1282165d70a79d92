// packages/process/src/watchdog/kept-thread.test.ts
// Goal: WD5 and WD6 of kept-thread.ts. Method: real threads that die; the test moves the clock.
import { EventEmitter, once } from "node:events";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { KeptThread } from "./kept-thread.ts";

const MS_TO_RESTART = 1_000;
const threadOf = (code: string): URL => new URL(`data:text/javascript,${encodeURIComponent(code)}`);
const THAT_ECHOES = `import { parentPort, workerData } from "node:worker_threads";
  workerData.inbox.on("message", (text) => {
    if (text === "die") throw new Error("told to");
    parentPort.postMessage(text);
  });`;

function start(code: string) {
  const clock = new FakeClock();
  const events = new EventEmitter();
  const deaths: [string, string][] = [];
  let startCount = 0;
  const thread = new KeptThread({
    clock,
    url: threadOf(code),
    name: "t",
    setup: undefined,
    heapMaxMb: 16,
    onStart: () => void startCount++,
    onMessage: (message) => events.emit("message", message),
    onDeath: ({ cause, fate }) => {
      deaths.push([String(cause), fate]);
      events.emit("death");
    },
  });
  const nextDeath = async (act: () => void | Promise<void>): Promise<void> => {
    const death = once(events, "death");
    await act();
    await death;
  };
  const echo = async (text: string): Promise<unknown> => {
    const answer = once(events, "message");
    thread.post(text);
    return (await answer)[0];
  };
  return { clock, thread, deaths, nextDeath, echo, startCount: () => startCount };
}

test("WD6 a thread that dies is told and started again, at most five times in a row", async () => {
  const { clock, thread, deaths, nextDeath, startCount } = start('throw new Error("sick");');
  await nextDeath(() => thread.start());
  for (let count = 0; count < 5; count++) await nextDeath(() => clock.advance(MS_TO_RESTART));
  await clock.advance(10 * MS_TO_RESTART);
  const again = Array.from({ length: 5 }, () => ["Error: sick", "restart"]);
  expect(deaths).toEqual([...again, ["Error: sick", "given_up"]]);
  expect(startCount()).toBe(6);
});

test("WD6 a thread that ends without a reason is started again, too", async () => {
  const { clock, thread, deaths, nextDeath } = start("process.exit(3);");
  await nextDeath(() => thread.start());
  expect(deaths).toEqual([["Error: thread t ended with code 3", "restart"]]);
  await nextDeath(() => clock.advance(MS_TO_RESTART));
  await thread.stop();
});

test("WD6 a life of a minute forgives the deaths before it", async () => {
  const { clock, thread, deaths, nextDeath, echo } = start(THAT_ECHOES);
  thread.start();
  for (let count = 0; count < 8; count++) {
    expect(await echo(`hello ${count}`)).toBe(`hello ${count}`);
    await clock.advance(60_000);
    await nextDeath(() => thread.post("die"));
    await clock.advance(MS_TO_RESTART);
  }
  expect(deaths).toEqual(Array.from({ length: 8 }, () => ["Error: told to", "restart"]));
  await thread.stop();
});

test("WD5 after stop a thread is gone and is not started again", async () => {
  const { clock, thread, deaths, echo, startCount } = start(THAT_ECHOES);
  thread.start();
  await echo("hello");
  await thread.stop();
  await thread.stop();
  await clock.advance(MS_TO_RESTART);
  expect([deaths, startCount()]).toEqual([[], 1]);

  const other = start("throw 1;");
  await other.nextDeath(() => other.thread.start());
  await other.thread.stop(); // while it waits to be started again
  await other.clock.advance(MS_TO_RESTART);
  expect(other.startCount()).toBe(1);
});
