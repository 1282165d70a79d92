// packages/bus/src/greeting.ts
// A server is asked for its greeting before the client library dials it.
//   BU4  One that accepts and does not speak (stopped, or not NATS) costs one socket for the time of a
//        dial; the library would keep it (2.29.3). With TLS the handshake is part of the greeting:
//        otherwise the server logs an error for each dial, and a certificate that does not hold is
//        told by its own code.
import { readFileSync } from "node:fs";
import { createConnection, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import type { Clock } from "@carillon/kernel";

/** With it a server without TLS is refused. */
export interface BusTls {
  /** PEM, read at each dial, so that it can be exchanged; absent: those that Node trusts. */
  readonly caPath?: string;
  /** In the server's certificate; absent: the host of the address is. */
  readonly serverName?: string;
}

export interface GreetingOptions {
  readonly url: string;
  readonly tls: BusTls | undefined;
  readonly dialMaxMs: number;
  readonly clock: Clock;
}

export type GreetingOutcome =
  | { readonly kind: "greeted" }
  | { readonly kind: "unreachable" | "tls"; readonly cause: unknown };

/** Never rejects. */
export function waitForGreeting(options: GreetingOptions): Promise<GreetingOutcome> {
  const { port } = new URL(options.url);
  const host = bareHostOf(options.url);
  return new Promise((resolve) => {
    const socket = createConnection({ host, port: Number(port || 4222) });
    const finish = (outcome: GreetingOutcome): void => {
      timer.cancel();
      socket.destroy();
      resolve(outcome);
    };
    const fail = (cause: unknown): void => finish({ kind: "unreachable", cause });
    const timer = options.clock.setTimer(options.dialMaxMs, () => fail("no greeting in time"));
    socket.once("error", fail);
    socket.once("close", () => fail("closed without a greeting"));
    socket.once("data", (data) => {
      if (!needsTls(data, options.tls)) return finish({ kind: "greeted" });
      socket.removeAllListeners();
      shakeHands(socket, options, finish);
    });
  });
}

/** What both handshakes, this one and the library's, verify. */
export function handshakeOptionsOf(url: string, tls: BusTls | undefined): ConnectionOptions {
  const host = bareHostOf(url);
  const { serverName = isIP(host) === 0 ? host : undefined, caPath } = tls ?? {};
  return {
    host, // verified when there is no name
    ...(serverName !== undefined && { servername: serverName }),
    ...(caPath !== undefined && { ca: readFileSync(caPath) }),
  };
}

/** Without the brackets of an IPv6 address, which sockets do not take. */
function bareHostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, "");
}

/** The INFO line; it comes in one piece as a rule, and a rest does not matter here. */
function needsTls(data: Buffer, tls: BusTls | undefined): boolean {
  const text = data.toString("latin1");
  if (/"tls_required":\s*true/.test(text)) return true;
  return tls !== undefined && /"tls_available":\s*true/.test(text);
}

function shakeHands(
  socket: Socket,
  options: GreetingOptions,
  finish: (outcome: GreetingOutcome) => void,
): void {
  let outcome: GreetingOutcome = { kind: "tls", cause: "closed in the handshake" };
  const fail = (cause: unknown): void => finish({ kind: "tls", cause });
  socket.once("close", () => finish(outcome));
  try {
    const secured = connectTls({ socket, ...handshakeOptionsOf(options.url, options.tls) });
    secured.once("error", fail);
    secured.once("secureConnect", () => {
      outcome = { kind: "greeted" };
      secured.resume().end(); // the server, too, has to see the end of the handshake
    });
  } catch (cause) {
    fail(cause); // a file that cannot be read, or is no PEM
  }
}
