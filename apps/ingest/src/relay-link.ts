// apps/ingest/src/relay-link.ts
// The way to one other region: committed outbox rows go out at once, in order, or wait (DESIGN §5.2). Long, since what
// may be under way beside what is one question.
//   IN9  One batch is under way per target and node. A row is done only when the target has said
//        `committed`; repeats are absorbed there by primary keys.
//   IN10 After a failure there is a backlog, and every node of the region leaves its rows to it: one
//        node sends them from the database, oldest first; tried for ever with back-off (D5).
//   IN32 A link that begins after a crash rests first: one that keeps crashing (a row that nobody can
//        read) is tried for ever like a region that does not answer, and takes nobody with it.
//   IN11 What waits in memory is limited by count and bytes; beyond that rows wait in Postgres only.
//   IN40 From the backlog goes what is the oldest in the outbox when it is read, and is read again after
//        a failure: nobody leaves out an older row, however many send, sleep or die (C22, ADR 0016).
//   IN41 A batch that has no answer for `slowAfterMs` begins a backlog: others must not overtake it.
//   IN42 Withheld rows cost no more than one row of each of some tenants every 15 s, in turn; when one is
//        taken the rest of its tenant go out, each by one node: in the order of the outbox those that one
//        node claims, while nothing fails. Between nodes, and with new rows, there is no order (ADR 0016).
//        One that is withheld again meanwhile is released no further: a statement's worth goes in vain.
import type { Bus } from "@carillon/bus";
import { backoffDelayMs, type Clock, Fault, type Random, type Timer } from "@carillon/kernel";
import type { RelayOutbox, RelayProbe, RelayWay } from "./relay-outbox.ts";
import { type RelayEntry, type RelayOutcome, RelaySender } from "./relay-sender.ts";

export interface RelayLimits {
  readonly batchItemsMax: number; // 256
  readonly batchMaxBytes: number; // 1 MiB, or what the bus takes when that is less
  readonly queueItemsMax: number;
  readonly queueMaxBytes: number;
  readonly requestTimeoutMs: number;
  readonly slowAfterMs: number;
  readonly retryBaseMs: number;
  readonly retryMaxMs: number;
  readonly sweepEveryMs: number; // finds what a dead node left behind
}

export interface RelayLinkOptions {
  readonly from: string;
  readonly target: string;
  readonly limits: RelayLimits;
  readonly outbox: RelayOutbox;
  readonly onOutcome: (outcome: RelayOutcome, itemCount: number) => void;
  readonly onFault: (operation: string, cause: unknown) => void;
  readonly onState: (target: string, state: RelayWay) => void;
  /** A bug: the link is over; `stop` it, and make another one. */
  readonly onCrash: (cause: unknown) => void;
  /** Before its first sweep nothing goes out, whoever asks (IN32). Default 0. */
  readonly restMs?: number;
}

const RETRY = { factor: 2, jitterShare: 0.5 };
/** Above a request's time-out by this: others wait for a holder that is gone, not for one that tries. */
const HOLD_MARGIN_MS = 1_000;
/** A commit that was under way when a backlog ended still left its rows to it; by now it is done. */
const STRAYS_AFTER_MS = 50;
const AGAIN_MS = 0;
/** After a home is back its withheld rows wait so long at most, and a sweep's time. */
const PROBE_EVERY_MS = 15_000;

