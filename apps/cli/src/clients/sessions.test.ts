// Goal: DM2 and DM3. Method: a real region; and a server that never answers a handshake.
import { createServer, type AddressInfo, type Socket } from "node:net";
import { systemClock } from "@carillon/kernel";
import { expect, test } from "vitest";
import { DevCluster } from "../dev/dev-cluster.ts";
import { newDataFolder } from "../dev/dev-run.ts";
import { ApiClient } from "./api-client.ts";
import { type Acked, Sessions, type SessionPlan } from "./sessions.ts";

const TEST_MAX_MS = 120_000;
const ACK_EVERY_MS = 250; // the client collects acks for so long, after the first
const TICK_MS = 25; // its timers' grain

test("DM2 — an ack is told when it is handed to the socket", { timeout: TEST_MAX_MS }, async () => {
  const folder = newDataFolder();
  const cluster = await DevCluster.start({
    dataFolder: folder.path,
    regions: ["fra"],
    isDurable: false,
    isFresh: false,
    nodeOptions: {},
    log: () => undefined,
  });
  const { region, ingestUrl, socketUrl } = cluster.region("fra");
  const { apiKey } = cluster;
  const api = new ApiClient({ baseUrl: ingestUrl, apiKey, connectionsMax: 2 }, systemClock);
  const acks: (Acked & { atMs: number })[] = [];
  const both = Promise.withResolvers<void>();
  const onAck = (acked: Acked): void => {
    if (acks.push({ ...acked, atMs: performance.now() }) === 2) both.resolve();
  };
  const sessions = new Sessions({ onAck }, systemClock);
  try {
    await api.expect({ method: "PUT", path: "/v1/recipients/ada", body: "{}" });
    const token = (await api.tokensOf(["ada"])).get("ada")!;
    const plan: SessionPlan = { recipientId: "ada", home: region, region, socketUrl, token };
    expect(await sessions.open([plan], TEST_MAX_MS)).toBe(1);
    const post = () =>
      api.post({ audience: { recipients: ["ada"] }, content: { en: { title: "Hello" } } });
    const posted = await Promise.all([post(), post()]);
    await both.promise;
    expect(acks.map(({ notificationId }) => notificationId).toSorted()).toEqual(
      posted.map(({ id }) => id).toSorted(),
    );
    expect(acks[1]!.atMs - acks[0]!.atMs).toBeGreaterThan(ACK_EVERY_MS - TICK_MS);
  } finally {
    sessions.close();
    api.close();
    await cluster.stop();
    folder.remove();
  }
});

test("DM3 — at most 64 connections are being opened at once", async () => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const socketUrl = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/socket`;
  const plans = Array.from({ length: 200 }, (_, n): SessionPlan => {
    return { recipientId: `r${n}`, home: "fra", region: "fra", socketUrl, token: "t" };
  });
  const sessions = new Sessions({ onAck: () => undefined }, systemClock);
  const opening = sessions.open(plans, 2_000);
  while (sockets.size < 64) await systemClock.sleep(10);
  expect(await opening).toBe(0);
  expect(sockets.size).toBe(64);
  sessions.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});
