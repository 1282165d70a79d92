// apps/gateway/src/gateway.ts
// The WebSocket edge of one node: accepts sockets over HTTP for its Edge, and drains it. Invariants:
//   GW32  While the node is relieved nobody is let in and it is not ready; those who are here are sent
//         elsewhere (edge.ts). When it is not any more, all is as before, and who is left stays.
//   GW25  `start`, `drain` and `stop` are safe to call twice; after `stop` nothing is left open.
import type { Bus } from "@carillon/bus";
import { type Clock, Fault, type Random, type Scheduler, TokenBucket } from "@carillon/kernel";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Socket } from "node:net";
import { WebSocketServer } from "ws";
import type { ProcessRuntime, TurnPulse } from "@carillon/process";
import { type Authenticator, type AuthOptions, createAuthenticator } from "./authenticate.ts";
import { Edge, type EdgeStats } from "./edge.ts";
import {
  examineHandshake,
  type Handshake,
  refusalText,
  SOCKET_PATH,
  SUBPROTOCOL,
} from "./handshake.ts";
import { GATEWAY_LIMITS, type GatewayLimits } from "./limits.ts";
import type { GatewayLog } from "./log.ts";
import type { MemberEvents } from "./session-hub.ts";

export interface GatewayConfig {
  readonly region: string;
  readonly host: string;
  readonly port: number; // 0: any that is free
  readonly auth: AuthOptions;
  /** Origins that browsers may come from; empty: any. */
  readonly origins: readonly string[];
  readonly limits?: Partial<GatewayLimits>;
}

export interface GatewayDeps {
  readonly config: GatewayConfig;
  readonly memberId: string; // new at every start of the node
  readonly bus: Bus;
  readonly members: MemberEvents;
  /** The node has no NATS, and others serve what it had: its clients are sent there (GW32). */
  readonly isRelieved: () => boolean;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: GatewayLog;
  readonly pulse?: TurnPulse | undefined; // of the node's watchdog
}

export interface GatewayStats extends EdgeStats {
  readonly acceptedTotal: number;
  readonly refusedTotal: number; // handshakes
}

export interface Gateway {
  /** Rejects with a Fault when the port cannot be had. */
  start(): Promise<{ readonly port: number }>;
  /** Not ready, accepts nothing, closes every socket within the drain window (W10). */
  drain(): Promise<void>;
  /** Ends what is left at once. */
  stop(): Promise<void>;
  stats(): GatewayStats;
  /**
   * Its processes, for inspection: tables `gateway.sessions`, keys `<tenant>/<recipient>#<sid>`, and
   * `gateway.connections`, keys `<tenant>/<recipient>@<number>`, `-/-@<number>` before the token.
   * `kill` of a session is a crash of it: its client joins again.
   */
  readonly processes: ProcessRuntime;
}

type Refused = Extract<Handshake, { kind: "refuse" }>;

const RETRY_AFTER_SECONDS = 2;
const HEADERS_MAX_MS = 10_000;

export function createGateway(deps: GatewayDeps): Gateway {
  return new GatewayNode(deps);
}

