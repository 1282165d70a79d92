// packages/store/src/test-database.ts
// A real Postgres for this package's tests and benches; nothing else imports it.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Notification,
  type NotificationAccepted,
  partitionOf,
  type RegionAudience,
} from "@carillon/contracts";
import { createUuidV7, systemClock, systemRandom } from "@carillon/kernel";
import { dropPostgres, startPostgres } from "@carillon/local";
import type { AcceptItem } from "./accept.ts";
import type { LedgerSets } from "./ledger-rows.ts";
import { connect, type Sql, type StoreOptions } from "./pool.ts";
import { createStore, type Store } from "./store.ts";

export const HOME = "fra";
export const TENANT = "acme";

export interface TestDatabase {
  readonly url: string;
  readonly store: Store; // migrated, with the partitions of HOME
  /** Raw statements, on connections of their own. */
  readonly sql: Sql;
  readonly options: StoreOptions;
  /** One more store on the same database, as another node has it. */
  openStore(options?: Partial<StoreOptions>): Store;
}

export interface TestPostgres {
  newDatabase(): Promise<TestDatabase>;
  emptyDatabase(): Promise<string>; // url of a database without our schema
  kill(): void;
  stop(): Promise<void>;
}

const OPTIONS = {
  poolMax: 4,
  applicationName: "store-test",
  connectTimeoutMs: 20_000,
  statementTimeoutMs: 30_000,
};

export async function startTestPostgres(isDurable = false): Promise<TestPostgres> {
  const folder = mkdtempSync(join(tmpdir(), "carillon-store-"));
  const server = await startPostgres({ folder, databases: ["template"], isDurable });
  const closes: (() => Promise<unknown>)[] = [];
  const admin = connect({ ...OPTIONS, url: server.urlOf("postgres"), poolMax: 1 });
  const template = createStore({ ...OPTIONS, url: server.urlOf("template"), poolMax: 1 });
  await template.migrate();
  await template.ensureHome(HOME);
  await template.close();
  let databaseCount = 0;
  const create = async (from: string): Promise<string> => {
    const name = `test${++databaseCount}`;
    await admin.unsafe(`create database ${name} template ${from}`);
    return server.urlOf(name);
  };
  return {
    async newDatabase() {
      const options = { ...OPTIONS, url: await create("template") };
      const openStore = (more: Partial<StoreOptions> = {}) => {
        const store = createStore({ ...options, ...more });
        closes.push(() => store.close());
        return store;
      };
      const sql = connect(options);
      closes.push(() => sql.end({ timeout: 5 }));
      return { url: options.url, options, sql, store: openStore(), openStore };
    },
    emptyDatabase: () => create("template0"),
    kill: () => server.kill("SIGKILL"),
    async stop() {
      await Promise.all(closes.map((close) => close()));
      await admin.end({ timeout: 5 });
      await server.stop();
      dropPostgres(folder);
    },
  };
}

export function newId(): string {
  return createUuidV7(systemClock, systemRandom);
}

export function notificationFor(more: Partial<Notification> = {}): Notification {
  return {
    id: newId(),
    tenantId: TENANT,
    acceptedRegion: HOME,
    acceptedAtMs: 1_790_000_000_123,
    expiresAtMs: 1_790_604_800_123,
    priority: "normal",
    content: { en: { title: "Fire drill", body: "At noon." } },
    exclude: [],
    ...more,
  };
}

export function acceptItem(
  audience: RegionAudience | null,
  more: Partial<AcceptItem> & { notification?: Notification } = {},
): AcceptItem {
  const notification = more.notification ?? notificationFor();
  const regions = (more.remotes ?? []).map(({ region }) => region);
  return {
    notification,
    audience,
    remotes: [],
    idempotency: null,
    answer: answerFor(notification, audience === null ? regions : [HOME, ...regions]),
    ...more,
  };
}

export function answerFor(notification: Notification, regions: string[]): NotificationAccepted {
  const acceptedAt = new Date(notification.acceptedAtMs).toISOString();
  return { id: notification.id, acceptedAt, regions };
}

export function directTo(...recipientIds: string[]): RegionAudience {
  return { kind: "recipients", recipientIds };
}

/** `count` different recipient ids, all in one partition. */
export function idsIn(partition: number, count: number, prefix = "p"): string[] {
  const ids: string[] = [];
  for (let number = 0; ids.length < count; number++) {
    const id = `${prefix}${number}`;
    if (partitionOf(TENANT, id) === partition) ids.push(id);
  }
  return ids;
}

export async function register(store: Store, recipientIds: readonly string[]): Promise<void> {
  await store.directory.upsert({
    home: HOME,
    tenantId: TENANT,
    changes: recipientIds.map((recipientId) => ({
      recipientId,
      locale: null,
      timeZone: null,
      attributes: {},
    })),
    otherRegions: [],
  });
}

export function setsOf(more: Partial<Record<keyof LedgerSets, number[]>> = {}): LedgerSets {
  const bytes = (name: keyof LedgerSets) => Buffer.from(more[name] ?? []);
  return {
    targeted: bytes("targeted"),
    deliveredSocket: bytes("deliveredSocket"),
    noDevice: bytes("noDevice"),
    unacked: bytes("unacked"),
    expired: bytes("expired"),
    failed: bytes("failed"),
    cancelled: bytes("cancelled"),
    optedOut: bytes("optedOut"),
    capped: bytes("capped"),
    collapsed: bytes("collapsed"),
    moved: bytes("moved"),
    receivedLate: bytes("receivedLate"),
    read: bytes("read"),
    acknowledged: bytes("acknowledged"),
  };
}
