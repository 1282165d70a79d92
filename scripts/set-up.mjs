// scripts/set-up.mjs
// Everything a bare clone lacks: dependencies, Node 24, nats-server. Plain JavaScript for Node ≥ 20
// with nothing installed. Each step looks first and does nothing when there is nothing to do.
//   SU1  Nothing outside the checkout is changed (but by brew on macOS), so that no root is needed.
//   SU2  One set-up at a time in a checkout; the lock of one that died is taken over.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { withLock } from "./lock.mjs";

const NODE_MAJOR_MIN = 24;
const NATS_MIN = [2, 9];

/** A set-up that cannot go on; the message is for the person at the terminal. */
export class SetUpError extends Error {}

export function say(message) {
  process.stderr.write(`carillon: ${message}\n`);
}

/** Returns the Node binary to run the project with and the environment for it. */
export async function setUp(root) {
  const folder = join(root, ".carillon");
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
    accessSync(root, constants.W_OK);
  } catch {
    throw new SetUpError(`${root} cannot be written to by this user; use a checkout of your own.`);
  }
  const env = { ...process.env, TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1" };
  prependPath(env, join(root, "node_modules", ".bin"));
  if (!isWritable(homedir())) env.npm_config_cache = join(folder, "npm-cache");
  await withLock(join(folder, "set-up.lock"), { say, SetUpError }, () => {
    installDependencies(root, env);
    const nats = findNats(folder) ?? installNats(folder, env);
    if (!pathFolders(env).includes(dirname(nats))) prependPath(env, dirname(nats));
  });
  return { node: findNode(root), env };
}

// --- dependencies ----------------------------------------------------------------------------

