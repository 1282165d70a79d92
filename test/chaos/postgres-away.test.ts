// Goal: D1, D2, D3, D6 while Postgres is away for a minute: memory stays bounded, callers get an answer
// soon, nothing ends or begins anew, and everything goes on within 10 s. Method: one region of real
// processes under 200 posts a second; its server is stopped in order, and started 60 s later.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../e2e/api.ts";
import { startTestCluster, type TestCluster } from "../e2e/cluster.ts";
import type { InboxLog } from "../e2e/inbox-log.ts";

const AWAY_MS = 60_000;
const RESUMES_MAX_MS = 10_000;
const ANSWER_MAX_MS = 10_000; // of a post while nothing can be committed
const GROWTH_MAX_MIB = 96;
const LOG_LINES_MAX = 600; // in the minute, of all parts: ten a second
const PEOPLE_COUNT = 40; // every second one has a socket
const POSTERS_COUNT = 20;
const POST_EVERY_MS = 100;

interface Attempt {
  readonly status: number;
  readonly tookMs: number;
  readonly atMs: number; // of the answer
}

let system: TestCluster;
const inboxes: InboxLog[] = [];
const exits: unknown[] = [];
const people = Array.from({ length: PEOPLE_COUNT }, (_, n) => `away-${n}`);

beforeAll(async () => {
  system = await startTestCluster(["fra"], {}, "durable");
  system.cluster.on("exit", (exit) => {
    if (exit.component !== "postgres") exits.push(exit);
  });
  for (const id of people) await system.api("fra").register(id, "fra");
  for (let n = 0; n < PEOPLE_COUNT; n += 2)
    inboxes.push(system.inbox(people[n]!, { region: "fra" }));
  await Promise.all(inboxes.map((inbox) => inbox.live()));
});
afterAll(() => system?.stop());

test("D1, D2, D3, D6 — Postgres away for 60 s: callers are told, memory is bounded, all goes on within 10 s", async () => {
  const accepted = new Map<string, { readonly title: string; readonly to: readonly string[] }>();
  const attempts: Attempt[] = [];
  const state = { isOver: false };
  const posters = Array.from({ length: POSTERS_COUNT }, (_, at) =>
    post(at, { accepted, attempts, state }),
  );
  const { pid } = await system.cluster.nodeOf("fra");
  await pause(20_000); // warm
  const warmMiB = residentMiB(pid);
  const linesBefore = logLines();

  await system.cluster.stopPostgres();
  const awayAtMs = performance.now();
  let highestMiB = 0;
  while (performance.now() < awayAtMs + AWAY_MS) {
    await pause(500);
    highestMiB = Math.max(highestMiB, residentMiB(pid));
  }
  const linesAway = logLines() - linesBefore;
  const acceptedBefore = accepted.size;
  const backAtMs = performance.now();
  await system.cluster.startPostgres();
  const first = "the first one after";
  const firstId = await until("a post is accepted", RESUMES_MAX_MS, () =>
    system.api("fra").post({ recipients: people }, first),
  );
  accepted.set(firstId, { title: first, to: people });
  await until(
    "everybody is shown it",
    RESUMES_MAX_MS,
    () => inboxes.every((inbox) => inbox.titles.includes(first)) || undefined,
  );
  const resumedMs = performance.now() - backAtMs;
  await pause(5_000);
  state.isOver = true;
  await Promise.all(posters);

  const away = attempts.filter(({ atMs, tookMs }) => atMs < backAtMs && atMs - tookMs > awayAtMs);
  const slowestMs = Math.max(...away.map(({ tookMs }) => tookMs));
  console.info(
    `away: ${away.length} answers, the slowest after ${Math.round(slowestMs)} ms; resident ` +
      `${warmMiB} → ${highestMiB} MiB; ${linesAway} lines logged; resumed after ${Math.round(resumedMs)} ms`,
  );
  expect(new Set(away.map(({ status }) => status))).toEqual(new Set([503]));
  expect(away.length).toBeGreaterThan(POSTERS_COUNT * 5);
  expect(slowestMs).toBeLessThan(ANSWER_MAX_MS);
  expect(highestMiB - warmMiB).toBeLessThan(GROWTH_MAX_MIB); // D6
  expect(linesAway).toBeLessThan(LOG_LINES_MAX);
  expect(resumedMs).toBeLessThan(RESUMES_MAX_MS);
  expect([exits, (await system.cluster.nodeOf("fra")).pid]).toEqual([[], pid]);
  expect(accepted.size).toBeGreaterThan(acceptedBefore + 100); // it went on

  for (const id of accepted.keys()) await system.api("fra").finished(id, 120_000);
  for (const [n, inbox] of inboxes.entries()) {
    const titles = [...accepted.values()]
      .filter(({ to }) => to.includes(people[n * 2]!))
      .map(({ title }) => title);
    await until(`${people[n * 2]} was shown all`, 60_000, () =>
      inbox.seen.length >= titles.length ? true : undefined,
    );
    const offsets = inbox.seen.map(({ offset }) => offset);
    expect(offsets).toEqual([...new Set(offsets)].toSorted((a, b) => a - b)); // D3
    expect([inbox.resetCount, inbox.titles.toSorted()]).toEqual([0, titles.toSorted()]); // D1, D2
  }
}, 400_000);

/** One after the other, each again under its key until it is answered 202. */
async function post(
  poster: number,
  to: {
    readonly accepted: Map<string, { readonly title: string; readonly to: readonly string[] }>;
    readonly attempts: Attempt[];
    readonly state: { readonly isOver: boolean };
  },
): Promise<void> {
  for (let n = 0; !to.state.isOver; n++) {
    const title = `${poster}.${n}`;
    const recipients = [people[(n * POSTERS_COUNT + poster) % PEOPLE_COUNT]!];
    const body = { audience: { recipients }, content: { en: { title } } };
    const headers = { "idempotency-key": `away-${title}` };
    const id = await until(`${title} is accepted`, AWAY_MS * 2, async () => {
      const startedAtMs = performance.now();
      const { status, body: answer } = await system
        .api("fra")
        .call<{ id: string }>("POST", "/v1/notifications", body, headers);
      const atMs = performance.now();
      to.attempts.push({ status, tookMs: atMs - startedAtMs, atMs });
      if (status === 202) return answer.id;
      await pause(POST_EVERY_MS);
      return undefined;
    });
    to.accepted.set(id, { title, to: recipients });
    await pause(POST_EVERY_MS);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function residentMiB(pid: number): number {
  const [, kiB] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  if (kiB === undefined) throw new Error(`no VmRSS of process ${pid}`);
  return Math.round(Number(kiB) / 1_024);
}

function logLines(): number {
  const log = readFileSync(join(system.dataFolder, "nodes/node-fra.log"), "utf8");
  return log.split("\n").length;
}