export class RelayLink {
  readonly #options: RelayLinkOptions;
  readonly #sender: RelaySender;
  readonly #clock: Clock;
  readonly #random: Random;
  #state: RelayWay = "backlog"; // a new node first takes over what an old one left
  #phase: "idle" | "running" | "stopped" = "idle";
  #queue: RelayEntry[] = [];
  #queuedBytes = 0;
  #sending: Promise<void> | undefined;
  /** Out of turn, and failed: the outbox keeps them from everybody for a while. */
  #apart: RelayEntry[] = [];
  /** Something of ours waits that the other nodes may not know of. */
  #isBeginning = false;
  #isHolder = false;
  /** The sweep is sending: what is queued follows it. */
  #isHeld = false;
  #isAskedFor = false;
  #isResting = false;
  #probeAtMs: number;
  #unreleased: RelayProbe | undefined; // of tenants that are welcome again more is withheld
  #withheldCount = 0; // of all that were sent
  #failuresCount = 0;
  #loop: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(options: RelayLinkOptions, deps: { bus: Bus; clock: Clock; random: Random }) {
    const { outbox, limits, from, target, onFault } = options;
    const onOutcome = (outcome: RelayOutcome, itemCount: number): void => {
      if (outcome === "withheld") this.#withheldCount += itemCount;
      options.onOutcome(outcome, itemCount);
    };
    this.#options = options;
    this.#sender = new RelaySender(
      { ...limits, from, target, outbox, onOutcome, onFault },
      deps.bus,
    );
    this.#clock = deps.clock;
    this.#probeAtMs = deps.clock.monotonicMs() + PROBE_EVERY_MS;
    this.#random = deps.random;
  }

  get state(): RelayWay {
    return this.#state;
  }

  get queuedCount(): number {
    return this.#queue.length;
  }

  start(): void {
    if (this.#phase !== "idle") return;
    this.#phase = "running";
    this.#loop = this.#sweepForEver().catch(this.#options.onCrash);
  }

  /** Committed rows, in order of commit. Never waits; what has no room stays in Postgres (IN11). */
  offer(entries: readonly RelayEntry[], way: RelayWay): void {
    const { limits } = this.#options;
    const bytes = entries.reduce((sum, entry) => sum + entry.json.length, 0);
    const hasRoom =
      this.#queue.length + entries.length <= limits.queueItemsMax &&
      this.#queuedBytes + bytes <= limits.queueMaxBytes;
    const isRunning = this.#phase === "running";
    if (isRunning && way === "direct" && this.#state === "direct" && hasRoom) {
      this.#queue.push(...entries);
      this.#queuedBytes += bytes;
      return this.#sendSoon();
    }
    this.#options.onOutcome("left_behind", entries.length);
    if (isRunning && way === "direct") this.#enterBacklog(); // the other nodes do not know of it
  }

  /** The connection is back, or rows were committed that are due at once: sweeps without delay. */
  sweepSoon(): void {
    this.#isAskedFor = true;
    if (!this.#isResting) this.#wake?.();
  }

  /** Lets the batch under way end; what is queued stays in Postgres. Safe to call twice. */
  async stop(): Promise<void> {
    this.#phase = "stopped";
    this.#wake?.();
    await Promise.all([this.#sending, this.#loop]);
  }

  #sendSoon(): void {
    if (!this.#isHeld && this.#queue.length > 0)
      this.#sending ??= this.#sendQueued().catch(this.#options.onCrash);
  }

  async #sendQueued(): Promise<void> {
    await Promise.resolve(); // `#sending ??=` first; and what is committed together goes together
    while (this.#queue.length > 0 && !this.#isHeld && this.#phase === "running") {
      const batch = this.#sender.takeBatch(this.#queue);
      for (const entry of batch) this.#queuedBytes -= entry.json.length;
      const onSlow = (): void => this.#enterBacklog();
      const slow = this.#clock.setTimer(this.#options.limits.slowAfterMs, onSlow);
      const delivered = await this.#sender.deliver(batch).finally(() => slow.cancel());
      if (delivered === "failed") this.#enterBacklog();
    }
    this.#sending = undefined;
  }

  #enterBacklog(): void {
    this.#isBeginning = true;
    this.#setState("backlog");
    this.#leaveQueue();
    if (!this.#isResting) this.#wake?.();
  }

  #leaveQueue(): void {
    if (this.#queue.length > 0) this.#options.onOutcome("left_behind", this.#queue.length);
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  #setState(state: RelayWay): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onState(this.#options.target, state);
  }

  async #sweepForEver(): Promise<void> {
    const { restMs = 0, outbox } = this.#options;
    this.#isResting = restMs > 0;
    if (this.#isResting) await this.#pause(restMs);
    this.#isResting = false;
    while (this.#phase === "running") {
      this.#isAskedFor = false;
      const delayMs = await this.#sweepOnce();
      if (delayMs === AGAIN_MS || this.#isAskedFor) continue;
      await this.#pause(delayMs);
    }
    if (this.#isHolder) await this.#ask("outbox.giveBack", () => outbox.giveBack());
  }

  /** Takes over one claim's worth. Returns when to look again. */
  async #sweepOnce(): Promise<number> {
    const { outbox, limits } = this.#options;
    const laterMs = this.#jittered(limits.sweepEveryMs);
    if (this.#state === "backlog" && this.#sending !== undefined) {
      await this.#takeOver(0, 0); // told to the others at once, held by nobody
      await this.#sending; // IN9
    }
    const holdMs = limits.requestTimeoutMs + HOLD_MARGIN_MS;
    const taken = await this.#takeOver(limits.batchItemsMax, holdMs);
    if (taken === undefined) return laterMs;
    this.#isHolder = taken.kind === "rows";
    if (taken.kind === "held")
      return this.#state === "backlog" ? this.#jittered(limits.retryBaseMs) : laterMs;
    if (taken.kind === "none") {
      if (this.#isBeginning) return AGAIN_MS; // while we asked
      const isMore = (await this.#sendApart()) || (await this.#probe());
      return isMore ? AGAIN_MS : laterMs;
    }
    this.#setState("backlog");
    this.#leaveQueue();
    await this.#sending; // IN9
    if (taken.rows.length > 0) {
      await this.#deliver([...taken.rows]);
      return AGAIN_MS;
    }
    if (!(await this.#deliver(this.#apart)) || this.#isBeginning) return AGAIN_MS;
    const isEnded = await this.#ask("outbox.endBacklog", () => outbox.endBacklog());
    if (isEnded === undefined) return laterMs;
    if (!isEnded || this.#isBeginning) return AGAIN_MS;
    this.#isHolder = false;
    this.#setState("direct");
    await this.#pause(STRAYS_AFTER_MS);
    await this.#sendMore("outbox.readWaiting", (limitCount) => outbox.readWaiting(limitCount));
    return AGAIN_MS;
  }

  /** Undefined: the database did not answer. */
  async #takeOver(limitCount: number, holdMs: number) {
    const isBeginning = this.#isBeginning;
    this.#isBeginning = false; // set again by what comes meanwhile
    const options = { limitCount, holdMs, isBeginning };
    const taken = await this.#ask("outbox.takeOver", () => this.#options.outbox.takeOver(options));
    if (taken === undefined && isBeginning) this.#isBeginning = true;
    return taken;
  }

  /** On a healthy link: homes, and what was put off. True: there may be more. */
  async #sendApart(): Promise<boolean> {
    this.#setState("direct");
    const { outbox } = this.#options;
    return await this.#sendMore("outbox.claim", async (limitCount) =>
      this.#apart.length > 0 ? this.#apart.splice(0) : await outbox.claim(limitCount),
    );
  }

  /** IN42. True: withheld rows are due now. */
  async #probe(): Promise<boolean> {
    if (this.#unreleased !== undefined) return await this.#release(this.#unreleased);
    if (this.#clock.monotonicMs() < this.#probeAtMs) return false;
    this.#probeAtMs = this.#clock.monotonicMs() + PROBE_EVERY_MS;
    const probe = await this.#ask("outbox.probe", () => this.#options.outbox.probe());
    if (probe === undefined || probe.rows.length === 0) return false;
    await this.#sendMore("outbox.probe", async () => [...probe.rows]);
    return await this.#release(probe);
  }

  /** What is not released is tried again with the next sweep, and not left to the tenant's next turn. */
  async #release(probe: RelayProbe): Promise<boolean> {
    this.#unreleased = probe;
    const released = await this.#ask("outbox.release", () => probe.release());
    if (released?.isWhole === true) this.#unreleased = undefined;
    return released !== undefined && released.count > 0;
  }

  /** Beside what is queued, which follows. True: there may be more. */
  async #sendMore(operation: string, read: (limitCount: number) => Promise<RelayEntry[]>) {
    const rows = await this.#ask(operation, () => read(this.#options.limits.batchItemsMax));
    const readCount = rows?.length ?? 0; // what is delivered is taken out of `rows`
    if (rows !== undefined && rows.length > 0 && this.#state === "direct") {
      this.#isHeld = true;
      await this.#sending; // IN9
      const withheldCount = this.#withheldCount;
      const isDelivered = await this.#deliver(rows);
      // Welcome no more: what is left waits for its next probe, or the same rows go to and fro for ever.
      if (this.#withheldCount > withheldCount) this.#unreleased = undefined;
      this.#apart.push(...rows.filter(({ kind }) => !isDelivered && kind === "homes"));
      this.#isHeld = false;
    }
    this.#sendSoon();
    return this.#state === "backlog" || readCount > 0;
  }

  /** Takes what is delivered out of `rows`. False: failed, and waited for the next try. */
  async #deliver(rows: RelayEntry[]): Promise<boolean> {
    while (rows.length > 0) {
      if (this.#phase !== "running") return false;
      const batch = this.#sender.takeBatch(rows);
      if ((await this.#sender.deliver(batch)) === "committed") {
        this.#failuresCount = 0;
        continue;
      }
      rows.unshift(...batch);
      await this.#backOff();
      return false;
    }
    return true;
  }

  async #backOff(): Promise<void> {
    this.#enterBacklog();
    const { outbox, limits } = this.#options;
    // Another node may have a way where this one has none.
    if (this.#isHolder) await this.#ask("outbox.giveBack", () => outbox.giveBack());
    this.#isHolder = false;
    const delay = { ...RETRY, baseMs: limits.retryBaseMs, maxMs: limits.retryMaxMs };
    await this.#pause(backoffDelayMs(delay, ++this.#failuresCount, this.#random));
  }

  async #ask<T>(operation: string, statement: () => Promise<T>): Promise<T | undefined> {
    try {
      return await statement();
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      this.#options.onFault(operation, cause);
      return undefined;
    }
  }

  async #pause(delayMs: number): Promise<void> {
    if (this.#phase !== "running") return;
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = this.#clock.setTimer(delayMs, resolve);
    });
    timer?.cancel();
    this.#wake = undefined;
  }

  #jittered(delayMs: number): number {
    return delayMs * (0.75 + 0.5 * this.#random.next());
  }
}
