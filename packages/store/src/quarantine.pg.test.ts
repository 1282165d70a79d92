// Goal: ST21, ST27. Method: a real Postgres, one database a test.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { lastWords } from "./last-words.ts";
import { HOME, startTestPostgres, type TestPostgres } from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

test("ST21, P16 — who held a node's thread is known to the next owner, each time for twice as long", async () => {
  const { store, sql } = await postgres.newDatabase();
  const times = { firstMs: 300_000, maxMs: 1_000_000 };
  const put = (index: number) =>
    store.quarantine.put(HOME, { partition: 7, index, reason: "x".repeat(500) }, times);
  const list = () => store.ledger.readQuarantined(HOME, [3, 7]);
  await put(4);
  const [first] = await list();
  expect(first).toMatchObject({ partition: 7, index: 4, reason: "x".repeat(200) });
  expect(first!.remainingMs).toBeGreaterThan(290_000);
  expect(first!.remainingMs).toBeLessThanOrEqual(300_000);
  await put(4);
  expect((await list())[0]!.remainingMs).toBeGreaterThan(590_000);
  await put(4);
  expect((await list())[0]!.remainingMs).toBeLessThanOrEqual(1_000_000);
  expect(await store.ledger.readQuarantined(HOME, [3])).toEqual([]);
  expect(await store.ledger.readQuarantined("lon", [7])).toEqual([]);
  await put(5);
  await store.quarantine.remove(HOME, 7, 4);
  await store.quarantine.remove(HOME, 7, 4);
  expect((await list()).map(({ index }) => index)).toEqual([5]);
  await sql`update quarantine set until = now()`; // its time is over; how long it was is kept
  expect(await list()).toEqual([]);
  await sql`update quarantine set until = now() - interval '2 days'`; // forgiven by now
  await put(5);
  expect((await list())[0]!.remainingMs).toBeLessThanOrEqual(300_000);
});

test("ST21, P16 — the last words are in the database before the node is ended", async () => {
  const { store, url } = await postgres.newDatabase();
  const data = { url, home: HOME, times: { firstMs: 300_000, maxMs: 3_600_000 } };
  const culprit = (table: string, slot: number) => ({ kind: "process" as const, table, slot });
  expect(await lastWords(culprit(`${HOME}/17`, 4_711), data)).toBe("done");
  expect(await lastWords(culprit("sessions", 1), data)).toBe("nothing");
  expect(await lastWords(culprit("lon/17", 1), data)).toBe("nothing");
  expect(await lastWords({ kind: "outside" }, data)).toBe("nothing");
  expect(await store.ledger.readQuarantined(HOME, [17])).toEqual([
    {
      partition: 17,
      index: 4_711,
      reason: "its process held the thread of its node, which was ended",
      remainingMs: expect.any(Number) as number,
    },
  ]);
});

test("ST27 — a line says what the last words have written, and that it was nothing where it was", async () => {
  const { url } = await postgres.newDatabase();
  const module = new URL("last-words.ts", import.meta.url).href;
  const linesOf = async (culprit: object): Promise<unknown[]> => {
    const data = { url, home: HOME, times: { firstMs: 1, maxMs: 1 } };
    const code = `await (await import(process.argv[1])).lastWords(${JSON.stringify(culprit)}, ${JSON.stringify(data)})`;
    const args = ["--input-type=module", "--eval", code, module];
    const { stderr } = await promisify(execFile)(process.execPath, args);
    return stderr.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line)] : []));
  };
  const line = { level: "error", event: "node.last_words" };
  expect(await linesOf({ kind: "process", table: "gateway.sessions", slot: 3 })).toEqual([
    { ...line, written: "nothing", culprit: "process" },
  ]);
  expect(await linesOf({ kind: "outside" })).toEqual([
    { ...line, written: "nothing", culprit: "outside" },
  ]);
  expect(await linesOf({ kind: "process", table: `${HOME}/9`, slot: 3 })).toEqual([
    { ...line, written: "quarantine", partition: 9, index: 3 },
  ]);
});
