// packages/delivery/src/gateway-outbox.ts
// Collects what is to be sent to gateways and sends it once per gateway: payload once, sessions as
// a list (DESIGN §5, W7).
//   GO1  For one session offsets leave in the order they were queued.
//   GO2  Messages to one gateway are numbered 1, 2, 3 …; a number is used up even when the message
//        could not leave, so that the gateway notices the gap (ADR 0006).
//   GO3  A message stays below `messageMaxBytes`; at most `queueMax` sends wait for a flush.
//   GO4  A gateway to which nothing can be published holds up no other.
import type { Deliver, InboxEvent } from "@carillon/contracts";
import type { GatewayPort } from "./ports.ts";

type Item = Deliver["items"][number];
type Group = Item["groups"][number];

export interface Sending {
  readonly gatewayId: string;
  readonly event: InboxEvent;
  readonly payload: string; // of two events never the same
  readonly partition: number;
  readonly ledgerEpoch: string;
  readonly offset: number;
  readonly isResend: boolean;
  readonly sid: number;
}

interface OutboxItem extends Item {
  readonly groupByKey: Map<string, Group>;
}

interface Link {
  seq: number;
  items: OutboxItem[];
  readonly itemByPayload: Map<string, number>;
  readonly lastItemOf: Map<number, number>; // partition → item that must not be overtaken (GO1)
  lastGroup: Group | undefined;
  lastPayload: string | undefined;
}

export interface GatewayOutboxOptions {
  readonly ownerId: string;
  readonly home: string;
  readonly messageMaxBytes: number;
  readonly queueMax: number;
  /** In a later turn of the loop. */
  readonly defer: (run: () => void) => void;
  /** Last number to each gateway of an earlier owner with this id: the count goes on (GO2). */
  readonly firstSeqs?: Readonly<Record<string, number>>;
}

const BYTES_PER_GROUP = 120;
const BYTES_PER_SID = 9;

export class GatewayOutbox {
  readonly #options: GatewayOutboxOptions;
  readonly #port: GatewayPort;
  readonly #links = new Map<string, Link>();
  #queuedCount = 0;
  #isFlushDeferred = false;
  sentCount = 0; // messages
  failedCount = 0; // messages that could not leave

  constructor(options: GatewayOutboxOptions, port: GatewayPort) {
    this.#options = options;
    this.#port = port;
  }

  /** Sends that wait for a flush. */
  get queuedCount(): number {
    return this.#queuedCount;
  }

