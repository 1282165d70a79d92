// apps/cli/src/agent/agent-nats-options.ts
// What the agent is told of nats.conf: the options of renderNatsConf as JSON, without the routes,
// which are the agent's. What it does not use itself it hands on as it is.
//   AC2  A file that could not be rendered is told before anything runs, without its contents.
import { type NatsConfOptions, renderNatsConf } from "@carillon/cluster";

export type AgentNatsOptions = Omit<NatsConfOptions, "routes">;

export type ParsedNatsOptions =
  | { readonly kind: "options"; readonly options: AgentNatsOptions }
  | { readonly kind: "problems"; readonly problems: readonly string[] };

const isPort = (value: unknown): boolean =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535;
const isText = (value: unknown): boolean => typeof value === "string" && value !== "";

type Rule = readonly [name: string, isValid: (value: unknown) => boolean, expected: string];
const PORT = "a port from 1 to 65535";
const RULES: readonly Rule[] = [
  ["serverName", isText, "a name"],
  ["region", isText, "a region"],
  ["pidFile", isText, "the path of a file"],
  ["clientPort", isPort, PORT],
  ["clusterPort", isPort, PORT],
  ["gatewayPort", isPort, PORT],
  ["gateways", Array.isArray, "a list"],
  ["monitorPort", (value) => value === undefined || isPort(value), PORT],
  ["host", (value) => value === undefined || isText(value), "a host name or an address"],
  ["routes", (value) => value === undefined, "left out: they are discovered"],
];

export function parseNatsOptions(json: string): ParsedNatsOptions {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return { kind: "problems", problems: ["must be JSON"] };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return { kind: "problems", problems: ["must be a JSON object"] };
  const fields = value as Record<string, unknown>;
  const problems = RULES.filter(([name, isValid]) => !isValid(fields[name])).map(
    ([name, , expected]) => `${name} must be ${expected}`,
  );
  if (problems.length > 0) return { kind: "problems", problems };
  const options = fields as unknown as AgentNatsOptions; // the rest is the renderer's to check
  try {
    natsConfText(options, []);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "it cannot be rendered";
    return { kind: "problems", problems: [why] };
  }
  return { kind: "options", options };
}

export function natsConfText(options: AgentNatsOptions, routes: readonly string[]): string {
  return renderNatsConf({ ...options, routes });
}

/** Where the server tells of itself; undefined: it does not, and no reload can be confirmed. */
export function monitorUrlOf({ monitorPort }: AgentNatsOptions): string | undefined {
  return monitorPort === undefined ? undefined : `http://127.0.0.1:${monitorPort}`;
}
