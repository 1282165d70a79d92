// packages/store/src/test-kills.ts
// For driver.pg.test.ts, as a process of its own: statements and transactions all the time, on a
// Postgres that is killed again and again. Prints what escaped, and what the statements ended with.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Fault, systemClock, systemRandom } from "@carillon/kernel";
import { dropPostgres, startPostgres } from "@carillon/local";
import { createStore } from "./store.ts";

const KILLS_COUNT = 12;
const STATEMENT_TIMEOUT_MS = 10_000;

export interface KillsReport {
  /** Exceptions and rejections that nobody could catch. */
  readonly escaped: string[];
  /** Codes of Faults, and names of other errors. */
  readonly endedWith: string[];
  /** After each start: until every loop had an answer. */
  readonly backAfterMs: number[];
}

const escaped: string[] = [];
const endedWith = new Set<string>();
const sinceStart = new Set<number>();
process.on("uncaughtException", (cause) => void escaped.push(String(cause.stack)));

const folder = mkdtempSync(join(tmpdir(), "carillon-store-"));
let server = await startPostgres({ folder, databases: ["fra"] });
const { port } = server;
const limits = { connectTimeoutMs: 5_000, statementTimeoutMs: STATEMENT_TIMEOUT_MS };
const store = createStore({
  ...limits,
  url: server.urlOf("fra"),
  poolMax: 8,
  applicationName: "t",
});
await store.migrate();
await store.ensureHome("fra");
const state = { isOver: false };
const question = (n: number): Promise<unknown> =>
  n % 2 === 0 ? store.home.look("fra") : store.home.resume("fra", { epoch: 1, host: "lon" });
const loops = Array.from({ length: 16 }, async (_, n) => {
  while (!state.isOver) {
    try {
      await question(n);
      sinceStart.add(n);
    } catch (cause) {
      endedWith.add(cause instanceof Fault ? cause.code : String(cause));
    }
    await systemClock.sleep(Math.floor(systemRandom.next() * 8));
  }
});
const backAfterMs: number[] = [];
for (let kill = 0; kill < KILLS_COUNT; kill++) {
  await systemClock.sleep(100 + Math.floor(systemRandom.next() * 400));
  server.kill("SIGKILL");
  await server.exited;
  await systemClock.sleep(Math.floor(systemRandom.next() * 300));
  server = await startPostgres({ folder, databases: ["fra"], port });
  sinceStart.clear();
  const startedAtMs = systemClock.monotonicMs();
  while (sinceStart.size < loops.length && systemClock.monotonicMs() - startedAtMs < 60_000)
    await systemClock.sleep(10);
  backAfterMs.push(Math.round(systemClock.monotonicMs() - startedAtMs));
}
state.isOver = true;
await Promise.all(loops);
await store.close();
await server.stop();
dropPostgres(folder);
const report: KillsReport = { escaped, endedWith: [...endedWith], backAfterMs };
process.stdout.write(JSON.stringify(report), () => process.exit(0));
