// packages/cluster/src/discovery/nats-routes.ts
// Candidates as the routes of nats.conf. Pure.
//   NR1  Sorted, each address once, whatever the order and the ids of the candidates (C8).
//   NR2  The gateway part and the monitoring port of a file that a server runs with are kept to the
//        letter: they do not reload, and one difference in them makes nats-server refuse the whole
//        file (tried on 2.9.10: "config reload not supported for HTTPPort").
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

const MONITOR_LINE = /^http: .*\n/m;
/** Before which renderNatsConf writes the monitoring port. */
const AFTER_MONITOR_LINE = /^jetstream: .*\n/m;

/** `next` with what does not reload as in `running` (NR2). Both as renderNatsConf writes them. */
export function withRunningParts(
  next: string,
  running: string,
): { readonly text: string; readonly isGatewayFrozen: boolean } {
  const { text, isGatewayFrozen } = withRunningGateway(next, running);
  const [monitor = ""] = MONITOR_LINE.exec(running) ?? [];
  const isThere = MONITOR_LINE.test(text);
  return {
    text: isThere
      ? text.replace(MONITOR_LINE, () => monitor)
      : text.replace(AFTER_MONITOR_LINE, (line) => monitor + line),
    isGatewayFrozen,
  };
}

function withRunningGateway(next: string, running: string): ReturnType<typeof withRunningParts> {
  const [wanted] = GATEWAY_PART.exec(next) ?? [];
  const [kept] = GATEWAY_PART.exec(running) ?? [];
  if (wanted === kept) return { text: next, isGatewayFrozen: false };
  // One has none: adding or taking away is a difference as well.
  if (wanted === undefined) return { text: `${next}\n${kept ?? ""}`, isGatewayFrozen: true };
  return { text: next.replace(wanted, () => kept ?? ""), isGatewayFrozen: true };
}
