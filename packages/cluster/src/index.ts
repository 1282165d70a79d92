export type { Member, MemberState } from "./member-table.ts";
export {
  type BeatSource,
  createMembership,
  type MemberChange,
  type Membership,
  MEMBERSHIP_DEFAULTS,
  type MembershipLimits,
  type MembershipOptions,
  type WorkerCandidate,
} from "./membership.ts";
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
export type { PlacementLimits } from "./placement.ts";
export type { LeaseRow, LeaseStore } from "./ports.ts";
export { assignPartitions, type Candidate } from "./rendezvous.ts";
