// apps/cli/src/other-settings.ts
// Settings that stand in one environment for several commands: each reads its own, and knows those of
// the others by name, so that a misspelt one is still told (CF2).
const COMMANDS = ["CARILLON_NODE_", "CARILLON_AGENT_"] as const;
/** Of commands that ask the HTTP API, such as `carillon process` and `carillon explain`. */
const KEYS: readonly string[] = ["CARILLON_OPERATOR_KEY", "CARILLON_API_KEY"];

/** Whether a name is a setting of another command than the one with this prefix. */
export function isOfOthers(own: (typeof COMMANDS)[number]): (name: string) => boolean {
  const others = COMMANDS.filter((prefix) => prefix !== own);
  return (name) => KEYS.includes(name) || others.some((prefix) => name.startsWith(prefix));
}
