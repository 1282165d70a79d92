// apps/cli/src/dev/dev-database.ts
// Makes a region's database ready: schema, home, tenant `demo` and its API key.
import { createStore } from "@carillon/store";
import type { DevSecrets } from "./dev-secrets.ts";

export const DEV_TENANT_ID = "demo";

const CONNECT_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 30_000; // 256 rows and a schema; migrations have a limit of their own

/** Idempotent. Throws Fault `store_unavailable` or `store_rejected`. */
export async function seedDatabase(
  region: string,
  url: string,
  secrets: DevSecrets,
): Promise<void> {
  const store = createStore({
    url,
    poolMax: 2,
    applicationName: "carillon-dev",
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  });
  try {
    await store.migrate();
    await store.ensureHome(region);
    await store.tenants.create(DEV_TENANT_ID, "Demonstration");
    await store.tenants.insertApiKey({
      tenantId: DEV_TENANT_ID,
      scopes: ["admin"],
      pepper: secrets.keyPepper,
      keyText: secrets.apiKey,
    });
  } finally {
    await store.close();
  }
}
