// packages/store/src/last-words.ts
// The last words of a node whose thread is stuck (spec P16): the watchdog's other thread writes down
// which recipient's process held it, so that the next owner of the partition does not run it.
// A module of its own, loaded at the node's start: nothing is loaded when it matters.
//   ST27 A line `node.last_words` says what was written down, also when that is nothing: that a
//        session held the thread helps no next owner. `node.stuck` says `done` or `nothing` for the two.
import { write } from "node:fs";
import { postgres } from "./driver.ts";
import { int8 } from "./pool.ts";
import { putQuarantine, type QuarantineTimes } from "./quarantine.ts";

export interface LastWordsData {
  readonly url: string;
  readonly home: string;
  readonly times: QuarantineTimes;
}

const CONNECT_TIMEOUT_SECONDS = 1; // it has about that long in all

type Culprit =
  | { readonly kind: "process"; readonly table: string; readonly slot: number }
  | { readonly kind: "outside" | "several" };

/** `table` is `<home>/<partition>`; of any other table nothing is written. */
export async function lastWords(
  culprit: Culprit,
  { url, home, times }: LastWordsData,
): Promise<"done" | "nothing"> {
  const recipient = recipientOf(culprit, home);
  if (recipient === undefined) {
    tell({ written: "nothing", culprit: culprit.kind });
    return "nothing";
  }
  const sql = postgres(url, { max: 1, connect_timeout: CONNECT_TIMEOUT_SECONDS, types: { int8 } });
  const reason = "its process held the thread of its node, which was ended";
  await putQuarantine(sql, home, { ...recipient, reason }, times);
  tell({ written: "quarantine", ...recipient });
  await sql.end({ timeout: 0 });
  return "done";
}

function recipientOf(
  culprit: Culprit,
  home: string,
): { readonly partition: number; readonly index: number } | undefined {
  if (culprit.kind !== "process") return undefined;
  const [tableHome, number] = culprit.table.split("/");
  const partition = Number(number);
  if (tableHome !== home || !Number.isInteger(partition)) return undefined;
  return { partition, index: culprit.slot };
}

const STDERR = 2;

/** Neither the main thread, which is stuck, nor this one waits for whoever reads it. */
function tell(fields: Readonly<Record<string, unknown>>): void {
  const line = { level: "error", event: "node.last_words", ...fields };
  write(STDERR, `${JSON.stringify(line)}\n`, () => undefined);
}
