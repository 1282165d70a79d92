// apps/ingest/src/directory-writer.ts
// Recipients are written in their home region and nowhere else (D8): here, or by a request there.
//   IN16 The known home wins over the wished one; a wish that differs is refused, never a move.
//   IN17 Committed first, then the owners are poked with the new directory versions.
import type { Bus } from "@carillon/bus";
import { chunksOf } from "@carillon/cluster";
import {
  decodeMessage,
  directoryReplySchema,
  type DirectoryReply,
  type RecipientChange,
  subjects,
} from "@carillon/contracts";
import type { Store } from "@carillon/store";
import type { Homes } from "./homes.ts";
import type { Poker } from "./poke.ts";
import type { Relay } from "./relay.ts";

export type WriteOutcome =
  | { readonly kind: "stored"; readonly created: number; readonly updated: number }
  | { readonly kind: "unreachable" }
  /** The tenant may not be served where that home is hosted now (IN36). */
  | { readonly kind: "withheld" };

export type HomeChoice =
  | { readonly kind: "home"; readonly home: string }
  | { readonly kind: "unknown_region" }
  | { readonly kind: "conflict" };

export interface DirectoryWriter {
  /** All of one home. Repeats are harmless. Throws Fault when the store here is down. */
  write(home: string, tenantId: string, changes: readonly RecipientChange[]): Promise<WriteOutcome>;
  /** For this region's own people only; pokes their owners. */
  writeHere(
    tenantId: string,
    changes: readonly RecipientChange[],
  ): Promise<{ created: number; updated: number }>;
}

export interface DirectoryWriterOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly requestTimeoutMs: number;
}

export function createDirectoryWriter(
  options: DirectoryWriterOptions,
  deps: {
    readonly store: Store;
    readonly bus: Bus;
    readonly homes: Homes;
    readonly poker: Poker;
    readonly relay: Relay;
  },
): DirectoryWriter {
  const { region, regions } = options;
  const { store, bus, homes, poker, relay } = deps;
  const otherRegions = regions.filter((other) => other !== region);

  const writeHere: DirectoryWriter["writeHere"] = async (tenantId, changes) => {
    const { created, updated, partitions } = await store.directory.upsert({
      home: region,
      tenantId,
      changes,
      otherRegions,
    });
    poker.directory(partitions);
    if (created > 0) relay.sweepSoon(); // rows for the other regions, due at once
    return { created, updated };
  };

  const writeThere = async (
    home: string,
    tenantId: string,
    changes: readonly RecipientChange[],
  ): Promise<WriteOutcome> => {
    let created = 0;
    let updated = 0;
    const encoded = changes.map((change) => JSON.stringify(change));
    for (const chunk of chunksOf(encoded, bus.payloadMaxBytes)) {
      const text = `{"tenantId":${JSON.stringify(tenantId)},"changes":[${chunk.join(",")}]}`;
      const reply = await ask(bus, subjects.regionDirectory(home), text, options.requestTimeoutMs);
      if (reply?.kind === "failed" && reply.code === "tenant_withheld") return { kind: "withheld" };
      if (reply?.kind !== "stored") return { kind: "unreachable" };
      created += reply.created;
      updated += reply.updated;
    }
    return { kind: "stored", created, updated };
  };

  return {
    writeHere,
    async write(home, tenantId, changes) {
      const outcome: WriteOutcome =
        home === region
          ? { kind: "stored", ...(await writeHere(tenantId, changes)) }
          : await writeThere(home, tenantId, changes);
      if (outcome.kind === "stored")
        homes.note(
          tenantId,
          changes.map((change) => change.recipientId),
          home,
        );
      return outcome;
    },
  };
}

/** Where a recipient is to be written (IN16). */
export function homeChoiceOf(question: {
  readonly known: string | undefined;
  readonly wished: string | undefined;
  readonly here: string;
  readonly regions: readonly string[];
}): HomeChoice {
  const { known, wished, here, regions } = question;
  if (wished !== undefined && !regions.includes(wished)) return { kind: "unknown_region" };
  if (known !== undefined && wished !== undefined && known !== wished) return { kind: "conflict" };
  return { kind: "home", home: known ?? wished ?? here };
}

async function ask(
  bus: Bus,
  subject: string,
  text: string,
  timeoutMs: number,
): Promise<DirectoryReply | null> {
  const outcome = await bus.request(subject, new TextEncoder().encode(text), timeoutMs);
  if (outcome.kind !== "reply") return null;
  const decoded = decodeMessage(directoryReplySchema, outcome.data);
  return decoded.kind === "message" ? decoded.message : null;
}
