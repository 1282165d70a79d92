// apps/cli/src/region-node-config.ts
// Every setting of `carillon node`, in one table (STYLE §5).
//   RN1  All problems are told at once, those of roles included: a secret is required only by the
//        roles that use it.
import {
  ConfigError,
  type ConfigOf,
  type Environment,
  type Field,
  int,
  list,
  oneOf,
  type Parsed,
  readConfig,
  secret,
  text,
} from "@carillon/config";
import { MEMBERSHIP_DEFAULTS } from "@carillon/cluster";
import { DEFAULT_REGIONS, type Role, ROLES } from "@carillon/contracts";
import { GATEWAY_LIMITS, parseKeySet } from "@carillon/gateway";
import type { TokenKeys } from "@carillon/ingest";
import { POSTGRES_ADDRESS } from "./addresses.ts";
import { NATS_FIELDS } from "./node-nats.ts";
import { RETENTION_FIELDS } from "./node-retention.ts";
import { WEBHOOK_FIELDS } from "./webhook-settings.ts";
import { isOfOthers } from "./other-settings.ts";

const REGION = {
  pattern: /^[a-z][a-z0-9]{1,15}$/,
  expected: "2 to 16 lower-case letters or digits",
};

const CLAIM = { pattern: /^\S+$/, expected: "text without spaces", fallback: "" };

export const REGION_NODE_TABLE = {
  CARILLON_NODE_REGION: text("the region that this node runs in", REGION),
  CARILLON_NODE_HOME: text("the home region that it serves, or waits to; none: its own region", {
    ...REGION,
    fallback: "",
  }),
  CARILLON_NODE_HOME_ASK_MS: int("before it serves, others are asked for so long if none answers", {
    min: 0,
    max: 60_000,
    fallback: 2_000,
  }),
  CARILLON_NODE_REGIONS: list("all regions; the same list everywhere", {
    ...REGION,
    fallback: DEFAULT_REGIONS,
  }),
  CARILLON_NODE_ROLES: list("what this node does", {
    pattern: /^(ingest|worker|gateway)$/,
    expected: "ingest, worker or gateway",
    fallback: ROLES,
  }),
  ...NATS_FIELDS,
  CARILLON_NODE_STORE_URL: optional(
    secret("the region's database (ingest, worker)", POSTGRES_ADDRESS),
  ),
  CARILLON_NODE_STORE_POOL_MAX: int("connections to the database", {
    min: 4,
    max: 200,
    fallback: 16,
  }),
  CARILLON_NODE_STORE_STATEMENT_MS: int("a statement runs no longer than this", {
    min: 1_000,
    max: 600_000,
    fallback: 10_000,
  }),
  CARILLON_NODE_KEY_PEPPER: optional(secret("under which API keys are hashed (ingest)")),
  CARILLON_NODE_OPERATOR_KEY: optional(
    secret("with which operators call /v1/admin; none: nobody can (ingest)", {
      pattern: /^\S{24,512}$/,
      expected: "at least 24 characters without spaces",
    }),
  ),
  CARILLON_NODE_TOKEN_PRIVATE_KEY: jwk("Ed25519 JWK that signs employees' tokens (ingest)"),
  CARILLON_NODE_TOKEN_PUBLIC_KEYS: jwks("JWKS of everybody who signs tokens (ingest, gateway)"),
  CARILLON_NODE_TOKEN_ISSUER: text(
    "`iss` of employees' tokens; none: not checked (gateway)",
    CLAIM,
  ),
  CARILLON_NODE_TOKEN_AUDIENCE: text("`aud` of employees' tokens, likewise (gateway)", CLAIM),
  CARILLON_NODE_HOST: text("address to listen on", {
    pattern: /^[\w.:-]+$/,
    expected: "a host name or an address",
    fallback: "127.0.0.1",
  }),
  CARILLON_NODE_INGEST_PORT: int("port of the HTTP API; 0: any", {
    min: 0,
    max: 65_535,
    fallback: 8_080,
  }),
  CARILLON_NODE_GATEWAY_PORT: int("port of the sockets; 0: any", {
    min: 0,
    max: 65_535,
    fallback: 8_081,
  }),
  CARILLON_NODE_METRICS_HOST: text("address of /metrics, /healthz and /readyz", {
    pattern: /^[\w.:-]+$/,
    expected: "a host name or an address",
    fallback: "127.0.0.1",
  }),
  CARILLON_NODE_METRICS_PORT: int("port of /metrics, /healthz and /readyz; 0: any", {
    min: 0,
    max: 65_535,
    fallback: 8_083,
  }),
  CARILLON_NODE_GATEWAY_ORIGINS: list("web origins that may open sockets; none: all", {
    pattern: /^https?:\/\/[^\s/]+$/,
    expected: "origins such as https://intranet.example",
    fallback: [],
  }),
  CARILLON_NODE_GATEWAY_SOCKETS_MAX: int("open sockets; more are answered 503", {
    min: 1,
    max: 1_000_000,
    fallback: GATEWAY_LIMITS.socketsMax,
  }),
  CARILLON_NODE_GATEWAY_DRAIN_MS: int("sockets are closed evenly over this time (W10)", {
    min: 0,
    max: 600_000,
    fallback: GATEWAY_LIMITS.drainMs,
  }),
  CARILLON_NODE_SESSION_GRACE_MS: int("a session that was lost may come back for so long", {
    min: 0,
    max: 600_000,
    fallback: 20_000, // a client's longest back-off (W5)
  }),
  CARILLON_NODE_ACK_MAX_MS: int("without an ack a notification is sent again after this (W3)", {
    min: 100,
    max: 600_000,
    fallback: 30_000,
  }),
  CARILLON_NODE_RESEND_MAX: int("so often it is sent again (W3)", { min: 0, max: 10, fallback: 3 }),
  CARILLON_NODE_JOURNAL_ONE_IN: int(
    "of large audiences the journal keeps one recipient in so many; 0: none; all nodes alike",
    { min: 0, max: 1_000_000, fallback: 1_000 },
  ),
  CARILLON_NODE_BEAT_PAUSE_MS: int("a member of the region may miss beats for so long (C12)", {
    min: 500,
    max: 60_000,
    fallback: MEMBERSHIP_DEFAULTS.pauseMs,
  }),
  CARILLON_NODE_BEAT_PAUSE_REMOTE_MS: int("a member of another region, likewise", {
    min: 500,
    max: 60_000,
    fallback: MEMBERSHIP_DEFAULTS.pauseRemoteMs,
  }),
  CARILLON_NODE_WEIGHT: int("share of partitions, relative to the region's other workers", {
    min: 1,
    max: 100,
    fallback: 1, // a node is one thread on one core
  }),
  CARILLON_NODE_SETTLE_MS: int("a new worker is given others' partitions after this (C21)", {
    min: 0,
    max: 600_000,
    fallback: 10_000,
  }),
  CARILLON_NODE_LISTEN_MS: int("a worker of a region without owners takes none before this", {
    min: 0,
    max: 60_000,
    fallback: 2_500, // two beats and a little: else the first loads what others get 10 s later
  }),
  CARILLON_NODE_STOP_MAX_MS: int("an orderly stop takes no longer, sockets' drain not counted", {
    min: 1_000,
    max: 600_000,
    fallback: 15_000,
  }),
  ...RETENTION_FIELDS,
  ...WEBHOOK_FIELDS,
  CARILLON_NODE_LOG_LEVEL: oneOf(
    "least level that is logged",
    ["debug", "info", "warn", "error"],
    "info",
  ),
} as const;

