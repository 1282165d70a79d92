// apps/cli/src/agent/agent-config.ts
// Every setting of `carillon agent` and `carillon discover`, in one table (STYLE §5).
//   AC1  All problems are told at once, each with what would be valid; those between settings too.
import { ADDRESS_KINDS, isAddress } from "@carillon/cluster";
import {
  ConfigError,
  type ConfigOf,
  type Environment,
  int,
  list,
  oneOf,
  readConfig,
  text,
} from "@carillon/config";
import { isOfOthers } from "../other-settings.ts";
import { type AgentNatsOptions, readNatsOptions } from "./agent-nats-options.ts";

const PATH = { pattern: /^\S.*$/, expected: "the path of a file" };
const HTTP_URL = {
  pattern: /^(https?:\/\/[^\s/]+)?$/,
  expected: "an address such as http://host:port",
};

export const AGENT_TABLE = {
  CARILLON_AGENT_CLUSTER: text("value of the tag carillon:cluster; not to be mixed with others'", {
    pattern: /^[A-Za-z0-9][\w.-]{0,63}$/,
    expected: "1 to 64 letters, digits, dots, hyphens or underscores",
  }),
  CARILLON_AGENT_REGION: text("this machine's region; auto: that of its identity document", {
    pattern: /^[a-z][a-z0-9]{1,15}$/,
    expected: "auto, or 2 to 16 lower-case letters or digits",
    fallback: "auto",
  }),
  CARILLON_AGENT_REGIONS: list("all regions, with the AWS region of each", {
    pattern: /^[a-z][a-z0-9]{1,15}(=[a-z]{2}(-[a-z]+){1,3}-\d{1,2})?$/,
    expected: "regions such as fra=eu-central-1",
    fallback: ["fra=eu-central-1", "lon=eu-west-2", "par=eu-west-3", "dub=eu-west-1"],
  }),
  CARILLON_AGENT_SOURCE: oneOf(
    "where candidates come from",
    ["ec2-tags", "static", "file"],
    "ec2-tags",
  ),
  CARILLON_AGENT_ROLE: text("candidates have this word in their tag carillon:role (ec2-tags)", {
    pattern: /^[a-z][a-z0-9-]{0,31}$/,
    expected: "1 to 32 lower-case letters, digits or hyphens",
    fallback: "nats",
  }),
  CARILLON_AGENT_ADDRESS: oneOf(
    "which address of an instance (ec2-tags)",
    ADDRESS_KINDS,
    "private-ipv4",
  ),
  CARILLON_AGENT_STATIC_PEERS: list("the candidates (static)", {
    pattern: /^[a-z][a-z0-9]{1,15}=[\w.:-]+$/,
    expected: "a region and an address, such as fra=10.40.0.1",
    fallback: [],
  }),
  CARILLON_AGENT_FILE: text("file with the candidates (file)", {
    ...PATH,
    pattern: /^(\S.*)?$/,
    fallback: "",
  }),
  CARILLON_AGENT_STATE_FILE: text("where the last good answers are kept", {
    ...PATH,
    fallback: "/var/lib/carillon/candidates.json",
  }),
  CARILLON_AGENT_POLL_MS: int("a region is asked every so often, ± 50 %", {
    min: 200,
    max: 200_000, // + 50 %: the longest that a poll waits after failures, too
    fallback: 30_000,
  }),
  CARILLON_AGENT_EC2_ENDPOINT: text("EC2 API; none: the AWS region's own", {
    ...HTTP_URL,
    fallback: "",
  }),
  CARILLON_AGENT_IMDS_ENDPOINT: text("instance metadata service; none: the usual address", {
    ...HTTP_URL,
    fallback: "",
  }),
  CARILLON_AGENT_NATS_CONF: text("the nats.conf to keep; none: only candidates are written", {
    ...PATH,
    pattern: /^(\S.*)?$/,
    fallback: "",
  }),
  CARILLON_AGENT_NATS_OPTIONS_FILE: text("JSON: everything of nats.conf but its routes", {
    ...PATH,
    pattern: /^(\S.*)?$/,
    fallback: "",
  }),
  CARILLON_AGENT_METRICS_HOST: text("address of /metrics, /healthz and /tree", {
    pattern: /^[\w.:-]+$/,
    expected: "a host name or an address",
    fallback: "127.0.0.1",
  }),
  CARILLON_AGENT_METRICS_PORT: int("port of /metrics, /healthz and /tree; 0: any", {
    min: 0,
    max: 65_535,
    fallback: 8_082,
  }),
  CARILLON_AGENT_STOP_MAX_MS: int("each step of a stop takes no longer", {
    min: 100,
    max: 600_000,
    fallback: 10_000,
  }),
  CARILLON_AGENT_LOG_LEVEL: oneOf(
    "least level that is logged",
    ["debug", "info", "warn", "error"],
    "info",
  ),
} as const;

export type AgentSettings = ConfigOf<typeof AGENT_TABLE>;

