// apps/gateway/src/config.ts
// Settings of a gateway node that runs alone.
import { type Field, int, list, oneOf, secret, type Secret, text } from "@carillon/config";
import { DEFAULT_REGIONS } from "@carillon/contracts";
import { parseKeySet } from "./authenticate.ts";
import { GATEWAY_LIMITS } from "./limits.ts";

const REGION = {
  pattern: /^[a-z][a-z0-9]{1,15}$/,
  expected: "2 to 16 lower-case letters or digits",
};
const CLAIM = { pattern: /^\S+$/, expected: "text without spaces", fallback: "" };

export const GATEWAY_TABLE = {
  CARILLON_GATEWAY_REGION: text("the region that this node stands in", REGION),
  CARILLON_GATEWAY_REGIONS: list("home regions that a token may name", {
    ...REGION,
    fallback: DEFAULT_REGIONS,
  }),
  CARILLON_GATEWAY_HOST: text("address to listen on", {
    pattern: /^\S+$/,
    expected: "a host name or address",
    fallback: "0.0.0.0",
  }),
  CARILLON_GATEWAY_PORT: int("port to listen on; 0 takes a free one", {
    min: 0,
    max: 65_535,
    fallback: 8_090,
  }),
  CARILLON_GATEWAY_NATS_URLS: list("nats-servers of the region", {
    pattern: /^(nats|tls):\/\/\S+$/,
    expected: "nats:// or tls:// URLs",
  }),
  CARILLON_GATEWAY_JWKS: jwks("public keys of all issuers of employees' tokens"),
  CARILLON_GATEWAY_TOKEN_ISSUER: text("`iss` that tokens must carry; empty: not checked", CLAIM),
  CARILLON_GATEWAY_TOKEN_AUDIENCE: text("`aud` that tokens must carry; empty: not checked", CLAIM),
  CARILLON_GATEWAY_ORIGINS: list("origins that browsers may come from; empty: any", {
    pattern: /^https?:\/\/[^/\s]+$/,
    expected: "origins such as https://hr.example",
    fallback: [],
  }),
  CARILLON_GATEWAY_SOCKETS_MAX: int("sockets on this node; more are answered 503", {
    min: 1,
    max: 1_000_000,
    fallback: GATEWAY_LIMITS.socketsMax,
  }),
  CARILLON_GATEWAY_DRAIN_MAX_MS: int("time over which a drain closes all sockets", {
    min: 0,
    max: 3_600_000,
    fallback: GATEWAY_LIMITS.drainMs,
  }),
  CARILLON_GATEWAY_LOG_LEVEL: oneOf(
    "least level that is logged",
    ["debug", "info", "warn"],
    "info",
  ),
} as const;

/** Public, but read like a secret: long, and best kept in the file that `<NAME>_FILE` names. */
function jwks(doc: string): Field<Secret> {
  const plain = secret(doc);
  return {
    ...plain,
    parse(value) {
      const parsed = parseKeySet(value);
      return parsed.ok ? plain.parse(value) : parsed;
    },
  };
}
