// Goal: FL3, FL6 on the real parts: an owner is killed (SIGKILL) while a webhook is called, and between two steps; the
// receiver sees each step of each recipient, and a second time only what it had not answered. Method: real workers as
// processes on a real Postgres, a real HTTP receiver.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { partitionOf } from "@carillon/contracts";
import { createUuidV7, systemClock, systemRandom } from "@carillon/kernel";
import { dropPostgres, type PostgresServer, startPostgres } from "@carillon/local";
import { createStore, type Store } from "@carillon/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";

const HOME = "fra";
const TENANT = "acme";
const folder = mkdtempSync(join(tmpdir(), "carillon-chains-"));
const owners: ChildProcess[] = [];
let postgres: PostgresServer;
let store: Store;
let receiver: Server;

interface Call {
  readonly id: string;
  readonly recipientId: string;
  readonly step: number;
}
const calls: Call[] = [];
const answered: Call[] = [];
const types = new Set<string>();
let onCall: (call: Call) => number | "killed" = () => 200;

beforeAll(async () => {
  postgres = await startPostgres({ folder, databases: [HOME] });
  store = createStore({
    url: postgres.urlOf(HOME),
    poolMax: 4,
    applicationName: "test",
    connectTimeoutMs: 20_000,
    statementTimeoutMs: 20_000,
  });
  await store.migrate();
  await store.ensureHome(HOME);
  receiver = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => {
      const event = JSON.parse(body) as { type: string; data: Omit<Call, "id"> };
      types.add(event.type);
      const { recipientId, step } = event.data;
      const call = { id: String(request.headers["webhook-id"]), recipientId, step };
      calls.push(call);
      const status = onCall(call);
      if (status === "killed") return; // who asked is gone
      if (status < 300) answered.push(call);
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  for (const owner of owners) owner.kill("SIGKILL");
  receiver?.closeAllConnections();
  receiver?.close();
  await store?.close();
  await postgres?.stop();
  dropPostgres(folder);
});

function startOwner(memberId: string): ChildProcess {
  const script = new URL("escalation-owner.ts", import.meta.url).pathname;
  const owner = spawn(process.execPath, [script, postgres.urlOf(HOME), memberId], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  owners.push(owner);
  return owner;
}

/** All in one partition, so that they are one row, one page and one timer. */
const PEOPLE = Array.from({ length: 20_000 }, (_, n) => `p${n}`)
  .filter((id) => partitionOf(TENANT, id) === 7)
  .slice(0, 12);

test("FL3, FL6, D1 — killed while a webhook is called, and between two steps: each is told each step, once but for that call", async () => {
  const changes = PEOPLE.map((recipientId) => ({
    ...{ recipientId, locale: null, timeZone: null, attributes: {} },
  }));
  await store.directory.upsert({ home: HOME, tenantId: TENANT, changes, otherRegions: [] });
  const to = { webhook: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/overdue` };
  const nowMs = Date.now();
  const notification = {
    ...{ id: createUuidV7(systemClock, systemRandom), tenantId: TENANT, acceptedRegion: HOME },
    ...{ acceptedAtMs: nowMs, expiresAtMs: nowMs + 3_600_000, priority: "high" as const },
    ...{ content: { en: { title: "evacuate" } }, exclude: [] },
    requireAck: { deadlineSeconds: 1, escalation: [{ to }, { to: "recipient" }, { to }] },
  };
  const { id } = notification;
  const answer = { id, acceptedAt: "", regions: [HOME] };
  await store.notifications.accept(HOME, [
    {
      ...{ notification, remotes: [], idempotency: null, answer },
      audience: { kind: "recipients", recipientIds: PEOPLE },
    },
  ]);

  // The fifth call of the first step is the last thing that the first owner does.
  const first = startOwner("fra-first");
  let unanswered = 0;
  const isDead = Promise.withResolvers<void>();
  first.once("exit", () => isDead.resolve());
  onCall = () => {
    if (calls.length < 5) return 200;
    unanswered++;
    first.kill("SIGKILL");
    return "killed";
  };
  await isDead.promise;
  let failuresLeft = 1;
  onCall = () => (failuresLeft-- > 0 ? 503 : 200);

  // The second one ends the first step, and dies before the next one, or in the middle of it.
  const second = startOwner("fra-second");
  const toldOf = (step: number) =>
    new Set(answered.flatMap((call) => (call.step === step ? call.id : [])));
  await until("all have been told of the first step", 60_000, () =>
    toldOf(1).size === PEOPLE.length ? true : undefined,
  );
  await until("the second step's timer is set", 20_000, async () =>
    (await stepNow()) !== 1 ? true : undefined,
  );
  second.kill("SIGKILL");
  const repeatsBefore = calls.filter(({ step }) => step === 1).length;
  startOwner("fra-third");
  await until("all have been told of the last step", 60_000, () =>
    toldOf(3).size === PEOPLE.length ? true : undefined,
  );
  await until("the chain is at its end", 20_000, async () =>
    (await stepNow()) === undefined ? true : undefined,
  );

  expect([...types]).toEqual(["notification.ack_overdue"]);
  for (const step of [1, 3]) {
    const told = answered.filter((call) => call.step === step);
    const ids = new Map(told.map((call) => [call.recipientId, call.id]));
    expect([...ids.keys()].toSorted()).toEqual(PEOPLE.toSorted());
    expect(new Set(told.map((call) => call.id)).size).toBe(PEOPLE.length);
  }
  // Once the next step is set, nobody is told of the one before; and of a step that nobody died in, once.
  expect(calls.filter(({ step }) => step === 1).length).toBe(repeatsBefore);
  expect(calls.filter(({ step }) => step === 3).length).toBe(PEOPLE.length);
  const repeats = answered.filter(({ step }) => step === 1).length - PEOPLE.length;
  expect(repeats).toBeLessThanOrEqual(4); // what was answered before the first death
  // The step between was a notification for each, once.
  const rows = await store.ledger.readRows(HOME, 7, { afterOffset: 0, limitCount: 99 });
  expect(rows.map(({ members }) => members?.length)).toEqual([
    PEOPLE.length,
    ...PEOPLE.map(() => 1),
  ]);
  expect(new Set(rows.slice(1).map(({ members }) => members?.[0])).size).toBe(PEOPLE.length);
  console.log(`${calls.length} calls, ${unanswered} unanswered, ${repeats} told again, two killed`);
}, 180_000);

/** Undefined: nothing waits. */
async function stepNow(): Promise<number | undefined> {
  const { default: driver } = await import("postgres"); // loaded mended by @carillon/store (ADR 0018)
  const sql = driver(postgres.urlOf(HOME), { max: 1, onnotice: () => undefined });
  try {
    const [row] = await sql<{ step: number }[]>`
      select coalesce((payload ->> 'step')::int, 1) as step from timer where kind = 'flow'`;
    return row?.step;
  } finally {
    await sql.end({ timeout: 5 });
  }
}
