// apps/cli/src/home/home-keeper.ts
// What this node does for its home, kept up to date (spec C24, ADR 0015): reads the home's row, hears
// what others say of homes, asks them before it serves, and fences a database that was superseded. Long,
// since one look, from reading the row to telling of it, is one train of thought.
//   HK1  Nothing is served before another place was asked who hosts the home, or none has answered in
//        time: a region that is cut off serves its own people (D5), unless its own row is fenced.
//   HK2  Whoever hears of a newer claim stops at once, and the fence is written before anything else
//        is told; what cannot be written is tried again with each look, and serves nothing meanwhile.
//   HK3  Listeners are told after each change of standing or of withheld tenants, and never twice for
//        the same.
//   HK4  A node that slept (SIGSTOP, a paused machine) serves nothing before it has asked anew: what
//        waited in its sockets is refused.
//   HD1  A home begins at home, in an empty database, when nobody tells that it has begun elsewhere or
//        was moved since: any other empty database stays empty, serves nothing, and is told.
//   HK6  The gauge of a copy's lag tells what is known now, and no number when nothing is.
import { type Bus, ownBus } from "@carillon/bus";
import { standingOf } from "@carillon/cluster";
import {
  type Beat,
  decodeMessage,
  encodeMessage,
  type HeardClaims,
  type HomeClaim,
  type HomeLook,
  HOMES_QUEUE,
  homesKnownSchema,
  type HomeStanding,
  homeSubjects,
  isNewerClaim,
} from "@carillon/contracts";
import { assert, type Clock, Fault } from "@carillon/kernel";
import { ownClock, type OwnRun } from "@carillon/process";
import type { Store, StoredHome } from "@carillon/store";
import type { Logger, Metrics } from "@carillon/telemetry";
import { reasonOf } from "../node-telemetry.ts";
import { HeardHomes } from "./heard-homes.ts";

export interface HomeKeeperOptions {
  readonly home: string;
  /** The region that this node runs in. */
  readonly place: string;
  readonly regions: readonly string[];
  /** So long others are asked, when none answers (HK1). */
  readonly askMaxMs: number;
}

export interface HomeKeeperDeps {
  readonly store: Store;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

const FIRST_EPOCH = 1; // of the row that `ensureHome` writes
const LOOK_EVERY_MS = 1_000;
/** As long as a lease is refreshed at most (DESIGN §6): a node that is merely busy looks more often. */
const SLEPT_MS = 8_000;
const ASK_TIMEOUT_MS = 500;
const ASK_AGAIN_MS = 100;

export class HomeKeeper {
  readonly #options: HomeKeeperOptions;
  readonly #deps: HomeKeeperDeps;
  readonly #run: OwnRun;
  readonly #clock: Clock;
  readonly #bus: Bus;
  readonly #claims: HeardHomes;
  readonly #listeners = new Set<() => void>();
  #standing: HomeStanding = "undeclared";
  #isAsked = false;
  #isPrepared = false;
  #isEmpty = false;
  /** Of the row as last seen. */
  #own: HomeClaim | null = null;
  #tickedAtMs: number;
  #sleepsCount = 0;
  /** Up to which others were asked. */
  #sleepsSettled = 0;
  #withheld: ReadonlySet<string> = new Set();
  #told = "";
  #toldEmpty = "";
  #looking: Promise<StoredHome> | undefined;

  constructor(options: HomeKeeperOptions, deps: HomeKeeperDeps, run: OwnRun) {
    this.#options = options;
    this.#deps = deps;
    this.#run = run;
    this.#clock = ownClock(run, deps.clock);
    this.#bus = ownBus(run, deps.bus);
    this.#claims = new HeardHomes(options.regions, { ...deps, clock: this.#clock });
    this.#tickedAtMs = this.#clock.monotonicMs();
  }

