// apps/worker/src/config.ts
// Settings of a worker node that runs alone.
import { int, list, oneOf, secret, text } from "@carillon/config";
import { DELIVERY_DEFAULTS } from "@carillon/delivery";

export const WORKER_TABLE = {
  CARILLON_WORKER_REGION: text("the region, and home region, that this node works for", {
    pattern: /^[a-z][a-z0-9]{1,15}$/,
    expected: "2 to 16 lower-case letters or digits",
  }),
  CARILLON_WORKER_NATS_URLS: list("nats-servers of the region", {
    pattern: /^(nats|tls):\/\/\S+$/,
    expected: "nats:// or tls:// URLs",
  }),
  CARILLON_WORKER_STORE_URL: secret("postgres:// URL of the home region's database"),
  CARILLON_WORKER_STORE_POOL_MAX: int("connections to the database", {
    min: 2,
    max: 64,
    fallback: 6,
  }),
  CARILLON_WORKER_SESSION_GRACE_MS: int("how long a lost session may take to come back", {
    min: 0,
    max: 300_000,
    fallback: DELIVERY_DEFAULTS.graceMs,
  }),
  CARILLON_WORKER_LOG_LEVEL: oneOf("least level that is logged", ["debug", "info", "warn"], "info"),
} as const;
