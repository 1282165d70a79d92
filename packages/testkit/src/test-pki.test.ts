// Goal: what createTestPki signs is a certificate to OpenSSL's own parser and to a TLS handshake.
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer } from "node:tls";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createTestPki } from "./test-pki.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "carillon-pki-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const read = (path: string): X509Certificate => new X509Certificate(readFileSync(path));

test("a certificate names its hosts, its signer and its end", () => {
  const pki = createTestPki(folder);
  const issued = pki.issue("fra-a", {
    dnsNames: ["localhost", "nats.example"],
    addresses: ["10.40.0.11"],
  });
  const [ca, certificate] = [read(pki.caPath), read(issued.certPath)];
  expect(certificate.verify(ca.publicKey)).toBe(true);
  expect(certificate.checkIssued(ca)).toBe(true);
  expect([ca.ca, certificate.ca]).toEqual([true, false]);
  expect(certificate.serialNumber).toBe(issued.serialNumber);
  expect(certificate.subjectAltName).toBe("DNS:localhost, DNS:nats.example, IP Address:10.40.0.11");
  expect(certificate.checkHost("nats.example")).toBe("nats.example");
  expect(certificate.checkIP("10.40.0.11")).toBe("10.40.0.11");
  expect(certificate.checkIP("127.0.0.1")).toBeUndefined();
  const daysLeft = (Date.parse(certificate.validTo) - Date.now()) / 86_400_000;
  expect(Math.round(daysLeft)).toBe(7);
  expect(createTestPki(folder, "other-ca").caPath).not.toBe(pki.caPath);
  expect(certificate.verify(read(join(folder, "other-ca.pem")).publicKey)).toBe(false);
});

test("a handshake takes it by name, and refuses it by address or when it has ended", async () => {
  const pki = createTestPki(folder);
  const handshake = async (daysValid: number, servername: string | undefined): Promise<string> => {
    const { certPath, keyPath } = pki.issue("fra-a", { dnsNames: ["nats.example"], daysValid });
    const server = createServer({ cert: readFileSync(certPath), key: readFileSync(keyPath) });
    server.on("tlsClientError", () => undefined).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const ca = readFileSync(pki.caPath);
    const socket = connect({ port, host: "127.0.0.1", ca, ...(servername && { servername }) });
    const result = await new Promise<string>((resolve) => {
      socket.once("secureConnect", () => resolve("secure"));
      socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code ?? "error"));
    });
    socket.destroy();
    server.close();
    return result;
  };
  expect(await handshake(7, "nats.example")).toBe("secure");
  expect(await handshake(7, undefined)).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
  expect(await handshake(-1, "nats.example")).toBe("CERT_HAS_EXPIRED");
});
