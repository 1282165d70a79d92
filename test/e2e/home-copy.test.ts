// What a real copy tells of itself, and what the report of a loss finds with one (spec C24, ADR 0015):
// transactions that were under way when the link was cut, and committed after it.
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStore, type Store } from "@carillon/store";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "./api.ts";
import {
  CopiedPostgres,
  type CutLink,
  Psql,
  startCutLink,
  whyNoCopies,
} from "./copied-postgres.ts";

const missing = whyNoCopies();
if (missing !== undefined) console.warn(`SKIPPED: test/e2e/home-copy.test.ts, ${missing}`);

describe.skipIf(missing !== undefined)("a copy of a home", { timeout: 180_000 }, () => {
  const ends: (() => Promise<unknown> | void)[] = [];
  let old: { store: Store; sql: Psql; url: string };
  let copy: { store: Store; sql: Psql; url: string };
  let link: CutLink;
  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), "carillon-home-copy-"));
    ends.push(() => rmSync(folder, { recursive: true, force: true }));
    chmodSync(folder, 0o711); // the server's user goes through it
    const servers: CopiedPostgres[] = [];
    for (const name of ["fra", "par"]) {
      const server = new CopiedPostgres(folder, name, await freePort());
      ends.push(() => server.stop());
      servers.push(server);
    }
    const [fra, par] = servers as [CopiedPostgres, CopiedPostgres];
    await fra.create(["fra"]);
    old = open(fra.urlOf("fra"));
    await old.store.migrate();
    await old.store.ensureHome("fra");
    link = await startCutLink(fra.port);
    ends.push(() => link.close());
    await par.copyFrom(link.port);
    copy = open(par.urlOf("fra"));
  }, 180_000);
  afterAll(async () => {
    for (const end of ends.toReversed()) await end();
  }, 60_000);

  function open(url: string): { store: Store; sql: Psql; url: string } {
    return { store: openStore(url), sql: psql(url), url };
  }

  function openStore(url: string): Store {
    const limits = { poolMax: 3, connectTimeoutMs: 10_000, statementTimeoutMs: 30_000 };
    const store = createStore({ url, applicationName: "test", ...limits });
    ends.push(() => store.close());
    return store;
  }

  function psql(url: string): Psql {
    const session = new Psql(url);
    ends.push(() => session.end());
    return session;
  }

  const write = (sql: Psql, id: string) =>
    sql.run(`insert into recipient
      (home, partition, idx, tenant_id, recipient_id, attributes, version)
      values ('fra', 1, ${id.length}, 'demo', '${id}', '{}', 1)`);

  test("HM7 — what the database's user may not do on the copy is told, until it is granted", async () => {
    await old.sql.run(`create role plain login;
      grant select on home, partition, tenant to plain`);
    const store = openStore(copy.url.replace("carillon:carillon@", "plain:plain@"));
    const replicaOf = async () => (await store.home.look("fra")).replica ?? undefined;
    const refused = await until("the role is there", 60_000, replicaOf);
    expect([refused.isStreaming, refused.lagMs, refused.silentMs, refused.rights]).toEqual([
      false, // as far as it may see
      null,
      null,
      { user: "plain", mayPromote: false, maySeeStreaming: false },
    ]);
    await old.sql.run("grant execute on function pg_promote to plain; grant pg_monitor to plain");
    const granted = await until("the grants are there", 60_000, async () => {
      const replica = await replicaOf();
      return replica?.rights?.mayPromote === true ? replica : undefined;
    });
    expect([granted.isStreaming, granted.rights]).toEqual([
      true,
      { user: "plain", mayPromote: true, maySeeStreaming: true },
    ]);
  });

  test("HM7 — nothing arrives over a link that is not closed: told lag stays 0, silence grows", async () => {
    const replicaOf = async () => (await copy.store.home.look("fra")).replica;
    const near = async () => {
      await old.sql.run("update partition set next_index = next_index where n = 9");
      const replica = await replicaOf();
      return replica?.lagMs === 0 && (replica.silentMs ?? Infinity) < 1_000 ? true : undefined;
    };
    await until("the copy follows", 60_000, near);
    link.stall();
    await old.sql.run("update partition set next_index = next_index where n = 9");
    const stalled = await until("it has heard nothing for 3 s", 60_000, async () => {
      const replica = await replicaOf();
      return (replica?.silentMs ?? 0) > 3_000 ? replica : undefined;
    });
    expect([stalled?.isStreaming, stalled?.lagMs]).toEqual([true, 0]);
    expect(Number.isInteger(stalled?.silentMs)).toBe(true); // as it is printed
    link.mend();
    await until("it is heard again", 60_000, near);
  });

  test("C24, HM5 — older than what the copy has, and committed after the cut: in the report", async () => {
    const older = psql(old.url);
    const younger = psql(old.url);
    await older.run("begin");
    await write(older, "lost-1");
    await younger.run("begin");
    await write(younger, "lost-22");
    await write(old.sql, "copied-333");
    const target = await old.sql.run("select pg_current_wal_lsn()");
    await until("the copy has it", 60_000, async () => {
      const isHere = await copy.sql.run(`select pg_last_wal_replay_lsn() >= '${target}'::pg_lsn`);
      return isHere === "t" || undefined;
    });
    link.cut();
    for (const held of [older, younger]) await held.run("commit");
    await write(old.sql, "lost-4444");
    const { snapshot } = await copy.store.home.replayed();
    expect(await copy.store.home.promote()).toBe(true);
    const claim = { epoch: 2, host: "par" };
    await copy.store.home.declare("fra", claim, {
      from: { epoch: 1, host: "fra" },
      isPlanned: false,
      replayed: null,
      snapshot,
    });
    await old.store.home.fence("fra", claim);
    const page = { home: "fra", table: "recipient", after: null, limit: 100, salt: null } as const;
    const rows = await old.store.homeReport.read({ ...page, snapshot });
    const compared = await copy.store.homeReport.compare({
      home: "fra",
      table: "recipient",
      rows,
      salt: null,
    });
    const lost = compared.missing.map((at) => rows[at]?.key[1]);
    expect([lost, compared.different]).toEqual([["lost-1", "lost-22", "lost-4444"], []]);
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  await once(server.close(), "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
