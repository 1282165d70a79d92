// packages/bus/src/own-bus.ts
// The bus as one of its users sees it, who comes and goes while the bus stays.
//   BU8  With its user go its subscriptions and listeners. What they throw is the user's crash, not
//        the bus's and not the node's.
import type { Bus, Subscription } from "./bus.ts";

/** A run of packages/process's `ownChild` is one. */
export interface BusUser {
  /** False: nothing of it is called any more. */
  readonly isCurrent: boolean;
  readonly guarded: <Args extends readonly unknown[]>(
    callback: (...args: Args) => void,
  ) => (...args: Args) => void;
  readonly onOver: (undo: () => void) => void;
}

/** Draining it ends the user's share only: the bus belongs to somebody else. */
export function ownBus(user: BusUser, bus: Bus): Bus {
  const own = new Set<Subscription>();
  const endAll = (): void => {
    for (const subscription of own) subscription.unsubscribe();
    own.clear();
  };
  const owned = (subscription: Subscription): Subscription => {
    own.add(subscription);
    if (!user.isCurrent) endAll();
    return {
      unsubscribe() {
        own.delete(subscription);
        subscription.unsubscribe();
      },
    };
  };
  user.onOver(endAll);
  return {
    get isConnected() {
      return bus.isConnected;
    },
    get payloadMaxBytes() {
      return bus.payloadMaxBytes;
    },
    publish: (subject, data) => bus.publish(subject, data),
    request: (subject, data, timeoutMs) => bus.request(subject, data, timeoutMs),
    subscribe: (subject, onMessage, options) =>
      owned(bus.subscribe(subject, user.guarded(onMessage), options)),
    onConnection: (listener) => owned(bus.onConnection(user.guarded(listener))),
    drain() {
      endAll();
      return Promise.resolve();
    },
  };
}