  /** What counts now; it may be less than listeners were told (HK2, HK4). */
  get standing(): HomeStanding {
    if (this.#standing !== "serving") return this.#standing;
    const newest = this.claim;
    if (newest !== undefined && this.#own !== null && isNewerClaim(newest, this.#own))
      return "fenced";
    const isAsleep = this.#clock.monotonicMs() - this.#tickedAtMs > SLEPT_MS;
    return isAsleep || this.#sleepsSettled < this.#sleepsCount ? "undeclared" : "serving";
  }

  get claim(): HomeClaim | undefined {
    return this.#claims.of(this.#options.home);
  }

  /** Its database holds nothing of the home: it is no copy, and was not begun here (HD1). */
  get isEmpty(): boolean {
    return this.#isEmpty;
  }

  get withheldTenants(): ReadonlySet<string> {
    return this.#withheld;
  }

  withholds(tenantId: string): boolean {
    return this.#withheld.has(tenantId);
  }

  onChange(listener: () => void): () => void {
    const entry = (): void => listener(); // the same function may listen twice
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  /** What every beat says of homes. */
  told(): Pick<Beat, "standing" | "homes"> {
    return { standing: this.standing, homes: this.#claims.all() };
  }

  /** Throws Fault when the database cannot be read: then the node does not start. */
  async start(): Promise<void> {
    const { place } = this.#options;
    for (const [home, claim] of await this.#deps.store.home.heard())
      this.#claims.hear(home, claim, "home_heard");
    this.#bus.subscribe(
      homeSubjects.homesKnown(place),
      (message) => message.reply(encodeMessage({ homes: this.#claims.all() })),
      { queue: HOMES_QUEUE },
    );
    await this.settle();
    this.#lookLater();
  }

  /** From beats: news of any home; of this one they count at once (HK2). `from`: who said so. */
  hear(claims: HeardClaims | undefined, from: string): void {
    for (const [home, claim] of Object.entries(claims ?? {})) {
      if (this.#claims.hear(home, claim, from) !== "news" || claim === null) continue;
      const { log, store } = this.#deps;
      log.info("home.heard", { home, ...claim });
      if (this.#standing !== "standby")
        store.home.hear(home, claim).catch((cause: unknown) => this.#onFault("home.hear", cause));
      if (home === this.#options.home) this.settleSoon();
    }
  }

  settleSoon(): void {
    this.settle().catch((cause: unknown) => this.#onFault("home.look", cause));
  }

  /** Looks, fences where that is due, and tells of changes. Calls meanwhile share one look. */
  settle(): Promise<StoredHome> {
    this.#looking ??= this.#settleOnce().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** As `settle`, and sees at least what was committed before the call. */
  async settleAnew(): Promise<StoredHome> {
    await this.#looking?.catch(() => undefined);
    return this.settle();
  }

  /** Asks one node of each other place; resolves when one has answered, or the time is over (HK1). */
  async askOthers(): Promise<void> {
    const { regions, place, askMaxMs } = this.#options;
    const others = regions.filter((region) => region !== place);
    const endsAtMs = this.#clock.monotonicMs() + askMaxMs;
    while (others.length > 0) {
      const answers = await Promise.all(others.map((other) => this.#ask(other)));
      if (answers.includes(true)) return;
      if (this.#clock.monotonicMs() >= endsAtMs) {
        this.#deps.log.warn("home.unasked", { home: this.#options.home, askMaxMs });
        return;
      }
      await this.#clock.sleep(ASK_AGAIN_MS);
    }
  }

  lookOf(stored: StoredHome, memberId: string): HomeLook {
    const { home, place } = this.#options;
    return { kind: "look", home, place, memberId, standing: this.standing, ...stored };
  }

  async #settleOnce(): Promise<StoredHome> {
    const { store } = this.#deps;
    const { home } = this.#options;
    const sleepsCount = this.#sleepsCount;
    let stored = await this.#look();
    const isUnasked = !this.#isAsked || this.#sleepsSettled < sleepsCount;
    if (isUnasked && (this.#standingOf(stored) === "serving" || this.#mayBegin(stored)))
      await this.askOthers();
    const isBegun = this.#mayBegin(stored);
    if (isBegun || (this.#standingOf(stored) === "serving" && !this.#isPrepared)) {
      await store.migrate(); // what a copy, or a fenced database, was spared at the start
      await store.ensureHome(home);
      this.#isPrepared = true;
      if (isBegun) stored = await this.#look();
    }
    const standing = this.#standingOf(stored);
    this.#isAsked = standing === "serving";
    this.#sleepsSettled = sleepsCount;
    this.#own = stored.claim;
    this.#isEmpty = stored.claim === null && !stored.isInRecovery;
    this.#standing = standing; // requests are refused from here on
    if (isFenceDue(stored, standing, this.#options.place)) stored = await this.#fence(stored);
    this.#tell(stored);
    this.#tellEmpty();
    return stored;
  }

  async #look(): Promise<StoredHome> {
    const { home } = this.#options;
    const stored = await this.#deps.store.home.look(home);
    if (stored.claim !== null) this.#claims.hear(home, stored.claim, "home");
    return stored;
  }

  /** HD1. Somebody who was asked, or heard of before, knows of no later host. */
  #mayBegin({ isInRecovery, claim }: StoredHome): boolean {
    const { home, place } = this.#options;
    if (isInRecovery || claim !== null || home !== place) return false;
    const heard = this.claim;
    return heard === undefined || (heard.epoch === FIRST_EPOCH && heard.host === place);
  }

  #standingOf(stored: StoredHome): HomeStanding {
    const { home, place } = this.#options;
    return standingOf(stored, place, this.#claims.of(home));
  }

  /** HK2. */
  async #fence(stored: StoredHome): Promise<StoredHome> {
    const { store, log } = this.#deps;
    const { home, place } = this.#options;
    const by = this.claim;
    assert(by, "HK2 somebody has the home");
    try {
      await store.home.fence(home, by);
      log.warn("home.fenced", { home, place, byEpoch: by.epoch, byHost: by.host });
      return await store.home.look(home);
    } catch (cause) {
      this.#onFault("home.fence", cause);
      return stored;
    }
  }

  #tell(stored: StoredHome): void {
    const { log, metrics, store } = this.#deps;
    const { home, place } = this.#options;
    const standing = this.#standing;
    const withheld = standing === "serving" ? stored.withheldTenants : [];
    metrics.homeEpoch.set(stored.claim?.epoch ?? 0);
    metrics.homeServing.set(standing === "serving" ? 1 : 0);
    metrics.homeStreaming.set(stored.replica?.isStreaming === true ? 1 : 0);
    metrics.homeReplayLag.set(lagSecondsOf(stored));
    const told = JSON.stringify([standing, stored.claim, withheld, this.#isEmpty]);
    if (told === this.#told) return; // HK3
    this.#told = told;
    this.#withheld = new Set(withheld);
    store.ledger.withhold(withheld);
    log.info("home.standing", {
      home,
      place,
      standing,
      epoch: stored.claim?.epoch ?? null,
      host: stored.claim?.host ?? null,
      withheldCount: withheld.length,
    });
    for (const listener of this.#listeners) this.#run.guarded(listener)();
  }

  /** HD1. Once; and once more when it is heard who hosts the home, of which it is to be made a copy. */
  #tellEmpty(): void {
    const { home, place } = this.#options;
    const told = this.#isEmpty ? JSON.stringify([this.claim]) : "";
    if (told === this.#toldEmpty) return;
    this.#toldEmpty = told;
    if (this.#isEmpty) this.#deps.log.error("home.database_empty", { home, place, ...this.claim });
  }

  async #ask(other: string): Promise<boolean> {
    const subject = homeSubjects.homesKnown(other);
    const outcome = await this.#bus.request(subject, encodeMessage({}), ASK_TIMEOUT_MS);
    if (outcome.kind !== "reply") return false;
    const decoded = decodeMessage(homesKnownSchema, outcome.data);
    if (decoded.kind === "malformed") return false;
    for (const [home, claim] of Object.entries(decoded.message.homes))
      this.#claims.hear(home, claim, other);
    return true;
  }

  /** HK4. */
  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#tickedAtMs > SLEPT_MS) this.#sleepsCount++;
    this.#tickedAtMs = nowMs;
  }

  #lookLater(): void {
    this.#clock.setTimer(LOOK_EVERY_MS, () => {
      this.#tick();
      this.settleAnew()
        .catch((cause: unknown) => this.#onFault("home.look", cause))
        .finally(() => this.#lookLater());
    });
  }

  #onFault(operation: string, cause: unknown): void {
    if (!(cause instanceof Fault)) return this.#run.crashed(cause);
    this.#deps.metrics.failures.inc({ component: "home" });
    this.#deps.log.warn("home.fault", { operation, reason: reasonOf(cause) });
  }
}

/** Up to which it may be behind. 0 of what is no copy; NaN: not known, which no alarm takes for a number. */
function lagSecondsOf({ replica }: StoredHome): number {
  if (replica === null) return 0;
  return replica.lagMs === null ? NaN : Math.max(replica.lagMs, replica.silentMs ?? 0) / 1_000;
}

/** A database that was the host, knows nothing of it, or was interrupted while it wrote it down. */
function isFenceDue(stored: StoredHome, standing: HomeStanding, place: string): boolean {
  const { claim, state, fenceLsn, supersededBy, isInRecovery } = stored;
  if (standing !== "fenced" || isInRecovery || claim?.host !== place) return false;
  return state !== "fenced" || (fenceLsn === null && supersededBy !== null);
}