export type RegionNodeConfig = ConfigOf<typeof REGION_NODE_TABLE>;

const NEEDED_BY: Readonly<Record<string, readonly Role[]>> = {
  CARILLON_NODE_STORE_URL: ["ingest", "worker"],
  CARILLON_NODE_KEY_PEPPER: ["ingest"],
  CARILLON_NODE_TOKEN_PRIVATE_KEY: ["ingest"],
  CARILLON_NODE_TOKEN_PUBLIC_KEYS: ["ingest", "gateway"],
};

/** Throws ConfigError naming every problem (RN1). */
export function readRegionNodeConfig(env: Environment): RegionNodeConfig {
  const problems: string[] = [];
  let config: RegionNodeConfig | undefined;
  try {
    config = readConfig(REGION_NODE_TABLE, env, isOfOthers("CARILLON_NODE_"));
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    problems.push(...cause.problems);
  }
  problems.push(...missingForRoles(env));
  if (config !== undefined && !config.CARILLON_NODE_REGIONS.includes(config.CARILLON_NODE_REGION))
    problems.push("CARILLON_NODE_REGION must be one of CARILLON_NODE_REGIONS");
  const { CARILLON_NODE_HOME: home = "", CARILLON_NODE_REGIONS: regions = [] } = config ?? {};
  if (home !== "" && !regions.includes(home))
    problems.push("CARILLON_NODE_HOME must be one of CARILLON_NODE_REGIONS");
  if (config === undefined || problems.length > 0) throw new ConfigError(problems);
  return config;
}

/** Whose database and partitions it serves (ADR 0015). */
export function homeOf(config: RegionNodeConfig): string {
  return config.CARILLON_NODE_HOME || config.CARILLON_NODE_REGION;
}

export function rolesOf(config: RegionNodeConfig): Role[] {
  return ROLES.filter((role) => config.CARILLON_NODE_ROLES.includes(role));
}

/** A secret of JSON text in a known form. */
export type PrivateJwk = TokenKeys["privateJwk"];
export type PublicKeySet = Extract<ReturnType<typeof parseKeySet>, { ok: true }>["value"];

function missingForRoles(env: Environment): string[] {
  const given = env["CARILLON_NODE_ROLES"] ?? "";
  const roles = given === "" ? ROLES : ROLES.filter((role) => given.split(/[\s,]+/).includes(role));
  return Object.entries(NEEDED_BY).flatMap(([name, users]) => {
    const isMissing = (env[name] ?? "") === "" && (env[`${name}_FILE`] ?? "") === "";
    const needing = users.filter((role) => roles.includes(role));
    if (!isMissing || needing.length === 0) return [];
    return [`${name} (or ${name}_FILE) is required by the role ${needing.join(", ")}`];
  });
}

function optional<T>(field: Field<T>): Field<T | undefined> {
  return { ...field, fallback: undefined };
}

function jwk(doc: string): Field<PrivateJwk | undefined> {
  const expected = "an Ed25519 private key as JWK with kid";
  const parse = (json: string): Parsed<PrivateJwk> => {
    try {
      const key = JSON.parse(json) as PrivateJwk;
      const isGood = key.crv === "Ed25519" && typeof key.d === "string" && key.kid !== undefined;
      return isGood ? { ok: true, value: key } : { ok: false, expected };
    } catch {
      return { ok: false, expected };
    }
  };
  return { doc, parse, isSecret: true, fallback: undefined };
}

function jwks(doc: string): Field<PublicKeySet | undefined> {
  return { doc, parse: parseKeySet, isSecret: true, fallback: undefined };
}
