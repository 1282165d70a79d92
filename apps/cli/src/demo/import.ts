// apps/cli/src/demo/import.ts
// Registers people through the public NDJSON import, each in the region where they live.
import type { ImportReport } from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import type { ApiClient } from "../clients/api-client.ts";

const IMPORT_MAX_MS = 120_000;

export interface ImportTotals {
  readonly createdCount: number;
  readonly updatedCount: number;
}

/** Throws Fault `api_failed`, and `import_rejected` when a line was not taken. */
export async function importPeople(
  api: ApiClient,
  people: readonly object[],
): Promise<ImportTotals> {
  if (people.length === 0) return { createdCount: 0, updatedCount: 0 };
  const answer = await api.expect({
    method: "POST",
    path: "/v1/recipients/import",
    contentType: "application/x-ndjson",
    body: people.map((person) => `${JSON.stringify(person)}\n`).join(""),
    timeoutMs: IMPORT_MAX_MS,
  });
  const report = answer as ImportReport;
  const [reject] = report.rejects;
  if (reject !== undefined)
    throw new Fault(
      `${report.rejected} lines were rejected; line ${reject.line}: ${reject.field} ${reject.message}`,
      { code: "import_rejected", isRetryable: false },
    );
  return { createdCount: report.created, updatedCount: report.updated };
}
