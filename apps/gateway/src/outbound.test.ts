// Goal: GW6, GW7: what leaves together, and in which order. Method: a stream that records writes.
import { FakeClock } from "@carillon/testkit";
import { Duplex } from "node:stream";
import { expect, test } from "vitest";
import { Outbound } from "./outbound.ts";

function start() {
  const clock = new FakeClock();
  const writes: string[][] = [];
  const stream = new Duplex({
    read: () => undefined,
    writev(chunks, done) {
      writes.push(chunks.map(({ chunk }) => String(chunk)));
      done();
    },
  });
  const outbound = new Outbound(clock);
  const send = (text: string): void => {
    outbound.hold(stream);
    stream.write(text);
  };
  return { clock, writes, stream, outbound, send };
}

test("GW6, GW7 — a turn is one write, whoever writes; the next turn is another", async () => {
  const { clock, writes, stream, send } = start();
  send("a");
  stream.write("ws"); // as `ws` does, without knowing
  stream.cork(); // and with its own cork
  stream.write("b1");
  stream.write("b2");
  stream.uncork();
  send("c");
  expect(writes).toEqual([]);
  await clock.settle();
  expect(writes).toEqual([["a", "ws", "b1", "b2", "c"]]);
  send("d");
  await clock.settle();
  expect(writes).toEqual([["a", "ws", "b1", "b2", "c"], ["d"]]);
  expect(stream.writableCorked).toBe(0);
});

test("GW7 — released before the turn ends, held again after it", async () => {
  const { clock, writes, stream, outbound, send } = start();
  send("a");
  outbound.release(stream);
  outbound.release(stream);
  expect(writes).toEqual([["a"]]);
  send("b");
  await clock.settle();
  expect([writes, stream.writableCorked]).toEqual([[["a"], ["b"]], 0]);
});
