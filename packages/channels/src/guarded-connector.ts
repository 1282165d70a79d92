// packages/channels/src/guarded-connector.ts
// How undici opens its connections: names through the guarded lookup, literals asked here, and what
// the socket is connected to looked at once more before a post is written to it.
//   SG6  No post goes over a socket whose other end may not be dialled, however it came about.
import { isIP } from "node:net";
import { createSecureContext, getCACertificates } from "node:tls";
import { buildConnector } from "undici";
import type { EndpointPolicy } from "./endpoint-policy.ts";
import { createGuardedLookup, EndpointRefused, type Resolve } from "./guarded-lookup.ts";

export interface ConnectorOptions {
  readonly policy: EndpointPolicy;
  readonly resolve: Resolve;
  /** A socket that is not open by then is given up. */
  readonly timeoutMs: number;
  /** Of several addresses each but the last is tried for so long. */
  readonly addressTimeoutMs: number;
  /** PEM of authorities that are trusted besides the usual ones. */
  readonly ca?: string | undefined;
}

export function createGuardedConnector(options: ConnectorOptions): buildConnector.connector {
  const { policy, resolve, timeoutMs, addressTimeoutMs, ca } = options;
  const connect = buildConnector({
    allowH2: false,
    timeout: timeoutMs,
    lookup: createGuardedLookup(policy, resolve),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: addressTimeoutMs,
    // Made once: with `ca` each connection would read all of them again.
    ...(ca !== undefined && {
      secureContext: createSecureContext({ ca: [...getCACertificates("default"), ca] }),
    }),
  });
  return (target, callback) => {
    const host = target.hostname.replace(/^\[(.*)\]$/, "$1");
    if (isIP(host) !== 0 && !policy.mayConnect(host, host)) {
      callback(new EndpointRefused(), null);
      return;
    }
    connect(target, (...result) => {
      const [error, socket] = result;
      if (error === null && !policy.mayConnect(socket.remoteAddress ?? "", host)) {
        socket.destroy();
        callback(new EndpointRefused(), null);
      } else callback(...result);
    });
  };
}
