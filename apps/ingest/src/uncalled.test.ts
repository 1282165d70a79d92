// Goal: an operator sees which of the ends a call had. Method: every outcome, once.
import { expect, test } from "vitest";
import { uncalledDetail } from "./uncalled.ts";

test("each end of a call without a reply has a text of its own", () => {
  const effect = "unknown" as const;
  const reasons = [
    "quarantined",
    "load_failed",
    "unsupported",
    "malformed",
    "exit",
    "bad_reply",
  ] as const;
  const texts = [
    uncalledDetail({ kind: "noconnection", effect }),
    uncalledDetail({ kind: "overloaded", where: "caller" }),
    uncalledDetail({ kind: "overloaded", where: "owner" }),
    uncalledDetail({ kind: "timeout", effect }),
    uncalledDetail({ kind: "too_large", maxBytes: 1 }),
    ...reasons.map((reason) => uncalledDetail({ kind: "failed", reason, effect })),
  ];
  expect(new Set(texts).size).toBe(11);
  expect(texts[3]).toBe("The owner has not answered in time.");
});