/** Runs npm when node_modules does not fit package-lock.json: the stamp holds the lock's hash. */
function installDependencies(root, env) {
  const modules = join(root, "node_modules");
  const stampFile = join(modules, ".carillon-stamp");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stampOf(root)) return;
  const isFirst = !existsSync(modules);
  say(isFirst ? "installing dependencies (once, about a minute) …" : "updating dependencies …");
  // `install --no-save` takes the versions of the lock file and leaves it alone. `ci` would empty
  // node_modules under a running process, and refuses a lock without every platform's packages.
  // No dependency needs its scripts: packages/local makes the links that Postgres lacks.
  const flags = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const done = runNpm(["install", ...flags], { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
  if (done.status !== 0) {
    if (isFirst) rmSync(modules, { recursive: true, force: true });
    const told = `${done.stdout ?? ""}${done.stderr ?? ""}`
      .trim()
      .split("\n")
      .slice(-15)
      .join("\n");
    throw new SetUpError(`npm install failed${told ? `:\n${told}` : `: ${done.error}`}`);
  }
  writeFileSync(stampFile, stampOf(root));
}

function stampOf(root) {
  const hash = createHash("sha256").update(readFileSync(join(root, "package-lock.json")));
  return `${hash.digest("hex")} ${process.platform} ${process.arch}\n`;
}

/** The npm that runs us when there is one, so that the version is the caller's. */
export function npmCommand() {
  const file = process.env.npm_execpath;
  return file?.endsWith(".js") && existsSync(file) ? [process.execPath, file] : ["npm"];
}

function runNpm(args, options) {
  const [command, ...before] = npmCommand();
  return spawnSync(command, [...before, ...args], { ...options, encoding: "utf8" });
}

// --- Node 24 ---------------------------------------------------------------------------------

function findNode(root) {
  const own = join(root, "node_modules", ".bin", "node");
  for (const candidate of [own, process.execPath]) {
    const version = /^v(\d+)/.exec(outputOf(candidate, ["--version"]));
    if (version && Number(version[1]) >= NODE_MAJOR_MIN) return candidate;
  }
  throw new SetUpError(
    `Node ${NODE_MAJOR_MIN} is needed and npm has none for ${process.platform}-${process.arch}; ` +
      `this is Node ${process.versions.node}. Install Node ${NODE_MAJOR_MIN} and run this again.`,
  );
}

// --- nats-server -----------------------------------------------------------------------------

function findNats(folder) {
  const usual = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"];
  const tools = join(folder, "tools", "usr", "sbin");
  const files = [...pathFolders(process.env), ...usual, tools].map((at) => join(at, "nats-server"));
  return files.find((file) => existsSync(file) && isNewEnough(file));
}

function isNewEnough(file) {
  const version = /v(\d+)\.(\d+)/.exec(outputOf(file, ["--version"]));
  if (!version) return false;
  const [major, minor] = [Number(version[1]), Number(version[2])];
  return major > NATS_MIN[0] || (major === NATS_MIN[0] && minor >= NATS_MIN[1]);
}

function installNats(folder, env) {
  const problems = [];
  if (process.platform === "linux" && outputOf("apt-get", ["--version"]) !== "") {
    say("getting nats-server by apt-get, into .carillon/tools …");
    problems.push(...unpackNats(folder));
  } else if (outputOf("brew", ["--version"]) !== "") {
    say("installing nats-server by brew …");
    const done = spawnSync("brew", ["install", "nats-server"], { env, encoding: "utf8" });
    if (done.status !== 0) problems.push(lastLinesOf(done));
  }
  const found = findNats(folder);
  if (found !== undefined) return found;
  throw new SetUpError(
    `nats-server ${NATS_MIN.join(".")} or newer is needed and was not found. Install it and run ` +
      "this again:\n  Debian, Ubuntu:  apt-get install nats-server\n" +
      "  macOS:           brew install nats-server\n" +
      "  elsewhere:       put a nats-server binary on the PATH" +
      (problems.length > 0 ? `\nWhat was tried:\n${problems.join("\n")}` : ""),
  );
}

/**
 * Unpacks the package without installing it: works for every user, and no service is started.
 * With lists of packages of its own when the system has none. Returns what went wrong.
 */
function unpackNats(folder) {
  const work = join(folder, "apt");
  const tools = join(folder, "tools");
  for (const at of [work, tools, join(work, "lists/partial"), join(work, "cache/archives/partial")])
    mkdirSync(at, { recursive: true });
  const asUser = ["-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1"];
  const ownLists = [
    ...["-o", `Dir::State::lists=${work}/lists`, "-o", `Dir::Cache=${work}/cache`],
    ...["-o", "Dir::State::status=/var/lib/dpkg/status"],
  ];
  const apt = (...args) =>
    spawnSync("apt-get", ["-q", ...asUser, ...args], { cwd: work, encoding: "utf8" });
  try {
    let done = apt("download", "nats-server");
    if (done.status !== 0) {
      apt(...ownLists, "update");
      done = apt(...ownLists, "download", "nats-server");
    }
    if (done.status !== 0) return [lastLinesOf(done)];
    const file = readdirSync(work).find((name) => name.endsWith(".deb"));
    if (file === undefined) return ["apt-get downloaded nothing"];
    const unpacked = spawnSync("dpkg", ["-x", join(work, file), tools], { encoding: "utf8" });
    return unpacked.status === 0 ? [] : [lastLinesOf(unpacked)];
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

// --- small things ----------------------------------------------------------------------------

function lastLinesOf(done) {
  const text = `${done.stdout ?? ""}${done.stderr ?? ""}`.trim();
  return text === ""
    ? String(done.error ?? `exit code ${done.status}`)
    : text.split("\n").slice(-5).join("\n");
}

function outputOf(command, args) {
  const done = spawnSync(command, args, { encoding: "utf8", timeout: 20_000 });
  return done.status === 0 ? done.stdout : "";
}

function pathFolders(env) {
  return (env.PATH ?? "").split(delimiter).filter((at) => at !== "");
}

function prependPath(env, folder) {
  env.PATH = [folder, ...pathFolders(env).filter((at) => at !== folder)].join(delimiter);
}

function isWritable(folder) {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
