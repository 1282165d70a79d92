export type {
  Bus,
  Message,
  PublishOutcome,
  RequestOutcome,
  SubscribeOptions,
  Subscription,
} from "./bus.ts";
export { BusCore, type BusCoreOptions } from "./bus-core.ts";
export type { BusEvent } from "./events.ts";
export type { Link, LinkSubscription, LostReason, OnArrival, SendOutcome } from "./link.ts";
export {
  createMemoryNetwork,
  type MemoryNetwork,
  type MemoryNetworkOptions,
} from "./memory-network.ts";
export { ownBus, type BusUser } from "./own-bus.ts";
export { BUS_LIMITS, connectBus, type BusLimits, type ConnectBusOptions } from "./nats-bus.ts";
export { matchesSubject } from "./subject.ts";
export type { BusTls } from "./greeting.ts";
export type { NatsCredentials } from "./nats-link.ts";
export { createNatsKey, type NatsKey, natsPublicKeyOf } from "./nats-key.ts";
