// test/sim/people.ts
// Employees with the real client (packages/client). Each device keeps its position over restarts of
// the app, as a browser's storage does.
import { createInbox, type Inbox, type Position } from "@carillon/client";
import { partitionOf, type NtfPayload } from "@carillon/contracts";
import { Machine } from "./machine.ts";
import type { Identity, SimNode } from "./node.ts";
import { type ClientEnd, Wire } from "./sockets.ts";
import type { Span } from "./weather.ts";
import type { Dice, World } from "./world.ts";

/** What the oracle hears of a device. */
export interface DeviceObserver {
  onLive(device: Device, position: Position): void;
  onNotification(device: Device, notification: NtfPayload): void;
  onReset(device: Device): void;
  onConnecting(device: Device): void;
  /** Live no longer. */
  onDown(device: Device): void;
  onRead(device: Device, offset: number): void;
}

export class Device {
  readonly name: string;
  readonly identity: Identity;
  readonly partition: number;
  /** While a session was live and its socket whole: what is sent then comes. */
  readonly lives: Span[] = [];
  /** Where its storage stands; null before the first join. */
  position: Position | null = null;
  readonly #world: World;
  readonly #dice: Dice;
  readonly #gateways: () => readonly SimNode[];
  readonly #observer: DeviceObserver;
  #machine: Machine | undefined;
  #inbox: Inbox | undefined;
  #wire: Wire | undefined;
  #startsCount = 0;
  #shownOffset: number | undefined;

  constructor(
    options: { readonly name: string; readonly identity: Identity },
    deps: {
      readonly world: World;
      readonly gateways: () => readonly SimNode[];
      readonly observer: DeviceObserver;
    },
  ) {
    this.name = options.name;
    this.identity = options.identity;
    this.partition = partitionOf(options.identity.tenantId, options.identity.recipientId);
    this.#world = deps.world;
    this.#gateways = deps.gateways;
    this.#observer = deps.observer;
    this.#dice = deps.world.dice(`device/${options.name}`);
  }

  get isOpen(): boolean {
    return this.#machine !== undefined;
  }

  get isLive(): boolean {
    return this.#inbox?.state === "live";
  }

  /** The app is opened: it joins with what its storage has. */
  open(): void {
    if (this.#machine !== undefined) return;
    const machine = new Machine(this.#world, `${this.name}.${++this.#startsCount}`);
    this.#machine = machine;
    const { position } = this;
    this.#inbox = createInbox({
      url: "sim",
      token: () => "token",
      ...(position !== null && { position }),
      onNotification: (notification) => {
        this.#observer.onNotification(this, notification);
        this.position = { offset: notification.offset, epoch: notification.epoch };
        this.#shownOffset = notification.offset;
        if (!this.#dice.isHit(0.3)) return;
        this.#observer.onRead(this, notification.offset);
        this.#inbox?.read(notification.offset);
      },
      onStateChange: (state) => {
        this.#endLife();
        if (state !== "live") this.#observer.onDown(this);
        if (state !== "live" || this.#inbox === undefined) return;
        const joined = this.#inbox.position;
        if (joined === null) return;
        this.#observer.onLive(this, joined);
        this.position = joined;
        this.lives.push({ fromMs: this.#world.nowMs, toMs: Infinity });
      },
      onReset: () => this.#observer.onReset(this),
      random: () => this.#dice.next(),
      timers: {
        after: (delayMs, callback) => this.#world.after(delayMs, callback, machine),
        nowMs: () => machine.monotonicMs(),
      },
      connect: () => this.#connect(machine),
    });
  }

  /** The app is killed: its socket goes, what it has stored stays. */
  close(): void {
    this.#endLife();
    this.#observer.onDown(this);
    this.#machine?.die();
    this.#wire?.break();
    this.#machine = this.#inbox = this.#wire = undefined;
  }

  /** The person looks at the newest again, and confirms it. */
  confirm(): void {
    const offset = this.#shownOffset;
    if (offset === undefined || !this.isLive) return;
    this.#observer.onRead(this, offset);
    this.#inbox?.read(offset);
    this.#inbox?.acknowledge(offset);
  }

  /** The socket breaks; the client comes back by itself. */
  breakSocket(): void {
    this.#endLife();
    this.#wire?.break();
  }

  /** The phone is in a tunnel: nobody is told. */
  silence(): void {
    this.#endLife();
    if (this.#wire !== undefined) this.#wire.isSilent = true;
  }

  #endLife(): void {
    const life = this.lives.at(-1);
    if (life?.toMs === Infinity) life.toMs = this.#world.nowMs;
  }

  #connect(machine: Machine): ClientEnd {
    this.#observer.onConnecting(this);
    const gateways = this.#gateways();
    if (gateways.length === 0) {
      const nowhere = new Wire(machine, machine, this.#dice);
      nowhere.break();
      return nowhere.client;
    }
    const wire = this.#dice.pick(gateways).connect(machine, this.identity, this.#dice);
    this.#wire = wire;
    return wire.client;
  }
}
