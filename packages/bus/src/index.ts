export type {
  Bus,
  Message,
  PublishOutcome,
  RequestOutcome,
  SubscribeOptions,
  Subscription,
} from "./bus.ts";
export type { BusEvent } from "./events.ts";
export {
  createMemoryNetwork,
  type MemoryNetwork,
  type MemoryNetworkOptions,
} from "./memory-network.ts";
export { ownBus, type BusUser } from "./own-bus.ts";
export { connectBus, type BusLimits, type ConnectBusOptions } from "./nats-bus.ts";
export type { BusTls } from "./greeting.ts";
export type { NatsCredentials } from "./nats-link.ts";
export { createNatsKey, type NatsKey, natsPublicKeyOf } from "./nats-key.ts";
