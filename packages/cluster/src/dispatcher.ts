// packages/cluster/src/dispatcher.ts
// The owner's end of the router: hands what arrives for its partitions to the handler of its kind.
//   RO7  A message is handed over only while this node may serve and serves the partition; a call is
//        answered `not_owner` otherwise, a send is handed on once to whoever is known to own it.
//   RO8  Handed over in the order of arrival, within the turn in which it arrived.
//   RO9  A call carries what is left of its deadline; one that is over is not begun.
//   RO10 An unknown recipient is `noproc`; an unknown kind or a body that its schema refuses changes
//        nothing, and is answered and counted.
//   RO11 Calls that wait for their handler are limited; the next is answered `overloaded`.
import type { Bus, Message } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  partitionOf,
  type RecipientKey,
  type RoutedCall,
  routedMessageSchema,
  type RoutedSend,
  type RouteReply,
  subjects,
} from "@carillon/contracts";
import type { KindHandler } from "./dispatch-handler.ts";
import type { Owners } from "./owner-groups.ts";
import { DEADLINE_MAX_MS, type Router } from "./router.ts";

/** One partition that is served here. */
export interface ServedPartition {
  /** Undefined: no such recipient. */
  slotOf(tenantId: string, recipientId: string): number | undefined;
}

export type DispatchOutcome =
  | "handed" // sends: to the handler; calls: answered by it, whatever the answer
  | "noproc"
  | "refused" // by the handler: mailboxes that are full
  | "not_owner" // calls: answered so; sends: nobody else is known to own it
  | "forwarded"
  | "overloaded"
  | "expired"
  | "unsupported"
  | "malformed";

export interface DispatcherDeps<Served extends ServedPartition> {
  readonly memberId: string;
  readonly bus: Bus;
  readonly owners: Owners;
  readonly router: Pick<Router, "forward">;
  readonly handlers: readonly KindHandler<Served>[];
  /** Asked before every message: false, and this node has given everything up (CL9). */
  readonly mayServe: () => boolean;
  readonly servedPartition: (home: string, partition: number) => Served | undefined;
  readonly onDispatched: (outcome: DispatchOutcome, count: number) => void;
  readonly onCallsOpen?: (openCount: number) => void;
  /** A handler was rejected, which is a bug of its own; its caller is told `exit`. */
  readonly onCrash: (cause: unknown) => void;
  /** 10,000. */
  readonly callsMax?: number;
}

export interface Dispatcher {
  readonly callsOpenCount: number;
  /** Hears nothing more; calls that were begun are still answered. */
  stop(): void;
}

const CALLS_MAX = 10_000;

export function startDispatcher<Served extends ServedPartition>(
  deps: DispatcherDeps<Served>,
): Dispatcher {
  const dispatcher = new OwnerDispatcher(deps);
  const subject = subjects.memberRoute(deps.memberId);
  const subscription = deps.bus.subscribe(subject, (message) => dispatcher.hear(message), {
    isSole: true,
  });
  return {
    get callsOpenCount() {
      return dispatcher.callsOpenCount;
    },
    stop: () => subscription.unsubscribe(),
  };
}

interface Group<Served> {
  readonly served: Served;
  readonly slots: number[];
}

class OwnerDispatcher<Served extends ServedPartition> {
  readonly #deps: DispatcherDeps<Served>;
  readonly #handlers: ReadonlyMap<string, KindHandler<Served>>;
  callsOpenCount = 0;

  constructor(deps: DispatcherDeps<Served>) {
    this.#deps = deps;
    this.#handlers = new Map(deps.handlers.map((handler) => [handler.name, handler]));
  }

  hear(message: Message): void {
    const decoded = decodeMessage(routedMessageSchema, message.data);
    if (decoded.kind === "malformed") this.#count("malformed", 1);
    else if (decoded.message.kind === "send") this.#onSend(decoded.message);
    else this.#onCall(decoded.message, (reply) => this.#reply(message, reply));
  }

  // --- sends ---------------------------------------------------------------------------------

