// packages/delivery/src/ledger-entry.prop.test.ts
// Goal: DL1–DL3. Method: random outcomes against a map of "first outcome wins", both forms of a row.
import { Bitset } from "@carillon/kernel";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Envelope } from "./envelope.ts";
import { notificationOf } from "./fake-ledger-store.ts";
import { LedgerEntry, type Outcome, TERMINAL_SETS } from "./ledger-entry.ts";
import { EMPTY_SETS, type LedgerRow } from "./ports.ts";

const members = fc.uniqueArray(fc.nat({ max: 99 }), { minLength: 1, maxLength: 20 });
const steps = fc.array(fc.tuple(fc.nat({ max: 99 }), fc.constantFrom(...TERMINAL_SETS)));

function entryOfForm(form: "members" | "bitset", targeted: number[]): LedgerEntry {
  const row: LedgerRow = {
    partition: 0,
    offset: 1,
    directoryVersion: 0,
    members: form === "members" ? targeted : null,
    notificationId: "n",
    state: "open",
    sets:
      form === "members" ? EMPTY_SETS : { ...EMPTY_SETS, targeted: Bitset.of(targeted).toBytes() },
  };
  return new LedgerEntry(row, new Envelope(notificationOf(), null));
}

test("DL1, DL2, DL3 — the first outcome stays, in both forms, over a reload; closed when all have one", () => {
  fc.assert(
    fc.property(members, steps, fc.constantFrom("members", "bitset"), (targeted, history, form) => {
      let entry = entryOfForm(form, targeted);
      const outcomes = new Map<number, Outcome>();
      for (const [at, [index, outcome]] of history.entries()) {
        const isNew = targeted.includes(index) && !outcomes.has(index);
        expect(entry.record(index, outcome)).toBe(isNew);
        if (isNew) outcomes.set(index, outcome);
        if (at % 5 === 4) {
          const { state, sets } = entry.toUpdate(1);
          const row = { ...entryRow(entry), state, sets };
          entry = new LedgerEntry(row, entry.envelope);
        }
      }
      for (const index of targeted) {
        const expected = outcomes.get(index);
        const found = TERMINAL_SETS.filter((name) => entry.has(name, index));
        expect(found).toEqual(expected === undefined ? [] : [expected]);
        expect(entry.isPending(index)).toBe(expected === undefined);
      }
      const waiting = targeted.filter((index) => !outcomes.has(index)).toSorted((a, b) => a - b);
      expect(entry.pending().toArray()).toEqual(waiting);
      expect(entry.pendingCount).toBe(waiting.length);
      expect(entry.state).toBe(waiting.length === 0 ? "closed" : "open");
    }),
  );
});

function entryRow(entry: LedgerEntry): Omit<LedgerRow, "state" | "sets"> {
  const { partition, offset, directoryVersion, members: own } = entry;
  return { partition, offset, directoryVersion, members: own && [...own], notificationId: "n" };
}
