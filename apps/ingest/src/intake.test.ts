// Goal: IN22, IN23. Method: the memory network, handlers that the test releases.
import { createMemoryNetwork } from "@carillon/bus";
import { encodeMessage, locateRequestSchema } from "@carillon/contracts";
import { createSeededRandom, Fault } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { createIntake } from "./intake.ts";

function start() {
  const clock = new FakeClock();
  const random = createSeededRandom(1);
  const network = createMemoryNetwork({ clock, scheduler: clock, random });
  const [here, there] = [network.connect("fra"), network.connect("lon")];
  const told: string[] = [];
  const intake = createIntake(here, {
    runningMax: 1,
    queueMax: 1,
    onMalformed: (subject) => told.push(`malformed ${subject}`),
    onOverloaded: (subject) => told.push(`overloaded ${subject}`),
    onFailure: (subject, cause) => told.push(`${subject} ${(cause as Error).message}`),
    onCrash: (cause) => told.push(`crash ${String(cause)}`),
  });
  const handlers: PromiseWithResolvers<unknown>[] = [];
  intake.serve("s", locateRequestSchema, () => {
    const handler = Promise.withResolvers<unknown>();
    handlers.push(handler);
    return handler.promise;
  });
  const answers: unknown[] = [];
  const send = async (message: unknown): Promise<void> => {
    const outcome = await there.request("s", encodeMessage(message), 60_000);
    const data = outcome.kind === "reply" ? outcome.data : undefined;
    answers.push(data === undefined ? outcome.kind : JSON.parse(new TextDecoder().decode(data)));
  };
  return { clock, intake, told, handlers, answers, send };
}
const request = { tenantId: "acme", recipientIds: [] };

test("IN22 — one runs, one waits, the next is refused at once; a drain finishes both", async () => {
  const { clock, intake, told, handlers, answers, send } = start();
  for (let count = 0; count < 3; count++) void send(request);
  await clock.advance(0);
  expect([handlers.length, intake.waitingCount, told]).toEqual([1, 1, ["overloaded s"]]);
  expect(answers).toEqual([{ kind: "failed", code: "overloaded" }]);
  let isDrained = false;
  void intake.drain().then(() => (isDrained = true));
  handlers[0]?.resolve({ done: 1 });
  await clock.advance(0);
  expect([isDrained, handlers.length]).toEqual([false, 2]);
  handlers[1]?.resolve({ done: 2 });
  await clock.advance(0);
  expect(isDrained).toBe(true);
  expect(answers.slice(1)).toEqual([{ done: 1 }, { done: 2 }]);
  void send(request);
  await clock.advance(0);
  expect(answers.at(-1)).toBe("no_responders");
});

test("IN23 — malformed, a fault and a bug are answered, each with its code", async () => {
  const { clock, told, handlers, answers, send } = start();
  void send({ tenantId: 7 });
  await clock.advance(0);
  void send(request);
  await clock.advance(0);
  handlers[0]?.reject(new Fault("down", { code: "store_unavailable", isRetryable: true }));
  await clock.advance(0);
  void send(request);
  await clock.advance(0);
  handlers[1]?.reject(new TypeError("x is undefined"));
  await clock.advance(0);
  expect(answers).toEqual(
    ["malformed", "store_unavailable", "internal"].map((code) => ({ kind: "failed", code })),
  );
  expect(told).toEqual(["malformed s", "s down", "s x is undefined"]);
});
