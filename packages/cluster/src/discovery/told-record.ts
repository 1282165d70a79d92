// packages/cluster/src/discovery/told-record.ts
// What nats-server was last told to load, on disk beside nats.conf: a restart of the agent must not
// forget a SIGHUP that could not be sent, nor send the next one too early. No text of nats.conf is in it.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { writeDurably } from "./durable-file.ts";
import { fieldOf } from "./file-source.ts";

export interface ToldRecord {
  readonly mark: string; // the run of the server
  readonly digest: string; // of the text
  /** False: it was to be told, and that did not work, or the agent ended in between. */
  readonly isTold: boolean;
  readonly atMs: number; // by the wall clock
}

export function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Undefined: there is none, or none that can be read. Never rejects. */
export async function readTold(path: string): Promise<ToldRecord | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch {
    return undefined; // nothing is known then; the server's monitoring still is
  }
  const [mark, digest, isTold, atMs] = ["mark", "digest", "isTold", "atMs"].map((name) =>
    fieldOf(value, name),
  );
  if (typeof mark !== "string" || typeof digest !== "string") return undefined;
  if (typeof isTold !== "boolean" || typeof atMs !== "number") return undefined;
  return { mark, digest, isTold, atMs };
}

export function writeTold(path: string, record: ToldRecord): Promise<void> {
  return writeDurably(path, `${JSON.stringify(record)}\n`);
}
