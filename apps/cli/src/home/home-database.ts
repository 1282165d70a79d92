// apps/cli/src/home/home-database.ts
// What a node writes into its home's database before anybody serves it (ADR 0015).
import { Fault } from "@carillon/kernel";
import type { Store } from "@carillon/store";

/**
 * A copy cannot be written, what a fenced database holds is evidence, and an empty one is the keeper's,
 * who asks others first (HD1): all are left as they are.
 */
export async function prepareUnlessKept(store: Store, home: string): Promise<void> {
  const { isInRecovery, state, claim } = await store.home.look(home);
  if (isInRecovery || state === "fenced" || claim === null) return;
  try {
    await store.migrate();
    await store.ensureHome(home);
  } catch (cause) {
    if (!(cause instanceof Fault) || cause.code !== "home_fenced") throw cause; // fenced since the look
  }
}
