// apps/cli/bench/node-costs.ts
// What a process and its children cost, from /proc: CPU in ticks of 10 ms, the garbage collector's among it.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const TICKS_PER_SECOND = 100;

/** Of the process alone; with `isTree` of those that it has started and that run, too. */
export function cpuMs(pid: number, options: { readonly isTree: boolean }): number {
  const pids = options.isTree ? [pid, ...childrenOf(pid)] : [pid];
  let ticks = 0;
  for (const one of pids) {
    const [, , , , , , , , , , , user = 0, system = 0] = fieldsOf(one);
    ticks += Number(user) + Number(system);
  }
  return (ticks * 1_000) / TICKS_PER_SECOND;
}

export function residentMiB(pid: number): { readonly now: number; readonly most: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (name: string): number =>
    Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / 1_024);
  return { now: of("VmRSS"), most: of("VmHWM") };
}

/** `most` begins anew. */
export function forgetMostResident(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

function childrenOf(pid: number): number[] {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return all.map(Number).filter((one) => Number(fieldsOf(one)[1]) === pid);
}

/** From the state on; none when it has ended meanwhile. */
function fieldsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  } catch {
    return [];
  }
}
