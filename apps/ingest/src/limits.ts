// apps/ingest/src/limits.ts
// Every limit of an ingest node, with the reason for the number. Tests and operators override some.
import type { AcceptLimits } from "./accept.ts";
import type { HttpLimits } from "./http-server.ts";
import type { RelayLimits } from "./relay-link.ts";

export interface IngestLimits {
  readonly http: HttpLimits;
  readonly accept: AcceptLimits;
  readonly relay: RelayLimits;
  readonly apiKeysCachedMax: number;
  readonly apiKeyBelievedMs: number;
  readonly apiKeyRefusedMs: number;
  readonly homesCachedMax: number;
  readonly homesBelievedMs: number;
  readonly templatesCompiledMax: number;
  readonly formattersMax: number;
  readonly locateTimeoutMs: number;
  readonly statusTimeoutMs: number;
  readonly regionTimeoutMs: number;
  readonly planOwnerTimeoutMs: number;
  readonly intakeRunningMax: number;
  readonly intakeQueueMax: number;
  readonly drainMaxMs: number;
}

export const INGEST_LIMITS: IngestLimits = {
  http: {
    headersTimeoutMs: 10_000,
    requestTimeoutMs: 600_000, // an import of a million lines takes minutes
    silenceTimeoutMs: 60_000,
    keepAliveTimeoutMs: 65_000, // above the 60 s of usual load balancers, which close first
    connectionsMax: 10_000,
  },
  accept: {
    batchItemsMax: 128, // DESIGN §11: batches of 100 on 2 to 4 connections are the fastest
    batchWaitMs: 2,
    batchesAtOnceMax: 3,
    queueMax: 4_096, // about half a second of work
  },
  relay: {
    batchItemsMax: 256,
    batchMaxBytes: 1_048_576,
    queueItemsMax: 16_384,
    queueMaxBytes: 33_554_432,
    requestTimeoutMs: 5_000,
    slowAfterMs: 1_000, // far above a round trip and a commit; until then others may overtake it
    retryBaseMs: 500,
    retryMaxMs: 3_000, // with jitter 4.5 s: what waited arrives within 10 s of healing (D5)
    sweepEveryMs: 2_000,
  },
  apiKeysCachedMax: 10_000,
  apiKeyBelievedMs: 30_000, // a revoked key works no longer than this (A1)
  apiKeyRefusedMs: 5_000, // a new key that was tried too early works after this
  homesCachedMax: 200_000, // about 30 MB
  homesBelievedMs: 60_000,
  templatesCompiledMax: 64, // of the largest, each 1.1 MiB when compiled (measured 2026-12)
  formattersMax: 1_024, // what eight templates of the most styles name
  locateTimeoutMs: 1_000,
  statusTimeoutMs: 2_000,
  regionTimeoutMs: 5_000,
  planOwnerTimeoutMs: 1_500, // asked twice: within another region's patience
  intakeRunningMax: 8, // of the store's connections; a batch is one of them
  intakeQueueMax: 256,
  drainMaxMs: 15_000,
};
