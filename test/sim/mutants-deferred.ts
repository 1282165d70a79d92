// test/sim/mutants-deferred.ts
// Faults to plant in what puts people off and brings their rows later (ADR 0022); as in mutants.ts.
import type { Mutant } from "./mutants.ts";

const DECISION = "packages/delivery/src/recipient-decision.ts";
const DESK = "packages/delivery/src/session-desk.ts";
const ENTRY = "packages/delivery/src/ledger-entry.ts";
const MOVES = "packages/delivery/src/row-moves.ts";
const RECIPIENT = "packages/delivery/src/recipient.ts";

const deferred = (
  id: string,
  what: string,
  patch: { file: string; from: string; to: string; seed: number },
): Mutant => ({ id, what, by: "simulation", scenario: "deferred", ...patch });

const inSql = (
  id: string,
  what: string,
  patch: { file: string; from: string; to: string },
): Mutant => ({ id, what, by: "sql", seed: 1, ...patch });

export const DEFERRED_MUTANTS: readonly Mutant[] = [
  deferred("moves-again", "a write that puts off counts as another when it is repeated", {
    file: MOVES,
    from: "if (this.#batch !== undefined || this.#waiting.size === 0) return; // RM1",
    to: `if (this.#batch !== undefined) this.#count++;
    if (this.#batch !== undefined || this.#waiting.size === 0) return;`,
    seed: 1,
  }),
  deferred("moved-nowhere", "who is put off leaves the row, and no timer stands for him", {
    file: ENTRY,
    from: "rows: groups.map(({ untilMs, reason, positions: those }) => ({",
    to: "rows: groups.slice(0, 0).map(({ untilMs, reason, positions: those }) => ({",
    seed: 1,
  }),
  deferred("moves-forgotten", "who is put off while a write is repeated is in no write", {
    file: MOVES,
    from: "return this.#waiting.size > 0;",
    to: "return this.#waiting.size < 0;",
    seed: 36,
  }),
  deferred("moving-passed", "what was not sent passes one that is on its way to a later row", {
    file: DECISION,
    from: "isBlocked ||= kept.isMoving === true;",
    to: "isBlocked &&= kept.isMoving === true;",
    seed: 1,
  }),
  deferred("moving-asked", "one that is on its way to a later row is decided about again", {
    file: DECISION,
    from: "pending.isMoving === true || (isBlocked && pending.sendCount === 0);",
    to: "isBlocked && pending.sendCount === 0;",
    seed: 1,
  }),
  deferred("opens-at-once", "a session opens while something that it misses is on its way", {
    file: DESK,
    from: "for (let round = 1; this.#isHeldBack(partition, prepared); round++) {",
    to: "for (let round = 1; this.#isHeldBack(partition, prepared) && round < 1; round++) {",
    seed: 1,
  }),
  deferred("left-recovered", "a session is sent from the database what has just been left", {
    file: DESK,
    from: "fromStore.filter((entry) => entry.isTargeted(index));",
    to: "fromStore.slice();",
    seed: 170,
  }),
  deferred("suppressed-passed", "what comes after one that is not handed waits for no write", {
    file: ENTRY,
    from: "return this.isMoving(index) || (this.isUnwritten(index) && this.isSuppressed(index));",
    to: "return this.isMoving(index);",
    seed: 48,
  }),
  deferred("expired-unasked", "who does not want it has it expire, and is sent it as missed", {
    file: DECISION,
    from: 'const held = asked.kind === "suppress" ? heldBack(asked) : undefined;',
    to: 'const held = asked.kind === "suppress" && now.nowMs < 0 ? heldBack(asked) : undefined;',
    seed: 47,
  }),
  deferred("ended-resent", "what a session's opening has ended is sent again when nobody acks it", {
    file: RECIPIENT,
    from: "return isMoving || entry.isPending(index) ? [{ ...pending, isMoving }] : [];",
    to: "return [{ ...pending, isMoving }];",
    seed: 1,
  }),
  deferred("sent-at-once", "a post with a time of its own is sent at once", {
    file: "apps/ingest/src/accept.ts",
    from: "...(sendAtMs === undefined ? {} : { sendAtMs }),",
    to: "",
    seed: 1,
  }),
  inSql("sql-moves-again", "a repeated write puts off again", {
    file: "packages/store/src/ledger-flush.ts",
    from: "moving.moves_count < updated.moves_count",
    to: "moving.moves_count <= updated.moves_count",
  }),
  inSql("sql-release-kept", "a row is released, and its timer stays", {
    file: "packages/store/src/deferred-rows.ts",
    from: "delete from timer t using unnest(",
    to: "update timer t set attempt_count = t.attempt_count from unnest(",
  }),
  inSql("sql-chain-accepted", "a row that is to be acknowledged is made without its timer", {
    file: "packages/store/src/accept-statement.ts",
    from: "from numbered where ack_seconds is not null",
    to: "from numbered where ack_seconds is null and false",
  }),
];
