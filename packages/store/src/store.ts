// packages/store/src/store.ts
// One region's database, whole. Locks, and why nobody waits for the wrong thing: README.md.
import { SqlControls } from "./controls.ts";
import { SqlDirectory } from "./directory.ts";
import { SqlGroups } from "./groups.ts";
import { SqlEscalations } from "./escalations.ts";
import { SqlHome } from "./home.ts";
import { SqlHomeReport } from "./home-report.ts";
import { SqlJournal } from "./journal.ts";
import { SqlLeases } from "./leases.ts";
import { SqlLedger } from "./ledger.ts";
import { migrate } from "./migrate.ts";
import { SqlNotifications } from "./notifications.ts";
import { SqlOutbox } from "./outbox.ts";
import { SqlPolicies } from "./policies.ts";
import { Pool, type StoreOptions } from "./pool.ts";
import { SqlPreferences } from "./preferences.ts";
import { SqlQuarantine } from "./quarantine.ts";
import { SqlRates } from "./rates.ts";
import { SqlTemplates } from "./templates.ts";
import { SqlRetention } from "./retention.ts";
import { SqlTenants } from "./tenants.ts";
import { SqlBuriedTimers } from "./timers-buried.ts";
import { SqlTimers } from "./timers.ts";

export interface Store {
  readonly ledger: SqlLedger;
  readonly leases: SqlLeases;
  readonly directory: SqlDirectory;
  readonly groups: SqlGroups;
  readonly policies: SqlPolicies;
  readonly controls: SqlControls;
  readonly rates: SqlRates;
  readonly escalations: SqlEscalations;
  readonly preferences: SqlPreferences;
  readonly templates: SqlTemplates;
  readonly notifications: SqlNotifications;
  readonly outbox: SqlOutbox;
  readonly tenants: SqlTenants;
  readonly quarantine: SqlQuarantine;
  readonly timers: SqlTimers;
  readonly timersBuried: SqlBuriedTimers;
  readonly journal: SqlJournal;
  readonly retention: SqlRetention;
  readonly home: SqlHome;
  readonly homeReport: SqlHomeReport;
  /** Operations now: for gauges. */
  readonly load: { readonly runningCount: number; readonly waitingCount: number };
  /** Brings the schema up to date; idempotent, safe for several nodes at once. Names applied. */
  migrate(): Promise<string[]>;
  /** Creates the 256 partition rows of a home region, and the row of its host; idempotent. */
  ensureHome(home: string): Promise<void>;
  /** One round trip. Errors: Fault `store_unavailable`. */
  ping(): Promise<void>;
  /** Lets what runs end within the statement time-out, then cuts it off. Safe to call twice. */
  close(): Promise<void>;
}

/** Connects on first use. Every method throws Fault `store_unavailable` or `store_rejected`. */
export function createStore(options: StoreOptions): Store {
  const pool = new Pool(options);
  const leases = new SqlLeases(pool);
  const quarantine = new SqlQuarantine(pool);
  const ledger = new SqlLedger(pool, quarantine);
  return {
    ledger,
    leases,
    directory: new SqlDirectory(pool),
    groups: new SqlGroups(pool),
    policies: new SqlPolicies(pool),
    controls: new SqlControls(pool),
    rates: new SqlRates(pool),
    escalations: new SqlEscalations(pool),
    preferences: new SqlPreferences(pool),
    templates: new SqlTemplates(pool),
    notifications: new SqlNotifications(pool),
    outbox: new SqlOutbox(pool),
    tenants: new SqlTenants(pool, options.random),
    quarantine,
    timers: new SqlTimers(pool, () => ledger.withheldTenants),
    timersBuried: new SqlBuriedTimers(pool, () => ledger.withheldTenants),
    journal: new SqlJournal(pool),
    retention: new SqlRetention(pool),
    home: new SqlHome(pool),
    homeReport: new SqlHomeReport(pool),
    get load() {
      return { runningCount: pool.runningCount, waitingCount: pool.waitingCount };
    },
    migrate: () => migrate(pool),
    ensureHome: (home) => leases.ensureHome(home),
    ping: async () => {
      await pool.run("store.ping", (sql) => sql`select 1`);
    },
    close: () => pool.close(options.statementTimeoutMs),
  };
}
