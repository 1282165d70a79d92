// Goal: NK1–NK7, NR1, NR2. Method: real files, a server that takes or refuses as told, a fake
// clock; nats-discovery.nats.test.ts has the real one.
import { existsSync, mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { writeDurably } from "./durable-file.ts";
import { createNatsConfKeeper, type ReloadReport, writeNatsConf } from "./nats-conf-keeper.ts";
import type { NatsServerHandle, ServerRun } from "./nats-server-handle.ts";
import { routesOf, withRunningParts } from "./nats-routes.ts";
import { newFolder } from "./test-folder.ts";

let gatewayUrl = "gw-1";
const render = (routes: readonly string[]): string =>
  `cluster {\n  routes: [${routes.join(", ")}]\n}\n\ngateway {\n  tls {\n  }\n  urls: ${gatewayUrl}\n}\n`;

class FakeServer implements NatsServerHandle {
  run: ServerRun | undefined = { pid: 7, mark: "7@1" };
  isRefusing = false;
  hasMonitor = true;
  loadedMs = 0;
  hangUpsAtMs: number[] = [];
  hangUpOutcome: "told" | "gone" | "denied" = "told";
  /** What a reload waits for. */
  gate: Promise<void> | undefined;
  readonly #clock: FakeClock;
  constructor(clock: FakeClock) {
    this.#clock = clock;
  }
  find = () => Promise.resolve(this.run);
  loadedAtMs = () => Promise.resolve(this.hasMonitor ? this.loadedMs : undefined);
  hangUp = async () => {
    this.hangUpsAtMs.push(this.#clock.monotonicMs());
    await this.gate;
    if (!this.isRefusing && this.hangUpOutcome === "told")
      this.loadedMs = this.#clock.wallClockMs();
    return this.hangUpOutcome;
  };
}

function keeping({
  clock = new FakeClock(),
  server = new FakeServer(clock),
  path = join(newFolder(), "nats.conf"),
}: { clock?: FakeClock; server?: FakeServer; path?: string } = {}) {
  gatewayUrl = "gw-1";
  const reports: ReloadReport["kind"][] = [];
  const keeper = createNatsConfKeeper({
    path,
    render,
    server,
    clock,
    onReport: (report) => reports.push(report.kind),
  });
  /** Files are of the real clock's time; the server's is the fake one's. */
  const age = (): void => utimesSync(path, 0, 0);
  const text = (): string => readFileSync(path, "utf8");
  /** What is under way on the disk has no timer: looked at until nothing moves. */
  const settled = async (isDone: () => boolean): Promise<void> => {
    while (!isDone()) await clock.advance(0);
  };
  /** For what must not happen: as much of the disk's work as it would have taken, thrice. */
  const quiet = async (): Promise<void> => {
    for (let n = 0; n < 3; n++) await writeDurably(`${path}.other`, "");
    await clock.settle();
  };
  return { clock, server, path, reports, keeper, age, text, settled, quiet };
}

test("NK1 — C8 written and told once; the same again, in another order, is nothing", async () => {
  const { clock, server, reports, keeper, text, age, path, settled, quiet } = keeping();
  keeper.want(["nats://b", "nats://a"]);
  await settled(() => reports.length === 1);
  age();
  expect(text()).toContain("routes: [nats://b, nats://a]");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  for (let n = 0; n < 10; n++) {
    keeper.want(["nats://b", "nats://a"]);
    await clock.advance(10_000);
    await quiet();
  }
  await keeper.stop();
  expect([reports, server.hangUpsAtMs]).toEqual([["confirmed"], [0]]);
});

test("NK2 — the 10 s are kept by the next agent as well", async () => {
  const first = keeping();
  first.keeper.want(["nats://1"]);
  await first.settled(() => first.reports.length === 1);
  await first.keeper.stop();
  const { clock, server, reports, keeper, settled, quiet } = keeping(first);
  await clock.advance(3_000);
  keeper.want(["nats://2"]);
  await quiet();
  await clock.advance(6_999);
  await quiet();
  expect([server.hangUpsAtMs, reports]).toEqual([[0], []]);
  await clock.advance(1);
  await settled(() => reports.length === 1);
  expect([server.hangUpsAtMs, reports]).toEqual([[0, 10_000], ["confirmed"]]);
  await keeper.stop();
});

test("NK2 — a wall clock that was set back between two agents makes no reload wait for more than 10 s", async () => {
  const first = keeping();
  first.keeper.want(["nats://1"]);
  await first.settled(() => first.reports.length === 1);
  await first.keeper.stop();
  first.clock.jumpWallClock(-3_600_000);
  const { clock, server, reports, keeper, settled, quiet } = keeping(first);
  keeper.want(["nats://2"]);
  await quiet();
  await clock.advance(10_000);
  await settled(() => reports.length === 1);
  expect(server.hangUpsAtMs).toEqual([0, 10_000]);
  await keeper.stop();
});

test("NK2 — stop waits for a reload under way, and its end is told", async () => {
  const { server, reports, keeper, settled, quiet } = keeping();
  const gate = Promise.withResolvers<void>();
  server.gate = gate.promise;
  keeper.want(["nats://1"]);
  await settled(() => server.hangUpsAtMs.length === 1);
  let isStopped = false;
  const stopped = keeper.stop().then(() => (isStopped = true));
  await quiet();
  expect([isStopped, reports]).toEqual([false, []]);
  gate.resolve();
  await stopped;
  expect(reports).toEqual(["confirmed"]);
});

test.each([true, false])(
  "NK6, NK7 — a signal that may not be sent is no reload: tried again, told once in 5 min; monitoring: %s",
  async (hasMonitor) => {
    const first = keeping();
    first.server.hasMonitor = hasMonitor;
    first.server.hangUpOutcome = "denied";
    writeFileSync(first.path, render(["nats://old"]));
    first.age();
    first.server.loadedMs = 1;
    first.keeper.want(["nats://1"]);
    await first.settled(() => first.reports.length === 1);
    for (let n = 1; n < 6; n++) {
      await first.clock.advance(10_000);
      await first.settled(() => first.server.hangUpsAtMs.length === n + 1);
      await first.quiet();
    }
    expect(first.reports).toEqual(["not_told"]);
    await first.keeper.stop();

    // The next agent knows that it was not told, too.
    const { clock, server, reports, keeper, settled, quiet } = keeping(first);
    server.hangUpOutcome = "told";
    keeper.want(["nats://1"]);
    await clock.advance(10_000);
    await settled(() => reports.length === 1);
    expect(reports).toEqual([hasMonitor ? "confirmed" : "unconfirmed"]);
    const toldCount = server.hangUpsAtMs.length;
    await clock.advance(10_000);
    await quiet();
    expect(server.hangUpsAtMs).toHaveLength(toldCount);
    await keeper.stop();
  },
);

test("NK7 — a fault that stays is told once in 5 min, another one at once", async () => {
  const { clock, keeper, path, reports, settled, quiet } = keeping();
  mkdirSync(path); // no file can be there
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  for (let n = 0; n < 29; n++) {
    await clock.advance(10_000);
    await quiet();
  }
  expect(reports).toEqual(["failed"]);
  await clock.advance(10_000);
  await settled(() => reports.length === 2);
  expect(reports).toEqual(["failed", "failed"]);
  await keeper.stop();
});

test("NK7 — a signal that cannot be sent for another reason is told at once", async () => {
  const { clock, server, keeper, reports, settled, quiet } = keeping();
  server.hangUpOutcome = "denied";
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  server.hangUpOutcome = "gone";
  await clock.advance(10_000);
  await settled(() => server.hangUpsAtMs.length === 2);
  await quiet();
  expect(reports).toEqual(["not_told", "not_told"]);
  await keeper.stop();
});

test("NK3 — only what this reload replaced is put back, never an older file", async () => {
  const { clock, server, keeper, text, age, path, reports, settled } = keeping();
  writeFileSync(path, render(["nats://old"]));
  age();
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  expect(existsSync(`${path}.previous`)).toBe(false); // of no use once it is confirmed
  writeFileSync(`${path}.previous`, render(["nats://older"])); // as agents before this one left it
  // Somebody writes the file and the server has not loaded it: the same text is wanted.
  server.isRefusing = true;
  writeFileSync(path, render(["nats://2"]));
  await clock.advance(10_000);
  keeper.want(["nats://2"]);
  while (reports.length < 2) await clock.advance(100);
  expect([reports, text()]).toEqual([["confirmed", "refused"], render(["nats://2"])]);
  await keeper.stop();
});

test("NK2 — C8 SIGHUP at most every 10 s, with the last text", async () => {
  const { clock, server, reports, keeper, text, age, settled, quiet } = keeping();
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  age();
  for (let n = 2; n <= 9; n++) {
    await clock.advance(1_000);
    keeper.want([`nats://${n}`]);
    await quiet();
  }
  expect(text()).toContain("nats://1]");
  await clock.advance(1_999);
  await quiet();
  expect(server.hangUpsAtMs).toEqual([0]);
  await clock.advance(1);
  await settled(() => reports.length === 2);
  expect(text()).toContain("nats://9]");
  expect(server.hangUpsAtMs).toEqual([0, 10_000]);
  await keeper.stop();
  expect(clock.timersCount).toBe(0);
});

test("NK3 — what the server refuses is told, the old file is back, and tried again after 5 min", async () => {
  const { clock, server, reports, keeper, text, age, path, settled } = keeping();
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  age();
  await clock.advance(10_000);
  server.isRefusing = true;
  keeper.want(["nats://2"]);
  while (reports.length < 2) await clock.advance(100);
  expect(reports).toEqual(["confirmed", "refused"]);
  expect(text()).toContain("nats://1]");
  expect([statSync(path).mtimeMs, existsSync(`${path}.previous`)]).toEqual([0, false]);
  const toldCount = server.hangUpsAtMs.length;
  for (let n = 0; n < 20; n++) {
    await clock.advance(10_000);
    await clock.settle();
  }
  expect(server.hangUpsAtMs).toHaveLength(toldCount);
  server.isRefusing = false;
  while (reports.length < 3) await clock.advance(1_000);
  expect([reports.at(-1), text().includes("nats://2]")]).toEqual(["confirmed", true]);
  expect(server.hangUpsAtMs.at(-1)! - server.hangUpsAtMs.at(-2)!).toBeGreaterThanOrEqual(300_000);
  await keeper.stop();
});

test("NK3 — another run of the server gets the refused text at once", async () => {
  const { clock, server, reports, keeper, text, age, settled, quiet } = keeping();
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  age();
  await clock.advance(10_000);
  server.isRefusing = true;
  keeper.want(["nats://2"]);
  while (reports.length < 2) await clock.advance(100);
  server.isRefusing = false;
  server.run = { pid: 8, mark: "8@2" };
  await quiet();
  await clock.advance(10_000); // the next look
  await settled(() => reports.length === 3);
  expect([reports, text().includes("nats://2]")]).toEqual([
    ["confirmed", "refused", "confirmed"],
    true,
  ]);
  await keeper.stop();
});

test("NK3 — a server that does not answer: unconfirmed, told again after 5 min, confirmed when it answers", async () => {
  const { clock, server, reports, keeper, age, settled, quiet } = keeping();
  server.hasMonitor = false;
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  expect(reports).toEqual(["unconfirmed"]);
  for (let n = 0; n < 29; n++) {
    await clock.advance(10_000);
    await quiet();
  }
  expect([reports, server.hangUpsAtMs]).toEqual([["unconfirmed"], [0]]);
  while (reports.length < 2) await clock.advance(1_000);
  expect(reports).toEqual(["unconfirmed", "unconfirmed"]);
  expect(server.hangUpsAtMs).toHaveLength(2);
  expect(server.hangUpsAtMs[1]).toBeGreaterThanOrEqual(300_000);
  // It was started again, with the same file: its monitoring says that it took it.
  server.run = { pid: 8, mark: "8@2" };
  server.hasMonitor = true;
  server.loadedMs = clock.wallClockMs();
  age();
  while (reports.length < 3) await clock.advance(1_000);
  await clock.advance(600_000);
  await quiet();
  expect(reports).toEqual(["unconfirmed", "unconfirmed", "confirmed"]);
  expect(server.hangUpsAtMs).toHaveLength(2);
  await keeper.stop();
});

test("NK3 — a new run of a server that does not answer was started with the file: it is told nothing", async () => {
  const { clock, server, reports, keeper, settled, quiet } = keeping();
  server.hasMonitor = false;
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  server.run = { pid: 8, mark: "8@2" };
  for (let n = 0; n < 40; n++) {
    await clock.advance(10_000);
    await quiet();
  }
  expect([reports, server.hangUpsAtMs]).toEqual([["unconfirmed"], [0]]);
  await keeper.stop();
});

test("NK3 — an answer that says otherwise ends the guess: the server is told at once", async () => {
  const { clock, server, reports, keeper, settled } = keeping();
  server.hasMonitor = false;
  server.isRefusing = true; // and nobody hears of it
  server.loadedMs = -1;
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  server.hasMonitor = true;
  while (reports.length < 2) await clock.advance(1_000);
  expect(reports).toEqual(["unconfirmed", "refused"]);
  expect(server.hangUpsAtMs).toHaveLength(2);
  await keeper.stop();
});

test("NK4 — the gateway part stays while the server runs, and changes when it does not", async () => {
  const { clock, server, reports, keeper, text, age, settled } = keeping();
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  age();
  gatewayUrl = "gw-2";
  await clock.advance(10_000);
  keeper.want(["nats://2"]);
  await settled(() => reports.length === 3);
  expect(reports.slice(1)).toEqual(["gateway_frozen", "confirmed"]);
  expect([text().includes("nats://2]"), text().includes("gw-1")]).toEqual([true, true]);
  age();
  server.run = undefined;
  await clock.advance(10_000);
  await settled(() => reports.length === 5);
  expect(reports.slice(3)).toEqual(["gateway_frozen", "written"]);
  expect([text().includes("nats://2]"), text().includes("gw-2")]).toEqual([true, true]);
  await keeper.stop();
});

test("NK5 — nothing is known: a file that is there stays; one that is not is written without routes", async () => {
  const { clock, keeper, path, server, reports, text, settled } = keeping();
  writeFileSync(path, render(["nats://old"]));
  keeper.want(undefined);
  await clock.advance(60_000);
  expect([text(), server.hangUpsAtMs, reports]).toEqual([render(["nats://old"]), [], []]);
  await keeper.stop();
  const other = keeping();
  other.server.run = undefined;
  other.keeper.want(undefined);
  await other.settled(() => other.reports.length === 1);
  expect([other.text(), other.reports]).toEqual([render([]), ["written"]]);
  await other.keeper.stop();
  expect(await writeNatsConf({ path, render }, undefined)).toBe("kept");
  expect(await writeNatsConf({ path, render }, ["nats://1"])).toBe("written");
  expect(await writeNatsConf({ path, render }, ["nats://1"])).toBe("unchanged");
  await settled(() => true);
});

test("NK6 — a file that was written and not told is told by the next look", async () => {
  const { reports, keeper, path, server, settled } = keeping();
  writeFileSync(path, render(["nats://1"])); // newer than what the server has loaded
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  expect([reports, server.hangUpsAtMs]).toEqual([["confirmed"], [0]]);
  await keeper.stop();
});

test("NK6 — a wall clock that jumps back an hour makes no reload after the one that was taken", async () => {
  const { clock, server, reports, keeper, path, settled } = keeping();
  writeFileSync(path, render(["nats://1"])); // of the real clock's time: far ahead of the fake one's
  keeper.want(["nats://1"]);
  await settled(() => reports.length === 1);
  for (let n = 0; n < 360; n++) {
    await clock.advance(10_000);
    await clock.settle();
  }
  await keeper.stop();
  expect(statSync(path).mtimeMs).toBeGreaterThan(server.loadedMs);
  expect([reports, server.hangUpsAtMs]).toEqual([["confirmed"], [0]]);
});

test("NK6 — a render that fails is told, and tried again with the next look", async () => {
  const { clock, server } = keeping();
  const reports: ReloadReport[] = [];
  let isBroken = true;
  const keeper = createNatsConfKeeper({
    path: join(newFolder(), "nats.conf"),
    render: (routes) => {
      if (isBroken) throw new Error("no such key");
      return render(routes);
    },
    server,
    clock,
    onReport: (report) => reports.push(report),
  });
  keeper.want([]);
  while (reports.length < 1) await clock.advance(0);
  isBroken = false;
  while (reports.length < 2) await clock.advance(1_000);
  expect(reports).toEqual([
    { kind: "failed", detail: "Error: no such key" },
    { kind: "confirmed" },
  ]);
  await keeper.stop();
});

test("NR1 — C8 sorted, each address once, IPv6 in brackets", () => {
  const candidates = [
    { id: "i-3", address: "2a05::1" },
    { id: "i-2", address: "10.0.0.2" },
    { id: "i-1", address: "10.0.0.2" },
    { id: "i-9", address: "10.0.0.1" },
  ];
  const routes = ["nats://10.0.0.1:6222", "nats://10.0.0.2:6222", "nats://[2a05::1]:6222"];
  expect(routesOf(candidates, 6222)).toEqual(routes);
  expect(routesOf(candidates.toReversed(), 6222)).toEqual(routes);
});

test("NR2 — the gateway part of the running file, to the letter; none is a part as well", () => {
  const [running, next] = ["a $& b", "c"].map((url) => {
    gatewayUrl = url;
    return render(["nats://1"]);
  }) as [string, string];
  expect(withRunningParts(next, running)).toEqual({ text: running, isGatewayFrozen: true });
  expect(withRunningParts(next, next)).toEqual({ text: next, isGatewayFrozen: false });
  const without = next.slice(0, next.indexOf("\ngateway"));
  expect(withRunningParts(next, without).text.trimEnd()).toBe(without.trimEnd());
  expect(withRunningParts(without, running).text).toBe(running);
});

test("NR2 — the monitoring port of the running file, also none: it does not reload", () => {
  const full = (monitor: string, routes: string): string =>
    `port: 1\n${monitor}jetstream: disabled\n\ncluster {\n  routes: [${routes}]\n}\n`;
  const [none, one, other] = ["", 'http: "127.0.0.1:8222"\n', 'http: "127.0.0.1:$&"\n'] as const;
  for (const running of [none, one, other])
    for (const next of [none, one, other])
      expect(withRunningParts(full(next, "new"), full(running, "old"))).toEqual({
        text: full(running, "new"),
        isGatewayFrozen: false,
      });
});
