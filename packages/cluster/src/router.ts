// packages/cluster/src/router.ts
// Messages and calls to a recipient by its key: they reach the owner of its partition in whatever
// node and region it is (location transparency). What a node does with them: dispatcher.ts.
//   RO1  A message goes to the node that owns the partition as far as known here; to this very
//        process without NATS.
//   RO3  A call has one outcome, by its deadline at the latest.
//   RO4  Nothing is handled twice: a call is tried at a second node, once, only after the first has
//        said that it did nothing, or nobody was there to do it.
//   RO5  A call to an owner that is lost ends when that is known, not at its deadline.
//   RO6  Calls under way are limited; the next is answered `overloaded`.
//   RO8  From one router to one recipient, messages and calls keep their order while its partition
//        stays with one owner: same subject, same link, and the owner hands them on as they come. A
//        change of owner breaks it: one that is handed on or tried again may arrive after a later one.
import type { Bus } from "@carillon/bus";
import {
  type CallKind,
  encodeMessage,
  partitionOf,
  type RecipientKey,
  type RoutedCall,
  type SendKind,
  subjects,
} from "@carillon/contracts";
import { assert, type Clock } from "@carillon/kernel";
import { groupByOwner, type Owners } from "./owner-groups.ts";
import {
  answerOf,
  type CallRouteOutcome,
  type NotThere,
  parsedReply,
  type SendEachOutcome,
  type SendOutcome,
} from "./router-outcome.ts";
import { encodedChunks } from "./router-chunks.ts";

export interface RouterOptions {
  /** 10,000: some 20 MB of promises and payloads. */
  readonly callsMax?: number;
}

export interface RouterDeps {
  readonly bus: Bus;
  readonly clock: Clock;
  /** Membership is one. */
  readonly members: Owners & {
    onMemberLost(listener: (memberId: string) => void): () => void;
  };
  readonly observer?: Partial<RouterObserver> | undefined;
}

export interface RouterObserver {
  onSent(outcome: SendOutcome, keyCount: number): void;
  onCalled(outcome: CallRouteOutcome<unknown>["kind"]): void;
  onCallsOpen(openCount: number): void;
}

export interface Router {
  /** At most once, in order (RO8), never waits. */
  send<Body>(key: RecipientKey, message: { kind: SendKind<Body>; body: Body }): SendOutcome;
  /**
   * One message to many: the body is encoded once, and travels once to each owning node with the list
   * of those that it is for (RO2). A key that stands twice gets it twice.
   */
  sendEach<Body>(
    keys: Iterable<RecipientKey>,
    message: { kind: SendKind<Body>; body: Body },
  ): SendEachOutcome;
  /**
   * At most once, never rejects; RO3–RO6. `deadlineMs`: from now, above 0 and at most 60,000
   * (assert); what is left of it travels with the call, and a call that is over is not begun.
   */
  call<Body, Reply>(
    key: RecipientKey,
    request: { kind: CallKind<Body, Reply>; body: Body },
    deadlineMs: number,
  ): Promise<CallRouteOutcome<Reply>>;
  /** For a node that was taken for the owner by mistake: the dispatcher's. */
  forward(keys: Iterable<RecipientKey>, message: { name: string; body: unknown }): SendEachOutcome;
  /** Calls that the bus still works for; those whose owner was lost included. */
  readonly callsOpenCount: number;
  /** Calls under way end with `noconnection`. Safe to call twice. */
  stop(): void;
}

const CALLS_MAX = 10_000;
export const DEADLINE_MAX_MS = 60_000;
const NOWHERE = { kind: "noconnection", effect: "none" } as const;
const LOST = { kind: "noconnection", effect: "unknown" } as const;

export function createRouter(deps: RouterDeps, options: RouterOptions = {}): Router {
  return new OwnerRouter(deps, options);
}

type Lost = typeof LOST;

class OwnerRouter implements Router {
  readonly #deps: RouterDeps;
  readonly #callsMax: number;
  /** By the member that is asked. */
  readonly #waiting = new Map<string, Set<(lost: Lost) => void>>();
  readonly #removeListener: () => void;
  #openCount = 0;
  #isStopped = false;

  constructor(deps: RouterDeps, options: RouterOptions) {
    this.#deps = deps;
    this.#callsMax = options.callsMax ?? CALLS_MAX;
    this.#removeListener = deps.members.onMemberLost((memberId) => this.#lose(memberId));
  }

  get callsOpenCount(): number {
    return this.#openCount;
  }

  send<Body>(key: RecipientKey, message: { kind: SendKind<Body>; body: Body }): SendOutcome {
    const { sentCount, tooLarge } = this.sendEach([key], message);
    if (sentCount === 1) return "sent";
    return tooLarge.length === 1 ? "too_large" : "noconnection";
  }

  sendEach<Body>(
    keys: Iterable<RecipientKey>,
    { kind, body }: { kind: SendKind<Body>; body: Body },
  ): SendEachOutcome {
    return this.#sendEach(keys, { name: kind.name, body, isForwarded: false });
  }

  forward(keys: Iterable<RecipientKey>, message: { name: string; body: unknown }): SendEachOutcome {
    return this.#sendEach(keys, { ...message, isForwarded: true });
  }

