// apps/worker/src/worker.pg.test.ts
// Goal: WK1–WK4, C20, D1. Method: two workers over one real Postgres and a network in memory; the
// test is the ingest that pokes and the gateway that opens sessions and acks.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMemoryNetwork } from "@carillon/bus";
import { assignPartitions, callHandler, createMembership, createRouter } from "@carillon/cluster";
import {
  decodeMessage,
  deliverSchema,
  encodeMessage,
  openReplySchema,
  partitionOf,
  PROCESS_RESET,
  subjects,
} from "@carillon/contracts";
import { createUuidV7, systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { dropPostgres, startPostgres, type PostgresServer } from "@carillon/local";
import type { Exit, SupervisorReport } from "@carillon/process";
import { createStore, type Store } from "@carillon/store";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createWorker } from "./worker.ts";

const HOME = "fra";
const TENANT = "acme";
const folder = mkdtempSync(join(tmpdir(), "carillon-worker-"));
let server: PostgresServer;
let store: Store;

beforeAll(async () => {
  server = await startPostgres({ folder, databases: [HOME], isDurable: false });
  store = createStore({
    url: server.urlOf(HOME),
    poolMax: 8,
    applicationName: "worker-test",
    connectTimeoutMs: 20_000,
    statementTimeoutMs: 20_000,
  });
  await store.migrate();
  await store.ensureHome(HOME);
});
afterAll(async () => {
  await store.close();
  await server.stop();
  dropPostgres(folder);
});

