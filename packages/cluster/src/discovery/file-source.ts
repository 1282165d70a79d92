// packages/cluster/src/discovery/file-source.ts
// Candidates from a JSON file that something else writes: an agent on another machine, Ansible, a
// person. The form is that of the agent's own file, so that one can be read as the other:
//   { "regions": { "fra": { "peers": [{ "id": "fra-a", "address": "10.0.0.1" }] } } }
//   DS1  A file that is absent, cut off or wrong in one entry is no answer; a region that it does
//        not name is none either. An empty list is one: that region has no servers.
import { readFile } from "node:fs/promises";
import { type Candidate, type DiscoverySource, type FindOutcome } from "./source.ts";
import { isAddress, sortedById } from "./source.ts";

export interface FileSourceOptions {
  readonly region: string;
  readonly path: string;
}

/** 1,200 instances take 150 KB; a file of this size is something else. */
const FILE_MAX_BYTES = 16 * 2 ** 20;

export function createFileSource({ region, path }: FileSourceOptions): DiscoverySource {
  return {
    kind: "file",
    region,
    async find(signal) {
      let text: string;
      try {
        text = await readFile(path, { encoding: "utf8", signal });
      } catch (cause) {
        if (signal.aborted) return failed("timeout", "the poll was ended");
        return failed("unreadable", `${path}: ${codeOf(cause)}`);
      }
      if (text.length > FILE_MAX_BYTES) return failed("malformed", `${path}: larger than 16 MiB`);
      return answerOf(text, { region, path });
    },
  };
}

function answerOf(text: string, { region, path }: FileSourceOptions): FindOutcome {
  const wrong = (problem: string): FindOutcome => failed("malformed", `${path}: ${problem}`);
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return wrong("is not JSON");
  }
  const peers = fieldOf(fieldOf(fieldOf(file, "regions"), region), "peers");
  if (!Array.isArray(peers)) return wrong(`regions.${region}.peers is not a list`);
  const candidates: Candidate[] = [];
  for (const [index, peer] of peers.entries()) {
    const candidate = candidateOf(peer);
    if (candidate === undefined)
      return wrong(`regions.${region}.peers[${index}] is not { "id": …, "address": … }`);
    candidates.push(candidate);
  }
  return { kind: "found", candidates: sortedById(candidates), skipped: [], pagesCount: 1 };
}

/** Undefined: it is none. */
export function candidateOf(value: unknown): Candidate | undefined {
  const [id, address, zone] = ["id", "address", "zone"].map((name) => fieldOf(value, name));
  if (typeof id !== "string" || id === "" || id.length > 255) return undefined;
  if (typeof address !== "string" || !isAddress(address)) return undefined;
  if (zone === undefined) return { id, address };
  return typeof zone === "string" ? { id, address, zone } : undefined;
}

export function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
}

function failed(reason: "timeout" | "unreadable" | "malformed", detail: string): FindOutcome {
  return { kind: "failed", reason, detail };
}

/** "ENOENT" says more to a person than a stack. */
export function codeOf(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return typeof code === "string" ? code : String(cause);
}
