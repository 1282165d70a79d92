// apps/cli/src/home/test-home.ts
// A home's row in memory and a keeper beside it, for the tests of this folder.
import { createMemoryNetwork } from "@carillon/bus";
import {
  encodeMessage,
  type HomeClaim,
  type HomeReply,
  homeReplySchema,
  type HomeRequest,
  HOMES_QUEUE,
  homeSubjects,
} from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import type { OwnRun } from "@carillon/process";
import type { Store, StoredHome } from "@carillon/store";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { FakeClock } from "@carillon/testkit";
import { HomeKeeper } from "./home-keeper.ts";
import { serveHomeSteps } from "./home-steps.ts";

export const SERVING: StoredHome = {
  isInRecovery: false,
  claim: { epoch: 1, host: "fra" },
  state: "serving",
  movingTo: null,
  fenceLsn: null,
  supersededBy: null,
  replica: null,
  since: null,
  leasedCount: 0,
  withheldTenants: [],
};

/** Home fra in the database of a node at `place`. */
export function homeAt(place: string, row: Partial<StoredHome> = {}) {
  const clock = new FakeClock();
  const network = createMemoryNetwork({ clock, scheduler: clock });
  const bus = network.connect(place);
  const stored = { ...SERVING, ...row };
  const database = {
    isBroken: false,
    isFenceBroken: false,
    promotes: true,
    meanwhile: (): void => undefined,
  };
  const calls: string[] = [];
  const heard = new Map<string, HomeClaim>();
  const broken = () => new Fault("down", { code: "store_unavailable", isRetryable: true });
  const home = {
    async look() {
      if (database.isBroken) throw broken();
      return { ...stored };
    },
    async heard() {
      return new Map(heard);
    },
    async hear(of: string, claim: HomeClaim) {
      heard.set(of, claim);
    },
    async fence(_home: string, by: HomeClaim | null) {
      calls.push(`fence ${by === null ? "planned" : by.epoch}`);
      if (database.isFenceBroken) throw broken();
      Object.assign(stored, { state: "fenced", supersededBy: by, fenceLsn: "0/10" });
    },
    async drain(_home: string, to: string) {
      if (stored.movingTo !== null && stored.movingTo !== to) return false;
      Object.assign(stored, { state: "draining", movingTo: to });
      calls.push("drain");
      return true;
    },
    async replayed() {
      return { lsn: "0/20", snapshot: "1:1:" };
    },
    async promote() {
      calls.push("promote");
      if (database.promotes) stored.isInRecovery = false;
      database.meanwhile();
      return database.promotes;
    },
    async declare(
      _home: string,
      claim: HomeClaim,
      { isPlanned, from }: { isPlanned: boolean; from: HomeClaim },
    ) {
      if (JSON.stringify(stored.claim) !== JSON.stringify(from)) return false;
      calls.push(`declare ${claim.epoch} ${claim.host} ${isPlanned ? "planned" : "unplanned"}`);
      Object.assign(stored, { claim, state: "serving", fenceLsn: null, movingTo: null });
      return true;
    },
    async resume(_home: string, claim: HomeClaim) {
      calls.push(`resume ${claim.epoch}`);
      Object.assign(stored, { claim, state: "serving", fenceLsn: null, movingTo: null });
    },
    async setResidency(tenantId: string) {
      return tenantId === "demo";
    },
  };
  const withheld: string[][] = [];
  const store = {
    home,
    migrate: async () => void calls.push("migrate"),
    ensureHome: async () => {
      if (stored.claim === null)
        Object.assign(stored, { claim: { epoch: 1, host: place }, state: "serving" });
    },
    ledger: { withhold: (tenants: string[]) => void withheld.push(tenants) },
  } as unknown as Store;
  const lines: Record<string, unknown>[] = [];
  const stream = {
    write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  };
  const crashes: unknown[] = [];
  const run: OwnRun = {
    isCurrent: true,
    guarded: (callback) => callback,
    crashed: (cause) => void crashes.push(cause),
    watch: (work) => void work.catch((cause: unknown) => crashes.push(cause)),
    onOver: () => undefined,
  };
  const log = createLogger({ region: place, node: "n", component: "home", level: "info", stream });
  const metrics = createMetrics({ region: place, hasDefaults: false });
  const regions = ["fra", "lon", "par", "dub"];
  const keeper = new HomeKeeper(
    { home: "fra", place, regions, askMaxMs: 2_000 },
    { store, bus, clock, log, metrics },
    run,
  );
  const changes: string[] = [];
  keeper.onChange(() => changes.push(keeper.standing));
  const other = network.connect("other");
  /** A node in lon that answers what it has heard. */
  const answerFromLon = (homes: Readonly<Record<string, HomeClaim>>) =>
    other.subscribe(
      homeSubjects.homesKnown("lon"),
      (message) => message.reply(encodeMessage({ homes })),
      { queue: HOMES_QUEUE },
    );
  const step = async (request: HomeRequest): Promise<HomeReply> => {
    const asked = other.request(homeSubjects.homeAt("fra", place), encodeMessage(request), 10_000);
    for (let count = 0; count < 40; count++) await clock.advance(100);
    const outcome = await asked;
    if (outcome.kind !== "reply") throw new Error(outcome.kind);
    return homeReplySchema.parse(JSON.parse(new TextDecoder().decode(outcome.data)));
  };
  const start = async (): Promise<void> => {
    const starting = keeper.start();
    for (let count = 0; count < 30; count++) await clock.advance(100);
    await starting;
    serveHomeSteps({ home: "fra", place, regions, memberId: "n", keeper, store, bus, log }, run);
  };
  return {
    clock,
    network,
    keeper,
    metrics,
    store,
    stored,
    database,
    calls,
    heard,
    withheld,
    lines,
    crashes,
    changes,
    answerFromLon,
    step,
    start,
  };
}
