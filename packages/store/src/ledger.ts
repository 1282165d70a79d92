// packages/store/src/ledger.ts
// The ledger of a home region for the owners of its partitions: LedgerStore of @carillon/delivery.
//   ST9   Reads that name many partitions are one statement, however many there are.
//   ST10  A page of the directory never ends inside a version: `version > last` reads on without a
//         gap.
//   HM6   Of tenants that are withheld (ADR 0015) no recipient is read, and their rows read as closed
//         and empty: offsets stay without gaps, nothing of them is worked on, nothing is written.
import type { Notification, Preferences, RegionAudience } from "@carillon/contracts";
import { intsOf } from "./arrays.ts";
import { type Release, type Released, releaseRows } from "./deferred-rows.ts";
import { flushRows, type LedgerUpdate, type WriteOutcome } from "./ledger-flush.ts";
import {
  type OwnRowsOptions,
  type OwnRowsWanted,
  readOwn,
  readUnclosedBounded,
} from "./ledger-own.ts";
import { type LedgerRecord, type LedgerRow, ledgerRowOf } from "./ledger-rows.ts";
import { type LedgerTail, readTail, type TailOptions } from "./ledger-tail.ts";
import {
  NOTIFICATION_COLUMNS,
  type NotificationRecord,
  notificationOf,
} from "./notification-rows.ts";
import type { Pool, Statements } from "./pool.ts";
import type { QuarantinedRecipient, SqlQuarantine } from "./quarantine.ts";
import { selectRowsOf } from "./recipients-of.ts";

export interface PartitionHead {
  readonly partition: number;
  readonly nextOffset: number; // the next row's offset; the first is 1
  readonly directoryVersion: number; // 0: no recipient yet
  readonly ledgerEpoch: string; // changes when history was lost or reset
}

/** One recipient in a partition's index. `version`: the partition's directory version it got. */
export interface DirectoryRow {
  readonly index: number;
  readonly tenantId: string;
  readonly recipientId: string;
  readonly locale: string | null;
  readonly timeZone: string | null;
  readonly preferences: Preferences | null;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly groups: readonly string[]; // tags
  readonly version: number;
}

/** A notification as a home region keeps it, with whom it is meant for there. */
export interface StoredNotification {
  readonly notification: Notification;
  readonly audience: RegionAudience;
}

const DIRECTORY_PAGE_COUNT = 5_000;
const ALL_ROWS = 2 ** 31 - 1;

export class SqlLedger {
  readonly #pool: Pool;
  readonly #quarantine: SqlQuarantine;
  #withheldTenants: readonly string[] = [];
  constructor(pool: Pool, quarantine: SqlQuarantine) {
    this.#pool = pool;
    this.#quarantine = quarantine;
  }

  get withheldTenants(): readonly string[] {
    return this.#withheldTenants;
  }

  /** HM6. From the next read on, of timers too; set before owners load, since what they have they keep. */
  withhold(tenantIds: readonly string[]): void {
    this.#withheldTenants = [...tenantIds];
  }

