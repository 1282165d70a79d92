// apps/cli/src/other-settings.ts
// Settings that stand in one environment for several commands: each reads its own, and knows those of
// the others by name, so that a misspelt one is still told (CF2).
const COMMANDS = ["CARILLON_NODE_", "CARILLON_AGENT_"] as const;
const OPERATOR_KEY = "CARILLON_OPERATOR_KEY"; // of `carillon process` and `carillon members`

/** Whether a name is a setting of another command than the one with this prefix. */
export function isOfOthers(own: (typeof COMMANDS)[number]): (name: string) => boolean {
  const others = COMMANDS.filter((prefix) => prefix !== own);
  return (name) => name === OPERATOR_KEY || others.some((prefix) => name.startsWith(prefix));
}
