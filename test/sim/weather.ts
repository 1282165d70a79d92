// test/sim/weather.ts
// What was wrong where, and when: looked at from outside, so that a check of what must be well while
// nothing else is wrong (oracle-arrival.ts) does not depend on how a fault is made. Clocks that jump and
// sockets that break are not in it: the first change nothing (C15), the second are the device's (people.ts).
import type { Cluster, Slot } from "./cluster.ts";
import type { SimNode } from "./node.ts";

export interface Span {
  readonly fromMs: number;
  toMs: number;
}

/** Every fault lasts longer, and what begins anew is seen by its name. */
const LOOK_EVERY_MS = 100;
/** After a fault that is over: leases run out and are taken (C18), links and sessions are made again. */
const SETTLED_AFTER_MS = 12_000;

export class Weather {
  readonly #cluster: Cluster;
  readonly #troubles = new Map<string, Span[]>(); // by region
  readonly #cuts = new Map<string, Span[]>(); // by region: from some other one, whichever way
  readonly #pairCuts = new Map<string, Span[]>(); // by both, in the order of their names
  readonly #known = new Map<string, SimNode>(); // by slot

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    cluster.world.every(LOOK_EVERY_MS, () => this.#look());
  }

  /** Whatever is wrong with the region's nodes, their links, its database, or the network as a whole. */
  troublesOf(region: string): readonly Span[] {
    return this.#troubles.get(region) ?? [];
  }

  /** And for a while after it. */
  settledTroublesOf(region: string): readonly Span[] {
    return this.troublesOf(region).map(({ fromMs, toMs }) => ({
      fromMs,
      toMs: toMs + SETTLED_AFTER_MS,
    }));
  }

  cutsOf(region: string): readonly Span[] {
    return this.#cuts.get(region) ?? [];
  }

  cutsBetween(a: string, b: string): readonly Span[] {
    return this.#pairCuts.get(pairOf(a, b)) ?? [];
  }

  #look(): void {
    const { network, layout, slots } = this.#cluster;
    const { regions } = layout;
    const isStormy = Object.values(network.faults).some((fault) => fault > 0);
    const troubled = new Set<string>(isStormy ? regions : []);
    for (const slot of slots) if (this.#isOut(slot)) troubled.add(slot.region);
    for (const region of regions) if (this.#isStoreIll(region)) troubled.add(region);
    for (const [from, to] of network.blocks()) {
      const isCut = regions.includes(from) && regions.includes(to);
      if (!isCut) {
        for (const end of [from, to]) troubled.add(this.#regionOf(end));
        continue;
      }
      this.#note(this.#pairCuts, pairOf(from, to));
      for (const end of [from, to]) this.#note(this.#cuts, end);
    }
    for (const region of troubled) this.#note(this.#troubles, region);
  }

  /** Also right after its start, which takes a while. */
  #isOut(slot: Slot): boolean {
    const { node } = slot;
    const isNew = node !== this.#known.get(slot.name);
    if (node === undefined) return true;
    this.#known.set(slot.name, node);
    return isNew || !node.isAlive || node.isStopping || node.machine.isPaused;
  }

  #isStoreIll(region: string): boolean {
    const faults = this.#cluster.storeFaults.get(region);
    if (faults === undefined) return false;
    const { failShare, lostAnswerShare, slowShare, isAway } = faults;
    return isAway || failShare + lostAnswerShare + slowShare > 0;
  }

  /** Of a region, or of a node by its name, of any start. */
  #regionOf(name: string): string {
    const slot = this.#cluster.slots.find((one) => name.startsWith(`${one.name}-`));
    return slot?.region ?? name;
  }

  #note(spans: Map<string, Span[]>, key: string): void {
    const { nowMs } = this.#cluster.world;
    const known = spans.get(key) ?? [];
    spans.set(key, known);
    const last = known.at(-1);
    const [fromMs, toMs] = [nowMs - LOOK_EVERY_MS, nowMs + LOOK_EVERY_MS];
    if (last !== undefined && last.toMs >= fromMs) last.toMs = toMs;
    else known.push({ fromMs, toMs });
  }
}

function pairOf(a: string, b: string): string {
  return a < b ? `${a}/${b}` : `${b}/${a}`;
}

/** The first instant from `fromMs` on that begins `lengthMs` which none of them touches; ∞: none. */
export function firstClearMs(spans: readonly Span[], fromMs: number, lengthMs: number): number {
  let clearMs = fromMs;
  for (const span of spans.toSorted((a, b) => a.fromMs - b.fromMs))
    if (span.toMs > clearMs && span.fromMs < clearMs + lengthMs) clearMs = span.toMs;
  return clearMs;
}

export function touches(spans: readonly Span[], fromMs: number, toMs: number): boolean {
  return spans.some((span) => span.fromMs < toMs && span.toMs > fromMs);
}
