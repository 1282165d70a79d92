// apps/ingest/src/group-members.ts
// Members of static groups are written in their home region and nowhere else (D8): here, or by a
// request there. Committed first, then their owners are poked with the new directory versions (IN17).
import type { Bus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  membersReplySchema,
  type MembersReply,
  subjects,
} from "@carillon/contracts";
import type { MembersResult, Store } from "@carillon/store";
import type { Poker } from "./poke.ts";

export interface MembersChange {
  readonly tenantId: string;
  readonly tag: string;
  readonly recipientIds: readonly string[];
  readonly isMember: boolean; // from now on
}

export type MembersOutcome =
  | Omit<Extract<MembersReply, { kind: "stored" }>, "kind">
  | "unreachable"
  | "withheld";

export interface GroupMembers {
  /** All of one home. Repeats are harmless. Throws Fault when the store here is down. */
  write(home: string, change: MembersChange): Promise<MembersOutcome>;
  /** For this region's own people only; pokes their owners. */
  writeHere(change: MembersChange): Promise<MembersResult>;
}

/** As an import: what one transaction locks, others wait for. */
const MEMBERS_PER_TRANSACTION = 2_000;

export function createGroupMembers(
  options: { readonly region: string; readonly requestTimeoutMs: number },
  deps: { readonly store: Store; readonly bus: Bus; readonly poker: Poker },
): GroupMembers {
  const { region, requestTimeoutMs } = options;
  const { store, bus, poker } = deps;

  const writeHere: GroupMembers["writeHere"] = async (change) => {
    const result = await store.groups.setMembers({ home: region, ...change });
    poker.directory(result.partitions);
    return result;
  };

  const writeThere = async (home: string, change: MembersChange): Promise<MembersOutcome> => {
    const subject = subjects.regionMembers(home);
    const outcome = await bus.request(subject, encodeMessage(change), requestTimeoutMs);
    if (outcome.kind !== "reply") return "unreachable";
    const decoded = decodeMessage(membersReplySchema, outcome.data);
    if (decoded.kind === "malformed") return "unreachable";
    if (decoded.message.kind === "stored") return decoded.message;
    return decoded.message.code === "tenant_withheld" ? "withheld" : "unreachable";
  };

  return {
    writeHere,
    async write(home, change) {
      const sum = { changed: 0, unchanged: 0, missing: [] as string[], full: [] as string[] };
      const { recipientIds } = change;
      for (let first = 0; first < recipientIds.length; first += MEMBERS_PER_TRANSACTION) {
        const some = recipientIds.slice(first, first + MEMBERS_PER_TRANSACTION);
        const part = { ...change, recipientIds: some };
        const written = home === region ? await writeHere(part) : await writeThere(home, part);
        if (typeof written === "string") return written;
        sum.changed += written.changed;
        sum.unchanged += written.unchanged;
        sum.missing.push(...written.missing);
        sum.full.push(...written.full);
      }
      return sum;
    },
  };
}
