// apps/cli/src/agent/agent-sources.ts
// The sources that the settings name, one per region; and who tells which machine this is.
import {
  createEc2TagsSource,
  createFileSource,
  createIdentitySource,
  createStaticSource,
  type DiscoverySource,
  type IdentitySource,
} from "@carillon/cluster";
import { assert, assertNever, type Clock } from "@carillon/kernel";
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

/** Undefined where the settings name the region: nobody is asked then (C6). */
export function identitySourceOf(
  { settings }: AgentConfig,
  clock: Clock,
): IdentitySource | undefined {
  if (settings.CARILLON_AGENT_REGION !== "auto") return undefined;
  const endpoint = settings.CARILLON_AGENT_IMDS_ENDPOINT;
  return createIdentitySource({ clock, ...(endpoint !== "" && { endpoint }) });
}
