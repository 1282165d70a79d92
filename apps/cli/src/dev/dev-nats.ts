// apps/cli/src/dev/dev-nats.ts
// One nats-server per region, with gateways to all the others. Loopback only, so without TLS; users
// and their rights are those of production, so that a right that is missing shows here.
import { natsUsersOf, renderNatsConf } from "@carillon/cluster";
import type { DevNatsKeys } from "./dev-secrets.ts";

export interface NatsPlan {
  readonly region: string;
  readonly natsPort: number;
  readonly natsClusterPort: number;
  readonly natsGatewayPort: number;
}

export function natsConfOf(
  plan: NatsPlan,
  all: readonly NatsPlan[],
  { keys, pidFile }: { readonly keys: DevNatsKeys; readonly pidFile: string },
): string {
  const { visitor, ingest, worker, gateway, node } = keys.publicKeys;
  const users = natsUsersOf(
    { ingest: [ingest], worker: [worker], gateway: [gateway], node: [node] },
    { region: plan.region, homes: all.map(({ region }) => region) },
  );
  return renderNatsConf({
    serverName: `${plan.region}-a`,
    region: plan.region,
    clientPort: plan.natsPort,
    clusterPort: plan.natsClusterPort,
    routes: [],
    gatewayPort: plan.natsGatewayPort,
    gateways: all.map(({ region, natsGatewayPort }) => ({
      region,
      urls: [`nats://127.0.0.1:${natsGatewayPort}`],
    })),
    pidFile,
    auth: { kind: "users", users: [...users, { nkey: visitor }] },
  });
}