  /** In order of partition. */
  readHeads(home: string, partitions: readonly number[]): Promise<PartitionHead[]> {
    return this.#pool.run("ledger.readHeads", async (sql) => [
      ...(await sql<PartitionHead[]>`
        select n as partition, next_offset as "nextOffset",
          directory_version as "directoryVersion", ledger_epoch as "ledgerEpoch"
        from partition where home = ${home} and n = any(${intsOf(partitions)}::int[])
        order by n`),
    ]);
  }

  readQuarantined(home: string, partitions: readonly number[]): Promise<QuarantinedRecipient[]> {
    return this.#quarantine.list(home, partitions);
  }

  /** Rows above `afterOffset`, ascending, at most `limitCount`. */
  readRows(
    home: string,
    partition: number,
    options: { readonly afterOffset: number; readonly limitCount: number },
  ): Promise<LedgerRow[]> {
    return this.#readLedger(
      "ledger.readRows",
      (sql) => sql<LedgerRecord[]>`
      select * from ledger l
      where l.home = ${home} and l.partition = ${partition}::int
        and l.offset > ${options.afterOffset}::bigint
      order by l.offset limit ${options.limitCount}::int`,
    );
  }

  /**
   * Rows of many partitions that are not closed, ascending by partition and offset; of each recipient at
   * most the first `ownRowsMax` that are for him alone.
   */
  async readUnclosedRows(
    home: string,
    partitions: readonly number[],
    ownRowsMax = ALL_ROWS,
  ): Promise<LedgerRow[]> {
    const rows = await this.#readLedger("ledger.readUnclosedRows", (sql) =>
      readUnclosedBounded(sql, { home, partitions }, ownRowsMax),
    );
    return rows.filter(({ state }) => state !== "closed"); // HM6
  }

  /** Open rows that are for one recipient alone: ascending by partition, recipient and offset. */
  async readOwnRows(
    home: string,
    wanted: readonly OwnRowsWanted[],
    options: OwnRowsOptions,
  ): Promise<LedgerRow[]> {
    const rows = await this.#readLedger("ledger.readOwnRows", (sql) =>
      readOwn(sql, home, wanted, options),
    );
    return rows.filter(({ state }) => state !== "closed"); // HM6
  }

  /** All rows of one notification in these partitions, perhaps several in each, ascending (ADR 0022). */
  readRowsOf(
    home: string,
    partitions: readonly number[],
    notificationId: string,
  ): Promise<LedgerRow[]> {
    const place = { home, partitions, notificationId };
    return this.#readLedger("ledger.readRowsOf", (sql) => selectRowsOf(sql, place));
  }

  /** The newest `limitCount` rows of each partition, ascending by partition and offset. */
  readTails(home: string, partitions: readonly number[], limitCount: number): Promise<LedgerRow[]> {
    return this.#readLedger(
      "ledger.readTails",
      (sql) => sql<LedgerRecord[]>`
      select l.* from unnest(${intsOf(partitions)}::int[]) as wanted(n)
      cross join lateral (
        select * from ledger l where l.home = ${home} and l.partition = wanted.n
        order by l.offset desc limit ${limitCount}::int
      ) l
      order by l.partition, l.offset`,
    );
  }

  /** Rows above `afterOffset` that target `index`, ascending; `planned` rows are left out. */
  readTailOf(home: string, partition: number, options: TailOptions): Promise<LedgerTail> {
    return this.#pool.run("ledger.readTailOf", (sql) =>
      readTail(sql, { home, partition }, options),
    );
  }

  /** In any order; ids that are unknown here, or not meant for this region, are left out. */
  readNotifications(ids: readonly string[]): Promise<StoredNotification[]> {
    return this.#pool.run("ledger.readNotifications", async (sql) => {
      const records = await sql<(NotificationRecord & { audience: RegionAudience })[]>`
        select ${sql.unsafe(NOTIFICATION_COLUMNS)}, n.audience from notification n
        where n.id = any(${ids}::uuid[]) and n.audience is not null`;
      return records.map((record) => ({
        notification: notificationOf(record),
        audience: record.audience,
      }));
    });
  }

  /**
   * Recipients with version > afterVersion, ascending by version, then index. Limit: a page holds
   * more than `limitCount` when its last version does (ST10); a version is one `upsert`.
   */
  readDirectory(
    home: string,
    partition: number,
    options: { readonly afterVersion: number; readonly limitCount: number },
  ): Promise<DirectoryRow[]> {
    return this.#pool.run("ledger.readDirectory", async (sql) => [
      ...(await sql<DirectoryRow[]>`
        select * from (
          select ${sql.unsafe(DIRECTORY_COLUMNS)} from recipient r
          where r.home = ${home} and r.partition = ${partition}::int
            and r.version > ${options.afterVersion}::bigint
            and r.tenant_id <> all(${this.#withheldTenants}::text[])
          order by r.version
          fetch first (${options.limitCount}::int) rows with ties
        ) page order by version, index`),
    ]);
  }

  /**
   * Whole directory of many partitions, in pages. Not one snapshot: whoever read the heads before
   * gets every recipient of those versions here, and later ones from `readDirectory`.
   */
  async streamDirectory(
    home: string,
    partitions: readonly number[],
    onPage: (rows: { partition: number; row: DirectoryRow }[]) => void,
  ): Promise<void> {
    let after = { partition: -1, index: -1 };
    for (let isMore = true; isMore;) {
      // oxlint-disable-next-line no-await-in-loop -- a page begins where the last one ended
      const page = await this.#readDirectoryPage(home, partitions, after);
      if (page.length > 0) onPage(page.map(({ partition, ...row }) => ({ partition, row })));
      after = page.at(-1) ?? after;
      isMore = page.length === DIRECTORY_PAGE_COUNT;
    }
  }

  /** Sets and state of rows, replaced; refused per partition by the fence (D4), in one statement. */
  writeRows(home: string, updates: readonly LedgerUpdate[]): Promise<WriteOutcome> {
    if (updates.length === 0) return Promise.resolve({ fencedPartitions: [] });
    return this.#pool.run("ledger.writeRows", (sql) => flushRows(sql, home, updates));
  }

  /** Rows whose time has come, at the next offsets of their partitions; refused by the fence (D4). */
  releaseRows(home: string, releases: readonly Release[]): Promise<Released> {
    if (releases.length === 0) return Promise.resolve({ entries: [], fencedPartitions: [] });
    return this.#pool.run("ledger.releaseRows", (sql) => releaseRows(sql, home, releases));
  }

  #readDirectoryPage(
    home: string,
    partitions: readonly number[],
    after: { readonly partition: number; readonly index: number },
  ): Promise<(DirectoryRow & { partition: number })[]> {
    return this.#pool.run(
      "ledger.streamDirectory",
      (sql) => sql<(DirectoryRow & { partition: number })[]>`
      select r.partition, ${sql.unsafe(DIRECTORY_COLUMNS)} from recipient r
      where r.home = ${home} and r.partition = any(${intsOf(partitions)}::int[])
        and (r.partition, r.idx) > (${after.partition}::int, ${after.index}::int)
        and r.tenant_id <> all(${this.#withheldTenants}::text[])
      order by r.partition, r.idx limit ${DIRECTORY_PAGE_COUNT}`,
    );
  }

  #readLedger(
    operation: string,
    read: (sql: Statements) => PromiseLike<LedgerRecord[]>,
  ): Promise<LedgerRow[]> {
    return this.#pool.run(operation, async (sql) => {
      const rows = (await read(sql)).map(ledgerRowOf);
      if (this.#withheldTenants.length === 0 || rows.length === 0) return rows;
      const withheld = await withheldOf(sql, rows, this.#withheldTenants);
      return rows.map((row) => (withheld.has(row.notificationId) ? emptied(row) : row));
    });
  }
}

/** Of `recipient r`. */
export const DIRECTORY_COLUMNS = `r.idx as index, r.tenant_id as "tenantId",
  r.recipient_id as "recipientId", r.locale, r.time_zone as "timeZone", r.preferences, r.attributes,
  r.groups, r.version`;

/** Ids of those notifications that belong to one of the tenants. */
async function withheldOf(
  sql: Statements,
  rows: readonly LedgerRow[],
  tenantIds: readonly string[],
): Promise<Set<string>> {
  const ids = [...new Set(rows.map(({ notificationId }) => notificationId))];
  const found = await sql<{ id: string }[]>`
    select id from notification where id = any(${ids}::uuid[])
      and tenant_id = any(${tenantIds}::text[])`;
  return new Set(found.map(({ id }) => id));
}

function emptied(row: LedgerRow): LedgerRow {
  const sets = Object.fromEntries(
    Object.keys(row.sets).map((name) => [name, NOBODY]),
  ) as unknown as LedgerRow["sets"];
  return { ...row, members: null, state: "closed", sets };
}

const NOBODY = new Uint8Array();
