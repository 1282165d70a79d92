export type { Member, MemberState } from "./member-table.ts";
export {
  type CallAnswer,
  type CallDelivery,
  callHandler,
  castHandler,
  type KindHandler,
  type SendDelivery,
  sendHandler,
  type ServedTable,
  tableCallHandler,
} from "./dispatch-handler.ts";
export {
  type Dispatcher,
  type DispatcherDeps,
  type DispatchOutcome,
  type ServedPartition,
  startDispatcher,
} from "./dispatcher.ts";
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
export { chunksOf, groupByOwner, type OwnerGroups, type Owners } from "./owner-groups.ts";
export type { PlacementLimits } from "./placement.ts";
export type { LeaseRow, LeaseStore } from "./ports.ts";
export { assignPartitions, type Candidate } from "./rendezvous.ts";
export {
  createRouter,
  type Router,
  type RouterDeps,
  type RouterObserver,
  type RouterOptions,
} from "./router.ts";
export type { CallRouteOutcome, Effect, SendEachOutcome, SendOutcome } from "./router-outcome.ts";
