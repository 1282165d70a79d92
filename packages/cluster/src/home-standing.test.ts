// Goal: HS1, HS2 and HS4. Method: every fact that can be, and claims in any order.
import type { HomeClaim } from "@carillon/contracts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { HomeClaims, standingOf } from "./home-standing.ts";

const REGIONS = ["dub", "fra", "par"];
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
      const known = new HomeClaims(REGIONS);
      const backwards = new HomeClaims(REGIONS);
      for (const one of heard) known.hear("fra", one);
      for (const one of heard.toReversed()) backwards.hear("fra", one);
      expect(known.all()).toEqual(backwards.all());
      expect(known.of("fra")?.epoch).toBe(Math.max(...heard.map(({ epoch }) => epoch)));
      expect(heard.every((one) => known.hear("fra", one) === "known")).toBe(true);
      expect(known.of("lon")).toBe(undefined);
    }),
  );
});

test("HS4 — a claim for a home or a host that is no region here, or that is malformed, changes nothing", () => {
  const known = new HomeClaims(REGIONS);
  expect(known.hear("fra", claim(2, "par"))).toBe("news");
  for (const [home, refused] of [
    ["fra", claim(3, "nyc")],
    ["nyc", claim(1, "fra")],
    ["fra", null],
  ] as const)
    expect([home, refused, known.hear(home, refused)]).toEqual([home, refused, "refused"]);
  expect(known.all()).toEqual({ fra: claim(2, "par") });
});
