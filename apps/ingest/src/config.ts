// apps/ingest/src/config.ts
// Settings of an ingest node that runs alone.
import { type Field, int, list, oneOf, type Secret, secret, text } from "@carillon/config";
import { DEFAULT_REGIONS } from "@carillon/contracts";
import type { JWK } from "jose";
import { INGEST_LIMITS } from "./limits.ts";

const REGION = {
  pattern: /^[a-z][a-z0-9]{1,15}$/,
  expected: "2 to 16 lower-case letters or digits",
};

export const INGEST_TABLE = {
  CARILLON_INGEST_REGION: text("the region that this node serves", REGION),
  CARILLON_INGEST_REGIONS: list("all regions; the same list everywhere", {
    ...REGION,
    fallback: DEFAULT_REGIONS,
  }),
  CARILLON_INGEST_HOST: text("address to listen on", {
    pattern: /^\S+$/,
    expected: "a host name or address",
    fallback: "0.0.0.0",
  }),
  CARILLON_INGEST_PORT: int("port to listen on; 0 takes a free one", {
    min: 0,
    max: 65_535,
    fallback: 8_080,
  }),
  CARILLON_INGEST_NATS_URLS: list("nats-servers of the region", {
    pattern: /^(nats|tls):\/\/\S+$/,
    expected: "nats:// or tls:// URLs",
  }),
  CARILLON_INGEST_STORE_URL: secret("postgres:// URL of the region's database"),
  CARILLON_INGEST_STORE_POOL_MAX: int("connections to the database", {
    min: 4, // three group commits and something to read with
    max: 64,
    fallback: 10,
  }),
  CARILLON_INGEST_KEY_PEPPER: secret("what API keys are hashed with; the same in a region"),
  CARILLON_INGEST_TOKEN_PRIVATE_KEY: jwk(
    "signs employees' tokens; the public half belongs to every gateway",
  ),
  CARILLON_INGEST_TOKEN_PUBLIC_KEYS: jwks(
    "more keys whose tokens are taken: other regions', and old ones while they rotate out",
  ),
  CARILLON_INGEST_DRAIN_MAX_MS: int("how long accepted requests may take to finish", {
    min: 0,
    max: 300_000,
    fallback: INGEST_LIMITS.drainMaxMs,
  }),
  CARILLON_INGEST_LOG_LEVEL: oneOf("least level that is logged", ["debug", "info", "warn"], "info"),
} as const;

/** A private Ed25519 key as JWK with a `kid`; also from `<NAME>_FILE`. Prints as [secret]. */
function jwk(doc: string): Field<Secret> {
  const expected = "a private Ed25519 JWK with kid, x and d";
  const plain = secret(doc);
  return {
    ...plain,
    parse: (value) =>
      isPrivateJwk(parsedJson(value)) ? plain.parse(value) : { ok: false, expected },
  };
}

/** A JSON Web Key Set of public keys. */
function jwks(doc: string): Field<readonly JWK[]> {
  const expected = 'a JSON Web Key Set ({"keys": […]}), all public';
  return {
    doc,
    fallback: [],
    parse(value) {
      const set = parsedJson(value);
      const keys = typeof set === "object" && set !== null && "keys" in set ? set.keys : null;
      return Array.isArray(keys) && keys.every(isPublicJwk)
        ? { ok: true, value: keys }
        : { ok: false, expected };
    },
  };
}

function parsedJson(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return null;
  }
}

function isPrivateJwk(key: unknown): boolean {
  if (typeof key !== "object" || key === null) return false;
  return "kid" in key && "x" in key && "d" in key && "crv" in key && key.crv === "Ed25519";
}

function isPublicJwk(key: unknown): key is JWK {
  return typeof key === "object" && key !== null && "kty" in key && !("d" in key);
}
