// Goal: HS1 and HS2. Method: every fact that can be, and claims in any order.
import type { HomeClaim } from "@carillon/contracts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { HomeClaims, standingOf } from "./home-standing.ts";

const claim = (epoch: number, host: string): HomeClaim => ({ epoch, host });

test("HS1 — who serves, and what the others do", () => {
  const row = { isInRecovery: false, claim: claim(2, "par"), state: "serving" } as const;
  expect(standingOf(row, "par", undefined)).toBe("serving");
  expect(standingOf(row, "par", claim(2, "par"))).toBe("serving");
  expect(standingOf(row, "par", claim(1, "fra"))).toBe("serving");
  expect(standingOf(row, "par", claim(3, "dub"))).toBe("fenced");
  expect(standingOf(row, "par", claim(2, "dub"))).toBe("fenced"); // declared at once: dub sorts first
  expect(standingOf(row, "par", claim(2, "zrh"))).toBe("serving");
  expect(standingOf({ ...row, state: "draining" }, "par", undefined)).toBe("draining");
  expect(standingOf({ ...row, state: "fenced" }, "par", undefined)).toBe("fenced");
  expect(standingOf({ ...row, isInRecovery: true }, "par", undefined)).toBe("standby");
  expect(standingOf({ ...row, isInRecovery: true }, "dub", undefined)).toBe("standby");
  expect(standingOf(row, "dub", undefined)).toBe("undeclared"); // a promoted copy
  expect(standingOf({ ...row, state: "fenced" }, "dub", undefined)).toBe("undeclared");
  expect(standingOf({ ...row, claim: null, state: null }, "par", undefined)).toBe("undeclared");
});

test("HS2 — the same claims in any order leave the same, and the highest", () => {
  const claims = fc.array(
    fc.record({
      epoch: fc.integer({ min: 1, max: 4 }),
      host: fc.constantFrom("dub", "fra", "par"),
    }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(claims, (heard) => {
      const known = new HomeClaims();
      const backwards = new HomeClaims();
      for (const one of heard) known.hear("fra", one);
      for (const one of heard.toReversed()) backwards.hear("fra", one);
      expect(known.all()).toEqual(backwards.all());
      expect(known.of("fra")?.epoch).toBe(Math.max(...heard.map(({ epoch }) => epoch)));
      expect(heard.every((one) => !known.hear("fra", one))).toBe(true);
      expect(known.of("lon")).toBe(undefined);
    }),
  );
});