  #onSend(send: RoutedSend): void {
    const { groups, elsewhere, noprocCount, malformedCount } = this.#sort(send);
    this.#count("noproc", noprocCount);
    this.#count("malformed", malformedCount);
    if (elsewhere.length > 0) this.#handOn(send, elsewhere);
    const handle = this.#handlers.get(send.name)?.send;
    for (const { served, slots } of groups) {
      if (handle === undefined) {
        this.#count("unsupported", slots.length);
        continue;
      }
      const onRefused = (): void => this.#count("refused", 1);
      const outcome = handle({ served, slots, body: send.body, onRefused });
      this.#count(outcome, slots.length);
    }
  }

  #sort({ places, to }: RoutedSend) {
    const mayServe = this.#deps.mayServe(); // RO7
    const byPlace: Map<number, Group<Served> | null>[] = places.map(() => new Map());
    const groups: Group<Served>[] = [];
    const elsewhere: RecipientKey[] = [];
    let [noprocCount, malformedCount] = [0, 0];
    for (const [place, partition, recipientId] of to) {
      const [home, tenantId] = places[place] ?? [];
      if (home === undefined || tenantId === undefined) {
        malformedCount++;
        continue;
      }
      let group = byPlace[place]?.get(partition);
      if (group === undefined) {
        const served = mayServe ? this.#deps.servedPartition(home, partition) : undefined;
        group = served === undefined ? null : { served, slots: [] };
        byPlace[place]?.set(partition, group);
        if (group !== null) groups.push(group);
      }
      if (group === null) {
        elsewhere.push({ home, tenantId, recipientId });
        continue;
      }
      const slot = group.served.slotOf(tenantId, recipientId);
      if (slot === undefined) noprocCount++;
      else group.slots.push(slot);
    }
    return { groups, elsewhere, noprocCount, malformedCount };
  }

  /** RO7: once, and never back to this node. */
  #handOn({ name, body, isForwarded }: RoutedSend, keys: readonly RecipientKey[]): void {
    const { owners, memberId, router } = this.#deps;
    const others = isForwarded
      ? []
      : keys.filter(
          (key) =>
            owners.ownerOf(key.home, partitionOf(key.tenantId, key.recipientId)) !== memberId,
        );
    const { sentCount } =
      others.length > 0 ? router.forward(others, { name, body }) : { sentCount: 0 };
    this.#count("forwarded", sentCount);
    this.#count("not_owner", keys.length - sentCount);
  }

  // --- calls ---------------------------------------------------------------------------------

  #onCall(call: RoutedCall, reply: (reply: RouteReply) => void): void {
    const refusal = this.#beginCall(call, reply);
    if (refusal === undefined) return;
    reply(refusal);
    this.#count(countedAs(refusal), 1);
  }

  /** What it is answered without its handler; undefined: the handler has it. */
  #beginCall(call: RoutedCall, reply: (reply: RouteReply) => void): RouteReply | undefined {
    const deps = this.#deps;
    if (call.timeoutMs <= 0) return { kind: "timeout" }; // RO9
    const served = deps.mayServe() ? deps.servedPartition(call.home, call.partition) : undefined;
    if (served === undefined) return { kind: "not_owner", ownerId: this.#otherOwner(call) };
    const slot = served.slotOf(call.tenantId, call.recipientId);
    if (slot === undefined) return { kind: "noproc" };
    const handle = this.#handlers.get(call.name)?.call;
    if (handle === undefined) return { kind: "failed", reason: "unsupported" };
    if (this.callsOpenCount >= (deps.callsMax ?? CALLS_MAX)) return { kind: "overloaded" }; // RO11
    const timeoutMs = Math.min(call.timeoutMs, DEADLINE_MAX_MS); // RO11: no place for ever
    const answer = handle({ served, slot, body: call.body, timeoutMs });
    if (!(answer instanceof Promise)) {
      if (answer.kind === "failed" && answer.reason === "malformed") return answer;
      reply(answer);
      this.#count("handed", 1);
      return undefined;
    }
    void this.#answerLater(answer, reply);
    return undefined;
  }

  async #answerLater(
    answer: Promise<RouteReply>,
    reply: (reply: RouteReply) => void,
  ): Promise<void> {
    this.#opened(1);
    try {
      reply(await answer);
    } catch (cause) {
      reply({ kind: "failed", reason: "exit" });
      this.#deps.onCrash(cause);
    } finally {
      this.#opened(-1);
      this.#count("handed", 1);
    }
  }

  /** Whom this node takes for the owner, now that it is not the owner itself. */
  #otherOwner({ home, partition }: RoutedCall): string | null {
    const owner = this.#deps.owners.ownerOf(home, partition);
    return owner === undefined || owner === this.#deps.memberId ? null : owner;
  }

  /** One that would not fit the bus is never a silent nothing: the caller would wait for it. */
  #reply(message: Message, reply: RouteReply): void {
    const data = encodeMessage(reply);
    const isSmall = data.length <= this.#deps.bus.payloadMaxBytes;
    message.reply(isSmall ? data : encodeMessage({ kind: "failed", reason: "bad_reply" }));
  }

  #count(outcome: DispatchOutcome, count: number): void {
    if (count > 0) this.#deps.onDispatched(outcome, count);
  }

  #opened(change: 1 | -1): void {
    this.callsOpenCount += change;
    this.#deps.onCallsOpen?.(this.callsOpenCount);
  }
}

function countedAs(refusal: RouteReply): DispatchOutcome {
  switch (refusal.kind) {
    case "timeout":
      return "expired";
    case "failed":
      return refusal.reason === "unsupported" ? "unsupported" : "malformed";
    case "reply":
      return "handed";
    default:
      return refusal.kind;
  }
}
