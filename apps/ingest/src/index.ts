// apps/ingest/src/index.ts
// The door: what main.ts, `carillon dev` and tests build an ingest node from.
export { type Acceptor, createAcceptor } from "./accept.ts";
export type { Answer } from "./answer.ts";
export { createEvents } from "./create-events.ts";
export type { IngestEvents } from "./events.ts";
export {
  createIngest,
  createIngestSupervisor,
  type Ingest,
  type IngestLoad,
  type IngestSupervisor,
} from "./ingest.ts";
export type { HttpParts, IngestHttp } from "./ingest-http.ts";
export { createServices } from "./ingest-services.ts";
export type { IngestConfig, IngestDeps } from "./ingest-options.ts";
export type { HomeGate } from "./home-gate.ts";
export { INGEST_LIMITS, type IngestLimits } from "./limits.ts";
export { publicJwkOf, TOKEN_ALGORITHM, type TokenKeys } from "./tokens.ts";
