// packages/bus/src/memory-network.ts
// Buses inside one process for the tests of others: same core, a network that is a queue. It keeps
// what conformance.ts says, as the NATS adapter does.
import { assert, systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import type { Clock, Random, Scheduler } from "@carillon/kernel";
import type { Bus } from "./bus.ts";
import { BusCore } from "./bus-core.ts";
import type { BusEvent } from "./events.ts";
import type { Link, LinkSubscription, LostReason, OnArrival, SendOutcome } from "./link.ts";
import { BUS_LIMITS } from "./nats-bus.ts";
import { matchesSubject } from "./subject.ts";

export interface MemoryNetworkOptions {
  readonly clock?: Clock;
  readonly random?: Random;
  readonly scheduler?: Scheduler; // a FakeClock is one
  readonly payloadMaxBytes?: number;
  readonly onEvent?: (name: string, event: BusEvent) => void;
}

export interface MemoryNetwork {
  /** Connected at once. One bus per name. */
  connect(name: string): Bus;
  /** The named bus loses its connection, and what is under way to it. */
  cut(name: string): void;
  heal(name: string): void;
}

interface Interest {
  readonly link: MemoryLink;
  readonly pattern: string;
  readonly queue: string | undefined;
  readonly onArrival: OnArrival;
}

interface Passage {
  readonly to: Interest;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly replySubject: string;
  readonly isNoResponders: boolean;
}

const EMPTY = new Uint8Array();

export function createMemoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  const { clock = systemClock, random = systemRandom, scheduler = systemScheduler } = options;
  const payloadMaxBytes = options.payloadMaxBytes ?? BUS_LIMITS.payloadMaxBytes;
  const wire = new Wire(random, scheduler);
  const cores = new Map<string, { core: BusCore; link: MemoryLink | undefined }>();

  const plugIn = (name: string, core: BusCore): void => {
    const link = new MemoryLink(wire, payloadMaxBytes);
    cores.set(name, { core, link });
    void link.lost.then((reason) => core.detach(link, reason)); // cut() has done so before
    void core.attach(link, "at_once");
  };

  return {
    connect(name) {
      assert(!cores.has(name), `the memory network has a bus ${name} already`);
      const core = new BusCore({
        ...BUS_LIMITS,
        name,
        inboxPrefix: "_INBOX",
        payloadMaxBytes,
        clock,
        random,
        scheduler,
        onEvent: (event) => options.onEvent?.(name, event),
      });
      plugIn(name, core);
      return core;
    },
    cut(name) {
      const entry = cores.get(name);
      if (entry?.link === undefined) return;
      entry.link.close();
      entry.core.detach(entry.link, "closed");
      cores.set(name, { core: entry.core, link: undefined });
    },
    heal(name) {
      const entry = cores.get(name);
      if (entry && entry.link === undefined && !entry.core.isClosing) plugIn(name, entry.core);
    },
  };
}

/** All interests, and the messages under way. */
class Wire {
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  #interests: Interest[] = [];
  #underWay: Passage[] = [];

  constructor(random: Random, scheduler: Scheduler) {
    this.#random = random;
    this.#scheduler = scheduler;
  }

  add(interest: Interest): LinkSubscription {
    this.#interests.push(interest);
    return {
      unsubscribe: () => {
        this.#interests = this.#interests.filter((candidate) => candidate !== interest);
      },
    };
  }

  removeAll(link: MemoryLink): void {
    this.#interests = this.#interests.filter((interest) => interest.link !== link);
  }

  send(from: MemoryLink, subject: string, data: Uint8Array, replySubject: string): void {
    const receivers = this.#receiversOf(subject);
    for (const to of receivers)
      this.#pass({ to, subject, data, replySubject, isNoResponders: false });
    if (replySubject === "" || receivers.length > 0) return;
    const asker = this.#interests.find(
      (interest) => interest.link === from && matchesSubject(interest.pattern, replySubject),
    );
    const nobody = { data: EMPTY, replySubject: "", isNoResponders: true };
    if (asker) this.#pass({ to: asker, subject: replySubject, ...nobody });
  }

  /** Everyone who subscribed alone, and one member of each queue group. */
  #receiversOf(subject: string): Interest[] {
    const receivers: Interest[] = [];
    const groups = new Map<string, Interest[]>();
    for (const interest of this.#interests) {
      if (!matchesSubject(interest.pattern, subject)) continue;
      if (interest.queue === undefined) receivers.push(interest);
      else groups.set(interest.queue, [...(groups.get(interest.queue) ?? []), interest]);
    }
    for (const members of groups.values()) {
      const chosen = members[Math.floor(this.#random.next() * members.length)];
      if (chosen) receivers.push(chosen);
    }
    return receivers;
  }

  #pass(passage: Passage): void {
    this.#underWay.push(passage);
    if (this.#underWay.length === 1) this.#scheduler.defer(() => this.#handOver());
  }

  #handOver(): void {
    const passages = this.#underWay;
    this.#underWay = [];
    for (const { to, subject, data, replySubject, isNoResponders } of passages)
      if (this.#interests.includes(to)) to.onArrival(subject, data, replySubject, isNoResponders);
  }
}

class MemoryLink implements Link {
  readonly server = "memory";
  readonly payloadMaxBytes: number;
  readonly #wire: Wire;
  readonly #lost = Promise.withResolvers<LostReason>();
  #isOpen = true;

  constructor(wire: Wire, payloadMaxBytes: number) {
    this.#wire = wire;
    this.payloadMaxBytes = payloadMaxBytes;
  }

  get lost(): Promise<LostReason> {
    return this.#lost.promise;
  }

  send(subject: string, data: Uint8Array, replySubject: string): SendOutcome {
    if (!this.#isOpen) return "gone";
    this.#wire.send(this, subject, data, replySubject);
    return "sent";
  }

  subscribe(pattern: string, queue: string | undefined, onArrival: OnArrival): LinkSubscription {
    return this.#wire.add({ link: this, pattern, queue, onArrival });
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  drain(): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  close(): void {
    this.#isOpen = false;
    this.#wire.removeAll(this);
    this.#lost.resolve("closed");
  }
}
