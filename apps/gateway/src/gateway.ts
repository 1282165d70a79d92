// apps/gateway/src/gateway.ts
// The WebSocket edge of one node: accepts sockets, keeps their sessions, drains. Invariants:
//   GW19  After a share of the drain window at least that share of the sockets is closed.
//   GW25  `start`, `drain` and `stop` are safe to call twice; after `stop` nothing is left open.
import type { Bus } from "@carillon/bus";
import { CLOSE_CODES } from "@carillon/contracts";
import {
  type Clock,
  Fault,
  type Random,
  type Scheduler,
  type Timer,
  TokenBucket,
} from "@carillon/kernel";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Socket } from "node:net";
import { WebSocketServer } from "ws";
import type { ProcessRuntime, TurnPulse } from "@carillon/process";
import { type Authentication, type AuthOptions, createAuthenticator } from "./authenticate.ts";
import { Connection, type ConnectionDeps, createConnectionSlots } from "./connection.ts";
import { planDrain } from "./drain.ts";
import {
  examineHandshake,
  type Handshake,
  refusalText,
  SOCKET_PATH,
  SUBPROTOCOL,
} from "./handshake.ts";
import { GATEWAY_LIMITS, type GatewayLimits } from "./limits.ts";
import type { GatewayLog } from "./log.ts";
import { Outbound } from "./outbound.ts";
import { Processes } from "./processes.ts";
import { RefusedTokens } from "./refused-tokens.ts";
import { type HubStats, type MemberEvents, SessionHub } from "./session-hub.ts";

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
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: GatewayLog;
  readonly pulse?: TurnPulse | undefined; // of the node's watchdog
}

