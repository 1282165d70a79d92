// test/sim/network.ts
// NATS as the nodes see it, below the bus's own core: a server per region, gateways between them. A
// link is a TCP connection, so what is sent over it keeps its order, unless a fault says otherwise.
//   SI4  Interest is known at once everywhere; a queue group is served in the sender's region first.
//   SI5  A node that cannot reach its server notices by missing pongs (4 to 6 s) and dials for ever.
import {
  type Bus,
  BUS_LIMITS,
  BusCore,
  type Link,
  type LinkSubscription,
  type LostReason,
  matchesSubject,
  type OnArrival,
  type SendOutcome,
} from "@carillon/bus";
import type { Machine } from "./machine.ts";
import type { Dice, World } from "./world.ts";

export interface NetworkFaults {
  lossShare: number;
  duplicateShare: number;
  reorderShare: number;
  delayMs: number; // on top, of every message
  jitterMs: number;
}

interface Interest {
  readonly link: SimLink;
  readonly pattern: string;
  readonly queue: string | undefined;
  readonly onArrival: OnArrival;
}

type Tap = (from: string, subject: string, data: Uint8Array) => void;

const NOTHING = new Uint8Array();
const INBOX_PREFIX = "_INBOX";
/** More links than a run ever makes. */
const LINKS_MAX = 2 ** 20;
const IN_REGION_MS = [0.2, 0.8] as const;
const ACROSS_MS = [8, 14] as const;
const STALE_MS = [4_000, 6_000] as const;
const REDIAL_MS = [500, 2_000] as const;

export class Network {
  readonly world: World;
  readonly faults: NetworkFaults = {
    lossShare: 0,
    duplicateShare: 0,
    reorderShare: 0,
    delayMs: 0,
    jitterMs: 0,
  };
  /** "a>b" by region or by member: nothing gets from a to b. */
  readonly #blocked = new Set<string>();
  readonly #exact = new Map<string, Interest[]>();
  readonly #patterns: Interest[] = [];
  /** Who hears a subject, until somebody's interest changes. Not of replies: each has a subject. */
  readonly #heard = new Map<string, readonly Interest[]>();
  readonly #links = new Set<SimLink>();
  readonly #lastArrivalMs = new Map<number, number>(); // by both links' numbers
  readonly #dice: Dice;
  readonly #taps: Tap[] = [];
  linksCount = 0;
  sentCount = 0;
  lostCount = 0;

  constructor(world: World) {
    this.world = world;
    this.#dice = world.dice("network");
  }

  /** Sees everything that is published, also what stays inside a node or is lost later. */
  tap(tap: Tap): void {
    this.#taps.push(tap);
  }

  block(from: string, to: string): void {
    this.#blocked.add(`${from}>${to}`);
  }

  unblock(from: string, to: string): void {
    this.#blocked.delete(`${from}>${to}`);
  }

  healAll(): void {
    this.#blocked.clear();
    Object.assign(this.faults, {
      lossShare: 0,
      duplicateShare: 0,
      reorderShare: 0,
      delayMs: 0,
      jitterMs: 0,
    });
  }

  /** Who cannot reach whom: regions, or members. */
  *blocks(): Generator<[from: string, to: string]> {
    for (const block of this.#blocked) {
      const [from = "", to = ""] = block.split(">");
      yield [from, to];
    }
  }

  /** A bus with the real core; it dials again and again while its machine lives. */
  connect(machine: Machine, region: string): Bus {
    const dice = this.world.dice(`bus/${machine.name}`);
    const core = new BusCore({
      ...BUS_LIMITS,
      name: machine.name,
      inboxPrefix: INBOX_PREFIX,
      clock: machine,
      random: dice,
      scheduler: machine,
      onEvent: (event) => machine.trace(`bus ${event.kind}`),
    });
    const redial = (): void => {
      this.world.after(dice.between(...REDIAL_MS), dial, machine);
    };
    const dial = (): void => {
      if (core.isClosing) return;
      if (this.isBlocked(machine.name, region) || this.isBlocked(region, machine.name)) {
        redial();
        return;
      }
      const link = new SimLink(this, machine, region);
      this.#links.add(link);
      const use = async (): Promise<void> => {
        const [reason] = await Promise.all([link.lost, core.attach(link)]);
        core.detach(link, reason);
        redial();
      };
      void use();
    };
    dial();
    return this.#tapped(machine, core);
  }

  /** Above the core, so that its short cut inside a node is seen, too. */
  #tapped(machine: Machine, core: BusCore): Bus {
    const publish = core.publish.bind(core);
    core.publish = (subject, data) => {
      for (const tap of this.#taps) tap(machine.name, subject, data);
      return publish(subject, data);
    };
    return core;
  }

