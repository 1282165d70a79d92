// packages/config/src/read-config.ts
// One table per app turns the environment into a typed, frozen config, or says everything wrong.
//   CF1  All problems are reported at once, each with its variable's name and what would be valid.
//   CF2  A CARILLON_ variable that the table does not know is an error: misspellings do not pass. Only
//        what the app names as others' is passed over: commands share one environment.
//   CF4  Only an app's main.ts gives the environment; nothing here reads process.env.
import { readFileSync } from "node:fs";
import type { Field } from "./fields.ts";
import { Secret } from "./secret.ts";

export type Table = Readonly<Record<`CARILLON_${string}`, Field<unknown>>>;
export type ConfigOf<S extends Table> = {
  readonly [K in keyof S]: S[K] extends Field<infer T> ? T : never;
};
export type Environment = Readonly<Record<string, string | undefined>>;

/** sysexits' EX_CONFIG: what a node exits with on a ConfigError. */
export const CONFIG_EXIT_CODE = 78;

export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

/**
 * Throws ConfigError naming every problem (CF1); values are never echoed. `isOthers`: names that are
 * settings of other commands (CF2); default none.
 */
export function readConfig<S extends Table>(
  table: S,
  env: Environment,
  isOthers: (name: string) => boolean = () => false,
): ConfigOf<S> {
  const problems = unknownNames(table, env)
    .filter((name) => !isOthers(name))
    .map((name) => `${name} is not a known setting`);
  const config: Record<string, unknown> = {};
  for (const [name, field] of Object.entries<Field<unknown>>(table)) {
    const given = textOf(name, field, env);
    if ("problem" in given) problems.push(given.problem);
    else if (given.text !== "") {
      const parsed = field.parse(given.text);
      if (parsed.ok) config[name] = parsed.value;
      else problems.push(`${name} must be ${parsed.expected}`);
    } else if ("fallback" in field) config[name] = field.fallback;
    else problems.push(`${name} is required: ${field.doc}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(config) as ConfigOf<S>;
}

/** `NAME=value` lines for --print-config; secrets as [secret]. */
export function printConfig(config: Readonly<Record<string, unknown>>): string {
  return Object.entries(config)
    .map(([name, value]) => `${name}=${shown(value)}`)
    .join("\n");
}

/** Rows of the table in the docs. */
export function describeTable(
  table: Table,
): readonly { name: string; doc: string; fallback: string }[] {
  return Object.entries(table).map(([name, field]) => ({
    name: field.isSecret === true ? `${name}, ${name}_FILE` : name,
    doc: field.doc,
    fallback: "fallback" in field ? shown(field.fallback) : "required",
  }));
}

function unknownNames(table: Table, env: Environment): string[] {
  const known = new Set(
    Object.entries(table).flatMap(([name, field]) =>
      field.isSecret === true ? [name, `${name}_FILE`] : [name],
    ),
  );
  return Object.keys(env).filter((name) => name.startsWith("CARILLON_") && !known.has(name));
}

function textOf(
  name: string,
  field: Field<unknown>,
  env: Environment,
): { text: string } | { problem: string } {
  const direct = env[name] ?? "";
  const path = field.isSecret === true ? (env[`${name}_FILE`] ?? "") : "";
  if (path === "") return { text: direct };
  if (direct !== "") return { problem: `${name} and ${name}_FILE must not both be set` };
  try {
    return { text: readFileSync(path, "utf8").replace(/\r?\n$/, "") };
  } catch {
    return { problem: `${name}_FILE must name a file that can be read` };
  }
}

function shown(value: unknown): string {
  if (value instanceof Secret) return value.toString();
  if (Array.isArray(value)) return value.map(shown).join(",");
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "number") return String(value);
  // A URL may carry a login (CF3).
  return typeof value === "string" ? value.replace(/\/\/[^/@\s]*@/, "//[secret]@") : "";
}
