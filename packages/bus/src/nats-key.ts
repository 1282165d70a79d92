// packages/bus/src/nats-key.ts
// A user's key: NATS servers know its public half, the user signs with the seed.
import { nkeys } from "nats";

export interface NatsKey {
  readonly publicKey: string; // U…, for nats.conf
  readonly seed: string; // SU…, a secret
}

/** From the system's randomness: it is a secret. */
export function createNatsKey(): NatsKey {
  const pair = nkeys.createUser();
  return { publicKey: pair.getPublicKey(), seed: new TextDecoder().decode(pair.getSeed()) };
}

/** Undefined: it is no seed of a user. */
export function natsPublicKeyOf(seed: string): string | undefined {
  try {
    const publicKey = nkeys.fromSeed(new TextEncoder().encode(seed)).getPublicKey();
    return publicKey.startsWith("U") ? publicKey : undefined;
  } catch {
    return undefined;
  }
}
