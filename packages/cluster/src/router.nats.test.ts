// Goal: RO1, RO2, RO5, RO10 over real nats-servers: two regions joined by a gateway, three workers that
// are operating-system processes of their own. Method: this process is an ingest of each region.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Bus, connectBus } from "@carillon/bus";
import { partitionOf, type RecipientKey } from "@carillon/contracts";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { freePorts, type NatsServer, startNatsServer } from "@carillon/local";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createMembership, createRouter, type Membership, type Router } from "./index.ts";
import type { RouteWorkerOptions } from "./test-route-worker.ts";
import { ASK, key, NOTE } from "./test-routes.ts";

const PAYLOAD_MAX_BYTES = 65_536;
const LOST_AFTER_MS = 3_000;
const TEST_MAX_MS = 120_000;
const DEADLINE_MS = 20_000;
const folder = mkdtempSync(join(tmpdir(), "carillon-router-"));
const servers: NatsServer[] = [];
const workers = new Map<string, ChildProcess>();
const nodes: { bus: Bus; membership: Membership; router: Router }[] = [];
let fra: Router;
let lon: Router;

const all = Array.from({ length: 256 }, (_, n) => [n, 1] as [number, number]);
const OWNED: Record<string, { region: string; owned: RouteWorkerOptions["owned"] }> = {
  "w-even": { region: "fra", owned: { fra: all.filter(([n]) => n % 2 === 0) } },
  "w-odd": { region: "fra", owned: { fra: all.filter(([n]) => n % 2 === 1) } },
  "w-lon": { region: "lon", owned: { lon: all } },
};
const ownerOf = ({ home, tenantId, recipientId }: RecipientKey): string =>
  home === "lon" ? "w-lon" : partitionOf(tenantId, recipientId) % 2 === 0 ? "w-even" : "w-odd";
const keys = Array.from({ length: 300 }, (_, n) =>
  key(`employee-${n}`, n % 3 === 0 ? "lon" : "fra", n % 2 === 0 ? "acme" : "globex"),
);
const ask = (id: string) => ({ kind: ASK, body: { id } });

beforeAll(async () => {
  const ports = await freePorts(4);
  const names = ["fra", "lon"];
  const gateways = names
    .map((name, at) => `{ name: ${name}, url: "nats://127.0.0.1:${ports[at + 2]}" }`)
    .join(", ");
  for (const [at, name] of names.entries())
    servers.push(
      await startNatsServer({
        folder,
        name,
        configText: `server_name: ${name}-a
listen: "127.0.0.1:${ports[at]}"
max_payload: ${PAYLOAD_MAX_BYTES}
gateway { name: ${name}, listen: "127.0.0.1:${ports[at + 2]}", connect_retries: 100
  gateways: [${gateways}] }`,
      }),
    );
  const urlOf = (region: string): string => servers[names.indexOf(region)]!.clientUrl;
  for (const [memberId, { region, owned }] of Object.entries(OWNED)) {
    const options: RouteWorkerOptions = {
      memberId,
      region,
      url: urlOf(region),
      owned,
      lostAfterMs: LOST_AFTER_MS,
    };
    const main = fileURLToPath(new URL("test-route-worker.ts", import.meta.url));
    const stdio = ["pipe", "inherit", "inherit"] as const;
    const child = spawn(process.execPath, [main, JSON.stringify(options)], { stdio: [...stdio] });
    workers.set(memberId, child);
  }
  fra = await enter("fra", urlOf("fra"));
  lon = await enter("lon", urlOf("lon"));
  // A call to each worker from each region: gateways, beats and subscriptions are up.
  for (const router of [fra, lon])
    for (const memberId of workers.keys())
      await until(`${memberId} answers`, async () => {
        const probe = keys.find((one) => ownerOf(one) === memberId)!;
        const outcome = await router.call(probe, ask("probe"), 1_000);
        return outcome.kind === "reply" && outcome.ownerId === memberId;
      });
}, TEST_MAX_MS);

afterAll(async () => {
  for (const { bus, membership } of nodes) {
    membership.stop();
    await bus.drain();
  }
  for (const child of workers.values()) {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const isRunning = child.exitCode === null && child.signalCode === null;
    child.stdin?.end();
    if (isRunning) await ended;
  }
  for (const server of servers) await server.stop();
  rmSync(folder, { recursive: true, force: true });
}, TEST_MAX_MS);

async function enter(region: string, url: string): Promise<Router> {
  const memberId = `${region}-ingest`;
  const clock = systemClock;
  const bus = await connectBus({ urls: [url], name: memberId, clock, random: systemRandom });
  const membership = createMembership(
    {
      self: { memberId, region, roles: ["ingest"], build: "test" },
      limits: { beatEveryMs: 200, pauseMs: LOST_AFTER_MS, pauseRemoteMs: LOST_AFTER_MS },
    },
    { bus, clock, scheduler: systemScheduler, onMalformed: () => undefined },
  );
  membership.start();
  const router = createRouter({ bus, clock, members: membership });
  nodes.push({ bus, membership, router });
  return router;
}

async function until(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  const endsAtMs = systemClock.monotonicMs() + 60_000;
  while (!(await isTrue())) {
    if (systemClock.monotonicMs() > endsAtMs) throw new Error(`not within 60 s: ${what}`);
    await systemClock.sleep(50);
  }
}

