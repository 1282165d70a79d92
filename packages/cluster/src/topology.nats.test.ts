// Goal: C10 and C11 over three servers in each of four regions, all real, with TLS and users: servers
// join and leave, routes and certificates reload, gateways are lost, all are replaced under traffic.
// Method: one topology over all tests; requests that fail are tried again and each must be answered.
import { readFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestTopology, until } from "./test-topology.ts";
import { type TrafficReport, TestTraffic } from "./test-traffic.ts";

const TEST_MAX_MS = 300_000;
const REGIONS = ["fra", "lon", "par", "dub"] as const;
const NAMES = REGIONS.flatMap((region) => ["a", "b", "c"].map((slot) => `${region}-${slot}`));

/** Nothing is lost beyond retries; numbers for a person who reads the log. */
function expectAllAnswered(what: string, report: TrafficReport): void {
  console.info(`${what}: ${JSON.stringify(report)}`);
  expect(report.unanswered).toEqual([]);
  expect(report.answered).toBe(report.asked);
  expect(report.heardTwice).toBe(0);
  expect(report.heard).toBeGreaterThan(0);
}

describe("three servers in each of four regions", { timeout: TEST_MAX_MS }, () => {
  let topology: TestTopology;
  const peersOf = (name: string) => topology.of(topology.slot(name).region);
  /** A fourth server of Frankfurt is planned; it joins in a test. */
  const planned = [...NAMES, "fra-d"];

  beforeAll(async () => {
    topology = await TestTopology.plan(planned);
    for (const name of planned) topology.certify(name);
    const startedAtMs = performance.now();
    await Promise.all(NAMES.map((name) => topology.start(name, peersOf(name))));
    await topology.untilJoined(NAMES);
    console.info(`12 servers joined after ${Math.round(performance.now() - startedAtMs)} ms`);
  }, TEST_MAX_MS);
  afterAll(() => topology.stop(), TEST_MAX_MS);

  const logOf = (name: string): string => readFileSync(topology.server(name).logFile, "utf8");
  const reload = (name: string, text: string): Promise<void> => {
    const count = logOf(name).split("Reloaded server configuration").length;
    topology.server(name).reload(text);
    return until(
      `${name} has reloaded`,
      () => logOf(name).split("Reloaded server configuration").length > count,
    );
  };

  test("C10 — a server joins and leaves; routes reload by SIGHUP under traffic", async () => {
    const traffic = await TestTraffic.connect(topology);
    traffic.start();
    await traffic.answered(8);
    const frankfurt = ["fra-a", "fra-b", "fra-c"];
    expect(await topology.routesOf("fra-a")).toEqual(["fra-b", "fra-c"]);

    await topology.start("fra-d", peersOf("fra-d"));
    const three = topology.of("fra").filter(({ name }) => name !== "fra-d");
    for (const name of frankfurt) await reload(name, topology.confOf(name, peersOf(name)));
    await topology.untilJoined([...frankfurt, "fra-d"]);
    expect(await topology.routesOf("fra-a")).toEqual(["fra-b", "fra-c", "fra-d"]);
    const guest = await topology.connect("fra", [topology.slot("fra-d")]);
    expect(guest.events.at(-1)?.kind).toBe("connected");

    topology.server("fra-d").kill("SIGTERM");
    await topology.ended("fra-d");
    for (const name of frankfurt) await reload(name, topology.confOf(name, three));
    await topology.untilJoined(frankfurt);
    await guest.bus.drain();
    await traffic.answered(8);
    expectAllAnswered("join and leave", await traffic.stop());
  });

  test("C10 — a reload that touches the gateways is refused as a whole, and nothing changes", async () => {
    const refusedCount = (): number => logOf("fra-a").split("not supported for Gateway").length;
    const before = refusedCount();
    const gateways = REGIONS.slice(1).map((region) => ({
      region,
      urls: [`nats://localhost:${topology.of(region)[0]!.gatewayPort}`],
    }));
    topology.server("fra-a").reload(topology.confOf("fra-a", [], { gateways }));
    await until("it is refused", () => refusedCount() > before);
    expect(await topology.routesOf("fra-a")).toEqual(["fra-b", "fra-c"]);
    await reload("fra-a", topology.confOf("fra-a", peersOf("fra-a").slice(0, 3)));
  });

  test("C10 — the servers of a region that others send to are killed: the last one takes over", async () => {
    const traffic = await TestTraffic.connect(topology);
    traffic.start();
    await traffic.answered(8);
    const used = new Set<string>();
    for (const name of NAMES.filter((one) => !one.startsWith("lon")))
      used.add((await topology.gatewaysOf(name))["lon"]!);
    const killed = [...used].toSorted().slice(0, 2); // of three at most: one has to stay
    console.info(
      `others send to London over ${[...used].join(", ")}; killed: ${killed.join(", ")}`,
    );
    for (const name of killed) topology.server(name).kill("SIGKILL");
    const killedAtMs = performance.now();
    for (const name of killed) await topology.ended(name);
    await traffic.answered(16);
    console.info(`16 more from each region after ${Math.round(performance.now() - killedAtMs)} ms`);
    for (const name of killed) await topology.start(name, peersOf(name));
    await topology.untilJoined(NAMES);
    await traffic.answered(8);
    expectAllAnswered("gateways lost", await traffic.stop());
  });

  test("C10 — certificates of clients, routes and gateways reload by SIGHUP; nothing is cut", async () => {
    const traffic = await TestTraffic.connect(topology);
    traffic.start();
    await traffic.answered(4);
    const name = "par-b";
    const { clientPort, clusterPort, gatewayPort } = topology.slot(name);
    const served = async (): Promise<string[]> => [
      await serialOfClientPort(clientPort),
      await serialOfPeerPort(clusterPort),
      await serialOfPeerPort(gatewayPort),
    ];
    const [before] = await served();
    const eventsCounts = traffic.clients.map(({ events }) => events.length);
    const renewed = topology.certify(name);
    await reload(name, topology.confOf(name, peersOf(name)));
    expect(renewed.serialNumber).not.toBe(before);
    const after = await served();
    expect(after).toEqual(after.map(() => renewed.serialNumber));
    expect(traffic.clients.map(({ events }) => events.length)).toEqual(eventsCounts);
    await traffic.answered(4);
    expectAllAnswered("certificates", await traffic.stop());
  });

  test("NC5, C10 — between servers both show a certificate; a peer without one is turned away", async () => {
    const { clusterPort, gatewayPort } = topology.slot("dub-a");
    for (const port of [clusterPort, gatewayPort]) {
      const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false });
      socket.write("INFO {}\r\n");
      const end = await new Promise<string>((resolve) => {
        socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code ?? "error"));
        socket.once("end", () => resolve("closed"));
      });
      socket.destroy();
      expect(end).toMatch(/CERTIFICATE_REQUIRED|BAD_CERTIFICATE|ECONNRESET|closed/);
    }
    await until("it is told", () => logOf("dub-a").includes("client didn't provide a certificate"));
  });

  test("C10, C11 — all twelve are replaced one by one, lame duck first, without a lost request", async () => {
    const traffic = await TestTraffic.connect(topology);
    traffic.start();
    await traffic.answered(8);
    const startedAtMs = performance.now();
    for (const name of NAMES) {
      const server = topology.server(name);
      server.kill("SIGUSR2");
      await until(`${name} has no clients`, async () => !(await topology.hasClients(name)));
      server.kill("SIGTERM");
      await topology.ended(name);
      await topology.start(name, peersOf(name));
      await topology.untilJoined([name]);
    }
    console.info(`replaced in ${Math.round(performance.now() - startedAtMs)} ms`);
    await traffic.answered(8);
    const reasons = traffic.clients.flatMap(({ events }) =>
      events.flatMap((event) => (event.kind === "disconnected" ? [event.reason] : [])),
    );
    expect(new Set(reasons)).toEqual(new Set(["lame_duck"]));
    expectAllAnswered("all twelve replaced", await traffic.stop());
  });

  /** NATS speaks before TLS on this port. */
  async function serialOfClientPort(port: number): Promise<string> {
    const socket = connectTcp({ port, host: "127.0.0.1" });
    await new Promise((resolve) => socket.once("data", resolve));
    return serialOf(connectTls({ socket, rejectUnauthorized: false }));
  }
  function serialOfPeerPort(port: number): Promise<string> {
    return serialOf(connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false }));
  }
  function serialOf(socket: TLSSocket): Promise<string> {
    return new Promise((resolve, reject) => {
      socket.once("error", reject).once("secureConnect", () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      });
    });
  }
});
