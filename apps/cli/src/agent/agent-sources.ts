// apps/cli/src/agent/agent-sources.ts
// The sources that the settings name, one per region; and which region is this machine's.
import {
  createEc2TagsSource,
  createFileSource,
  createIdentitySource,
  createStaticSource,
  type DiscoverySource,
  type InstanceIdentity,
} from "@carillon/cluster";
import { assert, assertNever, type Clock, Fault } from "@carillon/kernel";
import type { AgentConfig, AgentRegion } from "./agent-config.ts";

export function sourceOf(config: AgentConfig, { region, awsRegion }: AgentRegion): DiscoverySource {
  const { settings, staticPeers } = config;
  const kind = settings.CARILLON_AGENT_SOURCE;
  switch (kind) {
    case "ec2-tags": {
      assert(awsRegion, "AC1 each region has its AWS region");
      const endpoint = settings.CARILLON_AGENT_EC2_ENDPOINT;
      return createEc2TagsSource({
        region,
        awsRegion,
        cluster: settings.CARILLON_AGENT_CLUSTER,
        role: settings.CARILLON_AGENT_ROLE,
        addressKind: settings.CARILLON_AGENT_ADDRESS,
        ...(endpoint !== "" && { endpoint }),
      });
    }
    case "static": {
      const own = staticPeers.filter((peer) => peer.region === region);
      return createStaticSource({ region, addresses: own.map(({ address }) => address) });
    }
    case "file":
      return createFileSource({ region, path: settings.CARILLON_AGENT_FILE });
    default:
      return assertNever(kind);
  }
}

export interface Home {
  readonly region: string;
  readonly identity: InstanceIdentity | undefined; // only asked for where it is needed
}

/** The setting, or the identity document's (C6). Throws Fault `identity_unknown`. */
export async function homeOf(config: AgentConfig, clock: Clock): Promise<Home> {
  const { settings, regions, nats } = config;
  const named = settings.CARILLON_AGENT_REGION;
  if (named !== "auto") return { region: named, identity: undefined };
  const endpoint = settings.CARILLON_AGENT_IMDS_ENDPOINT;
  const source = createIdentitySource({ clock, ...(endpoint !== "" && { endpoint }) });
  const outcome = await source.identity();
  if (outcome.kind === "failed")
    throw unknown(`the instance metadata service: ${outcome.reason}, ${outcome.detail}`);
  const { identity } = outcome;
  const own = regions.find(({ awsRegion }) => awsRegion === identity.awsRegion);
  if (own === undefined) throw unknown(`${identity.awsRegion} is not among CARILLON_AGENT_REGIONS`);
  if (nats !== undefined && nats.options.region !== own.region)
    throw unknown(
      `the NATS options are of ${nats.options.region}, this machine is in ${own.region}`,
    );
  return { region: own.region, identity };
}

function unknown(why: string): Fault {
  return new Fault(`this machine's region is not known: ${why}`, {
    code: "identity_unknown",
    isRetryable: true,
  });
}
