// packages/store/src/tenants.ts
// Tenants and API keys (A1). A key's text is `crl_<id>_<secret>`; only its HMAC-SHA-256 under the
// node's pepper is stored, so neither the table nor the pepper alone lets anybody in.
import { createHmac, timingSafeEqual } from "node:crypto";
import { type Random, systemRandom } from "@carillon/kernel";
import { rejected } from "./faults.ts";
import type { Pool } from "./pool.ts";

export const API_KEY_SCOPES = ["notifications:write", "recipients:write", "read", "admin"] as const;
export type ApiKeyScope = (typeof API_KEY_SCOPES)[number];

export interface ApiKeyRequest {
  readonly tenantId: string;
  readonly scopes: readonly ApiKeyScope[];
  readonly pepper: string;
}

export interface VerifiedApiKey {
  readonly keyId: string;
  readonly tenantId: string;
  readonly scopes: readonly ApiKeyScope[];
}

const KEY_TEXT = /^crl_([a-z0-9]{4,32})_([A-Za-z0-9_-]{16,128})$/;
const KEY_ID_BYTES = 8;
const SECRET_BYTES = 32;

export class SqlTenants {
  readonly #pool: Pool;
  readonly #random: Random;
  constructor(pool: Pool, random: Random = systemRandom) {
    this.#pool = pool;
    this.#random = random;
  }

  /** Idempotent; a second name replaces the first. */
  async create(tenantId: string, name: string): Promise<void> {
    await this.#pool.run(
      "tenants.create",
      (sql) => sql`
      insert into tenant (tenant_id, name) values (${tenantId}, ${name})
      on conflict (tenant_id) do update set name = excluded.name`,
    );
  }

  /** Returns the key's whole text; it cannot be read again. */
  async createApiKey(request: ApiKeyRequest): Promise<string> {
    const keyId = Buffer.from(this.#random.bytes(KEY_ID_BYTES)).toString("hex");
    const secret = Buffer.from(this.#random.bytes(SECRET_BYTES)).toString("base64url");
    const keyText = `crl_${keyId}_${secret}`;
    await this.insertApiKey({ ...request, keyText });
    return keyText;
  }

  /** A key made elsewhere; again with the same id replaces it. Errors: not of a key's form. */
  async insertApiKey(request: ApiKeyRequest & { readonly keyText: string }): Promise<void> {
    const keyId = KEY_TEXT.exec(request.keyText)?.[1];
    if (keyId === undefined) throw rejected("tenants.insertApiKey", "not an API key");
    const hmac = hmacOf(request.keyText, request.pepper);
    await this.#pool.run(
      "tenants.insertApiKey",
      (sql) => sql`
      insert into api_key (key_id, tenant_id, secret_hmac, scopes)
      values (${keyId}, ${request.tenantId}, ${hmac}, ${[...request.scopes]}::text[])
      on conflict (key_id) do update set tenant_id = excluded.tenant_id,
        secret_hmac = excluded.secret_hmac, scopes = excluded.scopes, revoked_at = null`,
    );
  }

  async revokeApiKey(keyId: string): Promise<void> {
    await this.#pool.run(
      "tenants.revokeApiKey",
      (sql) => sql`
      update api_key set revoked_at = now() where key_id = ${keyId} and revoked_at is null`,
    );
  }

  /** Undefined for whatever is wrong with it; takes as long for each reason. */
  async verifyApiKey(keyText: string, pepper: string): Promise<VerifiedApiKey | undefined> {
    const keyId = KEY_TEXT.exec(keyText)?.[1];
    if (keyId === undefined) return undefined;
    const [row] = await this.#pool.run(
      "tenants.verifyApiKey",
      (sql) => sql<ApiKeyRecord[]>`
      select tenant_id, secret_hmac, scopes from api_key
      where key_id = ${keyId} and revoked_at is null`,
    );
    const hmac = hmacOf(keyText, pepper);
    const isSame = timingSafeEqual(hmac, row?.secret_hmac ?? new Uint8Array(hmac.length));
    if (!isSame || row === undefined) return undefined;
    return { keyId, tenantId: row.tenant_id, scopes: row.scopes };
  }
}

interface ApiKeyRecord {
  tenant_id: string;
  secret_hmac: Uint8Array;
  scopes: ApiKeyScope[];
}

function hmacOf(keyText: string, pepper: string): Buffer {
  return createHmac("sha256", pepper).update(keyText).digest();
}
