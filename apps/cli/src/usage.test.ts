// Goal: UE1, UE2 and RG3 of every command. Method: the program itself, in this process, against an API
// that is the test's; what is common to all commands is made from the program, so that a new command or
// option is in it by itself. A few run as processes of their own, for the exit code and the streams. It
// is long since it is one table over everything there is to call.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createProgram } from "./program.ts";
import type { Refusal } from "./refusal.ts";
import { createTerminal } from "./terminal.ts";
import { commandsOf, runProgram } from "./usage.ts";

const MAIN = join(import.meta.dirname, "main.ts");
const TEST_MAX_MS = 60_000;
const folder = mkdtempSync(join(tmpdir(), "carillon-usage-"));
const calls: string[] = [];
const api = createServer((request, answer) => {
  calls.push(`${request.method ?? ""} ${request.url ?? ""}`);
  const homes = ["fra", "lon"].map((home) => ({ home, claim: null, places: [] }));
  answer.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ homes }));
});
let url = "";
beforeAll(async () => {
  await new Promise<void>((resolve) => api.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
});
afterAll(() => {
  api.close();
  rmSync(folder, { recursive: true });
});

interface Ran {
  readonly code: number | undefined;
  readonly out: string;
  readonly err: string;
}

function programWith(terminal: ReturnType<typeof createTerminal>): Command {
  return createProgram({
    env: {
      CARILLON_OPERATOR_KEY: "operator-key-of-the-tests-1",
      CARILLON_AGENT_CLUSTER: "acme",
    },
    build: "1.2.3",
    defaultDataFolder: folder,
    terminal,
    out: (text) => terminal.line(text),
    err: (text) => terminal.error(text),
    exit: (exitCode) => {
      throw new Error(`the command ran, exit ${exitCode}`);
    },
  });
}

async function carillon(words: readonly string[]): Promise<Ran> {
  let [out, err] = ["", ""];
  const terminal = createTerminal(
    { write: (text) => (out += text) },
    { write: (text) => (err += text) },
  );
  const code = await runProgram(programWith(terminal), words, terminal);
  return { code, out, err };
}

/** Both ways of saying it: for people and, with --json, for programs. */
async function refusalOf(words: readonly string[]): Promise<Refusal> {
  const told = await carillon(words);
  const asJson = await carillon([...words, "--json"]);
  const { error } = JSON.parse(asJson.out) as { error: Refusal };
  const [first = ""] = words;
  const name = program.commands.some((one) => one.name() === first) ? ` ${first}` : "";
  expect(told).toEqual({ code: 64, out: "", err: `carillon${name}: ${error.message}\n` });
  expect([asJson.code, asJson.err, error.code]).toEqual([64, "", "usage"]);
  expect(error.message).toBe(
    `${error.field} ${problemOf(error)}; valid: ${error.valid?.join(", ")}`,
  );
  expect(error.valid).not.toEqual([]);
  return error;
}

function problemOf({ message, field = "", valid = [] }: Refusal): string {
  return message.slice(field.length + 1, -`; valid: ${valid.join(", ")}`.length);
}

const silent = createTerminal({ write: () => undefined }, { write: () => undefined });
const program = programWith(silent);
const wordsOf = (command: Command): string[] =>
  command.parent === null ? [] : [...wordsOf(command.parent), command.name()];
const groups = commandsOf(program).filter(({ commands }) => commands.length > 0);
const leaves = commandsOf(program).filter(({ commands }) => commands.length === 0);
const named = (commands: readonly Command[]) =>
  commands.map((command) => [wordsOf(command).join(" "), command] as const);

/** Values that its parsers take. */
const GOOD: Record<string, string> = {
  home: "fra",
  tenant: "acme",
  process: "acme/ada",
  table: "fra/1",
  notification: "019ad8f2-7c00-7000-8000-0123456789ab",
  recipient: "emp-1",
  "--url": "http://127.0.0.1:9",
  "--agent": "http://127.0.0.1:9",
  "--to": "lon",
  "--home": "fra",
  "--failover-to": "lon",
  "--regions": "fra,lon",
  "--scenario": "single",
};
function goodArguments(command: Command): string[] {
  const required = command.registeredArguments.filter((one) => one.required);
  return required.map((one) => GOOD[one.name()] ?? "");
}

describe("every command", () => {
  test.each(named(groups))(
    "UE1 — carillon %s: without a command, or with a wrong one",
    async (_name, group) => {
      const valid = group.commands.map((one) => one.name());
      const alone = await carillon(wordsOf(group));
      expect([alone.code, alone.out]).toEqual([64, ""]);
      expect(alone.err).toContain(`<command> is missing or unknown; valid: ${valid.join(", ")}\n`);
      expect(await refusalOf([...wordsOf(group), "bogus"])).toMatchObject({
        field: "bogus",
        valid,
      });
    },
  );

  test.each(named(leaves))(
    "UE1 — carillon %s: a wrong option, an argument too many",
    async (_name, command) => {
      const words = [...wordsOf(command), ...goodArguments(command), ...mandatory(command)];
      const bogus = await refusalOf([...words, "--bogus"]);
      expect(bogus.field).toBe("--bogus");
      for (const { long } of command.options) expect(bogus.valid).toContain(long);
      const optional = command.registeredArguments.filter((one) => !one.required);
      const all = [...words, ...optional.map((one) => GOOD[one.name()] ?? "")];
      // --json is an option of few: what has none refuses it first, which is as good.
      const { code, err } = await carillon([...all, "superfluous"]);
      expect([code, err]).toEqual([
        64,
        expect.stringContaining("superfluous is one argument too many; valid: carillon "),
      ]);
    },
  );

  const required = leaves.flatMap((command) =>
    command.registeredArguments
      .filter((one) => one.required)
      .map(
        (one) => [`${wordsOf(command).join(" ")} <${one.name()}>`, command, one.name()] as const,
      ),
  );
  test.each(required)("UE1 — carillon %s: without it, or empty", async (_name, command, name) => {
    const taken = command.registeredArguments.map((one) => one.name());
    const place = taken.indexOf(name);
    const [before, after] = [taken.slice(0, place), taken.slice(place + 1)].map((names) =>
      names.map((one) => GOOD[one] ?? ""),
    );
    const words = [...wordsOf(command), ...mandatory(command), ...(before ?? [])];
    for (const given of [[], ["", ...(after ?? [])], ["  ", ...(after ?? [])]])
      expect((await refusalOf([...words, ...given])).field).toBe(`<${name}>`);
  });

  const taking = leaves.flatMap((command) =>
    command.options
      .filter((option) => option.required)
      .map(({ long }) => [`${wordsOf(command).join(" ")} ${long}`, command, long ?? ""] as const),
  );
  test.each(taking)(
    "UE1 — carillon %s: without a value, empty, or twice",
    async (_name, command, flag) => {
      const words = [...wordsOf(command), ...goodArguments(command), ...mandatory(command, flag)];
      const good = GOOD[flag] ?? "1";
      for (const given of [
        [flag],
        [flag, ""],
        [`${flag}=`],
        [flag, "--help"],
        [flag, good, flag, good],
      ]) {
        const { code, err } = await carillon([...words, ...given]);
        expect([given, code, err]).toEqual([given, 64, expect.stringContaining(`${flag} `)]);
        expect(err).toMatch(
          / (is missing|is empty|is given twice|is not valid|is no [\w ]+|is none of the choices); valid: \S/,
        );
      }
    },
  );

  function mandatory(command: Command, but?: string): string[] {
    const options = command.options.filter(({ mandatory: is, long }) => is && long !== but);
    return options.flatMap(({ long }) => [long ?? "", GOOD[long ?? ""] ?? "1"]);
  }
});

const NOTIFICATION_RULE = "an id such as 019ad8f2-7c00-7000-8000-0123456789ab";
const REGION_RULE = ["2 to 16 lower-case letters or digits, the first of them a letter"];
const numbers = (words: string, field: string, max: number, min = 1) =>
  [String(min - 1), "-5", "1.5", "1e2", "ten", String(max + 1), "9".repeat(400)].map(
    (given) =>
      [`${words} ${field} ${given}`, field, [`a whole number from ${min} to ${max}`]] as const,
  );

test.each([
  ...numbers("process list", "--limit", 1_000),
  ...numbers("process quarantine", "--limit", 1_000),
  ...numbers("load --dev", "--rate", 5_000),
  ...numbers("load --dev", "--seconds", 300),
  ...numbers("load --dev", "--sockets", 50_000),
  ...numbers("load --dev", "--connections", 512),
  ...numbers("region failover fra --to lon", "--wait", 3_600),
  ...numbers("region failover fra --to lon", "--max-lag", 3_600, 0),
  ["region status F", "[home]", REGION_RULE],
  ["region report nyc!", "<home>", REGION_RULE],
  ["region failover FRA --to lon", "<home>", REGION_RULE],
  ["region failover fra --to 9lon", "--to", REGION_RULE],
  ["region residency acme --strict --home F", "--home", REGION_RULE],
  ["region residency acme --failover-to lon,lon", "--failover-to", ["each region once"]],
  [
    "region residency ACME --strict",
    "<tenant>",
    ["1 to 63 lower-case letters, digits or -, the first no -"],
  ],
  [
    `region residency ${"d".repeat(64)} --strict`,
    "<tenant>",
    ["1 to 63 lower-case letters, digits or -, the first no -"],
  ],
  [
    "process inspect demo",
    "<process>",
    ["tenant/recipient", "any key of a table that --table names"],
  ],
  [
    "process reset a/b/c",
    "<process>",
    ["tenant/recipient", "any key of a table that --table names"],
  ],
  ["process unquarantine a/b --node n", "--node", ["--node with --table"]],
  ["process tree --agent bogus", "--agent", ["an address such as http://host:8082"]],
  ["process tree --agent http://127.0.0.1:9 --node n", "--node", ["--agent alone", "--node alone"]],
  ["load --dev --scenario bogus", "--scenario", ["single", "broadcast", "ingest", "all"]],
  ["load", "--ingest", ["--dev", "instead --ingest, --socket and --key"]],
  ["load --dev", "--data", ["the folder of a carillon dev that is up"]],
  [
    "load --ingest http://10.0.0.1 --socket ws://127.0.0.1 --key k",
    "--ingest",
    ["an address such as http://127.0.0.1:8080"],
  ],
  [
    "load --ingest http://127.0.0.1 --socket ws://127.0.0.1 --key клюс",
    "--key",
    ["visible ASCII characters, no spaces"],
  ],
  ["notification pause 12", "<notification>", [NOTIFICATION_RULE]],
  ["explain everything emp-1", "<notification>", [NOTIFICATION_RULE]],
  [
    "explain 019ad8f2-7c00-7000-8000-0123456789ab acme/ada",
    "<recipient>",
    ["1 to 128 characters, none of them a space, a control character or /"],
  ],
  [
    "notification cancel 019ad8f2-7c00-7000-8000-0123456789ab --url http://127.0.0.1:9",
    "CARILLON_API_KEY",
    ["an API key of the tenant whose notification it is"],
  ],
  ["discover --region nyc", "--region", ["fra", "lon", "par", "dub"]],
] as const)("UE1, UE2 — carillon %s", async (line, field, valid) => {
  expect(await refusalOf(withUrl(line.split(" ")))).toMatchObject({ field, valid });
});

const listRule = `names separated by commas, each ${REGION_RULE[0]}`;
test.each([
  ...numbers("dev", "--employees", 1_000_000).map(
    ([line, field, valid]) => [line, `${field} is not valid; valid: ${valid[0]}`] as const,
  ),
  ["dev --regions fra,fra", "--regions names the region fra twice; valid: each region once"],
  ["dev --regions FRA", `--regions is no list of regions; valid: ${listRule}`],
  ["dev --regions 1fra", `--regions is no list of regions; valid: ${listRule}`],
  ["dev --regions fra,", `--regions is no list of regions; valid: ${listRule}`],
  [
    "node --check-config --print-config",
    "--check-config contradicts another option; valid: --check-config alone, --print-config alone",
  ],
  [
    "agent --render --print-config",
    "--render contradicts another option; valid: --check-config alone, --print-config alone, --render alone",
  ],
] as const)("UE1 — carillon %s: for people", async (line, message) => {
  const [name = ""] = line.split(" ");
  const err = `carillon ${name}: ${message}\n`;
  expect(await carillon(line.split(" "))).toEqual({ code: 64, out: "", err });
});

function withUrl(words: string[]): string[] {
  const isOperators = ["process", "region"].includes(words[0] ?? "");
  return isOperators && !words.includes("--agent") ? [...words, "--url", url] : words;
}

test.each([
  ["region status nyc", "[home]"],
  ["region report nyc", "<home>"],
  ["region failover nyc --to lon", "<home>"],
  ["region failover fra --to nyc", "--to"],
  ["region residency acme --failover-to lon,nyc", "--failover-to"],
  ["region residency acme --strict --home nyc", "--home"],
])("RG3, UE1 — carillon %s: the regions that there are; nothing is done", async (line, field) => {
  calls.length = 0;
  expect(await refusalOf([...line.split(" "), "--url", url])).toEqual({
    code: "usage",
    message: `${field} names nyc, which is no region of this cluster; valid: fra, lon`,
    field,
    valid: ["fra", "lon"],
  });
  expect(new Set(calls)).toEqual(new Set(["GET /v1/admin/homes"]));
});

test.each([
  ["members"],
  ["process tree"],
  ["region status"],
  ["notification status 019ad8f2-7c00-7000-8000-0123456789ab"],
  ["explain 019ad8f2-7c00-7000-8000-0123456789ab emp-1"],
])("UE1 — carillon %s: no address, a wrong one", async (line) => {
  const words = line.split(" ");
  expect(await refusalOf([...words, "--data", folder])).toMatchObject({ field: "--url" });
  for (const given of ["bogus", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999"])
    expect(await refusalOf([...words, "--url", given])).toMatchObject({
      field: "--url",
      valid: ["an address such as http://host:8080"],
    });
});

test(
  "UE1, UE2 — as a process: exit 64, people on stderr, programs on stdout; --help and --version are 0",
  async () => {
    const regions = "--regions names the region fra twice; valid: each region once";
    expect(await spawned("dev", "--regions", "fra,fra")).toEqual([
      64,
      "",
      `carillon dev: ${regions}\n`,
    ]);
    const [code, out, err] = await spawned("bogus", "--json");
    expect([code, JSON.parse(out ?? ""), err]).toMatchObject([
      64,
      { error: { field: "bogus" } },
      "",
    ]);
    expect((await spawned("region", "--help")).slice(0, 1)).toEqual([0]);
    expect((await spawned("--version")).slice(0, 1)).toEqual([0]);
  },
  TEST_MAX_MS,
);

async function spawned(...words: string[]): Promise<[unknown, string, string]> {
  const options = { env: { PATH: process.env["PATH"] ?? "" }, timeout: TEST_MAX_MS };
  try {
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [MAIN, ...words],
      options,
    );
    return [0, stdout, stderr];
  } catch (cause) {
    const { code, stdout, stderr } = cause as { code: number; stdout: string; stderr: string };
    return [code, stdout, stderr];
  }
}
