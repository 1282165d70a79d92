// apps/cli/src/dev/dev-nats.ts
// One nats-server per region, with gateways to all the others; loopback only, so without logins.
import { renderNatsConf } from "@carillon/cluster";

export interface NatsPlan {
  readonly region: string;
  readonly natsPort: number;
  readonly natsClusterPort: number;
  readonly natsGatewayPort: number;
}

export function natsConfOf(plan: NatsPlan, all: readonly NatsPlan[], pidFile: string): string {
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
  });
}