class GatewayNode implements Gateway {
  readonly #deps: GatewayDeps;
  readonly #limits: GatewayLimits;
  readonly #edge: Edge;
  readonly #authenticator: Authenticator;
  readonly #http: Server;
  readonly #wss: WebSocketServer;
  readonly #acceptBucket: TokenBucket;
  #upgradingCount = 0;
  #acceptedTotal = 0;
  #refusedTotal = 0;
  #phase: "new" | "running" | "draining" | "stopped" = "new";
  #draining: Promise<void> | undefined;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
    const { config, clock, ...ofEdge } = deps;
    const limits = { ...GATEWAY_LIMITS, ...config.limits };
    this.#limits = limits;
    this.#authenticator = createAuthenticator(config.auth, clock);
    const { region } = config;
    this.#edge = new Edge({
      ...ofEdge,
      clock,
      region,
      limits,
      authenticator: this.#authenticator,
    });
    this.#acceptBucket = new TokenBucket(
      { perSecond: limits.acceptsPerSecond, burstCount: limits.acceptsPerSecond * 2 },
      clock,
    );
    this.#wss = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false, // W7: the same bytes to every socket
      maxPayload: limits.inboundFrameMaxBytes,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
    this.#http = createServer({ headersTimeout: HEADERS_MAX_MS }, (request, response) =>
      this.#onRequest(request, response),
    );
    this.#http.on("upgrade", (request, socket, head) => {
      if (socket instanceof Socket) void this.#onUpgrade(request, socket, head);
      else socket.destroy();
    });
  }

  async start(): Promise<{ readonly port: number }> {
    if (this.#phase === "new") {
      const { host, port } = this.#deps.config;
      await new Promise<void>((resolve, reject) => {
        const onError = (cause: Error): void =>
          reject(new Fault("gateway cannot listen", { code: "listen", isRetryable: false, cause }));
        this.#http.once("error", onError);
        this.#http.listen({ host, port, backlog: 4_096 }, () => {
          this.#http.off("error", onError);
          resolve();
        });
      });
      this.#phase = "running";
      this.#edge.start();
    }
    const address = this.#http.address();
    if (address === null || typeof address === "string")
      throw new Fault("gateway is stopped", { code: "stopped", isRetryable: false });
    return { port: address.port };
  }

  drain(): Promise<void> {
    if (this.#phase === "running") {
      this.#phase = "draining";
      this.#draining = this.#edge.drain();
    }
    return this.#draining ?? Promise.resolve();
  }

  async stop(): Promise<void> {
    if (this.#phase === "stopped") return;
    const wasListening = this.#phase !== "new";
    this.#phase = "stopped";
    this.#edge.terminate();
    if (wasListening) {
      const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
      this.#http.closeAllConnections();
      await closed;
    }
    this.#edge.stop();
  }

  get processes(): ProcessRuntime {
    return this.#edge.processes;
  }

  stats(): GatewayStats {
    return {
      ...this.#edge.stats(),
      acceptedTotal: this.#acceptedTotal,
      refusedTotal: this.#refusedTotal,
    };
  }

  get #readiness(): "ready" | "relieved" | "new" | "draining" | "stopped" {
    if (this.#phase !== "running") return this.#phase;
    return this.#deps.isRelieved() ? "relieved" : "ready";
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? "").split("?", 1)[0];
    if (path === "/livez") return answer(response, 200, { status: "ok" });
    if (path === "/readyz") {
      const status = this.#readiness;
      const isBusConnected = this.#deps.bus.isConnected; // told, not required: D5
      return answer(response, status === "ready" ? 200 : 503, { status, isBusConnected });
    }
    if (path === SOCKET_PATH) return answer(response, 426, { reason: "upgrade_required" });
    answer(response, 404, { reason: "not_found" });
  }

  async #onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const handshake = examineHandshake(
      { url: request.url ?? "", headers: request.headers },
      {
        origins: this.#deps.config.origins,
        isDraining: this.#phase !== "running",
        isRelieved: this.#deps.isRelieved(),
        isFull:
          this.#edge.socketsCount + this.#upgradingCount >= this.#limits.socketsMax ||
          !this.#acceptBucket.take(),
      },
    );
    const onError = (): void => void socket.destroy();
    socket.on("error", onError);
    if (handshake.kind === "refuse") return this.#refuse(socket, handshake);
    this.#upgradingCount++;
    const authentication =
      handshake.token === null ? null : await this.#authenticator.authenticate(handshake.token);
    this.#upgradingCount--;
    if (socket.destroyed) return;
    const isRefused = authentication !== null && authentication.kind !== "identity";
    if (isRefused && this.#edge.refusedTokens.isFull)
      return this.#refuse(socket, { status: 503, reason: "overloaded" }); // GW27
    socket.off("error", onError);
    this.#wss.handleUpgrade(request, socket, head, (ws) => {
      this.#acceptedTotal++;
      const identity = authentication?.kind === "identity" ? authentication.identity : null;
      const connection = this.#edge.accept(ws, socket, identity);
      if (this.#readiness !== "ready") this.#edge.sendAway(connection);
      else if (isRefused) connection.refuse(authentication.kind); // a browser sees no statuses
    });
  }

  #refuse(socket: Socket, { status, reason }: Pick<Refused, "status" | "reason">): void {
    this.#refusedTotal++;
    socket.end(refusalText(status, reason, RETRY_AFTER_SECONDS), () => socket.destroy());
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}
