// apps/gateway/src/authenticate.ts
// Who is at the other end: a JWT signed by one of the configured public keys (W8). Invariants:
//   GW17  Only asymmetric algorithms of the allow-list, only with keys of the configured set.
//   GW18  A token is never logged, echoed, or read from the query.
import { recipientIdSchema, tenantIdSchema } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import {
  createLocalJWKSet,
  errors,
  type JSONWebKeySet,
  type JWK,
  type JWTPayload,
  jwtVerify,
} from "jose";
import type { Identity } from "./inbox-session.ts";

const ALGORITHMS = ["EdDSA", "ES256", "RS256"];
/** Clocks of two regions may differ by so much. */
const CLOCK_TOLERANCE_SECONDS = 5;
const TOKEN_MAX_CHARACTERS = 4_096;

export interface AuthOptions {
  readonly jwks: JSONWebKeySet;
  /** Home regions that a token may name. */
  readonly regions: readonly string[];
  readonly issuer?: string;
  readonly audience?: string;
}

export type Authentication =
  | { readonly kind: "identity"; readonly identity: Identity }
  | { readonly kind: "expired" }
  | { readonly kind: "invalid" };

export interface Authenticator {
  /** Never rejects. */
  authenticate(token: string): Promise<Authentication>;
}

export type ParsedKeySet =
  | { readonly ok: true; readonly value: JSONWebKeySet }
  | { readonly ok: false; readonly expected: string };

/** A JSON Web Key Set with public keys only; a private or symmetric key in it is refused. */
export function parseKeySet(text: string): ParsedKeySet {
  const expected = 'a JSON Web Key Set ({"keys": […]}) with at least one key, all public';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, expected };
  }
  const keys = typeof value === "object" && value !== null && "keys" in value ? value.keys : null;
  if (!Array.isArray(keys) || keys.length === 0 || !keys.every(isPublicKey))
    return { ok: false, expected };
  return { ok: true, value: { keys } };
}

export function createAuthenticator(options: AuthOptions, clock: Clock): Authenticator {
  const keySet = createLocalJWKSet(options.jwks);

  const verify = async (token: string): Promise<JWTPayload> => {
    const verifyOptions = {
      algorithms: ALGORITHMS,
      currentDate: new Date(clock.wallClockMs()),
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      requiredClaims: ["sub", "exp", "tenant", "home"],
      ...(options.issuer === undefined ? {} : { issuer: options.issuer }),
      ...(options.audience === undefined ? {} : { audience: options.audience }),
    };
    try {
      return (await jwtVerify(token, keySet, verifyOptions)).payload;
    } catch (cause) {
      if (!(cause instanceof errors.JWKSMultipleMatchingKeys)) throw cause;
      // No `kid` in the token: each key that fits its algorithm is tried.
      for await (const key of cause) {
        try {
          return (await jwtVerify(token, key, verifyOptions)).payload;
        } catch (failure) {
          if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
        }
      }
      throw new errors.JWSSignatureVerificationFailed();
    }
  };

  return {
    async authenticate(token) {
      if (token.length > TOKEN_MAX_CHARACTERS) return { kind: "invalid" };
      try {
        return identityOf(await verify(token), options.regions);
      } catch (cause) {
        return { kind: cause instanceof errors.JWTExpired ? "expired" : "invalid" };
      }
    },
  };
}

function identityOf(payload: JWTPayload, regions: readonly string[]): Authentication {
  const tenantId = tenantIdSchema.safeParse(payload["tenant"]);
  const recipientId = recipientIdSchema.safeParse(payload.sub);
  const home = regions.find((region) => region === payload["home"]);
  const { exp } = payload;
  if (!tenantId.success || !recipientId.success || home === undefined || exp === undefined)
    return { kind: "invalid" };
  const ids = { tenantId: tenantId.data, recipientId: recipientId.data };
  return { kind: "identity", identity: { ...ids, home, expiresAtMs: exp * 1_000 } };
}

function isPublicKey(key: unknown): key is JWK {
  if (typeof key !== "object" || key === null || !("kty" in key)) return false;
  return key.kty !== "oct" && !("d" in key);
}
