export {
  type Behaviour,
  type Down,
  type From,
  IGNORE,
  type Lane,
  LoadError,
  NO_REPLY,
  type Overflow,
  type ProcessContext,
} from "./behaviour.ts";
export type { TurnPulse } from "./engine.ts";
export {
  type Exit,
  isQuiet,
  KILLED,
  NOCONNECTION,
  NOPROC,
  NORMAL,
  PASSIVATED,
  type QuietExit,
  SHUTDOWN,
} from "./exit.ts";
export {
  type CrashReason,
  type CrashReport,
  DEFAULT_RUNTIME_LIMITS,
  type PauseReport,
  type Phase,
  type RuntimeLimits,
  type RuntimeObserver,
  type RuntimeStats,
} from "./limits.ts";
export { Groups, type MemberTable } from "./group.ts";
export { Registry, type RegistryOptions } from "./registry.ts";
export {
  createRuntime,
  type InspectableTable,
  type ProcessRuntime,
  type RuntimeOptions,
} from "./runtime.ts";
export type {
  ChildContext,
  ChildSpec,
  ChildType,
  RestartType,
  Shutdown,
  Started,
} from "./supervisor/child.ts";
export type { StartAnswer } from "./supervisor/core.ts";
export {
  DynamicSupervisor,
  type StartDynamicChildAnswer,
} from "./supervisor/dynamic-supervisor.ts";
export { type AnySupervisor, supervisorChild } from "./supervisor/nested.ts";
export { ownClock, ownScheduler } from "./supervisor/own-clock.ts";
export { ownChild, type OwnChildSpec, type OwnPart, type OwnRun } from "./supervisor/own-run.ts";
export { exitText, type SupervisorReport } from "./supervisor/report.ts";
export type { ChildStatus } from "./supervisor/slot.ts";
export type {
  AutoShutdown,
  DynamicSupervisorOptions,
  SpecProblem,
  Strategy,
  SupervisorOptions,
} from "./supervisor/spec.ts";
export { Supervisor } from "./supervisor/supervisor.ts";
export type { ChildCounts, ChildInfo, TreeNode } from "./supervisor/tree.ts";
export type {
  CallOptions,
  CallOutcome,
  CastOutcome,
  DrainOutcome,
  Monitor,
  ProcessInspection,
  ProcessPhase,
  ProcessTable,
  Ref,
  Refusal,
  Slots,
  SpawnOutcome,
  TableOptions,
  TableSums,
} from "./table-api.ts";
export { Pulse } from "./watchdog/pulse.ts";
export type { LastWords } from "./watchdog/speaker-thread.ts";
export type { Culprit, Stall } from "./watchdog/stall.ts";
export type { ThreadDeath } from "./watchdog/kept-thread.ts";
export { startWatchdog, type Watchdog, type WatchdogOptions } from "./watchdog/watchdog.ts";
