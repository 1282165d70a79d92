// Nodes with a router and a dispatcher for the tests and the bench of both: who owns what is as the
// test says, and every recipient named in `people` exists.
import type { Bus } from "@carillon/bus";
import { type CallKind, partitionOf, type RecipientKey, type SendKind } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import { z } from "zod";
import { type CallAnswer, callHandler, type KindHandler, sendHandler } from "./dispatch-handler.ts";
import { type DispatchOutcome, startDispatcher } from "./dispatcher.ts";
import { createRouter, type RouterOptions } from "./router.ts";

export const NOTE: SendKind<{ id: string; text?: string | undefined }> = {
  name: "test.note",
  body: z.object({ id: z.string(), text: z.string().optional() }),
};
export const ASK: CallKind<{ id: string }, { id: string }> = {
  name: "test.ask",
  body: z.object({ id: z.string() }),
  reply: z.object({ id: z.string() }),
};

export const key = (recipientId: string, home = "fra", tenantId = "acme"): RecipientKey => ({
  home,
  tenantId,
  recipientId,
});
export const placeOf = ({ home, tenantId, recipientId }: RecipientKey): string =>
  `${home}/${partitionOf(tenantId, recipientId)}`;

/** Who owns what, as one node sees it. */
export class TestView {
  /** For every partition that `owners` has not. */
  elsewhere: string | undefined;
  readonly owners = new Map<string, string | undefined>(); // by "home/partition"
  readonly #listeners = new Set<(memberId: string) => void>();

  ownerOf(home: string, partition: number): string | undefined {
    const place = `${home}/${partition}`;
    return this.owners.has(place) ? this.owners.get(place) : this.elsewhere;
  }

  onMemberLost(listener: (memberId: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  lose(memberId: string): void {
    for (const listener of this.#listeners) listener(memberId);
  }
}

export interface TestNodeOptions {
  readonly memberId: string;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly router?: RouterOptions;
  readonly callsMax?: number;
  /** Called for each message when it is handed over. */
  readonly onHandled?: (handled: Handled) => void;
  readonly people?: (recipientId: string) => boolean;
  readonly answer?: (
    id: string,
    timeoutMs: number,
  ) => CallAnswer<{ id: string }> | Promise<CallAnswer<{ id: string }>>;
}

export interface Handled {
  readonly key: string; // home/tenant/recipient
  readonly id: string;
}

/** It serves a partition as long as its own view says so. */
export function startTestNode(options: TestNodeOptions) {
  const { memberId, bus, clock } = options;
  const view = new TestView();
  const handled: Handled[] = [];
  const dispatched: Partial<Record<DispatchOutcome, number>> = {};
  const node = { mayServe: true };
  const router = createRouter({ bus, clock, members: view }, options.router);
  const names: string[] = [];
  const slots = new Map<string, number>();
  const slotOf = (name: string): number => {
    const known = slots.get(name);
    if (known !== undefined) return known;
    slots.set(name, names.length);
    return names.push(name) - 1;
  };
  const take = (one: Handled): void => {
    handled.push(one);
    options.onHandled?.(one);
  };
  const handlers: KindHandler<{ slotOf(tenantId: string, id: string): number | undefined }>[] = [
    sendHandler(NOTE, ({ slots: to, body }) => {
      for (const slot of to) take({ key: names[slot]!, id: body.id });
    }),
    callHandler(ASK, ({ slot, body: { id }, timeoutMs }) => {
      take({ key: names[slot]!, id });
      return options.answer?.(id, timeoutMs) ?? { kind: "reply", reply: { id } };
    }),
  ];
  const crashes: unknown[] = [];
  const dispatcher = startDispatcher({
    memberId,
    bus,
    owners: view,
    router,
    handlers,
    mayServe: () => node.mayServe,
    servedPartition: (home, partition) =>
      view.ownerOf(home, partition) === memberId
        ? {
            slotOf: (tenantId, id) =>
              options.people?.(id) === false ? undefined : slotOf(`${home}/${tenantId}/${id}`),
          }
        : undefined,
    onDispatched(outcome, count) {
      dispatched[outcome] = (dispatched[outcome] ?? 0) + count;
    },
    onCrash: (cause) => crashes.push(cause),
    ...(options.callsMax !== undefined && { callsMax: options.callsMax }),
  });
  return { ...options, node, view, router, dispatcher, handled, dispatched, crashes };
}
