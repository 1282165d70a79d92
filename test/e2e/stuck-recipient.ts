// test/e2e/stuck-recipient.ts
// Loaded before a node's own code (`--import`): while a file exists, the handler of the recipient that it names
// ("partition index") never ends. What a bug in the real code would do, without a hook in the real code.
import { existsSync, readFileSync } from "node:fs";

interface Entry {
  isPending(index: number): boolean;
  readonly partition: number;
}

const { STUCK_FILE = "" } = process.env;
const module = new URL("../../packages/delivery/src/ledger-entry.ts", import.meta.url);
const { LedgerEntry } = (await import(module.href)) as { LedgerEntry: { prototype: Entry } };
const isPending = LedgerEntry.prototype.isPending;

LedgerEntry.prototype.isPending = function (this: Entry, index: number): boolean {
  if (existsSync(STUCK_FILE)) {
    const isVictim = readFileSync(STUCK_FILE, "utf8") === `${this.partition} ${index}`;
    if (isVictim) while (existsSync(STUCK_FILE)) continue;
  }
  return isPending.call(this, index);
};
