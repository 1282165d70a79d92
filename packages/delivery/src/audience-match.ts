// packages/delivery/src/audience-match.ts
// Does an audience come to one recipient, on what is known of it now? For whoever has its row and no
// partition: the same evaluation as an owner's, on a directory of one.
import type { RegionAudience } from "@carillon/contracts";
import { PartitionDirectory } from "./partition-directory.ts";
import type { DirectoryRow } from "./ports.ts";

export function isInAudience(
  row: DirectoryRow,
  audience: RegionAudience,
  exclude: readonly string[],
): boolean {
  if (audience.kind === "unread") return false; // the ledger knows, and no row of a person says it
  const directory = new PartitionDirectory();
  directory.put({ ...row, index: 0 }); // the first place: no array of empty ones before it
  return !directory.select(row.tenantId, audience, exclude).isEmpty;
}
