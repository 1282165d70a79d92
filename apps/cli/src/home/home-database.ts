// apps/cli/src/home/home-database.ts
// What a node writes into its home's database before anybody serves it (ADR 0015).
//   HD1  A home begins at home: away from it, a database that knows of no home is left empty, and is
//        no copy of anything.
import type { Store } from "@carillon/store";

/** A copy cannot be written, and what a fenced database holds is evidence: both are left as they are. */
export async function prepareUnlessKept(store: Store, home: string, place: string): Promise<void> {
  const { isInRecovery, state, claim } = await store.home.look(home);
  if (isInRecovery || state === "fenced") return;
  if (claim === null && place !== home) return; // HD1
  await store.migrate();
  await store.ensureHome(home);
}
