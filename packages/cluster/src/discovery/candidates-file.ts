// packages/cluster/src/discovery/candidates-file.ts
// The agent's file: per region the last good answer with its age, and what went wrong since.
//   CA1  What was written is read back as it was; what is cut off, of another cluster or of another
//        form is `unusable` with its reason. A region's record is read whole or not at all, and one
//        that is of no use costs no other region its own (C5).
import { readFile } from "node:fs/promises";
import { isAbsent } from "./durable-file.ts";
import { candidateOf, codeOf, fieldOf } from "./file-source.ts";
import { NO_PEERS, type Peer, type RegionPeers } from "./hold.ts";
import type { FindFailure } from "./source.ts";

export interface Failing {
  readonly reason: FindFailure;
  readonly detail: string;
  readonly failuresCount: number; // in a row
  readonly sinceMs: number; // the first of them, by the wall clock
}

export interface RegionRecord extends RegionPeers {
  /** When the last complete answer came, by the wall clock; null: never. */
  readonly goodAtMs: number | null;
  readonly failing: Failing | null;
}

export type Records = ReadonlyMap<string, RegionRecord>;

export const NO_RECORD: RegionRecord = { ...NO_PEERS, goodAtMs: null, failing: null };

const VERSION = 1;

/** Sorted, and with a line per peer: people read it, too. */
export function candidatesText(cluster: string, records: Records): string {
  const regions = Object.fromEntries(
    [...records]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([region, record]) => [region, record]),
  );
  return `${JSON.stringify({ version: VERSION, cluster, regions }, null, 1)}\n`;
}

export type ReadRecords =
  | {
      readonly kind: "read";
      readonly records: Records;
      /** Regions whose records are of no use. */
      readonly unusable: ReadonlySet<string>;
    }
  | { readonly kind: "absent" }
  | { readonly kind: "unusable"; readonly problem: string };

/** Never rejects. */
export async function readCandidatesFile(path: string, cluster: string): Promise<ReadRecords> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    return isAbsent(cause) ? { kind: "absent" } : unusable(`cannot be read: ${codeOf(cause)}`);
  }
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return unusable("is not JSON");
  }
  if (fieldOf(file, "version") !== VERSION) return unusable(`is not of version ${VERSION}`);
  if (fieldOf(file, "cluster") !== cluster) return unusable("is of another cluster");
  const regions = fieldOf(file, "regions");
  if (typeof regions !== "object" || regions === null) return unusable("has no regions");
  const records = new Map<string, RegionRecord>();
  const broken = new Set<string>();
  for (const [region, value] of Object.entries(regions)) {
    const record = recordOf(value);
    if (record === undefined) broken.add(region);
    else records.set(region, record);
  }
  return { kind: "read", records, unusable: broken };
}

function unusable(problem: string): ReadRecords {
  return { kind: "unusable", problem };
}

function recordOf(value: unknown): RegionRecord | undefined {
  const [peers, answer, equalCount, goodAtMs, failing] = [
    "peers",
    "answer",
    "equalCount",
    "goodAtMs",
    "failing",
  ].map((name) => fieldOf(value, name));
  if (!Array.isArray(peers) || !Array.isArray(answer) || !isCount(equalCount)) return undefined;
  if (!(goodAtMs === null || isCount(goodAtMs))) return undefined;
  if (!answer.every((mark) => typeof mark === "string")) return undefined;
  const known = peers.map(peerOf);
  if (known.some((peer) => peer === undefined)) return undefined;
  const fault = failing === null ? null : failingOf(failing);
  if (fault === undefined) return undefined;
  const whole = known.flatMap((peer) => peer ?? []);
  return { peers: whole, answer, equalCount, goodAtMs, failing: fault };
}

function peerOf(value: unknown): Peer | undefined {
  const candidate = candidateOf(value);
  const missedCount = fieldOf(value, "missedCount");
  return candidate !== undefined && isCount(missedCount)
    ? { ...candidate, missedCount }
    : undefined;
}

function failingOf(value: unknown): Failing | undefined {
  const [reason, detail, failuresCount, sinceMs] = [
    "reason",
    "detail",
    "failuresCount",
    "sinceMs",
  ].map((name) => fieldOf(value, name));
  if (typeof reason !== "string" || typeof detail !== "string") return undefined;
  if (!isCount(failuresCount) || !isCount(sinceMs)) return undefined;
  return { reason: reason as FindFailure, detail, failuresCount, sinceMs }; // shown, not decided on
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}
