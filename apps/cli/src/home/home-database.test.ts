// apps/cli/src/home/home-database.test.ts
// Goal: HD1 where the home is fenced between the look and the write. Method: a store that says so.
import { Fault } from "@carillon/kernel";
import type { Store } from "@carillon/store";
import { expect, test } from "vitest";
import { prepareUnlessKept } from "./home-database.ts";

function storeThat(code: string) {
  const done: string[] = [];
  const store = {
    home: { look: async () => ({ isInRecovery: false, state: "serving", claim: {} }) },
    migrate: async () => void done.push("migrate"),
    async ensureHome() {
      done.push("ensureHome");
      throw new Fault("refused", { code, isRetryable: true });
    },
  };
  return { store: store as unknown as Store, done };
}

test("HD1 — a home that is fenced after the look is left as it is, and the node starts", async () => {
  const { store, done } = storeThat("home_fenced");
  await prepareUnlessKept(store, "fra");
  expect(done).toEqual(["migrate", "ensureHome"]);
});

test("HD1 — a store that is away is no such thing", async () => {
  const { store } = storeThat("store_unavailable");
  await expect(prepareUnlessKept(store, "fra")).rejects.toThrow("refused");
});
