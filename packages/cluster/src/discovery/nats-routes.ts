// packages/cluster/src/discovery/nats-routes.ts
// Candidates as the routes of nats.conf. Pure.
//   NR1  Sorted, each address once, whatever the order and the ids of the candidates (C8).
//   NR2  The gateway part of a file that a server runs with is kept to the letter: it does not
//        reload, and one difference in it makes nats-server refuse the whole file (tried).
import type { Candidate } from "./source.ts";

/** nats://host:port of each; this server's own may be among them. */
export function routesOf(candidates: Iterable<Candidate>, clusterPort: number): string[] {
  const routes = new Set<string>();
  for (const { address } of candidates) {
    const host = address.includes(":") ? `[${address}]` : address;
    routes.add(`nats://${host}:${clusterPort}`);
  }
  return [...routes].toSorted();
}

const GATEWAY_PART = /^gateway \{\n(?:(?!\}).*\n)*?\}\n/m;

/** `next` with the gateway part of `running`. Both as renderNatsConf writes them. */
export function withRunningGateway(
  next: string,
  running: string,
): { readonly text: string; readonly isGatewayFrozen: boolean } {
  const [wanted] = GATEWAY_PART.exec(next) ?? [];
  const [kept] = GATEWAY_PART.exec(running) ?? [];
  if (wanted === kept) return { text: next, isGatewayFrozen: false };
  // One has none: adding or taking away is a difference as well.
  if (wanted === undefined) return { text: `${next}\n${kept ?? ""}`, isGatewayFrozen: true };
  return { text: next.replace(wanted, () => kept ?? ""), isGatewayFrozen: true };
}
