// apps/ingest/src/relay-link.ts
// The way to one other region: committed outbox rows go out at once, in order, or wait (DESIGN §5.2).
//   IN9  One batch is under way per target and node. A row is done only when the target has said
//        `committed`; repeats are absorbed there by primary keys.
//   IN10 After a failure the link is in `backlog`: nothing goes out from memory until the rows in
//        the database, oldest first, have been taken over; tried for ever with back-off (D5).
//        Rows that a sweep finds on a healthy link (a dead node's, homes) go first all the same.
//   IN32 A link that begins after a crash rests first: one that keeps crashing (a row that nobody can
//        read) is tried for ever like a region that does not answer, and takes nobody with it.
//   IN11 What waits in memory is limited by count and bytes; beyond that rows wait in Postgres only.
import type { Bus } from "@carillon/bus";
import { decodeMessage, relayReplySchema, subjects } from "@carillon/contracts";
import { backoffDelayMs, type Clock, Fault, type Random, type Timer } from "@carillon/kernel";

/** One outbox row, encoded. `json`: a RelayItem, or one or more tenants of a HomesBatch. */
export interface RelayEntry {
  readonly outboxId: number;
  readonly kind: "notification" | "homes";
  readonly json: string;
}

export interface RelayLimits {
  readonly batchItemsMax: number; // 256
  readonly batchMaxBytes: number; // 1 MiB, or what the bus takes when that is less
  readonly queueItemsMax: number;
  readonly queueMaxBytes: number;
  readonly requestTimeoutMs: number;
  readonly retryBaseMs: number;
  readonly retryMaxMs: number;
  readonly sweepEveryMs: number; // finds what a dead node left behind
}

export type RelayOutcome = "committed" | "failed" | "refused" | "left_behind" | "withheld";

export interface RelayLinkOptions {
  readonly from: string;
  readonly target: string;
  readonly limits: RelayLimits;
  /** Rows that are due, oldest first; kept from other nodes for a while. Throws Fault. */
  readonly claim: (target: string, limitCount: number) => Promise<RelayEntry[]>;
  readonly markDone: (outboxIds: readonly number[]) => Promise<void>;
  /** The target keeps them waiting, others not (ADR 0015): due again later. Throws Fault. */
  readonly defer: (outboxIds: readonly number[]) => Promise<void>;
  readonly onOutcome: (outcome: RelayOutcome, itemCount: number) => void;
  readonly onFault: (operation: string, cause: unknown) => void;
  readonly onState: (target: string, state: "direct" | "backlog") => void;
  /** A bug: the link is over; `stop` it, and make another one. */
  readonly onCrash: (cause: unknown) => void;
  /** Before its first sweep nothing goes out, whoever asks (IN32). Default 0. */
  readonly restMs?: number;
}

const ENVELOPE_BYTES = 256;
const RETRY_FACTOR = 2;
const RETRY_JITTER_SHARE = 0.5;
/** Codes that the same bytes will meet again: such a row must not hold up the others. */
const REFUSALS: ReadonlySet<string> = new Set(["malformed", "store_rejected", "too_large"]);

type RequestResult =
  | "committed"
  | "failed"
  | "refused"
  /** Committed but for those at these places. */
  | { readonly withheld: readonly number[] };

