// apps/cli/src/agent/agent-home.ts
// Which region this machine is in, and who it is. A start waits for no metadata service.
//   AG5  `auto` is the region of the NATS options, or of the identity that an earlier run has left on
//        disk. The metadata service is asked beside the work, again and again until it answers; a
//        region that is not that of the settings ends the agent with 78 (C2, C6).
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import {
  type IdentitySource,
  type InstanceIdentity,
  pollDelayMs,
  writeDurably,
} from "@carillon/cluster";
import type { Clock, Random, Timer } from "@carillon/kernel";
import type { Logger } from "@carillon/telemetry";
import type { AgentConfig } from "./agent-config.ts";
import { isLoopback } from "./agent-nats-options.ts";

/** For lines and metrics where nothing knows it yet; right with the next start. */
export const REGION_UNKNOWN = "unknown";

const identityPathOf = ({ settings }: AgentConfig): string =>
  `${settings.CARILLON_AGENT_STATE_FILE}.identity`;

/** AG5. Asks nobody. */
export function regionAtStart(config: AgentConfig): string {
  const named = config.settings.CARILLON_AGENT_REGION;
  if (named !== "auto") return named;
  if (config.nats !== undefined) return config.nats.options.region;
  let left: unknown;
  try {
    left = JSON.parse(readFileSync(identityPathOf(config), "utf8"));
  } catch {
    return REGION_UNKNOWN; // no earlier run knew it
  }
  const awsRegion =
    typeof left === "object" && left !== null && "awsRegion" in left ? left.awsRegion : undefined;
  const own = config.regions.find((one) => one.awsRegion === awsRegion);
  return own?.region ?? REGION_UNKNOWN;
}

/** Why the machine is not where the settings say; undefined: it is. */
export function mismatchOf(
  config: AgentConfig,
  { awsRegion }: InstanceIdentity,
): string | undefined {
  const own = config.regions.find((one) => one.awsRegion === awsRegion);
  if (own === undefined)
    return `this machine is in ${awsRegion}, which is not among CARILLON_AGENT_REGIONS`;
  const natsRegion = config.nats?.options.region ?? own.region;
  return natsRegion === own.region
    ? undefined
    : `this machine is in ${own.region}, and the NATS options are of ${natsRegion}`;
}

/** What must be among the answers of the own region (DP5); undefined: not known, or not looked for. */
export function ownAddressOf(
  { settings, nats }: AgentConfig,
  identity: InstanceIdentity | undefined,
): string | undefined {
  if (nats === undefined || settings.CARILLON_AGENT_SOURCE !== "ec2-tags") return undefined;
  const { host = "" } = nats.options;
  const isOne = isIP(host) !== 0 && !isLoopback(host) && !["0.0.0.0", "::"].includes(host);
  if (isOne) return host;
  return settings.CARILLON_AGENT_ADDRESS === "private-ipv4" ? identity?.privateAddress : undefined;
}

export interface IdentityAskerDeps {
  readonly config: AgentConfig;
  readonly source: IdentitySource;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onKnown: (identity: InstanceIdentity) => void;
  readonly onMismatch: (why: string) => void;
  readonly onCrash: (cause: unknown) => void;
}

/** Asks until it is known. Returns what ends it. */
export function askIdentity(deps: IdentityAskerDeps): () => void {
  const { config, source, clock, random, log } = deps;
  let isOver = false;
  let timer: Timer | undefined;
  let failuresCount = 0;
  const ask = async (): Promise<void> => {
    const outcome = await source.identity();
    if (isOver) return;
    if (outcome.kind === "failed") {
      failuresCount++;
      const pollEveryMs = config.settings.CARILLON_AGENT_POLL_MS;
      const nextDelayMs = pollDelayMs({ pollEveryMs, failuresCount }, random);
      timer = clock.setTimer(nextDelayMs, begin);
      const { reason, detail } = outcome;
      log.warn("agent.identity_unknown", { reason, detail, failuresCount, nextDelayMs });
      return;
    }
    const { identity } = outcome;
    const why = mismatchOf(config, identity);
    if (why !== undefined) return deps.onMismatch(why);
    const { instanceId, awsRegion, zone, lifecycleState } = identity;
    log.info("agent.identity_known", { instanceId, awsRegion, zone, lifecycleState });
    deps.onKnown(identity);
    try {
      await writeDurably(identityPathOf(config), `${JSON.stringify({ instanceId, awsRegion })}\n`);
    } catch (cause) {
      log.warn("agent.identity_not_written", { reason: String(cause) });
    }
  };
  const begin = (): void => void ask().catch(deps.onCrash);
  begin();
  return () => {
    isOver = true;
    timer?.cancel();
  };
}
