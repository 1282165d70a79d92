// apps/ingest/src/import.ts
// NDJSON import of recipients (A6): a stream of any size, stored in batches by home region.
//   IN19 Every line that is not blank is counted once: as created, updated or rejected.
//   IN20 The sender is read no faster than batches are stored: one batch is held at a time.
//   IN21 A line that is not valid does not touch the others. Importing again is harmless.
import {
  fieldErrorsOf,
  type ImportLine,
  importLineSchema,
  type ImportReject,
  type ImportReport,
  LIMITS,
} from "@carillon/contracts";
import { type Answer, ok } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import { changeOf, HOME_CONFLICT_MESSAGE, unknownRegionMessage } from "./directory-routes.ts";
import { type DirectoryWriter, homeChoiceOf } from "./directory-writer.ts";
import type { Homes } from "./homes.ts";
import type { Call } from "./http-server.ts";
import { parseJsonBody } from "./json-body.ts";
import { type Line, linesOf } from "./ndjson.ts";
import { push } from "./poke.ts";

export interface ImportDeps {
  readonly region: string;
  readonly regions: readonly string[];
  readonly homes: Homes;
  readonly writer: DirectoryWriter;
}

const BATCH_LINES_MAX = 1_000;
const BATCH_MAX_BYTES = 4_194_304;

interface NumberedLine {
  readonly number: number;
  readonly line: ImportLine;
}

export async function importRecipients(call: Call<KeyCaller>, deps: ImportDeps): Promise<Answer> {
  const run = new ImportRun(call.caller.tenantId, deps);
  for await (const lines of linesOf(call.stream, LIMITS.importLineMaxBytes))
    for (const line of lines) await run.take(line);
  await run.flush();
  return ok(200, run.report());
}

class ImportRun {
  readonly #tenantId: string;
  readonly #deps: ImportDeps;
  #batch: NumberedLine[] = [];
  #batchBytes = 0;
  #created = 0;
  #updated = 0;
  #rejected = 0;
  readonly #rejects: ImportReject[] = [];

  constructor(tenantId: string, deps: ImportDeps) {
    this.#tenantId = tenantId;
    this.#deps = deps;
  }

  async take({ number, bytes }: Line): Promise<void> {
    if (bytes === null) {
      const message = `must be at most ${LIMITS.importLineMaxBytes} bytes`;
      return this.#reject({ line: number, field: "line", message });
    }
    const json = parseJsonBody(bytes);
    if (json.kind === "problem")
      return this.#reject({ line: number, field: "line", message: "must be a JSON object" });
    const parsed = importLineSchema.safeParse(json.value);
    if (!parsed.success) {
      const [first] = fieldErrorsOf(parsed.error, json.value, "line");
      const { field, message } = first ?? { field: "line", message: "is not valid" };
      return this.#reject({ line: number, field, message });
    }
    this.#batch.push({ number, line: parsed.data });
    this.#batchBytes += bytes.length;
    if (this.#batch.length >= BATCH_LINES_MAX || this.#batchBytes >= BATCH_MAX_BYTES)
      await this.flush();
  }

  async flush(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    this.#batchBytes = 0;
    if (batch.length === 0) return;
    const byHome = this.#sortByHome(batch, await this.#homesOf(batch));
    await Promise.all([...byHome].map(([home, lines]) => this.#write(home, lines)));
  }

  report(): ImportReport {
    return {
      created: this.#created,
      updated: this.#updated,
      rejected: this.#rejected,
      rejects: this.#rejects.toSorted((left, right) => left.line - right.line),
    };
  }

  async #write(home: string, lines: readonly NumberedLine[]): Promise<void> {
    const changes = lines.map(({ line }) => changeOf(line.recipientId, line));
    const outcome = await this.#deps.writer.write(home, this.#tenantId, changes);
    if (outcome.kind === "stored") {
      this.#created += outcome.created;
      this.#updated += outcome.updated;
      return;
    }
    const message = `the region ${home} cannot be reached; import the line again`;
    for (const { number } of lines) this.#reject({ line: number, field: "homeRegion", message });
  }

  /** Known homes, and those that are settled now for new ids: as the id's first line wishes. */
  async #homesOf(batch: readonly NumberedLine[]): Promise<ReadonlyMap<string, string>> {
    const { homes, region, regions } = this.#deps;
    const ids = new Set(batch.map(({ line }) => line.recipientId));
    const found = await homes.find(this.#tenantId, [...ids]);
    const wishes = new Map<string, string>();
    for (const { line } of batch) {
      const { recipientId, homeRegion = region } = line;
      if (found.homes.has(recipientId) || wishes.has(recipientId)) continue;
      if (regions.includes(homeRegion)) wishes.set(recipientId, homeRegion);
    }
    if (wishes.size === 0) return found.homes;
    return new Map([...found.homes, ...(await homes.claim(this.#tenantId, wishes))]);
  }

  #sortByHome(
    batch: readonly NumberedLine[],
    homes: ReadonlyMap<string, string>,
  ): Map<string, NumberedLine[]> {
    const { region, regions } = this.#deps;
    const byHome = new Map<string, NumberedLine[]>();
    for (const numbered of batch) {
      const { recipientId, homeRegion: wished } = numbered.line;
      const known = homes.get(recipientId);
      const choice = homeChoiceOf({ known, wished, here: region, regions });
      if (choice.kind !== "home") {
        const message =
          choice.kind === "conflict" ? HOME_CONFLICT_MESSAGE : unknownRegionMessage(regions);
        this.#reject({ line: numbered.number, field: "homeRegion", message });
      } else if (known === undefined) {
        const message =
          "its home is settled in a region that cannot be reached; import the line again";
        this.#reject({ line: numbered.number, field: "recipientId", message });
      } else push(byHome, known, numbered);
    }
    return byHome;
  }

  #reject(reject: ImportReject): void {
    this.#rejected++;
    if (this.#rejects.length < LIMITS.importRejectsReported) this.#rejects.push(reject);
  }
}
