// Goal: BU9 and C11: "my link is down" and "the peer is silent" are told apart, and a server that
// says that it will end loses no answer. Method: a real server that is stopped (SIGSTOP) or goes
// into lame duck mode (SIGUSR2), and a peer that hears and never answers.
import { systemRandom } from "@carillon/kernel";
import { freePort, freePorts } from "@carillon/local";
import { afterEach, expect, test } from "vitest";
import type { BusEvent } from "./events.ts";
import { BusFixture, bytes, text, untilHeard } from "./test-bus.ts";

const TEST_MAX_MS = 90_000;
const fixture = new BusFixture();
afterEach(() => fixture.cleanUp());

const ofKind = (events: readonly BusEvent[], ...kinds: string[]): BusEvent[] =>
  events.filter(({ kind }) => kinds.includes(kind));

test(
  "BU9, C11 — a peer that is silent is a time-out, over a link that lives",
  async () => {
    const server = await fixture.startServer(`listen: 127.0.0.1:${await freePort()}`);
    const ann = await fixture.connected({ urls: [server.clientUrl] });
    const bob = await fixture.connected({ urls: [server.clientUrl] });
    let heardCount = 0;
    bob.bus.subscribe("mute", () => void heardCount++);
    await untilHeard(ann.bus, bob.bus);
    const asked = [1, 2].map(() => ann.bus.request("mute", bytes("?"), 1_000));
    expect(await Promise.all(asked)).toEqual([{ kind: "timeout" }, { kind: "timeout" }]);
    expect(heardCount).toBe(2);
    const silent = { kind: "silent", whose: "peer" };
    expect(ofKind(ann.events, "silent")).toEqual([silent, silent]);
    expect(ann.bus.isConnected).toBe(true);
  },
  TEST_MAX_MS,
);

test(
  "BU9, C11 — behind a stopped server it is the link: at the time-out already, then `stale`",
  async () => {
    const server = await fixture.startServer(`listen: 127.0.0.1:${await freePort()}`);
    const limits = { pingIntervalMs: 1_000, pingsOutMax: 2 };
    const ann = await fixture.connected({ urls: [server.clientUrl], limits });
    const bob = await fixture.connected({ urls: [server.clientUrl] });
    bob.bus.subscribe("echo", (message) => message.reply(message.data));
    await untilHeard(ann.bus, bob.bus);

    server.kill("SIGSTOP");
    const lost = ann.nextEvent("disconnected");
    const stoppedAtMs = performance.now();
    const quick = await ann.bus.request("echo", bytes("?"), 800);
    expect(quick).toEqual({ kind: "disconnected" });
    expect(ann.bus.isConnected).toBe(true); // nobody has noticed yet
    expect(ofKind(ann.events, "silent")).toEqual([{ kind: "silent", whose: "link" }]);
    const slow = ann.bus.request("echo", bytes("?"), 60_000);
    expect(await lost).toMatchObject({ reason: "stale" });
    expect(performance.now() - stoppedAtMs).toBeLessThan(10_000); // 3 s on an idle machine
    expect(await slow).toEqual({ kind: "disconnected" }); // with the link, not at its time-out
    expect(ofKind(ann.events, "silent")).toHaveLength(1);

    const back = ann.nextEvent("connected");
    server.kill("SIGCONT");
    await back;
    await untilHeard(ann.bus, bob.bus);
    const answer = await ann.bus.request("echo", bytes("back"), 20_000);
    expect(answer.kind === "reply" && text(answer.data)).toBe("back");
  },
  TEST_MAX_MS,
);

test(
  "C10 — lame duck: clients move at once, answers that are under way come, nothing comes twice",
  async () => {
    const [portA, portB, routeA, routeB] = await freePorts(4);
    const config = (port: number, route: number, other: number): string =>
      `listen: 127.0.0.1:${port}\nserver_name: s${port}\nlame_duck_grace_period: "1s"\n` +
      `cluster { name: fra, listen: 127.0.0.1:${route}, routes: ["nats://127.0.0.1:${other}"] }`;
    const serverA = await fixture.startServer(config(portA!, routeA!, routeB!), "fra-a");
    const serverB = await fixture.startServer(config(portB!, routeB!, routeA!), "fra-b");
    const urls = [serverA.clientUrl, serverB.clientUrl];
    const random = { ...systemRandom, next: () => 0.1 }; // A first
    const ann = await fixture.connected({ urls, random });
    const bob = await fixture.connected({ urls: [serverB.clientUrl] });
    const asked = Promise.withResolvers<() => void>();
    bob.bus.subscribe("slow", (message) => asked.resolve(() => message.reply(bytes("late"))));
    const heard: number[] = [];
    ann.bus.subscribe("news", (message) => heard.push(Number(text(message.data))));
    await Promise.all([untilHeard(ann.bus, bob.bus), untilHeard(bob.bus, ann.bus)]);

    const answer = ann.bus.request("slow", bytes("?"), 20_000);
    const reply = await asked.promise;
    let sentCount = 0;
    const news = setInterval(() => bob.bus.publish("news", bytes(String(++sentCount))), 1);
    fixture.onCleanUp(() => clearInterval(news));
    const moved = ann.nextEvent("disconnected").then(() => ann.nextEvent("connected"));
    const ducksAtMs = performance.now();
    serverA.kill("SIGUSR2");
    expect(await moved).toEqual({ kind: "connected", server: `127.0.0.1:${portB}` });
    expect(performance.now() - ducksAtMs).toBeLessThan(10_000); // 0.1 s on an idle machine, of 30
    expect(ofKind(ann.events, "disconnected")).toEqual([
      { kind: "disconnected", server: `127.0.0.1:${portA}`, reason: "lame_duck" },
    ]);
    reply(); // asked over the old link, answered after the move
    const late = await answer;
    expect(late.kind === "reply" && text(late.data)).toBe("late");
    await untilHeard(bob.bus, ann.bus);
    clearInterval(news);
    await untilHeard(bob.bus, ann.bus);
    expect(heard).toEqual([...new Set(heard)].toSorted((a, b) => a - b)); // each once, in order
    expect(heard.at(-1)).toBe(sentCount);
  },
  TEST_MAX_MS,
);
