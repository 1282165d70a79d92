export type {
  Bus,
  Message,
  PublishOutcome,
  RequestOutcome,
  SubscribeOptions,
  Subscription,
} from "./bus.ts";
