// The door: whole regions on this machine, for tests and tools.
export { ApiClient, type ApiOutcome, type ApiRequest } from "./clients/api-client.ts";
export { Latencies, type LatencySummary } from "./clients/latencies.ts";
export { type Acked, type SessionPlan, Sessions } from "./clients/sessions.ts";
export {
  DevCluster,
  type DevClusterOptions,
  type DevRegion,
  dropDevData,
} from "./dev/dev-cluster.ts";
export type { DevComponent, DevEvents, DevExit, DevRestarted } from "./dev/dev-events.ts";
export type { ExtraWorker } from "./dev/dev-servers.ts";
