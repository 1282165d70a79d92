// apps/ingest/src/ingest-options.ts
// What an ingest node is built from.
import type { Bus } from "@carillon/bus";
import type { RouterDeps } from "@carillon/cluster";
import type { Clock, Random } from "@carillon/kernel";
import type { OwnRun, SupervisorOptions } from "@carillon/process";
import type { RetentionPolicy, Store } from "@carillon/store";
import type { KnownMember } from "./admin-routes.ts";
import type { IngestEvents } from "./events.ts";
import type { HomeGate } from "./home-gate.ts";
import type { HttpParts, IngestHttp } from "./ingest-http.ts";
import type { IngestLimits } from "./limits.ts";
import type { TokenKeys } from "./tokens.ts";
import type { Webhooks } from "./webhooks.ts";

export interface IngestConfig {
  /** The home region that it serves, wherever it runs. */
  readonly region: string;
  readonly regions: readonly string[]; // this one included
  readonly host: string;
  readonly port: number; // 0: a free one
  readonly apiKeyPepper: string;
  readonly tokenKeys: TokenKeys;
  /** Of operators, for /v1/admin; undefined: there are none. */
  readonly operatorKey?: string | undefined;
  /** As the region's workers keep the journal. Default: theirs. */
  readonly journalOneIn?: number;
  readonly limits?: IngestLimits; // default: INGEST_LIMITS
  /** Undefined: nothing is ever removed from the database by this node. */
  readonly retention?: RetentionPolicy;
}

export interface IngestDeps {
  readonly config: IngestConfig;
  readonly store: Store;
  readonly bus: Bus;
  readonly owners: RouterDeps["members"];
  /** Last beats of all members, for operators. */
  readonly members: () => readonly KnownMember[];
  readonly clock: Clock;
  readonly random: Random;
  readonly events: IngestEvents; // createEvents joins them to log and metrics
  /** What it may do for its home now. Default: everything, always. */
  readonly home?: HomeGate;
  /** Undefined: there are no webhooks. */
  readonly webhooks?: Webhooks | undefined;
  /** Body of /metrics. */
  readonly metricsText: () => Promise<{ readonly contentType: string; readonly text: string }>;
  /** Opens the API for one run. Default: HTTP on `config.port`; the simulation has another. */
  readonly startApi?: (
    parts: HttpParts,
    at: { readonly run: OwnRun; readonly port: number },
  ) => Promise<IngestHttp>;
  /** Who is told what becomes of its parts. */
  readonly supervision?: Pick<SupervisorOptions, "onExit" | "onReport" | "restartDelayMs">;
}
