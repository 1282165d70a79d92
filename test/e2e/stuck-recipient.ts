// test/e2e/stuck-recipient.ts
// Loaded before a node's own code (`--import`): from the moment a file exists, the handler of one
// recipient never ends. What a bug in the real code would do, without a hook in the real code.
import { existsSync } from "node:fs";

interface Entry {
  isPending(index: number): boolean;
  readonly partition: number;
}

const { STUCK_FILE = "", STUCK_PARTITION = "", STUCK_INDEX = "" } = process.env;
const module = new URL("../../packages/delivery/src/ledger-entry.ts", import.meta.url);
const { LedgerEntry } = (await import(module.href)) as { LedgerEntry: { prototype: Entry } };
const isPending = LedgerEntry.prototype.isPending;

LedgerEntry.prototype.isPending = function (this: Entry, index: number): boolean {
  const isVictim = this.partition === Number(STUCK_PARTITION) && index === Number(STUCK_INDEX);
  if (isVictim) while (existsSync(STUCK_FILE)) continue;
  return isPending.call(this, index);
};
