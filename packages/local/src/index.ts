export { reapLeftovers, type ReapReport } from "./leftovers.ts";
export {
  findNatsServer,
  startNatsServer,
  type NatsServer,
  type NatsServerOptions,
} from "./nats-server.ts";
export { isRunning, markOf, parseMark, type ProcessMark } from "./os-process.ts";
export { freePort, freePorts } from "./ports.ts";
export { startPostgres, type PostgresOptions, type PostgresServer } from "./postgres.ts";
export { dropPostgres } from "./postgres-folder.ts";
export type { Exit, StopOutcome } from "./server-process.ts";
