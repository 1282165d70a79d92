// Goal: DH1–DH5 of hold.ts, C3. Method: a region of five by example; random series of answers
// against a plain reading of the rule.
import fc from "fast-check";
import { expect, test } from "vitest";
import { NO_PEERS, observe, reasonText, type RegionPeers, resumed } from "./hold.ts";
import type { Candidate } from "./source.ts";

const ALL = "abcde";
const answerOf = (ids: string): Candidate[] =>
  ids
    .split("")
    .toSorted()
    .map((id) => ({ id, address: `10.0.0.${id.codePointAt(0)}` }));
const idsOf = ({ peers }: RegionPeers): string => peers.map(({ id }) => id).join("");

/** Peers after each answer. */
function run(answers: readonly string[], from: RegionPeers = NO_PEERS): string[] {
  let known = from;
  return answers.map((ids) => idsOf((known = observe(known, answerOf(ids)).next)));
}

test("DH1 — C3 one that is missing leaves with the third complete answer, not before", () => {
  expect(run([ALL, "abcd", "abcd", "abcd"])).toEqual([ALL, ALL, ALL, "abcd"]);
  expect(run([ALL, "abcd", "abcd", ALL, "abcd", "abcd"])).toEqual(Array(6).fill(ALL));
});

test("DH2 — C3 more than half missing is held until the third equal answer, then dropped at once", () => {
  expect(run([ALL, "ab", "ab", "ab"])).toEqual([ALL, ALL, ALL, "ab"]);
  expect(run([ALL, "", "", ""])).toEqual([ALL, ALL, ALL, ""]); // all tags taken away
  expect(run([ALL, "ab", "ac", "ab", "ac", "ab"])).toEqual(Array(6).fill(ALL));
  expect(run([ALL, "ab", "ab", "a", "a", "a"])).toEqual([ALL, ALL, ALL, ALL, ALL, "a"]);
});

test("DH2 — the same instances at other addresses are another answer", () => {
  let known: RegionPeers = NO_PEERS;
  const counts = [ALL, "a", "a", "a"].map((ids, n) => {
    const answer = answerOf(ids).map((one) => (n === 2 ? { ...one, address: "10.9.9.9" } : one));
    known = observe(known, answer).next;
    return [idsOf(known), known.equalCount];
  });
  expect(counts).toEqual([1, 1, 1, 1].map((count) => [ALL, count]));
});

test("DH2 — half of them is not more than half", () => {
  expect(run(["ab", "a", "a", "a"])).toEqual(["ab", "ab", "ab", "a"]);
  expect(run(["abcd", "ab", "ac", "ab"])).toEqual(["abcd", "abcd", "abcd", "abc"]);
});

test("DH4 — a region that is replaced as a whole has both sets until the third answer", () => {
  expect(run(["abc", "def", "def", "def"])).toEqual(["abc", "abcdef", "abcdef", "def"]);
  expect(run(["abc", "de", "de", "de"])).toEqual(["abc", "abcde", "abcde", "de"]);
});

test("DH4 — an instance with another address is moved at once", () => {
  const [a] = answerOf("a");
  const { next } = observe(NO_PEERS, [a!]);
  const { next: moved, decisions } = observe(next, [{ id: "a", address: "10.9.9.9" }]);
  expect(moved.peers).toEqual([{ id: "a", address: "10.9.9.9", missedCount: 0 }]);
  expect(decisions[0]?.verdict).toEqual({ kind: "moved", from: a?.address });
});

test("DH5 — the reason of each decision, in words", () => {
  let known = observe(NO_PEERS, answerOf(ALL)).next;
  const told = (ids: string): string[] => {
    const { next, decisions } = observe(known, answerOf(ids));
    known = next;
    return decisions.map(
      ({ peer, verdict }) => `${peer.id} ${verdict.kind}: ${reasonText(verdict)}`,
    );
  };
  expect(told("abcdf").slice(4)).toEqual([
    "e held: not in 1 of 3 complete answers in a row",
    "f added: answered, and new",
  ]);
  expect(told("ab").slice(1, 3)).toEqual([
    "b kept: answered",
    "c held: the answer lacks 4 of 6 peers; believed when it came 3 times in a row, now 1",
  ]);
  expect(told("abcd").at(-2)).toBe("e dropped: not in the last 3 complete answers");
});

test("DH1 — after a restart the counting begins anew, and nobody is lost by it", () => {
  const [, , known] = [ALL, "abcd", "abcd"].reduce<RegionPeers[]>(
    (series, ids) => [...series, observe(series.at(-1) ?? NO_PEERS, answerOf(ids)).next],
    [],
  );
  expect(run(["abcd", "abcd", "abcd"], resumed(known!))).toEqual([ALL, ALL, "abcd"]);
});

const answers = fc.array(
  fc.subarray("abcdefgh".split("")).map((ids) => ids.join("")),
  { minLength: 1, maxLength: 40 },
);

test("DH1, DH2, DH3, DH4 — for any series of answers", () => {
  fc.assert(
    fc.property(answers, (series) => {
      let known = NO_PEERS;
      for (const [at, ids] of series.entries()) {
        const before = idsOf(known);
        known = observe(known, answerOf(ids)).next;
        const after = idsOf(known);
        const lastThree = series.slice(Math.max(0, at - 2), at + 1);
        const isThreeEqual = lastThree.length === 3 && new Set(lastThree).size === 1;
        const dropped = before.split("").filter((id) => !after.includes(id));
        const isAbsentThrice = (id: string): boolean =>
          lastThree.filter((answer) => !answer.includes(id)).length === 3;
        const missing = before.split("").filter((id) => !ids.includes(id));
        const isBigDrop = missing.length * 2 > before.length;
        expect(dropped.filter((id) => !isAbsentThrice(id))).toEqual([]); // DH1
        expect(isBigDrop && !isThreeEqual ? dropped : []).toEqual([]); // DH2
        expect(isThreeEqual ? after : ids).toBe(ids); // DH3
        expect(ids.split("").filter((id) => !after.includes(id))).toEqual([]); // DH4
        expect(after).toBe(after.split("").toSorted().join(""));
      }
    }),
  );
});
