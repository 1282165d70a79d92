// apps/ingest/src/poke.ts
// Straight after a commit: tells the owners of the partitions what is new (DESIGN §5.3).
//   IN7  One message per owner and commit group, the content of a notification once in it; more
//        only when it would not fit the bus. A lost poke costs a delay: the owner's sweep.
//   IN8  A partition without a known owner is skipped.
import type { Bus } from "@carillon/bus";
import { chunksOf, groupByOwner, type Owners } from "@carillon/cluster";
import { partitionOf, type PokeEntry, type RegionAudience, subjects } from "@carillon/contracts";

export interface PokeSource {
  readonly tenantId: string;
  readonly notificationJson: string; // encoded once, whatever it is needed for
  readonly audience: RegionAudience;
  readonly entries: readonly PokeEntry[];
}

export type DirectoryVersions = readonly (readonly [partition: number, version: number])[];

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

  /** By owner, the values whose partition it owns (IN8). */
  const ownersOf = <T>(values: readonly T[], partitionFor: (value: T) => number) => {
    const { byOwner, ownerless } = groupByOwner(values, (value) =>
      owners.ownerOf(home, partitionFor(value)),
    );
    if (ownerless.length > 0) options.onPoke("no_owner", ownerless.length);
    return byOwner;
  };

  return {
    notifications(sources) {
      const itemsByOwner = new Map<string, string[]>();
      for (const source of sources) {
        const groups = ownersOf(source.entries, (entry) => entry.partition);
        for (const [owner, entries] of groups) push(itemsByOwner, owner, itemJson(source, entries));
      }
      for (const [owner, items] of itemsByOwner)
        for (const chunk of chunksOf(items, bus.payloadMaxBytes)) send(owner, chunk, "[]");
    },
    directory(versions) {
      for (const [owner, owned] of ownersOf(versions, ([partition]) => partition))
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

/** Appends to the list at `key`. */
export function push<T>(groups: Map<string, T[]>, key: string, value: T): void {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, [value]);
  else group.push(value);
}
