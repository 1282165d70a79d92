// apps/gateway/src/edge.ts
// A gateway without its port: the connections and sessions of sockets that somebody else accepts
// (gateway.ts by HTTP, the simulation by itself), and their drain. Invariants:
//   GW19  After a share of the drain window at least that share of the sockets is closed.
//   GW32  While the node is relieved its sockets are closed as evenly; who is left when it is not any
//         more stays.
import type { Bus } from "@carillon/bus";
import type { Clock, Random, Scheduler, Timer } from "@carillon/kernel";
import type { ProcessRuntime, TurnPulse } from "@carillon/process";
import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import type { Authenticator } from "./authenticate.ts";
import { Connection, type ConnectionDeps, createConnectionSlots } from "./connection.ts";
import { planDrain } from "./drain.ts";
import type { Identity } from "./inbox-session.ts";
import type { GatewayLimits } from "./limits.ts";
import type { GatewayLog } from "./log.ts";
import { Outbound } from "./outbound.ts";
import { Processes } from "./processes.ts";
import { RefusedTokens } from "./refused-tokens.ts";
import { type HubStats, type MemberEvents, SessionHub } from "./session-hub.ts";

export interface EdgeDeps {
  readonly region: string;
  readonly memberId: string; // new at every start of the node
  readonly bus: Bus;
  readonly members: MemberEvents;
  /** The node has no NATS, and others serve what it had (GW32). */
  readonly isRelieved: () => boolean;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: GatewayLog;
  readonly limits: GatewayLimits;
  readonly authenticator: Authenticator;
  readonly pulse?: TurnPulse | undefined; // of the node's watchdog
}

export interface EdgeStats extends HubStats {
  readonly socketsCount: number;
  readonly isRelieved: boolean; // clients are sent elsewhere (GW32)
  readonly refusedSocketsCount: number; // among them: held because their token was refused
  readonly waitingBytes: number; // written to sockets and not yet taken by the network
  readonly connectionCrashesTotal: number; // closed with 1011; `crashesTotal` is sessions
  /** By close code, whoever closed. */
  readonly closedTotal: Readonly<Record<number, number>>;
}

