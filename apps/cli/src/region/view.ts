// apps/cli/src/region/view.ts
// What `carillon region` shows to people.
import type { AdminHome, HomeClaim, HomeLook } from "@carillon/contracts";
import { textTable } from "../clients/text-table.ts";
import { msText } from "./failover-texts.ts";
import type { FailoverOutcome } from "./failover.ts";
import type { LossReport } from "./report.ts";

type Replica = NonNullable<HomeLook["replica"]>;

const IDS_SHOWN_MAX = 20;
const SILENCE_SHOWN_MS = 5_000; // a home that is served writes its leases every 3 s

export function statusLines(homes: readonly AdminHome[]): string[] {
  const rows = homes.flatMap(({ home, claim, places }) =>
    places.length === 0
      ? [[home, claim === null ? "" : String(claim.epoch), "", "nobody answers", "", ""]]
      : places.map((look) => [
          home,
          String(look.claim?.epoch ?? ""),
          look.place,
          look.standing,
          String(look.leasedCount),
          notesOf(look, claim),
        ]),
  );
  return [textTable(["home", "epoch", "place", "standing", "leases", ""], rows)];
}

function notesOf(look: HomeLook, newest: HomeClaim | null): string {
  const { replica, movingTo, supersededBy, withheldTenants, standing } = look;
  const notes: string[] = [];
  if (look.claim === null && !look.isInRecovery)
    notes.push(`EMPTY DATABASE: make it a copy of the one in ${newest?.host ?? "its host"}`);
  if (replica !== null) notes.push(...copyNotes(replica));
  if (movingTo !== null) notes.push(`moving to ${movingTo}`);
  if (supersededBy !== null)
    notes.push(`superseded by epoch ${supersededBy.epoch} in ${supersededBy.host}`);
  if (standing === "serving" && withheldTenants.length > 0)
    notes.push(`withheld: ${withheldTenants.slice(0, IDS_SHOWN_MAX).join(", ")}`);
  return notes.join("; ");
}

function copyNotes({ isStreaming, lagMs, silentMs, replayedAt, rights }: Replica): string[] {
  const user = rights?.user ?? "?";
  const notes: string[] = [];
  if (isStreaming) notes.push(`follows, ${msText(lagMs)} behind`);
  else if (rights?.maySeeStreaming === false)
    notes.push(`MAY NOT SEE WHETHER IT FOLLOWS: grant pg_monitor to ${user}`);
  else notes.push(`DOES NOT FOLLOW, at ${replayedAt ?? "?"}`);
  if ((silentMs ?? 0) > SILENCE_SHOWN_MS)
    notes.push(`NOTHING HEARD for ${Math.round((silentMs ?? 0) / 1_000)} s`);
  if (rights?.mayPromote === false)
    notes.push(`MAY NOT BE PROMOTED: grant execute on function pg_promote to ${user}`);
  return notes;
}

export function doneLines(done: Extract<FailoverOutcome, { kind: "done" }>): string[] {
  const { home, host, epoch, isChanged, isPlanned, replayedAt, replayedLsn, durationMs } = done;
  const what = `home ${home} is hosted by ${host}, epoch ${epoch}`;
  if (!isChanged) return [`${what}; it was already`];
  const lines = [`${what}, after ${(durationMs / 1_000).toFixed(1)} s`];
  if (isPlanned === true) lines.push("planned: nothing was lost");
  if (isPlanned === false && done.fenceLsn !== null)
    lines.push(
      `unplanned, with the old host's fence at ${done.fenceLsn}: nothing is lost unless it took the home ` +
        `back after that. When its database is back, fenced: carillon region report ${home}`,
    );
  else if (isPlanned === false)
    lines.push(
      `unplanned: what was committed after ${replayedAt ?? "an unknown time"} (${replayedLsn ?? "?"}) ` +
        `is not here. When the old database is back, fenced: carillon region report ${home}`,
    );
  if (!done.isServed) lines.push("not every partition has an owner yet: are there workers?");
  return lines;
}

export function reportLines(report: LossReport): string[] {
  const { home, from, to, counts, lost, lostPeopleCount, replayedAt } = report;
  const what = `home ${home}: in ${from.place} (epoch ${from.epoch}) and not in ${to.place} (epoch ${to.epoch})`;
  const ids = lost.accepted.map(({ id }) => id);
  return [
    `${what}, replayed up to ${replayedAt ?? "an unknown time"}`,
    ...Object.entries(counts).map(([name, number]) => `  ${name.padEnd(12)} ${number}`),
    `  ${"people".padEnd(12)} ${lostPeopleCount} who are nowhere in ${to.place}, one for each notification`,
    ...ids.slice(0, IDS_SHOWN_MAX).map((id) => `  accepted and lost: ${id}`),
    ...lost.apiKeys
      .filter(({ isNew, isRevoked }) => isRevoked && !isNew)
      .slice(0, IDS_SHOWN_MAX)
      .map(({ keyId, tenantId }) => `  REVOKED in ${from.place} only: key ${keyId} of ${tenantId}`),
    ...(ids.length > IDS_SHOWN_MAX ? ["  … all of them with --out or --json"] : []),
  ];
}