async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const endsAtMs = performance.now() + 30_000;
  while (!(await isTrue())) {
    if (performance.now() > endsAtMs) throw new Error(`not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A recipient whose partition is this member's among these. */
function keptBy(memberId: string, memberIds: readonly string[]): string {
  const members = memberIds.map((id) => ({ memberId: id, weight: 1 }));
  const owners = assignPartitions(members, 256);
  const names = Array.from({ length: 256 }, (_, n) => `ada-${n}`);
  return names.find((name) => owners[partitionOf(TENANT, name)] === memberId)!;
}

function region() {
  const nats = createMemoryNetwork();
  const enter = (memberId: string) => {
    const bus = nats.connect(memberId);
    const deps = { bus, clock: systemClock, scheduler: systemScheduler, random: systemRandom };
    const membership = createMembership(
      {
        self: { memberId, region: HOME, roles: ["worker"], build: "test" },
        limits: { beatEveryMs: 100, pauseMs: 2_000, pauseRemoteMs: 4_000 },
      },
      { ...deps, onMalformed: () => undefined },
    );
    const log = createLogger({
      region: HOME,
      node: memberId,
      component: "test",
      level: "fatal",
    });
    const metrics = createMetrics({ region: HOME, hasDefaults: false });
    const reports: SupervisorReport[] = [];
    const exits: Exit[] = [];
    const worker = createWorker(
      {
        home: HOME,
        memberId,
        limits: { graceMs: 1_000 },
        placement: { settleMs: 500, holdMs: 500 },
      },
      {
        ...deps,
        store,
        membership,
        log,
        metrics,
        handlers: [
          callHandler(PROCESS_RESET, ({ served: { table }, slot }) => ({
            kind: "reply",
            reply: { isChanged: table.reset(slot) },
          })),
        ],
        supervision: {
          onReport: (report) => void reports.push(report),
          onExit: (exit) => void exits.push(exit),
        },
      },
    );
    membership.start();
    void worker.start();
    return { membership, worker, metrics, reports, exits };
  };
  return { enter, gateway: nats.connect("gw") };
}

test("WK2, WK3 — drain hands over within 2 s, and what is open goes on at the next owner", async () => {
  const { enter, gateway } = region();
  const first = enter("w-1");
  await until("the first serves all", () => first.worker.servedCount === 256);
  const recipientId = keptBy("w-1", ["w-1", "w-2"]); // its session's grace begins with the drain
  const changes = [{ recipientId, locale: "en", timeZone: null, attributes: {} }];
  await store.directory.upsert({ home: HOME, tenantId: TENANT, changes, otherRegions: [] });
  const partition = partitionOf(TENANT, recipientId);
  const sessions = subjects.partitionSessions(HOME, partition);
  const shown: string[] = [];
  gateway.subscribe(subjects.memberDeliver("gw"), ({ data }) => {
    const decoded = decodeMessage(deliverSchema, data);
    if (decoded.kind === "malformed") throw new Error("malformed delivery");
    for (const { groups } of decoded.message.items)
      for (const { offset, sids } of groups)
        shown.push(`${decoded.message.ownerId}:${offset}→${sids.join()}`);
  });
  const open = async (sid: number, ackedOffset: number, offset: number | null) => {
    const position = offset === null ? null : { offset, epoch };
    const asked = { sid, tenantId: TENANT, recipientId, position, ackedOffset, device: "" };
    const request = { kind: "open", gatewayId: "gw", sessions: [asked] };
    const outcome = await gateway.request(sessions, encodeMessage(request), 2_000);
    if (outcome.kind !== "reply") return outcome.kind;
    const decoded = decodeMessage(openReplySchema, outcome.data);
    if (decoded.kind === "malformed") throw new Error("malformed answer");
    return decoded.message;
  };
  let epoch = "";
  const opened = await open(1, 0, null);
  if (typeof opened === "string") throw new Error(opened);
  const result = opened.results[0]!;
  if (result.kind === "refused") throw new Error(result.code);
  epoch = result.epoch;

  const notification = {
    id: createUuidV7(systemClock, systemRandom),
    tenantId: TENANT,
    acceptedRegion: HOME,
    acceptedAtMs: Date.now(),
    expiresAtMs: Date.now() + 600_000,
    priority: "normal" as const,
    content: { en: { title: "Hello" } },
    exclude: [],
  };
  const audience = { kind: "broadcast" as const };
  const [accepted] = await store.notifications.accept(HOME, [
    {
      notification,
      audience,
      remotes: [],
      idempotency: null,
      answer: { id: notification.id, acceptedAt: "", regions: [HOME] },
    },
  ]);
  if (accepted?.kind !== "accepted") throw new Error("not accepted");
  const items = [{ notification, audience, entries: [...accepted.ledgerEntries] }];
  const poke = encodeMessage({ home: HOME, items, directory: [] });
  gateway.publish(subjects.memberPoke("w-1"), poke);
  await until("it is shown", () => shown.length === 1);
  expect(shown).toEqual(["w-1:1→1"]);

  const second = enter("w-2");
  await until("both serve", () => {
    const counts = [first.worker.servedCount, second.worker.servedCount];
    const total = counts.reduce((sum, count) => sum + count, 0);
    return total === 256 && counts.every((count) => count >= 100);
  });
  const startedAtMs = performance.now();
  first.membership.drain();
  await first.worker.drain();
  expect(first.worker.servedCount).toBe(0);
  await until("the second serves all", () => second.worker.servedCount === 256);
  expect(performance.now() - startedAtMs).toBeLessThan(2_000); // C20
  await first.worker.stop();
  first.membership.stop();

  // The gateway resumes the session it still holds, with the ack that nobody took.
  const resumed = await open(1, 1, 1);
  expect(resumed).toMatchObject({ ownerId: "w-2", results: [{ recovered: true, missed: 0 }] });
  await until("delivered", async () => {
    const progress = await store.notifications.countsOf({ home: HOME, tenantId: TENANT }, [
      notification.id,
    ]);
    return progress.get(notification.id)?.counts.deliveredSocket === 1;
  });
  expect(shown).toEqual(["w-1:1→1"]); // once
  await second.worker.stop();
  second.membership.stop();
  expect(await open(2, 0, null)).toBe("no_responders"); // WK2
});

test("WK1, WK2 — a call finds the recipient's process while its partition is served here, and nothing before or after", async () => {
  const { enter, gateway } = region();
  const { worker, membership, metrics } = enter("w-6");
  await until("it serves all", () => worker.servedCount === 256);
  const changes = [{ recipientId: "eve", locale: null, timeZone: null, attributes: {} }];
  const { partitions } = await store.directory.upsert({
    home: HOME,
    tenantId: TENANT,
    changes,
    otherRegions: [],
  });
  gateway.publish(
    subjects.memberPoke("w-6"),
    encodeMessage({ home: HOME, items: [], directory: partitions }),
  );
  const router = createRouter({
    bus: gateway,
    clock: systemClock,
    members: { ownerOf: () => "w-6", onMemberLost: () => () => undefined },
  });
  const reset = (recipientId: string, home = HOME) =>
    router.call({ home, tenantId: TENANT, recipientId }, { kind: PROCESS_RESET, body: {} }, 5_000);
  const reply = { kind: "reply", reply: { isChanged: false }, ownerId: "w-6" };
  await until("she is known", async () => (await reset("eve")).kind === "reply");
  expect(await reset("eve")).toEqual(reply);
  expect(await reset("nobody")).toEqual({ kind: "noproc" });
  const nothingDone = { kind: "noconnection", effect: "none" };
  expect(await reset("eve", "lon")).toEqual(nothingDone); // of another home
  await worker.drain();
  expect(await reset("eve")).toEqual(nothingDone); // it says that it is not the owner
  const { text } = await metrics.render();
  for (const outcome of ["handed", "noproc", "not_owner"])
    expect(text).toContain(`carillon_route_arrivals_total{outcome="${outcome}",region="fra"}`);
  await worker.stop();
  membership.stop();
  expect(await reset("eve")).toEqual(nothingDone); // nobody is there
});

test("WK1 — a malformed message is counted and changes nothing", async () => {
  const { enter, gateway } = region();
  const { worker, membership, metrics } = enter("w-3");
  await until("it serves all", () => worker.servedCount === 256);
  gateway.publish(subjects.memberPoke("w-3"), encodeMessage({ home: 7 }));
  gateway.publish(subjects.partitionSessions(HOME, 0), encodeMessage("nonsense"));
  await until("both are counted", async () => {
    const { text } = await metrics.render();
    return ["poke", "sessions"].every((subject) =>
      text.includes(`carillon_messages_malformed_total{subject="${subject}",region="fra"} 1`),
    );
  });
  await worker.stop();
  membership.stop();
});

test("WK4 — a worker that crashes begins again at what is committed; gateways' numbers go on", async () => {
  const { enter, gateway } = region();
  const { worker, membership, metrics, reports } = enter("w-4");
  await until("it serves all", () => worker.servedCount === 256);
  const owned = (): ReadonlyMap<number, number> => {
    const beat = membership.members().find(({ memberId }) => memberId === "w-4");
    return new Map(beat?.owned[HOME]);
  };
  await until("its beat says so", () => owned().size === 256);
  const before = owned();
  const crash = async (): Promise<void> => {
    const { inc } = metrics.messagesMalformed;
    metrics.messagesMalformed.inc = () => {
      metrics.messagesMalformed.inc = inc;
      throw new TypeError("planted");
    };
    const crashesCount = reports.filter(({ kind }) => kind === "child_exited").length;
    gateway.publish(subjects.memberPoke("w-4"), encodeMessage({ home: 7 }));
    await until(
      "it has crashed",
      () => reports.filter(({ kind }) => kind === "child_exited").length > crashesCount,
    );
  };
  await crash();
  const crashedAtMs = performance.now();
  await until("it serves all again", () => worker.servedCount === 256 && owned().size === 256);
  expect(performance.now() - crashedAtMs).toBeLessThan(2_000); // not the 10 s of a lease
  const after = owned();
  expect([...after].every(([partition, epoch]) => epoch > (before.get(partition) ?? 0))).toBe(true);
  expect(worker.tree().children.map(({ id, restartsCount }) => `${id} ${restartsCount}`)).toEqual([
    "processes 1",
    "flusher 1",
    "leases 1",
    "stats 1",
  ]);
  expect(worker.tree().children[0]?.lastExit).toBe("error: planted");
  await worker.stop();
  membership.stop();
  const held = (await store.leases.list(HOME)).filter(({ ownerId }) => ownerId === "w-4");
  expect(held).toEqual([]);
});

test("WK4 — one that keeps crashing gives up: nothing of it is left, and its owner is told", async () => {
  const { enter, gateway } = region();
  const { worker, membership, metrics, reports, exits } = enter("w-5");
  await until("it serves all", () => worker.servedCount === 256);
  metrics.messagesMalformed.inc = () => {
    throw new TypeError("planted");
  };
  const poke = encodeMessage({ home: 7 });
  await until("it gives up", () => {
    gateway.publish(subjects.memberPoke("w-5"), poke);
    return exits.length > 0;
  });
  expect(exits).toEqual([{ kind: "shutdown", detail: "reached_max_restart_intensity" }]);
  expect(reports.filter(({ kind }) => kind === "child_exited")).toHaveLength(4);
  expect(worker.servedCount).toBe(0);
  const held = (await store.leases.list(HOME)).filter(({ ownerId }) => ownerId === "w-5");
  expect(held).toEqual([]);
  membership.stop();
});
