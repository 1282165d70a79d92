// apps/cli/src/node-nats.ts
// How a node logs in to its region's nats-servers.
//   RN12 With a CA file, a server name or a tls:// address there is TLS, and no way back: a server
//        without it is refused. The inbox is that of the node's roles, as the rights of its user
//        name it (natsPermissionsOf).
import { readFileSync } from "node:fs";
import { type ConnectBusOptions, natsPublicKeyOf } from "@carillon/bus";
import { natsInboxPrefixOf } from "@carillon/cluster";
import { type Field, list, type Parsed, Secret, text } from "@carillon/config";
import type { Role } from "@carillon/contracts";
import { NATS_ADDRESS } from "./addresses.ts";

export const NATS_FIELDS = {
  CARILLON_NODE_NATS_URLS: list("the region's nats-servers", NATS_ADDRESS),
  CARILLON_NODE_NATS_SEED: userSeed("of the NATS user of this node's roles; none: no login"),
  CARILLON_NODE_NATS_CA_PATH: certificates("who signs the nats-servers; read at each dial"),
  CARILLON_NODE_NATS_SERVER_NAME: text("DNS name in the certificates of all nats-servers", {
    pattern: /^[a-z0-9][a-z0-9.-]*$/,
    expected: "a DNS name such as nats.carillon.internal",
    fallback: "",
  }),
} as const;

export interface NatsConfig {
  readonly CARILLON_NODE_NATS_URLS: readonly string[];
  readonly CARILLON_NODE_NATS_SEED: Secret | undefined;
  readonly CARILLON_NODE_NATS_CA_PATH: string;
  readonly CARILLON_NODE_NATS_SERVER_NAME: string;
  readonly CARILLON_NODE_REGION: string;
}

export function natsOptionsOf(
  config: NatsConfig,
  roles: readonly Role[],
): Pick<ConnectBusOptions, "urls" | "inboxPrefix" | "credentials" | "tls"> {
  const {
    CARILLON_NODE_NATS_URLS: urls,
    CARILLON_NODE_NATS_SEED: seed,
    CARILLON_NODE_NATS_CA_PATH: caPath,
    CARILLON_NODE_NATS_SERVER_NAME: serverName,
  } = config;
  const isTls = caPath !== "" || serverName !== "" || urls.some((url) => url.startsWith("tls:"));
  return {
    urls,
    inboxPrefix: natsInboxPrefixOf(roles, config.CARILLON_NODE_REGION),
    ...(seed !== undefined && { credentials: { kind: "nkey" as const, seed: seed.reveal() } }),
    ...(isTls && {
      tls: { ...(caPath !== "" && { caPath }), ...(serverName !== "" && { serverName }) },
    }),
  };
}

function userSeed(doc: string): Field<Secret | undefined> {
  const expected = "the seed of a NATS user (SU…)";
  const parse = (given: string): Parsed<Secret> =>
    natsPublicKeyOf(given) === undefined
      ? { ok: false, expected }
      : { ok: true, value: new Secret(given) };
  return { doc, parse, isSecret: true, fallback: undefined };
}

/** The path of a file of certificates; empty: none. */
export function certificates(doc: string): Field<string> {
  const expected = "the path of a PEM file of certificates that can be read";
  const parse = (path: string): Parsed<string> => {
    try {
      const isPem = readFileSync(path, "utf8").includes("-----BEGIN CERTIFICATE-----");
      return isPem ? { ok: true, value: path } : { ok: false, expected };
    } catch {
      return { ok: false, expected };
    }
  };
  return { doc, parse, fallback: "" };
}
