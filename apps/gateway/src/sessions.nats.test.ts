// Goal: GW3, GW9, GW16 over a real nats-server that is killed and comes back: nothing is lost or
// repeated. Method: owner and gateway on two connections; the owner beats as a worker does.
import { type Bus, connectBus } from "@carillon/bus";
import { systemClock, systemRandom } from "@carillon/kernel";
import { freePort, type NatsServer, startNatsServer } from "@carillon/local";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { recipientsOfOnePartition, startFixture } from "./testing/gateway-fixture.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 50_000, interval: 5 });
const range = (to: number): number[] => Array.from({ length: to }, (_, index) => index + 1);

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

async function startServer(port: number): Promise<NatsServer> {
  const folder = mkdtempSync(join(tmpdir(), "carillon-gateway-"));
  cleanUps.push(() => rmSync(folder, { recursive: true }));
  const configText = `host: "127.0.0.1"\nport: ${port}\nserver_name: "a"\n`;
  const server = await startNatsServer({ folder, name: "a", configText });
  cleanUps.push(() => server.stop());
  return server;
}

async function connected(port: number, name: string): Promise<Bus> {
  const urls = [`nats://127.0.0.1:${port}`];
  const limits = { reconnectMinMs: 20, reconnectMaxMs: 50 };
  const system = { clock: systemClock, random: systemRandom };
  const bus = await connectBus({ urls, name, limits, ...system });
  cleanUps.push(() => bus.drain());
  return bus;
}

test("GW3, GW9, GW16 — killed under load and back: every offset once, in order", async () => {
  const port = await freePort();
  const server = await startServer(port);
  const buses = {
    owner: await connected(port, "owner"),
    gateway: await connected(port, "gateway"),
  };
  const fixture = await startFixture({ buses });
  cleanUps.push(() => fixture.stop());
  const ids = recipientsOfOnePartition(10);
  const clients = await Promise.all(ids.map((recipientId) => fixture.connect({ recipientId })));
  for (const client of clients) client.join();
  await until(() =>
    expect(clients.map((c) => c.reply("1")?.["status"])).toEqual(ids.map(() => "ok")),
  );

  for (const id of range(300)) fixture.owner.post(ids, { id });
  await until(() => expect(clients[0]!.offsets.length >= 10).toBe(true));
  server.kill("SIGKILL");
  await server.exited;
  for (const id of range(300)) fixture.owner.post(ids, { id }); // numbered, and gone
  await until(() => expect(buses.gateway.isConnected).toBe(false));
  await startServer(port);
  const beats = setInterval(() => fixture.beat(fixture.owner.beat()), 50);
  cleanUps.push(() => clearInterval(beats));
  await until(() =>
    expect(clients.map(({ offsets }) => offsets)).toEqual(ids.map(() => range(600))),
  );
  for (const id of range(50)) fixture.owner.post(ids, { id });
  await until(() =>
    expect(clients.map(({ offsets }) => offsets)).toEqual(ids.map(() => range(650))),
  );
  for (const client of clients) client.push("ack", { offset: 650 });
  await until(() => expect(Object.values(fixture.owner.ackedOffsets)).toEqual(ids.map(() => 650)));
});
