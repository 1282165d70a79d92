// apps/cli/src/region/failover-texts.ts
// What a failover says when it is refused: what the copy knows, and what a person can do.
import type { HomeLook } from "@carillon/contracts";

/** Rounded up: 0 ms is not behind, and a node of an older build tells fractions. */
export function msText(ms: number | null | undefined): string {
  return `${ms === null || ms === undefined ? "?" : Math.ceil(ms)} ms`;
}

/** FO2: what the copy knows, and nothing more. */
export function silentText(host: string, target: HomeLook): string {
  const { place, replica, claim } = target;
  const upTo =
    replica === null
      ? ` The copy in ${place} was promoted already, at epoch ${claim?.epoch ?? 0}, and not declared.`
      : ` The copy in ${place} has replayed up to ${replica.replayedLsn ?? "nothing"}, last commit ` +
        `${replica.replayedAt ?? "unknown"}; it is ${replica.isStreaming ? "" : "not "}streaming.`;
  return (
    `${host}, the host since epoch ${claim?.epoch ?? 0}, does not answer.${upTo}` +
    (target.movingTo === place && target.fenceLsn !== null
      ? ` It has the fence of ${host} at ${target.fenceLsn}, so nothing is lost unless ${host} took the ` +
        `home back since, which nobody can tell while it is silent. Start ${host} for a planned one; ` +
        "with --force it is an unplanned one"
      : " With --force it takes over without it: what was not replicated is lost")
  );
}

export function promoteText({ place, replica }: HomeLook, host: string): string {
  const user = replica?.rights?.user ?? "?";
  return (
    `the user ${user} of the copy in ${place} may not promote it. In the home's database in ${host}: ` +
    `grant execute on function pg_promote to ${user}. Where ${host} is gone: promote the copy by hand ` +
    "(pg_ctl promote), and say this again"
  );
}

export function monitorText({ place, replica }: HomeLook, host: string): string {
  const user = replica?.rights?.user ?? "?";
  return (
    `the user ${user} of the copy in ${place} may not see whether it streams. In the home's database in ` +
    `${host}: grant pg_monitor to ${user}`
  );
}
