// Goal: TLS and keys of `connectBus`. Method: a real server with certificates of a test's own
// authority that name a host and no address, and users known by their public keys.
import { writeFileSync, readFileSync } from "node:fs";
import { freePort, type NatsServer } from "@carillon/local";
import { createTestPki } from "@carillon/testkit";
import { afterEach, expect, test, vi } from "vitest";
import type { BusEvent } from "./events.ts";
import { createNatsKey, natsPublicKeyOf } from "./nats-key.ts";
import { BusFixture, bytes, type TestBus } from "./test-bus.ts";

const TEST_MAX_MS = 90_000;
const NAME = "nats.carillon.example";
const QUICK = { firstConnectMaxMs: 50, reconnectMinMs: 20, reconnectMaxMs: 40 };
const fixture = new BusFixture();
const reloaded = async (server: NatsServer, configText: string): Promise<void> => {
  const count = (): number =>
    readFileSync(server.logFile, "utf8").split("Reloaded server configuration").length;
  const before = count();
  server.reload(configText);
  await vi.waitFor(() => expect(count()).toBe(before + 1), { timeout: 60_000, interval: 10 });
};
const firstFailure = async ({ events, nextEvent }: TestBus): Promise<BusEvent> =>
  events[0] ?? (await nextEvent("connect_failed"));
afterEach(() => fixture.cleanUp());

test(
  "C11 — TLS by name to an address; a wrong name, authority or end is refused and told",
  async () => {
    const folder = fixture.newFolder();
    const pki = createTestPki(folder);
    const { caPath: otherCaPath } = createTestPki(folder, "other-ca");
    const { certPath, keyPath } = pki.issue("fra-a", { dnsNames: [NAME] });
    const port = await freePort();
    const configText = `listen: 127.0.0.1:${port}\ntls { cert_file: "${certPath}", key_file: "${keyPath}" }`;
    const server = await fixture.startServer(configText);
    const urls = [server.clientUrl];
    const { caPath } = pki;
    const told = { kind: "connect_failed", server: `127.0.0.1:${port}` };

    const right = await fixture.connected({ urls, tls: { caPath, serverName: NAME } });
    expect(right.events).toEqual([{ kind: "connected", server: `127.0.0.1:${port}` }]);
    const log = readFileSync(server.logFile, "utf8");
    // Our dial is none to the server: this one is startNatsServer's, which asks for a greeting only.
    expect(log.match(/TLS handshake error/g)).toHaveLength(1);
    for (const tls of [
      { caPath }, // the address does not stand in the certificate
      { caPath, serverName: "other.example" },
      { caPath: otherCaPath, serverName: NAME },
      { caPath: "/nowhere/ca.pem", serverName: NAME },
      { serverName: NAME }, // the authorities that Node trusts
    ]) {
      const wrong = await fixture.connected({ urls, tls, limits: QUICK });
      expect(await firstFailure(wrong), JSON.stringify(tls)).toEqual({ ...told, code: "tls" });
      await wrong.bus.drain();
    }

    pki.issue("fra-a", { dnsNames: [NAME], daysValid: -1 }); // the same files
    await reloaded(server, configText);
    const late = await fixture.connected({
      urls,
      tls: { caPath, serverName: NAME },
      limits: QUICK,
    });
    expect(await firstFailure(late)).toEqual({ ...told, code: "tls" });
    const renewed = late.nextEvent("connected");
    pki.issue("fra-a", { dnsNames: [NAME] });
    await reloaded(server, configText);
    await renewed;
    expect(right.bus.isConnected).toBe(true); // what stands is not cut by a reload

    pki.issue("fra-a", { dnsNames: [], addresses: ["127.0.0.1"] });
    await reloaded(server, configText);
    const byAddress = await fixture.connected({ urls, tls: { caPath }, limits: QUICK });
    if (!byAddress.bus.isConnected) await byAddress.nextEvent("connected"); // it reloads meanwhile
    const bare = await fixture.connected({ urls, limits: QUICK }); // TLS without our asking for it
    expect(await firstFailure(bare)).toEqual({ ...told, code: "tls" });
  },
  TEST_MAX_MS,
);

test(
  "C11 — a server without TLS is refused by a client that has to have it",
  async () => {
    const server = await fixture.startServer(`listen: 127.0.0.1:${await freePort()}`);
    const { caPath } = createTestPki(fixture.newFolder());
    const ann = await fixture.connected({
      urls: [server.clientUrl],
      tls: { caPath, serverName: NAME },
      limits: QUICK,
    });
    expect(await firstFailure(ann)).toMatchObject({ kind: "connect_failed", code: "tls" });
    expect(ann.bus.isConnected).toBe(false);
  },
  TEST_MAX_MS,
);

test(
  "C11 — an authority that is exchanged in its file counts from the next dial on",
  async () => {
    const folder = fixture.newFolder();
    const [pki, next] = [createTestPki(folder), createTestPki(folder, "next-ca")];
    const caPath = `${folder}/trusted.pem`;
    writeFileSync(caPath, readFileSync(pki.caPath));
    const { certPath, keyPath } = next.issue("fra-a", { dnsNames: [NAME] });
    const tls = `tls { cert_file: "${certPath}", key_file: "${keyPath}" }`;
    const server = await fixture.startServer(`listen: 127.0.0.1:${await freePort()}\n${tls}`);
    const ann = await fixture.connected({
      urls: [server.clientUrl],
      tls: { caPath, serverName: NAME },
      limits: QUICK,
    });
    expect(await firstFailure(ann)).toMatchObject({ kind: "connect_failed", code: "tls" });
    const connected = ann.nextEvent("connected");
    writeFileSync(caPath, readFileSync(next.caPath));
    await connected;
  },
  TEST_MAX_MS,
);

test(
  "credentials — a key: the server knows its public half; another one is refused",
  async () => {
    const [key, other] = [createNatsKey(), createNatsKey()];
    expect(natsPublicKeyOf(key.seed)).toBe(key.publicKey);
    expect(natsPublicKeyOf(`${key.seed.slice(0, -1)}!`)).toBeUndefined();
    const user = `{ nkey: "${key.publicKey}", permissions: { publish: "mine", subscribe: "_INBOX.w.>" } }`;
    const server = await fixture.startServer(
      `listen: 127.0.0.1:${await freePort()}\nauthorization { users: [${user}] }`,
    );
    const urls = [server.clientUrl];
    const ann = await fixture.connected({
      urls,
      credentials: { kind: "nkey", seed: key.seed },
      inboxPrefix: "_INBOX.w",
    });
    expect(ann.bus.isConnected).toBe(true);
    const bob = await fixture.connected({
      urls,
      credentials: { kind: "nkey", seed: other.seed },
      limits: QUICK,
    });
    const refused = { kind: "connect_failed", code: "unauthorized" };
    expect(await firstFailure(bob)).toMatchObject(refused);
    expect(JSON.stringify(bob.events)).not.toContain(other.seed);

    const denied = ann.nextEvent("publish_denied");
    expect(ann.bus.publish("theirs", bytes("?"))).toEqual({ kind: "sent" }); // as far as known here
    expect(await denied).toEqual({ kind: "publish_denied", subject: "theirs" });
    expect(await ann.bus.request("mine", bytes("?"), 20_000)).toEqual({ kind: "no_responders" });
  },
  TEST_MAX_MS,
);
