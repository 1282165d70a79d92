// apps/cli/src/dev/node-env.ts
// The environment of one local region node: its configuration and nothing else.
import type { Role } from "@carillon/contracts";
import type { DevNatsUser, DevSecrets } from "./dev-secrets.ts";

export interface NodeEnvOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly roles: readonly Role[];
  readonly natsUrl: string;
  readonly storeUrl: string;
  readonly secrets: DevSecrets;
  /** 0: any free one. */
  readonly ingestPort: number;
  readonly gatewayPort: number;
  /** More settings of the node; they win over these. */
  readonly more: Readonly<Record<string, string>>;
}

export function nodeEnv(options: NodeEnvOptions): Record<string, string> {
  const { secrets, roles } = options;
  const isIngest = roles.includes("ingest");
  const isWorker = roles.includes("worker");
  const isGateway = roles.includes("gateway");
  return {
    CARILLON_NODE_REGION: options.region,
    CARILLON_NODE_REGIONS: options.regions.join(","),
    CARILLON_NODE_ROLES: roles.join(","),
    CARILLON_NODE_HOST: "127.0.0.1",
    CARILLON_NODE_NATS_URLS: options.natsUrl,
    CARILLON_NODE_NATS_SEED_FILE: secrets.nats.seedFiles[natsUserOf(roles)],
    CARILLON_NODE_STORE_URL: options.storeUrl,
    CARILLON_NODE_METRICS_PORT: "0", // several nodes on one machine; which, is in `node.ready`
    CARILLON_NODE_GATEWAY_DRAIN_MS: "200", // a person waits for Ctrl-C
    CARILLON_NODE_LISTEN_MS: "0", // a person waits, and a local region has one worker
    ...(isIngest && {
      CARILLON_NODE_INGEST_PORT: String(options.ingestPort),
      CARILLON_NODE_KEY_PEPPER_FILE: secrets.keyPepperFile,
      CARILLON_NODE_OPERATOR_KEY_FILE: secrets.operatorKeyFile,
      CARILLON_NODE_TOKEN_PRIVATE_KEY_FILE: secrets.tokenPrivateKeyFile,
    }),
    ...((isIngest || isGateway) && {
      CARILLON_NODE_TOKEN_PUBLIC_KEYS_FILE: secrets.tokenPublicKeysFile,
    }),
    ...((isIngest || isWorker) && {
      CARILLON_NODE_WEBHOOK_KEYS_FILE: secrets.webhookKeysFile,
      CARILLON_NODE_WEBHOOK_ALLOW: "127.0.0.1", // receivers on a laptop
      CARILLON_NODE_WEBHOOK_PORTS: "any",
    }),
    ...(isGateway && { CARILLON_NODE_GATEWAY_PORT: String(options.gatewayPort) }),
    ...options.more,
  };
}

function natsUserOf(roles: readonly Role[]): DevNatsUser {
  const [only] = roles;
  return roles.length === 1 && only !== undefined ? only : "node";
}
