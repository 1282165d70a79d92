// packages/store/bench/own-rows.bench.ts
// Reads of an owner whose partition has 100,000 open rows of one recipient (ADR 0028), on a real
// Postgres: `node packages/store/bench/own-rows.bench.ts`. Accepted numbers are in RESULTS.md.
import { performance } from "node:perf_hooks";
import { partitionOf } from "@carillon/contracts";
import {
  acceptItem,
  directTo,
  HOME,
  register,
  startTestPostgres,
  TENANT,
} from "../src/test-database.ts";

const OPEN_COUNT = 100_000;
const TIMES = 9;
const ID = "employee-1";
const BATCH_COUNT = 500;

async function main(): Promise<void> {
  const postgres = await startTestPostgres();
  try {
    const { store } = await postgres.newDatabase();
    await register(store, [ID]);
    for (let left = OPEN_COUNT; left > 0; left -= BATCH_COUNT)
      await store.notifications.accept(
        HOME,
        Array.from({ length: BATCH_COUNT }, () => acceptItem(directTo(ID))),
      );
    const partition = partitionOf(TENANT, ID);
    const group = Array.from({ length: 32 }, (_, n) => (partition + n) % 256);
    const { ledger } = store;
    const place = { partition, index: 0 };
    await report("all that is open, as before", () => ledger.readUnclosedRows(HOME, group));
    await report("65 of each", () => ledger.readUnclosedRows(HOME, group, 65));
    for (const fromOffset of [1, OPEN_COUNT / 2]) {
      const wanted = [{ ...place, fromOffset }];
      await report(`a page of 32 from ${fromOffset}`, () =>
        ledger.readOwnRows(HOME, wanted, { limitCount: 32, expiredByMs: null }),
      );
    }
    const options = { limitCount: 512, expiredByMs: 1 };
    await report("a look for expired ones, none", () =>
      ledger.readOwnRows(HOME, [{ ...place, fromOffset: 1 }], options),
    );
  } finally {
    await postgres.stop();
  }
}

async function report(name: string, read: () => Promise<readonly unknown[]>): Promise<void> {
  const durations: number[] = [];
  let count = 0;
  for (let left = TIMES; left > 0; left--) {
    const beginMs = performance.now();
    count = (await read()).length;
    durations.push(performance.now() - beginMs);
  }
  const sorted = durations.toSorted((a, b) => a - b);
  const at = (share: number): string => sorted[Math.floor(share * (TIMES - 1))]?.toFixed(1) ?? "";
  console.log(`${name.padEnd(40)} ${count} rows, p50 ${at(0.5)} ms, worst ${at(1)} ms`);
}

await main();
