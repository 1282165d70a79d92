// test/sim/sockets.ts
// A WebSocket between an employee's app and a gateway: the client's end is what packages/client
// uses of one, the server's end is what apps/gateway uses of `ws` and of a net.Socket.
//   SI8  As TCP: in order and without loss while it lasts; what is under way when it breaks is lost.
import type { SocketLike } from "@carillon/client";
import type { Edge } from "@carillon/gateway";
import { EventEmitter } from "node:events";
import type { Machine } from "./machine.ts";
import type { Dice } from "./world.ts";

const WAY_MS = [5, 25] as const;
const ABNORMAL = 1006;
const OPEN = 1;
const CLOSED = 3;

type ServerSocket = Parameters<Edge["accept"]>[0];
type ServerStream = Parameters<Edge["accept"]>[1];
type Listener = (event: never) => void;

/** One connection with both its ends. */
export class Wire {
  readonly client: ClientEnd;
  readonly server = new ServerEnd(this);
  readonly #app: Machine;
  readonly #node: Machine;
  readonly #dice: Dice;
  #lastDownMs = 0;
  #lastUpMs = 0;
  #isBroken = false;
  /** Nothing gets through, and nobody is told: a phone in a tunnel. */
  isSilent = false;
  bytesOnTheWay = 0;

  constructor(app: Machine, node: Machine, dice: Dice) {
    this.#app = app;
    this.#node = node;
    this.#dice = dice;
    this.client = new ClientEnd(this);
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** To the client, in order. */
  down(run: () => void): void {
    const { world } = this.#app;
    this.#lastDownMs = Math.max(
      world.nowMs + this.#dice.between(...WAY_MS),
      this.#lastDownMs + 0.001,
    );
    world.at(
      this.#lastDownMs,
      () => {
        if (!this.#isBroken && !this.isSilent) run();
      },
      this.#app,
    );
  }

  /** To the gateway, in order. */
  up(run: () => void): void {
    const { world } = this.#node;
    this.#lastUpMs = Math.max(world.nowMs + this.#dice.between(...WAY_MS), this.#lastUpMs + 0.001);
    world.at(
      this.#lastUpMs,
      () => {
        if (!this.#isBroken && !this.isSilent) run();
      },
      this.#node,
    );
  }

  /** Both ends hear of it, each by itself: a reset, a crashed gateway, an app that was closed. */
  break(): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    const { world } = this.#app;
    world.after(this.#dice.between(0, 50), () => this.client.ended(ABNORMAL, ""), this.#app);
    world.after(this.#dice.between(0, 50), () => this.server.ended(ABNORMAL), this.#node);
  }
}

export class ClientEnd implements SocketLike {
  readyState = 0;
  readonly #wire: Wire;
  readonly #listeners = new Map<string, Listener[]>();

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  send(text: string): void {
    if (this.readyState !== OPEN) return;
    this.#wire.up(() => this.#wire.server.emit("message", Buffer.from(text), false));
  }

  close(code = 1005): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#wire.up(() => this.#wire.server.ended(code));
  }

  opened(): void {
    this.readyState = OPEN;
    this.#tell("open", {});
  }

  said(text: string): void {
    if (this.readyState === OPEN) this.#tell("message", { data: text });
  }

  ended(code: number, reason: string): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#tell("close", { code, reason });
  }

  #tell(type: string, event: object): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event as never);
  }
}

/** `ws` and net.Socket in one: what is written to either goes the same way. */
export class ServerEnd extends EventEmitter {
  readonly #wire: Wire;
  #isEnded = false;
  #isPaused = false;
  readonly #waiting: (() => void)[] = [];
  bytesWritten = 0;

  constructor(wire: Wire) {
    super();
    this.#wire = wire;
  }

  get asWebSocket(): ServerSocket {
    return this as unknown as ServerSocket;
  }

  get asStream(): ServerStream {
    return this as unknown as ServerStream;
  }

  get writableLength(): number {
    return 0;
  }

  override emit(event: string, ...args: unknown[]): boolean {
    if (this.#isPaused && event === "message") {
      this.#waiting.push(() => super.emit(event, ...args));
      return true;
    }
    return super.emit(event, ...args);
  }

  cork(): void {}
  uncork(): void {}

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    for (const run of this.#waiting.splice(0)) run();
  }

  send(text: string): void {
    if (this.#isEnded) return;
    this.#wire.down(() => this.#wire.client.said(text));
  }

  /** A ready frame (ntf-frame.ts): its text is what a client's socket would give. */
  write(frame: Buffer): boolean {
    this.bytesWritten += frame.length;
    this.send(textOfFrame(frame));
    return true;
  }

  ping(): void {
    this.#wire.down(() => this.#wire.up(() => this.emit("pong")));
  }

  close(code: number, reason: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#wire.down(() => {
      this.#wire.client.ended(code, reason);
      this.#wire.up(() => this.emit("close", code));
    });
  }

  terminate(): void {
    this.#wire.break();
    this.#isEnded = true;
    this.emit("close", ABNORMAL);
  }

  ended(code: number): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.emit("close", code);
  }
}

/** RFC 6455 §5.2, unmasked and final. */
function textOfFrame(frame: Buffer): string {
  const short = frame[1] ?? 0;
  const headerBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
  return frame.toString("utf8", headerBytes);
}