  /** The machine is dead: its server has seen the connection reset. */
  forget(machine: Machine): void {
    for (const link of this.#links) if (link.machine === machine) link.close();
  }

  /** A node cut off from its server notices it after a while. */
  cutNode(name: string, region: string, direction: "both" | "to" | "from"): void {
    if (direction !== "from") this.block(name, region);
    if (direction !== "to") this.block(region, name);
    const delayMs = this.#dice.between(...STALE_MS);
    for (const link of this.#links) {
      if (link.machine.name !== name) continue;
      this.world.after(delayMs, () => {
        if (this.isBlocked(name, region) || this.isBlocked(region, name)) link.lose("stale");
      });
    }
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.size > 0 && this.#blocked.has(`${from}>${to}`);
  }

  addInterest(interest: Interest): LinkSubscription {
    const isPattern = interest.pattern.includes("*");
    const list = isPattern ? this.#patterns : (this.#exact.get(interest.pattern) ?? []);
    if (!isPattern) this.#exact.set(interest.pattern, list);
    list.push(interest);
    this.#heard.clear();
    return {
      unsubscribe: () => {
        this.#heard.clear();
        const at = list.indexOf(interest);
        if (at >= 0) list.splice(at, 1);
        if (list.length === 0 && !isPattern) this.#exact.delete(interest.pattern);
      },
    };
  }

  drop(link: SimLink): void {
    this.#links.delete(link);
  }

  send(from: SimLink, subject: string, data: Uint8Array, replySubject: string): void {
    this.sentCount++;
    const receivers = this.#receiversOf(from, subject);
    for (const to of receivers)
      this.#carry(from, to.link, () => to.onArrival(subject, data, replySubject, false));
    if (replySubject === "" || receivers.length > 0) return;
    const [asker] = this.#find(replySubject).filter(({ link }) => link === from);
    if (asker === undefined) return;
    this.#carry(from, from, () => asker.onArrival(replySubject, NOTHING, "", true));
  }

  #find(subject: string): readonly Interest[] {
    const known = this.#heard.get(subject);
    if (known !== undefined) return known;
    const matching = this.#patterns.filter(({ pattern }) => matchesSubject(pattern, subject));
    const found = [...(this.#exact.get(subject) ?? []), ...matching];
    if (!subject.startsWith(INBOX_PREFIX)) this.#heard.set(subject, found);
    return found;
  }

  /** Everyone who subscribed alone, and one member of each queue group, at home if there is one. */
  #receiversOf(from: SimLink, subject: string): Interest[] {
    const receivers: Interest[] = [];
    const groups = new Map<string, Interest[]>();
    for (const interest of this.#find(subject)) {
      if (interest.queue === undefined) receivers.push(interest);
      else groups.set(interest.queue, [...(groups.get(interest.queue) ?? []), interest]);
    }
    for (const members of groups.values()) {
      const near = members.filter(({ link }) => link.region === from.region);
      receivers.push(this.#dice.pick(near.length > 0 ? near : members));
    }
    return receivers;
  }

  #carry(from: SimLink, to: SimLink, arrive: () => void): void {
    const { faults } = this;
    if (this.#isCut(from, to) || (faults.lossShare > 0 && this.#dice.isHit(faults.lossShare))) {
      this.lostCount++;
      return;
    }
    const isDoubled = faults.duplicateShare > 0 && this.#dice.isHit(faults.duplicateShare);
    for (let copy = 0; copy < (isDoubled ? 2 : 1); copy++)
      this.world.at(this.#arrivalMs(from, to), () => to.arrive(arrive), to.machine);
  }

  #isCut(from: SimLink, to: SimLink): boolean {
    if (this.#blocked.size === 0) return false;
    return (
      this.isBlocked(from.machine.name, from.region) ||
      this.isBlocked(to.region, to.machine.name) ||
      this.isBlocked(from.machine.name, to.machine.name) ||
      (from.region !== to.region && this.isBlocked(from.region, to.region))
    );
  }

  #arrivalMs(from: SimLink, to: SimLink): number {
    const { faults } = this;
    const isNear = from.region === to.region;
    const [low, high] = isNear ? IN_REGION_MS : ACROSS_MS;
    const baseMs = this.#dice.between(low, high);
    const jitterMs = faults.jitterMs > 0 ? this.#dice.between(0, faults.jitterMs) : 0;
    const atMs = this.world.nowMs + baseMs + faults.delayMs + jitterMs;
    if (faults.reorderShare > 0 && this.#dice.isHit(faults.reorderShare))
      return atMs + this.#dice.between(1, 60); // overtaken by what comes after it
    const pair = from.number * LINKS_MAX + to.number;
    const inOrderMs = Math.max(atMs, (this.#lastArrivalMs.get(pair) ?? 0) + 0.001);
    this.#lastArrivalMs.set(pair, inOrderMs);
    return inOrderMs;
  }
}

export class SimLink implements Link {
  readonly server: string;
  readonly payloadMaxBytes = 1_048_576;
  readonly machine: Machine;
  readonly region: string;
  readonly number: number;
  readonly #network: Network;
  readonly #lost = Promise.withResolvers<LostReason>();
  readonly #subscriptions = new Set<LinkSubscription>();
  #isOpen = true;

  constructor(network: Network, machine: Machine, region: string) {
    this.#network = network;
    this.number = network.linksCount++;
    this.machine = machine;
    this.region = region;
    this.server = `nats.${region}`;
  }

  get lost(): Promise<LostReason> {
    return this.#lost.promise;
  }

  /** What is under way to a connection that is gone is lost with it (BU1). */
  arrive(run: () => void): void {
    if (this.#isOpen) run();
    else this.#network.lostCount++;
  }

  send(subject: string, data: Uint8Array, replySubject: string): SendOutcome {
    if (!this.#isOpen) return "gone";
    this.#network.send(this, subject, data, replySubject);
    return "sent";
  }

  subscribe(pattern: string, queue: string | undefined, onArrival: OnArrival): LinkSubscription {
    const entry = this.#network.addInterest({ link: this, pattern, queue, onArrival });
    const subscription: LinkSubscription = {
      unsubscribe: () => {
        this.#subscriptions.delete(subscription);
        entry.unsubscribe();
      },
    };
    this.#subscriptions.add(subscription);
    return subscription;
  }

  sync(): Promise<void> {
    return this.machine.sleep(1);
  }

  async drain(): Promise<void> {
    await this.machine.sleep(1);
    this.close();
  }

  close(): void {
    this.lose("closed");
  }

  lose(reason: LostReason): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const subscription of [...this.#subscriptions]) subscription.unsubscribe();
    this.#network.drop(this);
    this.#lost.resolve(reason);
  }
}
