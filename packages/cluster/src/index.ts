export {
  type BeatSource,
  createMembership,
  type HomeSource,
  type Membership,
  type MembershipOptions,
} from "./membership.ts";
export { HomeClaims, standingOf } from "./home-standing.ts";
export {
  type NatsClientAuth,
  type NatsConfOptions,
  type NatsUser,
  renderNatsConf,
} from "./nats-conf.ts";
export {
  type AcquiredPartition,
  createOwnership,
  type LossReason,
  type Ownership,
  type OwnershipDeps,
  type OwnershipOptions,
} from "./ownership.ts";
export type { LeaseRow, LeaseStore } from "./ports.ts";
export { assignPartitions } from "./rendezvous.ts";
