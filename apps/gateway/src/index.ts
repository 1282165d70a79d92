export { type AuthOptions, type ParsedKeySet, parseKeySet } from "./authenticate.ts";
export { Edge, type EdgeDeps, type EdgeStats } from "./edge.ts";
export {
  createGateway,
  type Gateway,
  type GatewayConfig,
  type GatewayDeps,
  type GatewayStats,
} from "./gateway.ts";
export { GATEWAY_LIMITS, type GatewayLimits } from "./limits.ts";
export type { GatewayLog } from "./log.ts";
export type { MemberEvents } from "./session-hub.ts";
