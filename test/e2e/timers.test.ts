// Goal: D1, D4 for durable timers: an owner is killed (SIGKILL) between setting and firing, and between
// any two steps of a flow. Method: real workers as processes on a real Postgres; each step leaves a line.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dropPostgres, type PostgresServer, startPostgres } from "@carillon/local";
import { createStore, type Store } from "@carillon/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";

const HOME = "fra";
const FLOWS_COUNT = 300;
const STEPS = [1, 2, 3];
const ALL = Array.from({ length: 256 }, (_, n) => n);

const folder = mkdtempSync(join(tmpdir(), "carillon-timers-"));
const file = join(folder, "steps");
const owners: ChildProcess[] = [];
let server: PostgresServer;
let store: Store;

beforeAll(async () => {
  server = await startPostgres({ folder, databases: [HOME] });
  store = createStore({
    url: server.urlOf(HOME),
    poolMax: 4,
    applicationName: "test",
    connectTimeoutMs: 20_000,
    statementTimeoutMs: 20_000,
  });
  await store.migrate();
  await store.ensureHome(HOME);
});
afterAll(async () => {
  for (const owner of owners) owner.kill("SIGKILL");
  await store?.close();
  await server?.stop();
  dropPostgres(folder);
});

function startOwner(memberId: string): ChildProcess {
  const script = new URL("timer-owner.ts", import.meta.url).pathname;
  const args = [script, server.urlOf(HOME), memberId, file];
  const owner = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  owners.push(owner);
  return owner;
}

const steps = () =>
  (existsSync(file) ? readFileSync(file, "utf8") : "")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [memberId, key, step, lateMs] = line.split(" ");
      return { memberId, key, step: Number(step), lateMs: Number(lateMs) };
    });
const ownedBy = (memberId: string) =>
  until(`${memberId} owns everything`, 60_000, async () => {
    const leases = await store.leases.list(HOME);
    return leases.every((lease) => lease.ownerId === memberId && !lease.isExpired)
      ? leases
      : undefined;
  });

test("D1, D4 — kill -9 between set and fire, and between steps: every step is taken, none early, the flow ends", async () => {
  const first = startOwner("fra-first");
  const leases = await ownedBy("fra-first");
  await store.timers.write(
    HOME,
    Array.from({ length: FLOWS_COUNT }, (_, n) => {
      const { partition, epoch } = leases[(n * 7) % 256]!;
      const place = { partition, epoch, kind: "steps", key: `flow-${n}` };
      return {
        ...place,
        change: "set",
        tenantId: "acme",
        due: { inMs: 1_000 + n * 10 },
        payload: 1,
      };
    }),
  );
  const startedAtMs = performance.now();
  await until("some are at the end, some have not begun", 30_000, () =>
    steps().some(({ step }) => step === 3) ? true : undefined,
  );
  first.kill("SIGKILL");
  const atKill = steps();
  expect(new Set(atKill.map(({ key }) => key)).size).toBeLessThan(FLOWS_COUNT);
  const second = startOwner("fra-second");
  await ownedBy("fra-second");
  await until("the second one is in the middle of it", 30_000, () =>
    steps().filter(({ memberId }) => memberId === "fra-second").length > 100 ? true : undefined,
  );
  second.kill("SIGKILL");
  startOwner("fra-third");

  const wanted = Array.from({ length: FLOWS_COUNT }, (_, n) => STEPS.map((s) => `flow-${n} ${s}`));
  const taken = await until("every step of every flow is taken", 60_000, () => {
    const found = new Set(steps().map(({ key, step }) => `${key} ${step}`));
    return found.size >= FLOWS_COUNT * STEPS.length ? found : undefined;
  });
  expect([...taken].toSorted()).toEqual(wanted.flat().toSorted());
  const all = steps();
  expect(all.filter(({ lateMs }) => lateMs < 0)).toEqual([]);
  // To set the next step ends this one in the same statement: a step may be tried again, and none is
  // when the one after it has begun.
  const reached = new Map<string | undefined, number>();
  const goneBack = all.filter(({ key, step }) => {
    const before = reached.get(key) ?? 0;
    reached.set(key, step);
    return step < before;
  });
  expect(goneBack).toEqual([]);
  expect(all.filter(({ memberId }) => memberId === "fra-third").length).toBeGreaterThan(0);
  console.log(
    `${all.length} steps for ${taken.size}, two owners killed, ` +
      `${Math.round(performance.now() - startedAtMs)} ms`,
  );

  // Nothing is left to do: whoever owns them now finds no timer.
  const third = await ownedBy("fra-third");
  const held = third.map(({ partition, epoch }) => ({ partition, epoch }));
  await until("what was fired is done", 10_000, async () => {
    const options = { held, kinds: ["steps"], exceptIds: [], mayBeDoubtful: true, limitCount: 1 };
    const { timers, nextInMs } = await store.timers.claim(HOME, options);
    return timers.length === 0 && nextInMs === null ? true : undefined;
  });
  // D4: who was killed would be refused.
  const stale = leases.map(({ partition, epoch }) => ({ partition, epoch }));
  const place = { kind: "steps", key: "late", change: "cancel" } as const;
  const refused = await store.timers.write(
    HOME,
    stale.map((one) => ({ ...one, ...place })),
  );
  expect(refused.fencedPartitions.toSorted((a, b) => a - b)).toEqual(ALL);
}, 180_000);
