export {
  CandidatesBook,
  type CandidatesBookOptions,
  type LoadOutcome,
} from "./discovery/candidates-book.ts";
export {
  type Failing,
  readCandidatesFile,
  type Records,
  type RegionRecord,
} from "./discovery/candidates-file.ts";
export {
  ADDRESS_KINDS,
  type AddressKind,
  createEc2TagsSource,
  type Ec2TagsSourceOptions,
} from "./discovery/ec2-tags-source.ts";
export { writeDurably } from "./discovery/durable-file.ts";
export { createFileSource } from "./discovery/file-source.ts";
export { type Decision, reasonText, type Verdict } from "./discovery/hold.ts";
export {
  createIdentitySource,
  type IdentityOutcome,
  type IdentitySource,
  type InstanceIdentity,
} from "./discovery/identity.ts";
export {
  createNatsConfKeeper,
  type NatsConfKeeper,
  type ReloadReport,
  writeNatsConf,
} from "./discovery/nats-conf-keeper.ts";
export { routesOf } from "./discovery/nats-routes.ts";
export { createNatsServerHandle, type NatsServerHandle } from "./discovery/nats-server-handle.ts";
export {
  createPoller,
  pollDelayMs,
  type Poller,
  type PollReport,
  recordAfter,
} from "./discovery/poller.ts";
export {
  type DiscoverySource,
  findWithin,
  type FindOutcome,
  isAddress,
} from "./discovery/source.ts";
export { createStaticSource } from "./discovery/static-source.ts";
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
  type HomeSource,
  type MemberChange,
  type Membership,
  MEMBERSHIP_DEFAULTS,
  type MembershipLimits,
  type MembershipOptions,
  type PlaceableWorker,
} from "./membership.ts";
export { HomeClaims, type Hearing, standingOf } from "./home-standing.ts";
export {
  type NatsClientAuth,
  type NatsConfOptions,
  type NatsTls,
  renderNatsConf,
} from "./nats-conf.ts";
export {
  NATS_ROLES,
  natsInboxPrefixOf,
  natsPermissionsOf,
  type NatsPermissions,
  type NatsPlace,
  type NatsRole,
  type NatsUser,
  type NatsUserKeys,
  type NatsUserName,
  natsUsersOf,
} from "./nats-permissions.ts";
export { createOwnership, type Ownership } from "./ownership.ts";
export type {
  AcquiredPartition,
  LossReason,
  OwnershipDeps,
  OwnershipOptions,
} from "./ownership-options.ts";
export { chunksOf, groupByOwner, type OwnerGroups, type Owners } from "./owner-groups.ts";
export type { PlacementLimits } from "./placement-limits.ts";
export type { LeaseRow, LeaseStore } from "./ports.ts";
export { assignPartitions, type WeightedMember } from "./rendezvous.ts";
export {
  createRouter,
  type Router,
  type RouterDeps,
  type RouterObserver,
  type RouterOptions,
} from "./router.ts";
export type { CallRouteOutcome, Effect, SendEachOutcome, SendOutcome } from "./router-outcome.ts";