/** What the recipient's process was told, in its order. */
async function notesOf(router: Router, of: RecipientKey): Promise<string[]> {
  const outcome = await router.call(of, ask("list"), DEADLINE_MS);
  if (outcome.kind !== "reply") throw new Error(outcome.kind);
  expect(outcome.ownerId).toBe(ownerOf(of));
  return outcome.reply.id === "" ? [] : outcome.reply.id.split(",");
}

test(
  "RO1, RO2, RO8 — from either region: one message to each of three workers, everybody has each once, in order, before a later call",
  async () => {
    for (const [name, router] of [
      ["fra", fra],
      ["lon", lon],
    ] as const) {
      const before = await Promise.all(keys.map((one) => notesOf(router, one)));
      const ids = [`${name}-1`, `${name}-2`, `${name}-3`];
      for (const id of ids) {
        const outcome = router.sendEach(keys, { kind: NOTE, body: { id, text: "hello" } });
        expect([outcome.sentCount, outcome.messageCount]).toEqual([keys.length, 3]);
      }
      const after = await Promise.all(keys.map((one) => notesOf(router, one)));
      expect(after).toEqual(before.map((notes) => [...notes, ...ids.map((id) => `${id}:5`)]));
    }
  },
  TEST_MAX_MS,
);

test(
  "RO2 — payloads up to the last byte of max_payload travel to both regions; one more byte does not leave, and the link stands",
  async () => {
    const { bus } = nodes[0]!;
    expect(bus.payloadMaxBytes).toBe(PAYLOAD_MAX_BYTES);
    for (const home of ["fra", "lon"]) {
      const one = key("employee-full", home);
      const sizeOf = (text: string): number =>
        fra.sendEach([one], { kind: NOTE, body: { id: "full", text } }).bytesCount;
      const room = PAYLOAD_MAX_BYTES - sizeOf("");
      expect(sizeOf("z".repeat(room))).toBe(PAYLOAD_MAX_BYTES);
      const tooMuch = { kind: NOTE, body: { id: "full", text: "z".repeat(room + 1) } };
      expect(fra.send(one, tooMuch)).toBe("too_large");
      expect(await notesOf(fra, one)).toEqual(["full:0", `full:${room}`]);
    }
    const many = Array.from({ length: 9_000 }, (_, n) => key(`employee-many-${n}`));
    const outcome = fra.sendEach(many, { kind: NOTE, body: { id: "many" } });
    expect([outcome.sentCount, outcome.tooLarge, outcome.noConnection]).toEqual([9_000, [], []]);
    expect(outcome.messageCount).toBe(Math.ceil(outcome.bytesCount / 2 / PAYLOAD_MAX_BYTES) * 2);
    for (const at of [0, 1, 4_444, 8_998, 8_999])
      expect(await notesOf(lon, many[at]!)).toEqual(["many:0"]);
    const tooLong = await fra.call(keys[0]!, ask("x".repeat(PAYLOAD_MAX_BYTES)), DEADLINE_MS);
    expect(tooLong).toEqual({ kind: "too_large", maxBytes: PAYLOAD_MAX_BYTES });
    expect(bus.isConnected).toBe(true);
  },
  TEST_MAX_MS,
);

test(
  "RO10 — an unknown recipient is noproc, from the other region too",
  async () => {
    for (const router of [fra, lon])
      expect(await router.call(key("nobody", "lon"), ask("1"), DEADLINE_MS)).toEqual({
        kind: "noproc",
      });
  },
  TEST_MAX_MS,
);

test(
  "RO5 — a worker killed in the middle of calls: noconnection when it is known to be lost, long before the deadline; then noconnection at once",
  async () => {
    const theirs = keys.filter((one) => ownerOf(one) === "w-odd").slice(0, 20);
    const others = keys.filter((one) => ownerOf(one) !== "w-odd").slice(0, 20);
    const beganAtMs = systemClock.monotonicMs();
    const hanging = [fra, lon].flatMap((router) =>
      theirs.map((one) => router.call(one, ask("hang"), 60_000)),
    );
    const before = await notesOf(fra, others[0]!);
    // A later call by the same way is answered (RO8): it has them, those by the gateway as well.
    for (const router of [fra, lon]) await notesOf(router, theirs[0]!);
    workers.get("w-odd")!.kill("SIGKILL");
    const outcomes = await Promise.all(hanging);
    const tookMs = systemClock.monotonicMs() - beganAtMs;
    expect(new Set(outcomes.map((outcome) => JSON.stringify(outcome)))).toEqual(
      new Set([JSON.stringify({ kind: "noconnection", effect: "unknown" })]),
    );
    expect(tookMs).toBeLessThan(40_000);
    for (const router of [fra, lon])
      expect(await router.call(theirs[0]!, ask("1"), DEADLINE_MS)).toEqual({
        kind: "noconnection",
        effect: "none",
      });
    for (const one of others) expect((await notesOf(lon, one)).length).toBe(before.length);
    console.log(`RO5: noconnection ${Math.round(tookMs)} ms after the calls (lost: 3,000 ms)`);
  },
  TEST_MAX_MS,
);
