// packages/store/src/last-words.ts
// The last words of a node whose thread is stuck (spec P16): the watchdog's other thread writes down
// which recipient's process held it, so that the next owner of the partition does not run it.
// A module of its own, loaded at the node's start: nothing is loaded when it matters.
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
): Promise<void> {
  if (culprit.kind !== "process") return;
  const [tableHome, number] = culprit.table.split("/");
  const partition = Number(number);
  if (tableHome !== home || !Number.isInteger(partition)) return;
  const sql = postgres(url, { max: 1, connect_timeout: CONNECT_TIMEOUT_SECONDS, types: { int8 } });
  const reason = "its process held the thread of its node, which was ended";
  await putQuarantine(sql, home, { partition, index: culprit.slot, reason }, times);
  await sql.end({ timeout: 0 });
}