export class Edge {
  readonly refusedTokens: RefusedTokens;
  readonly #deps: EdgeDeps;
  readonly #processes: Processes;
  readonly #hub: SessionHub;
  readonly #connectionDeps: ConnectionDeps;
  readonly #connections = new Set<Connection>();
  readonly #closedTotal: Record<number, number> = {};
  #connectionCrashesTotal = 0;
  #lastNumber = 0;
  #lastSid = 0;
  #isStopped = false;
  #isDraining = false;
  #isRelieving = false;
  #sweepTimer: Timer | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(deps: EdgeDeps) {
    this.#deps = deps;
    const { bus, members, memberId, clock, scheduler, random, log, limits } = deps;
    const processes = new Processes({ clock, scheduler, random, log, limits, pulse: deps.pulse });
    this.#processes = processes;
    const hubOptions = { processes, openLimits: limits, reportLimits: limits };
    const hub = { memberId, bus, members, clock, scheduler, random, log, ...hubOptions };
    this.#hub = new SessionHub(hub);
    this.refusedTokens = new RefusedTokens(limits, clock, random);
    this.#connectionDeps = {
      hub: this.#hub,
      slots: createConnectionSlots(processes, () => void this.#connectionCrashesTotal++),
      outbound: new Outbound(scheduler),
      authenticator: deps.authenticator,
      refusedTokens: this.refusedTokens,
      clock,
      limits,
      nextNumber: () => ++this.#lastNumber,
      nextSid: () => ++this.#lastSid,
      onClosed: (connection, code) => this.#onClosed(connection, code),
    };
  }

  get socketsCount(): number {
    return this.#connections.size;
  }

  get processes(): ProcessRuntime {
    return this.#processes.runtime;
  }

  start(): void {
    this.#hub.start();
    this.#sweepSoon();
  }

  /** Takes a socket whose handshake is done. `identity` null: a join will bring the token. */
  accept(ws: WebSocket, socket: Socket, identity: Identity | null): Connection {
    const connection = new Connection(ws, socket, identity, this.#connectionDeps);
    this.#connections.add(connection);
    return connection;
  }

  /** Sends a client away; each gets its own delay, so that they do not come back together. */
  sendAway(connection: Connection): void {
    connection.sendAway(this.#drainReason());
  }

  /** Closes every socket within the drain window (W10). */
  async drain(): Promise<void> {
    const { log, limits } = this.#deps;
    const { drainMs, closeMaxMs, sweepEveryMs } = limits;
    this.#isDraining = true;
    log.info("gateway.draining", { socketsCount: this.#connections.size, drainMs });
    await this.#closeEvenly(this.#open(), () => this.#isStopped);
    if (this.#isStopped) return;
    await this.#untilEmpty(closeMaxMs + 2 * sweepEveryMs);
    log.info("gateway.drained", { leftCount: this.#connections.size });
  }

  /** Ends every socket now; sessions are told to their owners by `stop`. */
  terminate(): void {
    this.#isStopped = true;
    this.#sweepTimer?.cancel();
    for (const connection of this.#connections) {
      this.sendAway(connection);
      connection.terminate();
    }
  }

  stop(): void {
    this.#processes.stop();
    this.#hub.stop();
  }

  stats(): EdgeStats {
    return {
      ...this.#hub.stats(),
      socketsCount: this.#connections.size,
      isRelieved: this.#deps.isRelieved(),
      refusedSocketsCount: this.refusedTokens.heldCount,
      waitingBytes: this.#waitingBytes(),
      connectionCrashesTotal: this.#connectionCrashesTotal,
      closedTotal: { ...this.#closedTotal },
    };
  }

  #open(): Connection[] {
    return [...this.#connections].filter((connection) => connection.isOpen);
  }

  /** GW32. Whoever is let in during it, since its handshake was under way, is sent away at once. */
  async #relieve(): Promise<void> {
    const open = this.#open();
    if (this.#isRelieving || open.length === 0) return;
    const { log, limits, isRelieved } = this.#deps;
    this.#isRelieving = true;
    log.warn("gateway.relieved", { socketsCount: open.length, drainMs: limits.drainMs });
    await this.#closeEvenly(open, () => this.#isStopped || this.#isDraining || !isRelieved());
    this.#isRelieving = false;
    log.info("gateway.relief_ended", { leftCount: this.#open().length });
  }

  /** Sends them away over the drain window (GW19), unless it is over before. */
  async #closeEvenly(open: readonly Connection[], isOver: () => boolean): Promise<void> {
    const { clock, limits } = this.#deps;
    const startedAtMs = clock.monotonicMs();
    let closedCount = 0;
    for (const step of planDrain(open.length, limits.drainMs, limits.drainStepMs)) {
      const waitMs = step.atMs - (clock.monotonicMs() - startedAtMs);
      if (waitMs > 0) await clock.sleep(waitMs);
      if (isOver()) return;
      const upTo = closedCount + step.closeCount;
      for (const connection of open.slice(closedCount, upTo)) this.sendAway(connection);
      closedCount = upTo;
    }
  }

  #waitingBytes(): number {
    let bytes = 0;
    for (const connection of this.#connections) bytes += connection.waitingBytes;
    return bytes;
  }

  #onClosed(connection: Connection, code: number): void {
    this.#connections.delete(connection);
    this.#closedTotal[code] = (this.#closedTotal[code] ?? 0) + 1;
    if (this.#connections.size === 0) this.#onEmpty?.();
  }

  #sweepSoon(): void {
    const { clock, limits } = this.#deps;
    this.#sweepTimer = clock.setTimer(limits.sweepEveryMs, () => {
      this.#sweepSoon();
      const nowMs = clock.monotonicMs();
      const wallNowMs = clock.wallClockMs();
      for (const connection of this.#connections) connection.check(nowMs, wallNowMs);
      if (this.#deps.isRelieved() && !this.#isDraining) void this.#relieve();
    });
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

  #drainReason(): string {
    const { random, limits, region } = this.#deps;
    const retryMs = Math.round(random.next() * limits.reconnectMaxMs);
    return JSON.stringify({ retryMs, region });
  }
}