export interface GatewayStats extends HubStats {
  readonly socketsCount: number;
  readonly refusedSocketsCount: number; // among them: held because their token was refused
  readonly waitingBytes: number; // written to sockets and not yet taken by the network
  readonly connectionCrashesTotal: number; // closed with 1011; `crashesTotal` is sessions
  readonly acceptedTotal: number;
  readonly refusedTotal: number; // handshakes
  /** By close code, whoever closed. */
  readonly closedTotal: Readonly<Record<number, number>>;
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
  readonly #processes: Processes;
  readonly #hub: SessionHub;
  readonly #http: Server;
  readonly #wss: WebSocketServer;
  readonly #acceptBucket: TokenBucket;
  readonly #refusedTokens: RefusedTokens;
  readonly #connectionDeps: ConnectionDeps;
  readonly #connections = new Set<Connection>();
  readonly #closedTotal: Record<number, number> = {};
  #upgradingCount = 0;
  #acceptedTotal = 0;
  #refusedTotal = 0;
  #connectionCrashesTotal = 0;
  #lastNumber = 0;
  #lastSid = 0;
  #phase: "new" | "running" | "draining" | "stopped" = "new";
  #sweepTimer: Timer | undefined;
  #draining: Promise<void> | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
    const { bus, members, memberId, clock, scheduler, random, log, config } = deps;
    const limits = { ...GATEWAY_LIMITS, ...config.limits };
    this.#limits = limits;
    const processes = new Processes({ clock, scheduler, random, log, limits, pulse: deps.pulse });
    this.#processes = processes;
    const hubOptions = { processes, openLimits: limits, reportEveryMs: limits.reportEveryMs };
    const hub = { memberId, bus, members, clock, scheduler, random, log, ...hubOptions };
    this.#hub = new SessionHub(hub);
    this.#acceptBucket = new TokenBucket(
      { perSecond: limits.acceptsPerSecond, burstCount: limits.acceptsPerSecond * 2 },
      clock,
    );
    this.#refusedTokens = new RefusedTokens(limits, clock, random);
    this.#connectionDeps = {
      hub: this.#hub,
      slots: createConnectionSlots(processes, () => void this.#connectionCrashesTotal++),
      outbound: new Outbound(scheduler),
      authenticator: createAuthenticator(config.auth, clock),
      refusedTokens: this.#refusedTokens,
      clock,
      limits,
      nextNumber: () => ++this.#lastNumber,
      nextSid: () => ++this.#lastSid,
      onClosed: (connection, code) => this.#onClosed(connection, code),
    };
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
      this.#hub.start();
      this.#sweepSoon();
    }
    const address = this.#http.address();
    if (address === null || typeof address === "string")
      throw new Fault("gateway is stopped", { code: "stopped", isRetryable: false });
    return { port: address.port };
  }

  drain(): Promise<void> {
    if (this.#phase === "running") {
      this.#phase = "draining";
      this.#draining = this.#closeAll();
    }
    return this.#draining ?? Promise.resolve();
  }

  async stop(): Promise<void> {
    if (this.#phase === "stopped") return;
    const wasListening = this.#phase !== "new";
    this.#phase = "stopped";
    this.#sweepTimer?.cancel();
    for (const connection of this.#connections) {
      connection.close(CLOSE_CODES.drain, this.#drainReason());
      connection.terminate();
    }
    if (wasListening) {
      const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
      this.#http.closeAllConnections();
      await closed;
    }
    this.#processes.stop();
    this.#hub.stop();
  }

  get processes(): ProcessRuntime {
    return this.#processes.runtime;
  }

  stats(): GatewayStats {
    return {
      ...this.#hub.stats(),
      socketsCount: this.#connections.size,
      refusedSocketsCount: this.#refusedTokens.heldCount,
      waitingBytes: this.#waitingBytes(),
      connectionCrashesTotal: this.#connectionCrashesTotal,
      acceptedTotal: this.#acceptedTotal,
      refusedTotal: this.#refusedTotal,
      closedTotal: { ...this.#closedTotal },
    };
  }

  #waitingBytes(): number {
    let bytes = 0;
    for (const connection of this.#connections) bytes += connection.waitingBytes;
    return bytes;
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? "").split("?", 1)[0];
    if (path === "/livez") return answer(response, 200, { status: "ok" });
    if (path === "/readyz") {
      const isReady = this.#phase === "running";
      const isBusConnected = this.#deps.bus.isConnected; // told, not required: D5
      const status = isReady ? "ready" : this.#phase;
      return answer(response, isReady ? 200 : 503, { status, isBusConnected });
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
        isFull:
          this.#connections.size + this.#upgradingCount >= this.#limits.socketsMax ||
          !this.#acceptBucket.take(),
      },
    );
    const onError = (): void => void socket.destroy();
    socket.on("error", onError);
    if (handshake.kind === "refuse") return this.#refuse(socket, handshake);
    this.#upgradingCount++;
    const authentication =
      handshake.token === null ? null : await this.#authenticate(handshake.token);
    this.#upgradingCount--;
    if (socket.destroyed) return;
    const isRefused = authentication !== null && authentication.kind !== "identity";
    if (isRefused && this.#refusedTokens.isFull)
      return this.#refuse(socket, { status: 503, reason: "overloaded" }); // GW27
    socket.off("error", onError);
    this.#wss.handleUpgrade(request, socket, head, (ws) => {
      this.#acceptedTotal++;
      const identity = authentication?.kind === "identity" ? authentication.identity : null;
      const connection = new Connection(ws, socket, identity, this.#connectionDeps);
      this.#connections.add(connection);
      if (this.#phase !== "running") connection.close(CLOSE_CODES.drain, this.#drainReason());
      else if (isRefused) connection.refuse(authentication.kind); // a browser sees no statuses
    });
  }

  #refuse(socket: Socket, { status, reason }: Pick<Refused, "status" | "reason">): void {
    this.#refusedTotal++;
    socket.end(refusalText(status, reason, RETRY_AFTER_SECONDS), () => socket.destroy());
  }

  #authenticate(token: string): Promise<Authentication> {
    return this.#connectionDeps.authenticator.authenticate(token);
  }

  #onClosed(connection: Connection, code: number): void {
    this.#connections.delete(connection);
    this.#closedTotal[code] = (this.#closedTotal[code] ?? 0) + 1;
    if (this.#connections.size === 0) this.#onEmpty?.();
  }

  #sweepSoon(): void {
    const { clock } = this.#deps;
    this.#sweepTimer = clock.setTimer(this.#limits.sweepEveryMs, () => {
      this.#sweepSoon();
      const nowMs = clock.monotonicMs();
      const wallNowMs = clock.wallClockMs();
      for (const connection of this.#connections) connection.check(nowMs, wallNowMs);
    });
  }

  async #closeAll(): Promise<void> {
    const { clock, log } = this.#deps;
    const { drainMs, drainStepMs, closeMaxMs, sweepEveryMs } = this.#limits;
    log.info("gateway.draining", { socketsCount: this.#connections.size, drainMs });
    const open = [...this.#connections].filter((connection) => connection.isOpen);
    const startedAtMs = clock.monotonicMs();
    let closedCount = 0;
    for (const step of planDrain(open.length, drainMs, drainStepMs)) {
      const waitMs = step.atMs - (clock.monotonicMs() - startedAtMs);
      if (waitMs > 0) await clock.sleep(waitMs);
      if (this.#phase !== "draining") return;
      const upTo = closedCount + step.closeCount;
      for (const connection of open.slice(closedCount, upTo))
        connection.close(CLOSE_CODES.drain, this.#drainReason());
      closedCount = upTo;
    }
    await this.#untilEmpty(closeMaxMs + 2 * sweepEveryMs);
    log.info("gateway.drained", { leftCount: this.#connections.size });
  }

  async #untilEmpty(maxMs: number): Promise<void> {
    if (this.#connections.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.#deps.clock.setTimer(maxMs, resolve);
      this.#onEmpty = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** Each client gets its own delay, so that they do not come back together. */
  #drainReason(): string {
    const retryMs = Math.round(this.#deps.random.next() * this.#limits.reconnectMaxMs);
    return JSON.stringify({ retryMs, region: this.#deps.config.region });
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
