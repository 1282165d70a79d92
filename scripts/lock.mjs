// scripts/lock.mjs
// One set-up at a time in a checkout (SU2): a file that names its holder.
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";

const WAIT_MAX_MS = 15 * 60_000; // a first installation over a slow line
const POLL_MS = 250;
const UNNAMED_MAX_MS = 5_000; // between creating the file and writing the name into it

/** Runs `work` while no other process holds `file`. */
export async function withLock(file, { say, SetUpError }, work) {
  const me = nameOf(process.pid);
  const startedAtMs = Date.now();
  let hasSaid = false;
  while (!take(file, me)) {
    if (Date.now() - startedAtMs > WAIT_MAX_MS)
      throw new SetUpError(`another set-up holds ${file} for too long; if none runs, delete it.`);
    if (!hasSaid) say("another set-up runs in this checkout; waiting for it …");
    hasSaid = true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const release = () => {
    if (read(file) === me) rmSync(file, { force: true });
  };
  process.once("exit", release);
  try {
    return await work();
  } finally {
    release();
    process.off("exit", release);
  }
}

function take(file, me) {
  try {
    writeFileSync(file, me, { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  }
  const holder = read(file);
  if (holder === null || isAlive(holder, file)) return false;
  // Two may find the same dead holder: the rename gives it to one, who puts a live one back.
  const aside = `${file}.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch {
    return false;
  }
  if (read(aside) !== holder) renameSync(aside, file);
  else rmSync(aside, { force: true });
  return false; // the next round takes it, or finds who was quicker
}

function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}

function isAlive(holder, file) {
  const pid = Number(holder.split(" ")[0]);
  if (!Number.isInteger(pid) || pid <= 0) {
    const stat = statSync(file, { throwIfNoEntry: false });
    return stat !== undefined && Date.now() - stat.mtimeMs < UNNAMED_MAX_MS;
  }
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code === "ESRCH") return false;
  }
  return nameOf(pid) === holder; // another start time: the number was given to a new process
}

/** Process id and, on Linux, its start time. */
function nameOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return `${pid} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`;
  } catch {
    return `${pid} -`;
  }
}
