// packages/delivery/src/ledger-entry.prop.test.ts
// Goal: DL1–DL4, RM1. Method: random outcomes against a map of "first outcome wins", both forms of a row;
// for those who are put off random writes, of which some fail or are done without being known.
import type { DeferredMembers } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Envelope } from "./envelope.ts";
import { notificationOf } from "./fake-ledger-store.ts";
import { LedgerEntry, type Outcome, TERMINAL_SETS } from "./ledger-entry.ts";
import { EMPTY_SETS, type LedgerRow, type LedgerUpdate } from "./ports.ts";

const members = fc.uniqueArray(fc.nat({ max: 99 }), { minLength: 1, maxLength: 20 });
const steps = fc.array(fc.tuple(fc.nat({ max: 99 }), fc.constantFrom(...TERMINAL_SETS)));

function rowOfForm(form: "members" | "bitset", targeted: number[]): LedgerRow {
  return {
    partition: 0,
    offset: 1,
    directoryVersion: 0,
    members: form === "members" ? targeted : null,
    notificationId: "n",
    state: "open",
    movesCount: 0,
    sets:
      form === "members" ? EMPTY_SETS : { ...EMPTY_SETS, targeted: Bitset.of(targeted).toBytes() },
  };
}

function entryOfForm(form: "members" | "bitset", targeted: number[]): LedgerEntry {
  return new LedgerEntry(rowOfForm(form, targeted), new Envelope(notificationOf(), null));
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
  const place = { partition, offset, directoryVersion, movesCount: 0 };
  return { ...place, members: own && [...own], notificationId: "n" };
}

const doings = fc.array(
  fc.oneof(
    fc.record({ what: fc.constant("outcome" as const), index: fc.nat({ max: 30 }) }),
    fc.record({
      what: fc.constant("defer" as const),
      index: fc.nat({ max: 30 }),
      untilMs: fc.constantFrom(1_000, 2_000),
    }),
    fc.constant({ what: "begin" as const }),
    fc.record({
      what: fc.constant("end" as const),
      how: fc.constantFrom("done", "lost answer", "failed"),
    }),
    fc.constant({ what: "new owner" as const }),
  ),
  { maxLength: 60 },
);

test("DL4, RM1 — everybody is in one place: with an outcome, pending, or waiting in one later row", () => {
  fc.assert(
    fc.property(
      members,
      doings,
      fc.constantFrom("members", "bitset"),
      (targeted, history, form) => {
        let row: LedgerRow = rowOfForm(form, targeted);
        let entry = new LedgerEntry(row, new Envelope(notificationOf(), null));
        const waiting: number[] = []; // in the database, as timers
        let update: LedgerUpdate | undefined;
        const write = (): void => {
          if (update === undefined) return;
          const { state, sets, moves } = update;
          if (moves !== undefined && moves.count > row.movesCount)
            for (const { members: those } of moves.rows) waiting.push(...indexesOf(those));
          row = { ...row, state, sets, movesCount: moves?.count ?? row.movesCount };
        };
        for (const doing of history) {
          if (doing.what === "outcome") {
            const isOpen = entry.isPending(doing.index) && !entry.isMoving(doing.index);
            expect(entry.record(doing.index, "noDevice")).toBe(isOpen);
          } else if (doing.what === "defer") {
            const isOpen = entry.isPending(doing.index) && !entry.isMoving(doing.index);
            expect(entry.defer(doing.index, doing.untilMs, "quiet")).toBe(isOpen);
            if (isOpen) expect(entry.isTargeted(doing.index)).toBe(true); // until it is written
          } else if (doing.what === "begin" && update === undefined) {
            entry.writeBegins();
            update = entry.toUpdate(1);
          } else if (doing.what === "end" && update !== undefined) {
            if (doing.how !== "failed") write();
            if (doing.how === "done") entry.writeSucceeded();
            else entry.writeFailed();
            update = undefined;
          } else if (doing.what === "new owner") {
            if (update !== undefined) write();
            update = undefined;
            entry = new LedgerEntry(row, entry.envelope);
          }
        }
        for (const end of [1, 2]) {
          if (!entry.isDirty) break; // nothing else makes its owner write
          entry.writeBegins();
          update = entry.toUpdate(1);
          write();
          entry.writeSucceeded();
          expect(entry.state, `write ${end}`).toBe(row.state);
        }
        const settled = targeted.filter((index) => entry.has("noDevice", index));
        const pending = entry.pending().toArray();
        expect([...settled, ...pending, ...waiting].toSorted((a, b) => a - b)).toEqual(
          targeted.toSorted((a, b) => a - b),
        );
        expect(entry.state).toBe(pending.length === 0 ? "closed" : "open");
        for (const index of waiting) expect(entry.isTargeted(index)).toBe(false);
      },
    ),
  );
});

function indexesOf(those: DeferredMembers): readonly number[] {
  if (those.kind === "all") throw new Error("only a plan is for all");
  return those.kind === "members" ? those.members : Bitset.fromBytes(those.set).toArray();
}
