// Goal: RT6. Method: fake time; a store whose sweeps end as they are told.
import { createSeededRandom, Fault } from "@carillon/kernel";
import { createMemoryNetwork } from "@carillon/bus";
import type { HomeStanding } from "@carillon/contracts";
import type { RetentionReport, Store } from "@carillon/store";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import type { HomeGate } from "./home-gate.ts";
import { createIngestSupervisor } from "./ingest.ts";
import type { IngestEvents } from "./events.ts";
import { type RetentionDeps, startRetention } from "./retention.ts";

const REPORT: RetentionReport = {
  added: [],
  dropped: [],
  held: [],
  deleted: {},
  restCount: 0,
  parts: [],
  aheadSeconds: 0,
  isBusy: false,
  hasMore: false,
};
const POLICY = { notificationDays: 90, buriedTimerDays: 90, journalDays: 90 };
const FAULT = new Fault("gone", { code: "store_unavailable", isRetryable: true });

function start(ends: (() => Promise<RetentionReport>)[]) {
  const clock = new FakeClock();
  const log: string[] = [];
  const retention = startRetention({
    store: {
      retention: {
        sweep(policy: unknown) {
          expect(policy).toEqual(POLICY);
          log.push(`sweep at ${clock.monotonicMs() / 1_000}`);
          return (ends.shift() ?? (async () => REPORT))();
        },
      },
    } as unknown as RetentionDeps["store"],
    policy: POLICY,
    clock,
    random: { next: () => 0.5, bytes: () => new Uint8Array() }, // jitter of zero
    onSwept: () => log.push("swept"),
    onFault: (event) => log.push(event),
    onCrash: (cause) => log.push(`crash ${String(cause)}`),
  });
  return { clock, log, retention };
}

test("RT6 — after a minute, then every ten; at once when there is more, soon when others were in the way", async () => {
  const { clock, log } = start([
    async () => ({ ...REPORT, hasMore: true, isBusy: true }),
    async () => ({ ...REPORT, isBusy: true }),
  ]);
  await clock.advance(59_999);
  expect(log).toEqual([]);
  await clock.advance(1);
  await clock.advance(1_000);
  await clock.advance(60_000);
  await clock.advance(600_000);
  expect(log.filter((line) => line !== "swept")).toEqual([
    "sweep at 60",
    "sweep at 61",
    "sweep at 121",
    "sweep at 721",
  ]);
});

test("RT6 — without a database it is told and tried again; a bug is a crash", async () => {
  const { clock, log } = start([
    () => Promise.reject(FAULT),
    () => Promise.reject(new Error("bug")),
  ]);
  await clock.advance(60_000);
  await clock.advance(60_000);
  await clock.advance(3_600_000);
  expect(log).toEqual(["sweep at 60", "retention.failed", "sweep at 120", "crash Error: bug"]);
});

test("RT6 — one sweep at a time, and none after the stop, also of one that was under way", async () => {
  const { promise, resolve } = Promise.withResolvers<RetentionReport>();
  const { clock, log, retention } = start([() => promise]);
  await clock.advance(60_000);
  await clock.advance(3_600_000);
  expect(log).toEqual(["sweep at 60"]);
  retention.stop();
  resolve(REPORT);
  await clock.settle();
  await clock.advance(3_600_000);
  expect(log).toEqual(["sweep at 60", "swept"]);
  expect(clock.timersCount).toBe(0);
});

test("RT6 — while the home is served elsewhere nothing is swept here", async () => {
  const clock = new FakeClock();
  const random = { next: () => 0.5, bytes: createSeededRandom(1).bytes };
  const sweepsAtS: number[] = [];
  const gate = { standing: "serving" as HomeStanding, changed: () => {} };
  const home: HomeGate = {
    get standing() {
      return gate.standing;
    },
    claim: undefined,
    isEmpty: false,
    withholds: () => false,
    onChange(listener) {
      gate.changed = listener;
      return () => undefined;
    },
  };
  const ingest = createIngestSupervisor({
    config: {
      region: "fra",
      regions: ["fra"],
      host: "",
      port: 0,
      apiKeyPepper: "",
      tokenKeys: undefined as never, // of the HTTP API, which is not here
      retention: POLICY,
    },
    store: {
      retention: {
        async sweep() {
          sweepsAtS.push(clock.monotonicMs() / 1_000);
          return REPORT;
        },
      },
    } as unknown as Store,
    bus: createMemoryNetwork({ clock, scheduler: clock, random }).connect("fra"),
    owners: { ownerOf: () => undefined, onMemberLost: () => () => undefined },
    members: () => [],
    clock,
    random,
    events: new Proxy({} as IngestEvents, { get: () => () => undefined }),
    home,
    metricsText: () => Promise.reject(new Error("not asked for")),
    startApi: async () => ({
      port: 0,
      acceptWaitingCount: 0,
      drain: async () => undefined,
      stop: async () => undefined,
      abandon: async () => undefined,
    }),
  });
  const become = async (standing: HomeStanding) => {
    gate.standing = standing;
    gate.changed();
    await clock.settle();
  };
  await ingest.start();
  await clock.advance(60_000);
  await become("fenced");
  await clock.advance(3_600_000);
  await become("serving");
  await clock.advance(60_000);
  expect(sweepsAtS).toEqual([60, 3_720]);
  await ingest.stop();
});
