// apps/ingest/src/poke.ts
// Straight after a commit: tells the owners of the partitions what is new (DESIGN §5.3).
//   IN7  One message per owner and commit group, the content of a notification once in it; more
//        only when it would not fit the bus. A lost poke costs a delay: the owner's sweep.
//   IN8  A partition without a known owner is skipped.
import type { Bus } from "@carillon/bus";
import { partitionOf, type PokeEntry, type RegionAudience, subjects } from "@carillon/contracts";

export interface PokeSource {
  readonly tenantId: string;
  readonly notificationJson: string; // encoded once, whatever it is needed for
  readonly audience: RegionAudience;
  readonly entries: readonly PokeEntry[];
}

export type DirectoryVersions = readonly (readonly [partition: number, version: number])[];

/** The owner of a partition as far as known here (packages/cluster's Membership). */
export interface Owners {
  ownerOf(home: string, partition: number): string | undefined;
}

export interface PokeOptions {
  readonly home: string;
  readonly bus: Bus;
  readonly owners: Owners;
  readonly onPoke: (outcome: "sent" | "lost" | "no_owner", count: number) => void;
}

export interface Poker {
  notifications(sources: readonly PokeSource[]): void;
  directory(versions: DirectoryVersions): void;
}

export function createPoker(options: PokeOptions): Poker {
  const { home, bus, owners } = options;
  const encoder = new TextEncoder();

  const send = (memberId: string, items: readonly string[], directory: string): void => {
    const text = `{"home":"${home}","items":[${items.join(",")}],"directory":${directory}}`;
    const outcome = bus.publish(subjects.memberPoke(memberId), encoder.encode(text));
    options.onPoke(outcome.kind === "sent" ? "sent" : "lost", 1);
  };

  /** By owner, the values whose partition it owns, in the order given. */
  const groupByOwner = <T>(values: readonly T[], partitionFor: (value: T) => number) => {
    const groups = new Map<string, T[]>();
    let ownerlessCount = 0;
    for (const value of values) {
      const owner = owners.ownerOf(home, partitionFor(value));
      if (owner === undefined) ownerlessCount++;
      else push(groups, owner, value);
    }
    if (ownerlessCount > 0) options.onPoke("no_owner", ownerlessCount);
    return groups;
  };

  return {
    notifications(sources) {
      const itemsByOwner = new Map<string, string[]>();
      for (const source of sources) {
        const groups = groupByOwner(source.entries, (entry) => entry.partition);
        for (const [owner, entries] of groups) push(itemsByOwner, owner, itemJson(source, entries));
      }
      for (const [owner, items] of itemsByOwner)
        for (const chunk of chunksOf(items, bus.payloadMaxBytes)) send(owner, chunk, "[]");
    },
    directory(versions) {
      for (const [owner, owned] of groupByOwner(versions, ([partition]) => partition))
        send(owner, [], JSON.stringify(owned));
    },
  };
}

/** The PokeItem as JSON; its audience holds only what these entries need. */
function itemJson(source: PokeSource, entries: readonly PokeEntry[]): string {
  const audience = JSON.stringify(audienceFor(source, entries));
  const rest = `"audience":${audience},"entries":${JSON.stringify(entries)}`;
  return `{"notification":${source.notificationJson},${rest}}`;
}

function audienceFor(source: PokeSource, entries: readonly PokeEntry[]): RegionAudience | null {
  const open = new Set<number>();
  for (const entry of entries) if (entry.members === null) open.add(entry.partition);
  if (open.size === 0) return null;
  const { audience, tenantId } = source;
  if (audience.kind !== "recipients") return audience;
  const recipientIds = audience.recipientIds.filter((recipientId) =>
    open.has(partitionOf(tenantId, recipientId)),
  );
  return { kind: "recipients", recipientIds };
}

const ENVELOPE_BYTES = 128;
/** UTF-8 bytes of a UTF-16 unit at most: a bound that needs no encoding of its own. */
const BYTES_PER_UNIT_MAX = 3;

/** Items in order, each chunk below `maxBytes`; an item that alone is larger stands alone. */
export function chunksOf(items: readonly string[], maxBytes: number): string[][] {
  const chunks: string[][] = [];
  let chunk: string[] = [];
  let sizeBytes = ENVELOPE_BYTES;
  for (const item of items) {
    const itemBytes = sizeBoundOf(item, maxBytes) + 1;
    if (chunk.length > 0 && sizeBytes + itemBytes > maxBytes) {
      chunks.push(chunk);
      chunk = [];
      sizeBytes = ENVELOPE_BYTES;
    }
    chunk.push(item);
    sizeBytes += itemBytes;
  }
  if (chunk.length > 0) chunks.push(chunk);
  return chunks;
}

function sizeBoundOf(text: string, maxBytes: number): number {
  const boundBytes = text.length * BYTES_PER_UNIT_MAX;
  return boundBytes < maxBytes / 256 ? boundBytes : Buffer.byteLength(text);
}

/** Appends to the list at `key`. */
export function push<T>(groups: Map<string, T[]>, key: string, value: T): void {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, [value]);
  else group.push(value);
}
