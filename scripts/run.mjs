// scripts/run.mjs
// What `npm start`, `npm test` and `npm run verify` run: set-up, then the thing itself on Node 24.
// Plain JavaScript for Node ≥ 20 with nothing installed.
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { npmCommand, say, setUp, SetUpError } from "./set-up.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
// Where .ci/run wants reports; nothing is written when it is not set.
const reportFolder = process.env.CI_REPORT_FOLDER;

const PARENT_WATCH_MS = 500;

const TASKS = {
  start: ({ node }, args) => [[node, join(root, "apps/cli/src/main.ts"), "dev", ...args]],
  test: ({ node }, args) => [
    [node, join(root, "node_modules/vitest/vitest.mjs"), "run", ...reporters(), ...args],
  ],
  sim: ({ node }, args) => [[node, join(root, "test/sim/main.ts"), ...args]],
  "sim:mutants": ({ node }, args) => [[node, join(root, "test/sim/mutants-main.ts"), ...args]],
  verify: () => [
    [...npmCommand(), "run", "check", ...(reportFolder ? ["--", "--summarize"] : [])],
    [...npmCommand(), "test"],
  ],
};

function reporters() {
  if (!reportFolder) return [];
  mkdirSync(reportFolder, { recursive: true });
  return ["--reporter=default", "--reporter=json", `--outputFile.json=${reportFolder}/tests.json`];
}

async function main([name, ...args]) {
  const task = TASKS[name];
  if (task === undefined) {
    say(`usage: node scripts/run.mjs ${Object.keys(TASKS).join("|")} [arguments]`);
    return 64;
  }
  if (Number(process.versions.node.split(".")[0]) < 20) {
    say(`Node 20 or newer is needed; this is Node ${process.versions.node}.`);
    return 1;
  }
  let ready;
  try {
    ready = await setUp(root);
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    say(error.message);
    return 1;
  }
  let firstFailure = 0;
  for (const command of task(ready, args)) {
    const code = await run(command, ready.env);
    if (code > 128) return code; // ended by a signal: what would follow is not wanted
    firstFailure ||= code;
  }
  return firstFailure;
}

/** Runs a child to its end, passing signals on; answers its exit code, or 128 + its signal. */
function run([command, ...args], env) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env, stdio: "inherit" });
    // Ctrl-C in a terminal reaches the whole process group, the child too: once is enough.
    const isInTerminal = process.stdin.isTTY || process.stdout.isTTY;
    const listeners = ["SIGINT", "SIGTERM", "SIGHUP"].map((signal) => {
      const onSignal = () => {
        if (signal !== "SIGINT" || !isInTerminal) child.kill(signal);
      };
      process.on(signal, onSignal);
      return () => process.off(signal, onSignal);
    });
    // A signal to npm ends npm's shell without reaching us: then the parent changes.
    const parentPid = process.ppid;
    const watch = setInterval(() => {
      if (process.ppid === parentPid) return;
      clearInterval(watch);
      child.kill("SIGTERM");
    }, PARENT_WATCH_MS);
    if (process.env.npm_lifecycle_event === undefined) clearInterval(watch);
    const finish = (code) => {
      clearInterval(watch);
      for (const stopListening of listeners) stopListening();
      resolve(code);
    };
    child.on("error", (error) => {
      say(`${command} could not be run: ${error.message}`);
      finish(1);
    });
    child.on("exit", (code, signal) => finish(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}

process.exitCode = await main(process.argv.slice(2));
