// packages/process/bench/erlang/rival.ts
// Runs the Erlang half of the bench (rival.erl) and returns its numbers: one node of one scheduler,
// pinned to one core where `taskset` exists, per section, since freed memory stays in RSS and would be
// used again. `node packages/process/bench/erlang/rival.ts` prints them alone.
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

const SECTION_MAX_MS = 90_000; // the slowest took 42 s on a busy machine
const SECTIONS = {
  starts: ["startsPerSecond"],
  messages: [
    "castsByKeyPerSecond",
    "callsPerSecond",
    "callsSequentialPerSecond",
    "callsConcurrentPerSecond",
  ],
  crashes: [
    "crashRestartsPerSecond",
    "crashRestartsTwentyThousandPerSecond",
    "crashRestartsStaticPerSecond",
    "crashRestartsPartitionedPerSecond",
    "crashRestartsPacedPerSecond",
  ],
  flood: ["quietUnderFloodP99Ms", "quietUnderFloodMaxMs"],
  resident: [
    "bytesPerIdleProcess",
    "startsToMillionPerSecond",
    "fanOutByPidPerSecond",
    "fanOutByNamePerSecond",
    "trafficPerSecond",
    "quietUnderTrafficP99Ms",
    "quietUnderTrafficMaxMs",
    "longestStallMs",
  ],
  hibernated: ["bytesPerHibernatedProcess"],
  plain: ["bytesPerPlainProcess"],
} as const;
type Section = keyof typeof SECTIONS;
const sections = Object.keys(SECTIONS) as Section[];

/**
 * What a supervised gen_server found by name costs; rates are medians, bytes are growth of RSS.
 * `callsPerSecond` is the better of one caller and a hundred; `crashRestartsPerSecond` is one dynamic
 * supervisor whose 5,000 children crash at once, `…Paced` the BEAM's best (see rival_crashes.erl).
 */
export type RivalNumbers = Readonly<
  Record<(typeof SECTIONS)[Section][number] | "otpRelease" | "schedulers", number>
>;

/**
 * Numbers of the rival, or undefined (and a loud line) when Erlang is absent. About two minutes and
 * 6 GB. Rejects when a section fails, leaves out a number or takes longer than its limit.
 */
export async function measureErlang(): Promise<RivalNumbers | undefined> {
  const folder = await mkdtemp(join(tmpdir(), "carillon-rival-"));
  try {
    if (!(await compile(folder))) {
      console.error(
        "!!! NO ERLANG: `erl` or `erlc` is absent, so there is nothing to compare with.",
      );
      console.error(
        "!!! Install it with `apt-get install -y erlang-base` and run the bench again.",
      );
      return undefined;
    }
    const pinned = await pin();
    const numbers: Record<string, number> = {};
    for (const section of sections) {
      Object.assign(numbers, await measureSection(section, folder, pinned));
    }
    return numbers as RivalNumbers;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** False when there is no Erlang; a module that does not compile is an error. */
async function compile(folder: string): Promise<boolean> {
  const names = (await readdir(import.meta.dirname)).filter((name) => name.endsWith(".erl"));
  const paths = names.map((name) => join(import.meta.dirname, name));
  try {
    await run("erl", ["-noshell", "-eval", "halt()."], { cwd: folder, timeout: 20_000 });
    await run("erlc", ["-o", folder, ...paths], { timeout: 60_000 });
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw cause;
  }
}

/** The command's beginning that keeps a node on one core, the last. */
async function pin(): Promise<readonly string[]> {
  const words = ["taskset", "-c", String(availableParallelism() - 1)];
  try {
    await run("taskset", [...words.slice(1), "true"]);
    return words;
  } catch {
    console.error("The Erlang node is not pinned to a core: `taskset` is absent or refused.");
    return [];
  }
}

async function measureSection(
  section: Section,
  folder: string,
  pinned: readonly string[],
): Promise<Record<string, number>> {
  const oneCore = ["+S", "1:1", "+SDcpu", "1:1", "+SDio", "1", "+P", "5000000"];
  const program = ["-noshell", "-noinput", "-pa", folder, "-run", "rival", "main", section];
  const [command = "erl", ...words] = [...pinned, "erl", ...oneCore, ...program];
  // Flags from outside would change what is measured; taskset and erl both exec, so the limit's
  // signal reaches the node itself.
  const env = {
    ...process.env,
    ERL_FLAGS: "",
    ERL_AFLAGS: "",
    ERL_ZFLAGS: "",
    ERL_CRASH_DUMP_SECONDS: "0",
  };
  const limit = { timeout: SECTION_MAX_MS, killSignal: "SIGKILL" } as const;
  const { stdout } = await run(command, words, { cwd: folder, env, ...limit });
  const numbers = JSON.parse(stdout) as Record<string, number>;
  const missing = SECTIONS[section].filter((name) => !Number.isFinite(numbers[name]));
  if (missing.length > 0) throw new Error(`rival ${section} did not print ${missing.join(", ")}`);
  return numbers;
}

if (import.meta.main) console.log(JSON.stringify(await measureErlang(), undefined, 2));
