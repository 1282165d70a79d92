// apps/cli/src/dev/dev-secrets.ts
// Keys of a local cluster: made once, kept in the data folder, readable by its owner only.
//   DV3  A secret is in a file with mode 0600, never in an argument and never in a log.
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createNatsKey, natsPublicKeyOf } from "@carillon/bus";
import { ROLES } from "@carillon/contracts";
import { assert, type Random } from "@carillon/kernel";
import { writePrivately } from "./data-folder.ts";

export interface DevSecrets {
  readonly apiKey: string; // of tenant `demo`, scope admin
  readonly operatorKey: string;
  readonly operatorKeyFile: string;
  readonly keyPepper: string;
  readonly keyPepperFile: string;
  readonly tokenPrivateKeyFile: string; // Ed25519 JWK
  readonly tokenPublicKeysFile: string; // JWKS
  readonly webhookKeysFile: string;
  readonly nats: DevNatsKeys;
}

/** The same in all regions of this machine; what they may do differs by region. */
export interface DevNatsKeys {
  /** U…, by the user that has it. */
  readonly publicKeys: Readonly<Record<DevNatsUser, string>>;
  readonly seedFiles: Readonly<Record<DevNatsUser, string>>;
}

/** `visitor`: may do everything, for tests and for looking in. */
const NATS_USERS = [...ROLES, "node", "visitor"] as const;
export type DevNatsUser = (typeof NATS_USERS)[number];

/** Idempotent. What is missing is made, whatever is there is kept. */
export function readOrCreateSecrets(folder: string, random: Random): DevSecrets {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const keyPepperFile = join(folder, "key-pepper");
  const tokenPrivateKeyFile = join(folder, "token-private-key.json");
  const tokenPublicKeysFile = join(folder, "token-public-keys.json");
  const apiKeyFile = join(folder, "api-key");
  const operatorKeyFile = join(folder, "operator-key");
  const webhookKeysFile = join(folder, "webhook-keys");
  createOnce(webhookKeysFile, () => base64url(random, 32));
  createOnce(operatorKeyFile, () => base64url(random, 32));
  createOnce(apiKeyFile, () => `crl_${hex(random, 8)}_${base64url(random, 32)}`);
  createOnce(keyPepperFile, () => base64url(random, 32));
  if (!existsSync(tokenPrivateKeyFile) || !existsSync(tokenPublicKeysFile)) {
    const pair = createTokenKeys(`dev-${hex(random, 4)}`);
    writePrivately(tokenPublicKeysFile, JSON.stringify({ keys: [pair.publicJwk] }));
    writePrivately(tokenPrivateKeyFile, JSON.stringify(pair.privateJwk));
  }
  return {
    apiKey: readFileSync(apiKeyFile, "utf8").trim(),
    operatorKey: readFileSync(operatorKeyFile, "utf8").trim(),
    operatorKeyFile,
    keyPepper: readFileSync(keyPepperFile, "utf8").trim(),
    keyPepperFile,
    tokenPrivateKeyFile,
    tokenPublicKeysFile,
    webhookKeysFile,
    nats: readOrCreateNatsKeys(folder),
  };
}

function readOrCreateNatsKeys(folder: string): DevNatsKeys {
  const all = NATS_USERS.map((user) => {
    const seedFile = join(folder, `nats-${user}.seed`);
    createOnce(seedFile, () => createNatsKey().seed);
    const publicKey = natsPublicKeyOf(readFileSync(seedFile, "utf8").trim());
    assert(publicKey, `DV3 ${seedFile} holds the seed of a NATS user`);
    return { user, seedFile, publicKey };
  });
  const byUser = (value: (one: (typeof all)[number]) => string) =>
    Object.fromEntries(all.map((one) => [one.user, value(one)])) as Record<DevNatsUser, string>;
  return {
    publicKeys: byUser(({ publicKey }) => publicKey),
    seedFiles: byUser(({ seedFile }) => seedFile),
  };
}

function createTokenKeys(kid: string): { privateJwk: object; publicJwk: object } {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const named = { kid, alg: "EdDSA", use: "sig" };
  return {
    privateJwk: { ...privateKey.export({ format: "jwk" }), ...named },
    publicJwk: { ...publicKey.export({ format: "jwk" }), ...named },
  };
}

function createOnce(path: string, create: () => string): void {
  if (!existsSync(path)) writePrivately(path, create());
}

function hex(random: Random, byteCount: number): string {
  return Buffer.from(random.bytes(byteCount)).toString("hex");
}

function base64url(random: Random, byteCount: number): string {
  return Buffer.from(random.bytes(byteCount)).toString("base64url");
}