  queue(sending: Sending): void {
    const link = this.#linkOf(sending.gatewayId);
    this.#groupOf(link, sending).sids.push(sending.sid);
    if (++this.#queuedCount >= this.#options.queueMax) this.flush(); // GO3
  }

  /** Number of the last message to this gateway, after sending what is queued for it. */
  seqAfterFlush(gatewayId: string): number {
    this.flush();
    return this.#linkOf(gatewayId).seq;
  }

  flush(): void {
    if (this.#queuedCount === 0) return;
    this.#queuedCount = 0;
    for (const [gatewayId, link] of this.#links) {
      if (link.items.length === 0) continue;
      const { items } = link;
      link.items = [];
      link.itemByPayload.clear();
      link.lastItemOf.clear();
      link.lastGroup = link.lastPayload = undefined;
      for (const message of chunk(items, this.#options.messageMaxBytes)) {
        link.seq++;
        const isSent = this.#deliver(gatewayId, link.seq, message);
        if (isSent) this.sentCount++;
        else this.failedCount++; // GO2
      }
    }
  }

  /** For whoever sends outside of a process's turn. */
  flushLater(): void {
    if (this.#isFlushDeferred) return;
    this.#isFlushDeferred = true;
    this.#options.defer(() => {
      this.#isFlushDeferred = false;
      this.flush();
    });
  }

  /** One gateway whose message cannot be published keeps the others' back in no case (GO4). */
  #deliver(gatewayId: string, seq: number, items: Item[]): boolean {
    try {
      return this.#port.deliver(gatewayId, { ownerId: this.#options.ownerId, seq, items });
    } catch {
      return false; // counted: the gateway notices the gap, as if it had been lost
    }
  }

  /** For the beat: gateway → last number. */
  links(): Record<string, number> {
    return Object.fromEntries([...this.#links].map(([gatewayId, { seq }]) => [gatewayId, seq]));
  }

  forget(gatewayId: string): void {
    this.#links.delete(gatewayId);
  }

  #linkOf(gatewayId: string): Link {
    let link = this.#links.get(gatewayId);
    if (link === undefined) {
      link = {
        seq: this.#options.firstSeqs?.[gatewayId] ?? 0,
        items: [],
        itemByPayload: new Map(),
        lastItemOf: new Map(),
        lastGroup: undefined,
        lastPayload: undefined,
      };
      this.#links.set(gatewayId, link);
    }
    return link;
  }

  #groupOf(link: Link, sending: Sending): Group {
    const last = link.lastGroup;
    if (last !== undefined && link.lastPayload === sending.payload && isGroup(last, sending))
      return last; // the usual case: one entry goes to many sessions in a row
    const { partition, offset, isResend } = sending;
    const item = this.#itemOf(link, sending);
    const key = `${partition}/${offset}/${isResend}`;
    let group = item.groupByKey.get(key);
    if (group === undefined) {
      const { home } = this.#options;
      group = { home, partition, epoch: sending.ledgerEpoch, offset, isResend, sids: [] };
      item.groups.push(group);
      item.groupByKey.set(key, group);
    }
    link.lastGroup = group;
    link.lastPayload = sending.payload;
    return group;
  }

  #itemOf(link: Link, { event, payload, partition }: Sending): OutboxItem {
    const lastOfPartition = link.lastItemOf.get(partition) ?? -1;
    const known = link.itemByPayload.get(payload) ?? -1;
    const existing = known >= lastOfPartition ? link.items[known] : undefined;
    if (existing !== undefined) {
      link.lastItemOf.set(partition, known);
      return existing;
    }
    const named = event === "ntf" ? {} : { event };
    const item: OutboxItem = { payload, ...named, groups: [], groupByKey: new Map() };
    link.items.push(item);
    link.itemByPayload.set(payload, link.items.length - 1);
    link.lastItemOf.set(partition, link.items.length - 1);
    return item;
  }
}

function isGroup(group: Group, sending: Sending): boolean {
  return (
    group.offset === sending.offset &&
    group.partition === sending.partition &&
    group.isResend === sending.isResend
  );
}

/** Messages below `maxBytes` each, in order; a group of very many sessions is cut too. */
function* chunk(items: readonly OutboxItem[], maxBytes: number): Generator<Item[]> {
  let message: Item[] = [];
  let bytes = 0;
  for (const { groups, payload, event } of items) {
    const named = event === undefined ? {} : { event };
    const payloadBytes = payload.length * 3; // UTF-8 at the worst
    let current: Item | undefined;
    for (const group of groups) {
      for (const sids of cut(group.sids, Math.max(1, Math.floor(maxBytes / 2 / BYTES_PER_SID)))) {
        const groupBytes = BYTES_PER_GROUP + sids.length * BYTES_PER_SID;
        const needed = groupBytes + (current === undefined ? payloadBytes : 0);
        if (bytes + needed > maxBytes && message.length > 0) {
          yield message;
          message = [];
          bytes = 0;
          current = undefined;
        }
        if (current === undefined) {
          current = { payload, ...named, groups: [] };
          message.push(current);
          bytes += payloadBytes;
        }
        current.groups.push({ ...group, sids });
        bytes += groupBytes;
      }
    }
  }
  if (message.length > 0) yield message;
}

function cut(sids: number[], countMax: number): number[][] {
  if (sids.length <= countMax) return [sids];
  const parts: number[][] = [];
  for (let at = 0; at < sids.length; at += countMax) parts.push(sids.slice(at, at + countMax));
  return parts;
}