export interface AgentRegion {
  readonly region: string;
  readonly awsRegion: string | undefined;
}

export interface AgentConfig {
  readonly settings: AgentSettings;
  readonly regions: readonly AgentRegion[];
  readonly staticPeers: readonly { readonly region: string; readonly address: string }[];
  readonly nats:
    | {
        readonly path: string;
        readonly optionsPath: string;
        /** As they were when the settings were read; the file may have others by now (AC4). */
        readonly options: AgentNatsOptions;
      }
    | undefined;
}

/** Throws ConfigError naming every problem (AC1). */
export function readAgentConfig(env: Environment): AgentConfig {
  return readWith(env, natsOf);
}

/** Without the NATS options, which discovery does not use: they may be another user's to read. */
export function readDiscoverConfig(env: Environment): AgentConfig {
  return readWith(env, () => undefined);
}

function readWith(env: Environment, readNats: typeof natsOf): AgentConfig {
  const settings = readConfig(AGENT_TABLE, env, isOfOthers("CARILLON_AGENT_"));
  const problems: string[] = [];
  const regions = settings.CARILLON_AGENT_REGIONS.map((entry) => {
    const [region = "", awsRegion] = entry.split("=");
    return { region, awsRegion };
  });
  const names = regions.map(({ region }) => region);
  const staticPeers = settings.CARILLON_AGENT_STATIC_PEERS.map((entry) => {
    const [region = ""] = entry.split("=");
    return { region, address: entry.slice(region.length + 1) };
  });
  const own = settings.CARILLON_AGENT_REGION;
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) problems.push(`CARILLON_AGENT_REGIONS names ${twice} twice`);
  if (own !== "auto" && !names.includes(own))
    problems.push("CARILLON_AGENT_REGION must be auto or one of CARILLON_AGENT_REGIONS");
  if (own === "auto" && regions.some(({ awsRegion }) => awsRegion === undefined))
    problems.push("CARILLON_AGENT_REGION must be named where a region has no AWS region");
  problems.push(...sourceProblems({ settings, regions, staticPeers }));
  const nats = readNats(settings, problems);
  if (nats !== undefined && !names.includes(nats.options.region))
    problems.push("CARILLON_AGENT_NATS_OPTIONS_FILE: region must be one of CARILLON_AGENT_REGIONS");
  if (nats !== undefined && own !== "auto" && nats.options.region !== own)
    problems.push("CARILLON_AGENT_NATS_OPTIONS_FILE: region must be CARILLON_AGENT_REGION");
  if (problems.length > 0) throw new ConfigError(problems);
  return { settings, regions, staticPeers, nats };
}

function sourceProblems({
  settings,
  regions,
  staticPeers,
}: Pick<AgentConfig, "settings" | "regions" | "staticPeers">): string[] {
  const problems: string[] = [];
  const source = settings.CARILLON_AGENT_SOURCE;
  if (source === "ec2-tags" && regions.some(({ awsRegion }) => awsRegion === undefined))
    problems.push("CARILLON_AGENT_REGIONS must name the AWS region of each, as fra=eu-central-1");
  if (source === "file" && settings.CARILLON_AGENT_FILE === "")
    problems.push("CARILLON_AGENT_FILE is required by the source file");
  if (source === "file" && settings.CARILLON_AGENT_FILE === settings.CARILLON_AGENT_STATE_FILE)
    problems.push("CARILLON_AGENT_FILE must be another file than CARILLON_AGENT_STATE_FILE");
  if (source === "static" && staticPeers.length === 0)
    problems.push("CARILLON_AGENT_STATIC_PEERS is required by the source static");
  const isKnown = ({ region }: { region: string }): boolean =>
    regions.some((one) => one.region === region);
  if (!staticPeers.every((peer) => isKnown(peer) && isAddress(peer.address)))
    problems.push(
      "CARILLON_AGENT_STATIC_PEERS must be regions of CARILLON_AGENT_REGIONS, each with an address",
    );
  return problems;
}

function natsOf(settings: AgentSettings, problems: string[]): AgentConfig["nats"] {
  const path = settings.CARILLON_AGENT_NATS_CONF;
  const optionsPath = settings.CARILLON_AGENT_NATS_OPTIONS_FILE;
  if (path === "" && optionsPath === "") return undefined;
  if (path === "" || optionsPath === "") {
    problems.push(
      "CARILLON_AGENT_NATS_CONF and CARILLON_AGENT_NATS_OPTIONS_FILE must be set together",
    );
    return undefined;
  }
  const parsed = readNatsOptions(optionsPath);
  if (parsed.kind === "options") return { path, optionsPath, options: parsed.options };
  problems.push(
    ...parsed.problems.map((one) =>
      one.startsWith("must ")
        ? `CARILLON_AGENT_NATS_OPTIONS_FILE ${one}`
        : `CARILLON_AGENT_NATS_OPTIONS_FILE: ${one}`,
    ),
  );
  return undefined;
}
