// packages/testkit/src/test-pki.ts
// A certificate authority for one test: it signs certificates of servers into PEM files.
// Real dates: nats-server compares them with the machine's clock.
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock, systemRandom } from "@carillon/kernel";
import { DER, pemOf } from "./der.ts";

export interface TestCertificate {
  readonly certPath: string;
  readonly keyPath: string;
  /** As `tls.TLSSocket.getPeerCertificate()` tells it: hexadecimal in upper case. */
  readonly serialNumber: string;
}

export interface CertificateWish {
  readonly dnsNames: readonly string[];
  readonly addresses?: readonly string[]; // IPv4; none: TLS to one fails without a name
  readonly daysValid?: number; // default 7; negative: it has ended already
}

export interface TestPki {
  readonly caPath: string;
  /** For a server, that also dials others. The same name again: the same files, renewed. */
  issue(name: string, wish: CertificateWish): TestCertificate;
}

interface Signed {
  readonly subject: string;
  readonly daysValid: number;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Buffer[];
}

const DAY_MS = 86_400_000;
const SKEW_MS = 3_600_000; // valid since an hour
const ECDSA_SHA256 = DER.sequence(DER.oid("1.2.840.10045.4.3.2"));

/** Its files lie in `folder`. */
export function createTestPki(folder: string, name = "test-ca"): TestPki {
  const ca = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const signed = ({ subject, daysValid, publicKey, extensions }: Signed) => {
    const endsAtMs = systemClock.wallClockMs() + daysValid * DAY_MS;
    const startsAtMs = Math.min(systemClock.wallClockMs(), endsAtMs) - SKEW_MS;
    const serialNumber = newSerialNumber();
    const body = DER.sequence(
      DER.tagged(0, DER.integer(Buffer.of(2)), true), // version 3
      DER.integer(serialNumber),
      ECDSA_SHA256,
      nameOf(name),
      DER.sequence(DER.time(startsAtMs), DER.time(endsAtMs)),
      nameOf(subject),
      publicKey.export({ type: "spki", format: "der" }),
      DER.tagged(3, DER.sequence(...extensions), true),
    );
    const signature = sign("sha256", body, ca.privateKey);
    const der = DER.sequence(body, ECDSA_SHA256, DER.bits(signature));
    return {
      pem: pemOf("CERTIFICATE", der),
      serialNumber: serialNumber.toString("hex").toUpperCase(),
    };
  };

  const caPath = join(folder, `${name}.pem`);
  const extensions = [
    extension("2.5.29.19", true, DER.sequence(DER.boolean(true))), // basic constraints: a CA
    extension("2.5.29.15", true, DER.bits(Buffer.of(0x06), 1)), // key usage: signs certificates
  ];
  const own = signed({ subject: name, daysValid: 30, publicKey: ca.publicKey, extensions });
  writeWhole(caPath, own.pem);
  return {
    caPath,
    issue(subject, { dnsNames, addresses = [], daysValid = 7 }) {
      const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const names = [
        ...dnsNames.map((dnsName) => DER.tagged(2, Buffer.from(dnsName))),
        ...addresses.map((address) => DER.tagged(7, Buffer.from(address.split(".").map(Number)))),
      ];
      const uses = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"].map(DER.oid); // server, client
      const certificate = signed({
        subject,
        daysValid,
        publicKey,
        extensions: [
          extension("2.5.29.15", true, DER.bits(Buffer.of(0x80), 7)), // digital signature
          extension("2.5.29.37", false, DER.sequence(...uses)),
          extension("2.5.29.17", false, DER.sequence(...names)),
        ],
      });
      const certPath = join(folder, `${subject}.pem`);
      const keyPath = join(folder, `${subject}-key.pem`);
      writeWhole(keyPath, privateKey.export({ type: "pkcs8", format: "pem" }).toString());
      writeWhole(certPath, certificate.pem);
      return { certPath, keyPath, serialNumber: certificate.serialNumber };
    },
  };
}

function nameOf(commonName: string): Buffer {
  return DER.sequence(DER.set(DER.sequence(DER.oid("2.5.4.3"), DER.text(commonName))));
}

function extension(oid: string, isCritical: boolean, value: Buffer): Buffer {
  return DER.sequence(DER.oid(oid), ...(isCritical ? [DER.boolean(true)] : []), DER.octets(value));
}

function newSerialNumber(): Buffer {
  const bytes = Buffer.from(systemRandom.bytes(8));
  bytes.writeUInt8(0x40 | (bytes.readUInt8(0) & 0x3f), 0); // positive, and no leading zero
  return bytes;
}

/** A server that reloads reads the old file or the new one. */
function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