export class RelayLink {
  readonly #options: RelayLinkOptions;
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #random: Random;
  #state: "direct" | "backlog" = "backlog"; // a new node first takes over what an old one left
  #phase: "idle" | "running" | "stopped" = "idle";
  #queue: RelayEntry[] = [];
  #queuedBytes = 0;
  #sending: Promise<void> | undefined;
  /** Went out from memory and failed: goes first once the target answers again. */
  #failedBatches: RelayEntry[][] = [];
  #isLeftBehind = false;
  /** The sweep is sending: what is queued follows it. */
  #isHeld = false;
  #isAskedFor = false;
  #isResting = false;
  #loop: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(options: RelayLinkOptions, deps: { bus: Bus; clock: Clock; random: Random }) {
    this.#options = options;
    this.#bus = deps.bus;
    this.#clock = deps.clock;
    this.#random = deps.random;
  }

  get state(): "direct" | "backlog" {
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
  offer(entries: readonly RelayEntry[]): void {
    const { limits } = this.#options;
    const bytes = entries.reduce((sum, entry) => sum + entry.json.length, 0);
    const hasRoom =
      this.#queue.length + entries.length <= limits.queueItemsMax &&
      this.#queuedBytes + bytes <= limits.queueMaxBytes;
    if (this.#phase !== "running" || this.#state === "backlog" || !hasRoom) {
      this.#isLeftBehind = true;
      this.#options.onOutcome("left_behind", entries.length);
      if (this.#phase === "running" && this.#state === "direct") this.#enterBacklog();
      return;
    }
    this.#queue.push(...entries);
    this.#queuedBytes += bytes;
    this.#sendSoon();
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
      const batch = this.#takeBatch(this.#queue);
      for (const entry of batch) this.#queuedBytes -= entry.json.length;
      if ((await this.#deliver(batch)) === "committed") continue;
      this.#failedBatches.push(batch);
      this.#enterBacklog();
    }
    this.#sending = undefined;
  }

  #enterBacklog(): void {
    this.#setState("backlog");
    if (this.#queue.length > 0) this.#options.onOutcome("left_behind", this.#queue.length);
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#wake?.();
  }

  #setState(state: "direct" | "backlog"): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onState(this.#options.target, state);
  }

  async #sweepForEver(): Promise<void> {
    const { restMs = 0 } = this.#options;
    this.#isResting = restMs > 0;
    if (this.#isResting) await this.#pause(restMs);
    this.#isResting = false;
    while (this.#phase === "running") {
      this.#isAskedFor = false;
      if ((await this.#sweepOnce()) || this.#isAskedFor) continue;
      this.#isHeld = false;
      this.#sendSoon();
      await this.#pause(this.#jittered(this.#options.limits.sweepEveryMs));
    }
  }

  /** Takes over one claim's worth. True: there may be more. */
  async #sweepOnce(): Promise<boolean> {
    if (this.#state === "backlog") await this.#sending; // IN9; a direct link may never be idle
    this.#isLeftBehind = false;
    for (let batch = this.#failedBatches[0]; batch; batch = this.#failedBatches[0]) {
      if (!(await this.#deliverForEver(batch))) return false;
      this.#failedBatches.shift();
    }
    let rows: RelayEntry[];
    try {
      rows = await this.#options.claim(this.#options.target, this.#options.limits.batchItemsMax);
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      this.#options.onFault("outbox.claim", cause);
      return false;
    }
    if (rows.length === 0) {
      if (this.#isLeftBehind || this.#failedBatches.length > 0) return true; // while we asked
      this.#setState("direct");
      return false;
    }
    this.#isHeld = true;
    await this.#sending; // IN9
    while (rows.length > 0) if (!(await this.#deliverForEver(this.#takeBatch(rows)))) return false;
    return true;
  }

  /** False only when stopped. */
  async #deliverForEver(batch: RelayEntry[]): Promise<boolean> {
    for (let attempt = 1; this.#phase === "running"; attempt++) {
      if ((await this.#deliver(batch)) === "committed") return true;
      this.#enterBacklog();
      const { retryBaseMs, retryMaxMs } = this.#options.limits;
      const delay = { baseMs: retryBaseMs, factor: RETRY_FACTOR, maxMs: retryMaxMs };
      const jitter = { ...delay, jitterShare: RETRY_JITTER_SHARE };
      await this.#pause(backoffDelayMs(jitter, attempt, this.#random));
    }
    return false;
  }

  /** Removes the first entries of one kind that fit into one message. */
  #takeBatch(entries: RelayEntry[]): RelayEntry[] {
    const { batchItemsMax, batchMaxBytes } = this.#options.limits;
    const maxBytes = Math.min(batchMaxBytes, this.#bus.payloadMaxBytes) - ENVELOPE_BYTES;
    const kind = entries[0]?.kind;
    let count = 0;
    let bytes = 0;
    for (const entry of entries) {
      bytes += Buffer.byteLength(entry.json) + 1;
      if (count > 0 && (entry.kind !== kind || count >= batchItemsMax || bytes > maxBytes)) break;
      count++;
    }
    return entries.splice(0, count);
  }

  async #deliver(batch: readonly RelayEntry[]): Promise<"committed" | "failed"> {
    const result = await this.#request(batch);
    if (typeof result === "object") return await this.#deliverPartly(batch, result.withheld);
    if (result === "refused" && batch.length > 1) {
      for (const entry of batch) if ((await this.#deliver([entry])) === "failed") return "failed";
      return "committed";
    }
    this.#options.onOutcome(result, batch.length);
    if (result === "failed") return "failed";
    if (result === "committed") {
      try {
        await this.#options.markDone(batch.map((entry) => entry.outboxId));
      } catch (cause) {
        if (!(cause instanceof Fault)) throw cause;
        this.#options.onFault("outbox.markDone", cause); // sent again later, absorbed there
      }
    }
    return "committed"; // refused alone: its row stays in the outbox, for a person to look at
  }

  async #deliverPartly(batch: readonly RelayEntry[], withheld: readonly number[]) {
    const kept = new Set(withheld);
    const idsOf = (isKept: boolean): number[] =>
      batch.flatMap((entry, at) => (kept.has(at) === isKept ? entry.outboxId : []));
    this.#options.onOutcome("committed", idsOf(false).length);
    this.#options.onOutcome("withheld", idsOf(true).length);
    try {
      await this.#options.markDone(idsOf(false));
      await this.#options.defer(idsOf(true));
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      this.#options.onFault("outbox.defer", cause); // both are asked again later
    }
    return "committed" as const;
  }

  async #request(batch: readonly RelayEntry[]): Promise<RequestResult> {
    const { from, target, limits } = this.#options;
    const body = batch.map((entry) => entry.json).join(",");
    const isHomes = batch[0]?.kind === "homes";
    const text = `{"from":"${from}","${isHomes ? "tenants" : "items"}":[${body}]}`;
    const subject = isHomes ? subjects.regionHomes(target) : subjects.regionNotify(target);
    const data = new TextEncoder().encode(text);
    const outcome = await this.#bus.request(subject, data, limits.requestTimeoutMs);
    if (outcome.kind === "too_large") return "refused";
    if (outcome.kind !== "reply") return "failed";
    const decoded = decodeMessage(relayReplySchema, outcome.data);
    if (decoded.kind === "malformed") return "failed";
    if (decoded.message.kind === "committed") return "committed";
    if (decoded.message.kind === "partly") return { withheld: decoded.message.withheld };
    return REFUSALS.has(decoded.message.code) ? "refused" : "failed";
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
