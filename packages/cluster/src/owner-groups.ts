// packages/cluster/src/owner-groups.ts
// What goes to many partitions goes once to each node that owns some of them: grouping by owner, and
// chunks that fit the bus. Hot: the router and ingest's pokes both go through here.
//   RO2  One message per owning node, more only where the bus would not take it; order is kept.

/** The owner of a partition as far as known here: Membership is one. */
export interface Owners {
  ownerOf(home: string, partition: number): string | undefined;
}

export interface OwnerGroups<Value> {
  /** In the order given. */
  readonly byOwner: ReadonlyMap<string, readonly Value[]>;
  /** Nobody is known to own their partition. */
  readonly ownerless: readonly Value[];
}

export function groupByOwner<Value>(
  values: Iterable<Value>,
  ownerOf: (value: Value) => string | undefined,
): OwnerGroups<Value> {
  const byOwner = new Map<string, Value[]>();
  const ownerless: Value[] = [];
  for (const value of values) {
    const owner = ownerOf(value);
    if (owner === undefined) {
      ownerless.push(value);
      continue;
    }
    const group = byOwner.get(owner);
    if (group === undefined) byOwner.set(owner, [value]);
    else group.push(value);
  }
  return { byOwner, ownerless };
}

/** Room for what stands around the items of a message that is made by hand. */
const ENVELOPE_BYTES = 128;
/** UTF-8 bytes of a UTF-16 unit at most: a bound that needs no encoding of its own. */
const BYTES_PER_UNIT_MAX = 3;

/**
 * Items in order, to be joined by one byte each; every chunk and its envelope stay within
 * `maxBytes`. An item that alone is larger stands alone. Bytes are counted only where the bound by
 * length does not fit.
 */
export function chunksOf(
  items: readonly string[],
  maxBytes: number,
  envelopeBytes = ENVELOPE_BYTES,
): (readonly string[])[] {
  if (items.length === 0) return [];
  let unitCount = items.length;
  for (const item of items) unitCount += item.length;
  if (envelopeBytes + unitCount * BYTES_PER_UNIT_MAX <= maxBytes) return [items];
  return cut(items, maxBytes, envelopeBytes);
}

function cut(items: readonly string[], maxBytes: number, envelopeBytes: number): string[][] {
  const chunks: string[][] = [];
  let chunk: string[] = [];
  let sizeBytes = envelopeBytes;
  for (const item of items) {
    const itemBytes = Buffer.byteLength(item) + 1;
    if (chunk.length > 0 && sizeBytes + itemBytes > maxBytes) {
      chunks.push(chunk);
      chunk = [];
      sizeBytes = envelopeBytes;
    }
    chunk.push(item);
    sizeBytes += itemBytes;
  }
  chunks.push(chunk);
  return chunks;
}
