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
export type { Pulse } from "./engine.ts";
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
