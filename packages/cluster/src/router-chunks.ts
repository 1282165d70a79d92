// packages/cluster/src/router-chunks.ts
// One message for many recipients of one node, as bytes: the body once, the keys behind it (RO2).
import type { RecipientKey } from "@carillon/contracts";
import { chunksOf } from "./owner-groups.ts";

/** Those of one node, by their positions in the whole list. */
export interface ChunkSource {
  readonly list: readonly RecipientKey[];
  readonly partitions: Uint16Array;
  readonly positions: readonly number[];
}

export interface EncodedChunk {
  /** Undefined: with this one key it is too large already. */
  readonly data: Uint8Array | undefined;
  /** Positions of the keys in it. */
  readonly chunk: readonly number[];
}

export interface SharedMessage {
  readonly name: string;
  readonly bodyJson: string;
  readonly isForwarded: boolean;
  readonly maxBytes: number;
}

const encoder = new TextEncoder();
const TAIL = "]}";

/** RoutedSend as JSON, each within `maxBytes`. */
export function* encodedChunks(
  { list, partitions, positions }: ChunkSource,
  { name, bodyJson, isForwarded, maxBytes }: SharedMessage,
): Generator<EncodedChunk> {
  const placeOf = createPlaces();
  const targets = positions.map((position) => {
    const { home = "", tenantId = "", recipientId = "" } = list[position] ?? {};
    const place = placeOf.number(home, tenantId);
    return `[${place},${partitions[position] ?? 0},${JSON.stringify(recipientId)}]`;
  });
  const head =
    `{"kind":"send","name":${JSON.stringify(name)},"isForwarded":${isForwarded},` +
    `"places":[${placeOf.json().join(",")}],"body":${bodyJson},"to":[`;
  const envelopeBytes = Buffer.byteLength(head) + TAIL.length;
  let at = 0;
  for (const chunk of chunksOf(targets, maxBytes, envelopeBytes)) {
    const [first = ""] = chunk;
    const isTooLarge = envelopeBytes + Buffer.byteLength(first) > maxBytes; // never encoded then
    const data = isTooLarge ? undefined : encoder.encode(head + chunk.join(",") + TAIL);
    yield { data, chunk: positions.slice(at, at + chunk.length) };
    at += chunk.length;
  }
}

/** Homes and tenants stand once in a message; a key names its place. */
function createPlaces() {
  const places = new Map<string, Map<string, number>>(); // home → tenant → place
  const json: string[] = [];
  return {
    number(home: string, tenantId: string): number {
      let tenants = places.get(home);
      if (tenants === undefined) places.set(home, (tenants = new Map()));
      const known = tenants.get(tenantId);
      if (known !== undefined) return known;
      tenants.set(tenantId, json.length);
      return json.push(JSON.stringify([home, tenantId])) - 1;
    },
    json: (): readonly string[] => json,
  };
}
