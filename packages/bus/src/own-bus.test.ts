// Goal: BU8. Method: the memory network; a user whose crash the test sees.
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { createMemoryNetwork } from "./memory-network.ts";
import { type BusUser, ownBus } from "./own-bus.ts";

function start() {
  const clock = new FakeClock();
  const network = createMemoryNetwork({ clock, scheduler: clock });
  const [bus, other] = [network.connect("here"), network.connect("there")];
  const crashes: string[] = [];
  const undos: (() => void)[] = [];
  let isCurrent = true;
  const end = (): void => {
    isCurrent = false;
    for (const undo of undos.splice(0)) undo();
  };
  const user: BusUser = {
    get isCurrent() {
      return isCurrent;
    },
    guarded:
      (callback) =>
      (...args) => {
        try {
          callback(...args);
        } catch (cause) {
          crashes.push(String(cause));
          end();
        }
      },
    onOver: (undo) => void undos.push(undo),
  };
  const heard: string[] = [];
  const hear = (name: string) => () => void heard.push(name);
  return { clock, network, bus, other, crashes, end, own: ownBus(user, bus), heard, hear };
}
const NOTHING = new Uint8Array();

test("BU8 — a handler that throws is its user's crash; the user hears nothing more, others do", async () => {
  const { clock, network, bus, other, crashes, own, heard, hear } = start();
  own.subscribe("a", () => {
    throw new Error("bug");
  });
  own.subscribe("b", hear("own b"), { isSole: true });
  own.onConnection(hear("own connection"));
  bus.subscribe("c", hear("c"));
  for (const subject of ["a", "b", "c"]) other.publish(subject, NOTHING);
  await clock.settle();
  expect([crashes, heard.splice(0)]).toEqual([["Error: bug"], ["c"]]);
  network.cut("here");
  network.heal("here");
  await clock.settle();
  expect(heard).toEqual([]);
  bus.subscribe("b", hear("next user's b"), { isSole: true }); // the subject is free
  bus.publish("b", NOTHING);
  await clock.settle();
  expect(heard).toEqual(["next user's b"]);
});

test("BU8 — what it subscribes when it is over already is gone at once; the bus stays", async () => {
  const { clock, bus, other, end, own, heard, hear } = start();
  end();
  own.subscribe("a", hear("late"));
  await own.drain();
  other.publish("a", NOTHING);
  await clock.settle();
  expect([heard, bus.isConnected, own.isConnected]).toEqual([[], true, true]);
});
