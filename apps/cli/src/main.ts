// apps/cli/src/main.ts
// `carillon`. Only here the environment is read, and the process ended.
import { join } from "node:path";
import packageJson from "../package.json" with { type: "json" };
import { createProgram } from "./program.ts";
import { createTerminal } from "./terminal.ts";
import { runProgram } from "./usage.ts";

const terminal = createTerminal(process.stdout, process.stderr);
const program = createProgram({
  env: process.env,
  build: packageJson.version,
  defaultDataFolder: join(import.meta.dirname, "../../..", ".carillon"),
  terminal,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  exit: (exitCode) => process.exit(exitCode),
});
const exitCode = await runProgram(program, process.argv.slice(2), terminal);
if (exitCode !== undefined) process.exitCode = exitCode;
