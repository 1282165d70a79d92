// apps/gateway/src/opener.ts
// Asks the owners of partitions to open sessions. Invariants:
//   GW14  A partition with waiting sessions is asked again for ever, with jitter, in batches, and
//         with at most `inFlightMax` requests per home region: a region that cannot be reached
//         takes no slot from another.
import type { Bus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  type OpenReply,
  openReplySchema,
  type PartitionRequest,
  subjects,
} from "@carillon/contracts";
import type { Clock, Random, Scheduler, Timer } from "@carillon/kernel";
import type { InboxSession } from "./inbox-session.ts";
import type { OpenBatch, PartitionLink, PartitionLinks } from "./partition-links.ts";

export interface OpenLimits {
  readonly inFlightMax: number; // per home region
  readonly batchMax: number; // sessions of one request
  readonly timeoutMs: number;
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
}

export interface OpenerDeps {
  readonly gatewayId: string;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly limits: OpenLimits;
  readonly links: PartitionLinks<InboxSession>;
  /** An owner has answered for the whole batch. Settles the batch. */
  readonly onAnswer: (batch: OpenBatch<InboxSession>, reply: OpenReply) => void;
  readonly onMalformed: () => void;
}

type Link = PartitionLink<InboxSession>;

export class Opener {
  readonly #deps: OpenerDeps;
  readonly #ready = new Map<string, Link>(); // asked as soon as there is a slot
  readonly #retries = new Map<string, Timer>();
  readonly #inFlight = new Map<string, number>(); // home → requests
  #isPumpDue = false;
  #isStopped = false;
  #requestsTotal = 0;

  constructor(deps: OpenerDeps) {
    this.#deps = deps;
  }

  get requestsTotal(): number {
    return this.#requestsTotal;
  }

  /** For a new session: joins that come in one turn share requests. Waits for a retry due soon. */
  request(link: Link): void {
    if (!this.#retries.has(link.key)) this.hurry(link);
  }

  /** Something has changed: asks without waiting for the retry. */
  hurry(link: Link): void {
    if (!this.#isCurrent(link)) return;
    this.forget(link.key);
    this.#ready.set(link.key, link);
    this.#pumpSoon();
  }

  /** Nobody of this partition waits any more. */
  forget(key: string): void {
    this.#retries.get(key)?.cancel();
    this.#retries.delete(key);
    this.#ready.delete(key);
  }

  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#retries.values()) timer.cancel();
    this.#retries.clear();
    this.#ready.clear();
  }

  #pumpSoon(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    this.#deps.scheduler.defer(() => {
      this.#isPumpDue = false;
      this.#pump();
    });
  }

  #pump(): void {
    const { links, limits } = this.#deps;
    for (const [key, link] of this.#ready) {
      const { home } = link;
      while ((this.#inFlight.get(home) ?? 0) < limits.inFlightMax) {
        const batch = links.nextBatch(link, limits.batchMax);
        if (batch === null) {
          this.#ready.delete(key);
          break;
        }
        void this.#send(batch);
      }
    }
  }

  async #send(batch: OpenBatch<InboxSession>): Promise<void> {
    const { bus, gatewayId, limits, links } = this.#deps;
    const { link } = batch;
    const { home, partition } = link;
    this.#inFlight.set(home, (this.#inFlight.get(home) ?? 0) + 1);
    this.#requestsTotal++;
    const request: PartitionRequest = {
      kind: "open",
      gatewayId,
      sessions: batch.members.map((session) => session.openRequest()),
    };
    const subject = subjects.partitionSessions(home, partition);
    const outcome = await bus.request(subject, encodeMessage(request), limits.timeoutMs);
    this.#inFlight.set(home, (this.#inFlight.get(home) ?? 1) - 1);
    if (this.#isStopped) return;
    const reply = outcome.kind === "reply" ? this.#parse(outcome.data, batch) : undefined;
    if (reply === undefined) links.fail(batch);
    else this.#deps.onAnswer(batch, reply);
    if (link.waiting.size > 0 && this.#isCurrent(link)) this.#retry(link);
    this.#pumpSoon();
  }

  /** A link whose last session left is not used again; its partition may have a new one. */
  #isCurrent(link: Link): boolean {
    return this.#deps.links.get(link.home, link.partition) === link;
  }

  #parse(data: Uint8Array, batch: OpenBatch<InboxSession>): OpenReply | undefined {
    const decoded = decodeMessage(openReplySchema, data);
    const isUsable =
      decoded.kind === "message" && decoded.message.results.length === batch.members.length;
    if (isUsable) return decoded.message;
    this.#deps.onMalformed();
    return undefined;
  }

  #retry(link: Link): void {
    if (this.#retries.has(link.key) || this.#ready.has(link.key)) return;
    const { clock, random, limits } = this.#deps;
    const spanMs = limits.retryMaxMs - limits.retryMinMs;
    const delayMs = limits.retryMinMs + random.next() * spanMs;
    const timer = clock.setTimer(delayMs, () => this.hurry(link));
    this.#retries.set(link.key, timer);
  }
}
