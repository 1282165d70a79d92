// Goal: RG1–RG2 of ring.ts for any sequence of operations. Method: the same on an array.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Ring } from "./ring.ts";

test("RG1, RG2 — first in, first out, and never more than the limit is pushed", () => {
  const step = fc.constantFrom(
    "push",
    "push",
    "push",
    "shift",
    "putBack",
    "beyond",
    "clear" as const,
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 400 }),
      fc.integer({ min: 0, max: 40 }),
      (steps, limitCount) => {
        const ring = new Ring<{ id: number }>(limitCount);
        let model: { id: number }[] = [];
        for (const [id, kind] of steps.entries()) {
          let [answer, expected]: unknown[] = [];
          if (kind === "push") {
            [answer, expected] = [ring.push({ id }), model.length < limitCount];
            if (expected) model.push({ id });
          } else if (kind === "shift") [answer, expected] = [ring.shift(), model.shift()];
          else if (kind === "clear") {
            ring.clear();
            model = [];
          } else if (kind === "beyond") {
            ring.pushBeyond({ id });
            model.push({ id });
          } else {
            ring.unshift({ id });
            model.unshift({ id });
          }
          expect(answer).toEqual(expected);
          expect([ring.length, ring.peek()]).toEqual([model.length, model[0]]);
        }
        const seen: { id: number }[] = [];
        ring.forEach((value) => seen.push(value));
        expect(seen).toEqual(model);
      },
    ),
  );
});

test("RG3 — what was taken out can be collected, though the ring lives on", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const ring = new Ring<object>(8);
  const taken = ((): WeakRef<object> => {
    for (let count = 0; count < 5; count++) ring.push({ count });
    const first = ring.shift();
    if (first === undefined) throw new Error("the ring was not empty");
    return new WeakRef(first);
  })();
  await new Promise((resolve) => setImmediate(resolve)); // a WeakRef lives to the end of its turn
  collect();
  expect(taken.deref()).toBeUndefined();
  expect(ring.length).toBe(4);
});