  #sendEach(
    keys: Iterable<RecipientKey>,
    message: { name: string; body: unknown; isForwarded: boolean },
  ): SendEachOutcome {
    const { bus, observer } = this.#deps;
    const list = Array.isArray(keys) ? (keys as readonly RecipientKey[]) : [...keys];
    const partitions = Uint16Array.from(list, partitionOfKey); // hashed once
    const { byOwner, ownerless } = groupByOwner(list.keys(), this.#ownerLookup(list, partitions));
    const noConnection = ownerless.map((at) => list[at]).filter((key) => key !== undefined);
    const tooLarge: RecipientKey[] = [];
    let [sentCount, messageCount, bytesCount] = [0, 0, 0];
    const shared = {
      ...message,
      bodyJson: JSON.stringify(message.body), // once, whatever the number of owners
      maxBytes: bus.payloadMaxBytes,
    };
    for (const [owner, positions] of byOwner)
      for (const { data, chunk } of encodedChunks({ list, partitions, positions }, shared)) {
        const outcome = data && bus.publish(subjects.memberRoute(owner), data);
        if (outcome?.kind === "sent") {
          sentCount += chunk.length;
          messageCount++;
          bytesCount += data?.length ?? 0;
          continue;
        }
        const refused = outcome?.kind === "disconnected" ? noConnection : tooLarge;
        for (const at of chunk) if (list[at] !== undefined) refused.push(list[at]);
      }
    if (sentCount > 0) observer?.onSent?.("sent", sentCount);
    if (noConnection.length > 0) observer?.onSent?.("noconnection", noConnection.length);
    if (tooLarge.length > 0) observer?.onSent?.("too_large", tooLarge.length);
    return { sentCount, noConnection, tooLarge, messageCount, bytesCount };
  }

  async call<Body, Reply>(
    key: RecipientKey,
    { kind, body }: { kind: CallKind<Body, Reply>; body: Body },
    deadlineMs: number,
  ): Promise<CallRouteOutcome<Reply>> {
    assert(deadlineMs > 0 && deadlineMs <= DEADLINE_MAX_MS, "RO3 a deadline of 1 to 60,000 ms");
    const endsAtMs = this.#deps.clock.monotonicMs() + deadlineMs;
    const { home, tenantId, recipientId } = key; // and nothing else that it may hold (D8)
    const place = { home, tenantId, recipientId, partition: partitionOfKey(key) };
    const outcome = parsedReply(
      await this.#callOwner({ name: kind.name, body, ...place }, endsAtMs),
      kind,
    );
    this.#deps.observer?.onCalled?.(outcome.kind);
    return outcome;
  }

  /** RO4: at most two tries. */
  async #callOwner(
    call: Omit<RoutedCall, "kind" | "timeoutMs">,
    endsAtMs: number,
  ): Promise<CallRouteOutcome<unknown>> {
    const { members } = this.#deps;
    const known = () => members.ownerOf(call.home, call.partition);
    const first = known();
    if (first === undefined) return NOWHERE;
    const answer = await this.#ask(first, call, endsAtMs);
    if (answer.kind !== "not_there") return answer;
    const second = [known(), answer.ownerId].find(
      (owner) => owner !== undefined && owner !== first,
    );
    if (second === undefined) return NOWHERE;
    const last = await this.#ask(second, call, endsAtMs);
    return last.kind === "not_there" ? NOWHERE : last;
  }

  async #ask(
    owner: string,
    call: Omit<RoutedCall, "kind" | "timeoutMs">,
    endsAtMs: number,
  ): Promise<CallRouteOutcome<unknown> | NotThere> {
    const { bus, clock } = this.#deps;
    if (this.#isStopped) return NOWHERE;
    if (this.#openCount >= this.#callsMax) return { kind: "overloaded", where: "caller" };
    const timeoutMs = endsAtMs - clock.monotonicMs();
    if (timeoutMs <= 0) return { kind: "timeout", effect: "none" };
    const data = encodeMessage({ kind: "call", ...call, timeoutMs } satisfies RoutedCall);
    const lost = Promise.withResolvers<Lost>();
    const waiting = this.#waiting.get(owner) ?? new Set();
    this.#waiting.set(owner, waiting.add(lost.resolve));
    this.#opened(1);
    const asked = bus.request(subjects.memberRoute(owner), data, timeoutMs).then((outcome) => {
      this.#opened(-1); // not before: the bus keeps it so long (RO6)
      waiting.delete(lost.resolve);
      if (waiting.size === 0 && this.#waiting.get(owner) === waiting) this.#waiting.delete(owner);
      return outcome;
    });
    const outcome = await Promise.race([asked, lost.promise]);
    switch (outcome.kind) {
      case "reply":
        return answerOf(outcome.data, owner);
      case "no_responders":
        return { kind: "not_there", ownerId: undefined };
      case "timeout":
        return { kind: "timeout", effect: "unknown" };
      case "disconnected":
        return LOST;
      default:
        return outcome;
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#removeListener();
    for (const memberId of this.#waiting.keys()) this.#lose(memberId);
  }

  #lose(memberId: string): void {
    for (const end of this.#waiting.get(memberId) ?? []) end(LOST);
  }

  #opened(change: 1 | -1): void {
    this.#openCount += change;
    this.#deps.observer?.onCallsOpen?.(this.#openCount);
  }

  /** By position. Each partition is looked up once, however many of its recipients there are. */
  #ownerLookup(
    list: readonly RecipientKey[],
    partitions: Uint16Array,
  ): (at: number) => string | undefined {
    const { members } = this.#deps;
    const homes = new Map<string, Map<number, string | undefined>>();
    return (at) => {
      const home = list[at]?.home ?? "";
      const partition = partitions[at] ?? 0;
      let owners = homes.get(home);
      if (owners === undefined) homes.set(home, (owners = new Map()));
      if (owners.has(partition)) return owners.get(partition);
      const owner = members.ownerOf(home, partition);
      owners.set(partition, owner);
      return owner;
    };
  }
}

function partitionOfKey({ tenantId, recipientId }: RecipientKey): number {
  return partitionOf(tenantId, recipientId);
}
