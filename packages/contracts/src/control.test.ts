// packages/contracts/src/control.test.ts
// Goal: IN78's id of a withdrawal. Method: examples at the ends, and its own reverse.
import { expect, test } from "vitest";
import { withdrawalIdOf } from "./index.ts";

test("IN78 — a withdrawal's id follows from the notification's: of the same instant, another one, and its reverse", () => {
  const ids: readonly [string, string][] = [
    ["01a22fd6-fa8c-73a5-8bf0-df69262e165f", "01a22fd6-fa8c-73a5-8bf0-2096d9d1e9a0"],
    ["01a22fd6-fa8c-73a5-8bf0-000000000000", "01a22fd6-fa8c-73a5-8bf0-ffffffffffff"],
    ["01a22fd6-fa8c-73a5-8bf0-fffffffffff0", "01a22fd6-fa8c-73a5-8bf0-00000000000f"],
  ];
  for (const [id, withdrawalId] of ids) {
    expect(withdrawalIdOf(id)).toBe(withdrawalId);
    expect(withdrawalIdOf(withdrawalId)).toBe(id);
  }
});
