// apps/ingest/src/tokens.ts
// Employees' session tokens: EdDSA JWTs with tenant, sub, home, iat, exp and kid, issued here for
// tenants without an issuer of their own, and checked here for the inbox (A1, A7).
import type { TokensAnswer } from "@carillon/contracts";
import { recipientIdSchema, regionSchema, tenantIdSchema } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import { createLocalJWKSet, importJWK, type JWK, jwtVerify, SignJWT } from "jose";
import { problem } from "./answer.ts";
import type { Authenticated } from "./http-server.ts";

export const TOKEN_ALGORITHM = "EdDSA";
/** What an issuer's own keys may sign with (A1). */
const ACCEPTED_ALGORITHMS = ["EdDSA", "ES256", "RS256"];
const TOKEN_MAX_CHARACTERS = 4_096;
/** Clocks of two regions may differ by so much. */
const CLOCK_TOLERANCE_SECONDS = 5;

export interface Employee {
  readonly tenantId: string;
  readonly recipientId: string;
  readonly home: string;
}

export interface Tokens {
  sign(employee: Employee, ttlSeconds: number): Promise<string>;
  /** For `Authorization: Bearer <jwt>`. */
  authenticate(authorization: string | undefined): Promise<Authenticated<Employee>>;
}

export interface TokenKeys {
  /** Ed25519 with `kid` and `d`. */
  readonly privateJwk: JWK;
  /** Accepted besides it: keys of other regions and issuers, and old ones while they rotate out. */
  readonly publicJwks: readonly JWK[];
}

/** Rejects when the private key is not an Ed25519 JWK with a `kid`. */
export async function createTokens(keys: TokenKeys, clock: Clock): Promise<Tokens> {
  const { privateJwk } = keys;
  if (privateJwk.kid === undefined || privateJwk.d === undefined || privateJwk.crv !== "Ed25519")
    throw new TypeError("the token key must be a private Ed25519 JWK with a kid");
  const { kid } = privateJwk;
  const signingKey = await importJWK(privateJwk, TOKEN_ALGORITHM);
  const keySet = createLocalJWKSet({ keys: [publicJwkOf(privateJwk), ...keys.publicJwks] });

  return {
    async sign(employee, ttlSeconds) {
      const issuedAtSeconds = Math.floor(clock.wallClockMs() / 1_000);
      return await new SignJWT({ tenant: employee.tenantId, home: employee.home })
        .setProtectedHeader({ alg: TOKEN_ALGORITHM, kid })
        .setSubject(employee.recipientId)
        .setIssuedAt(issuedAtSeconds)
        .setExpirationTime(issuedAtSeconds + ttlSeconds)
        .sign(signingKey);
    },
    async authenticate(authorization) {
      const token = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization ?? "")?.[1];
      const employee = token === undefined ? undefined : await verify(token, keySet, clock);
      if (employee !== undefined) return { kind: "caller", caller: employee };
      return problem("unauthenticated", { headers: { "www-authenticate": "Bearer" } });
    },
  };
}

/** The part of a key that may be given away. */
export function publicJwkOf(jwk: JWK): JWK {
  const { d: _private, ...rest } = jwk;
  return { ...rest, alg: TOKEN_ALGORITHM, use: "sig" };
}

async function verify(
  token: string,
  keySet: ReturnType<typeof createLocalJWKSet>,
  clock: Clock,
): Promise<Employee | undefined> {
  if (token.length > TOKEN_MAX_CHARACTERS) return undefined;
  try {
    const { payload } = await jwtVerify(token, keySet, {
      algorithms: ACCEPTED_ALGORITHMS,
      currentDate: new Date(clock.wallClockMs()),
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      requiredClaims: ["sub", "exp", "tenant", "home"],
    });
    const tenantId = tenantIdSchema.safeParse(payload["tenant"]);
    const recipientId = recipientIdSchema.safeParse(payload.sub);
    const home = regionSchema.safeParse(payload["home"]);
    if (!tenantId.success || !recipientId.success || !home.success) return undefined;
    return { tenantId: tenantId.data, recipientId: recipientId.data, home: home.data };
  } catch {
    return undefined; // jose throws for every token that is not valid: one answer for all of them
  }
}

export type IssuedToken = TokensAnswer["tokens"][number];
