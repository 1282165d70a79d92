// apps/ingest/src/ingest.ts
// Everything of an ingest node, put together: start → drain → stop. Store, bus and cluster are the
// caller's; they outlive it.
import type { AddressInfo } from "node:net";
import type { Bus } from "@carillon/bus";
import type { Clock, Random } from "@carillon/kernel";
import type { Store } from "@carillon/store";
import { type Acceptor, createAcceptor } from "./accept.ts";
import { createApiKeys } from "./api-keys.ts";
import { createDirectoryRoutes } from "./directory-routes.ts";
import { createDirectoryWriter } from "./directory-writer.ts";
import type { IngestEvents } from "./events.ts";
import { createHealth } from "./health.ts";
import { createHomes } from "./homes.ts";
import { addRoutes, createHttpServer, type HttpServerOptions } from "./http-server.ts";
import { createInbox } from "./inbox.ts";
import { createIntake, type Intake } from "./intake.ts";
import { INGEST_LIMITS, type IngestLimits } from "./limits.ts";
import { createPoker, type Owners } from "./poke.ts";
import { serveRegion } from "./region-services.ts";
import { createRelay, type Relay } from "./relay.ts";
import { routesOf } from "./routes.ts";
import { createStatuses } from "./status.ts";
import { createTokens, type TokenKeys } from "./tokens.ts";

export interface IngestConfig {
  readonly region: string;
  readonly regions: readonly string[]; // this one included
  readonly host: string;
  readonly port: number; // 0: a free one
  readonly apiKeyPepper: string;
  readonly tokenKeys: TokenKeys;
  readonly limits?: IngestLimits; // default: INGEST_LIMITS
}

export interface IngestDeps {
  readonly config: IngestConfig;
  readonly store: Store;
  readonly bus: Bus;
  readonly owners: Owners;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: IngestEvents; // createEvents joins them to log and metrics
  /** Body of /metrics. */
  readonly metricsText: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

/** Numbers for gauges. */
export interface IngestLoad {
  readonly acceptWaitingCount: number;
  readonly relayQueuedCount: number;
  readonly intakeWaitingCount: number;
}

export interface Ingest {
  /** Rejects when the port is taken. Safe to call twice. */
  start(): Promise<{ port: number }>;
  /** Refuses new writes, finishes what was accepted. Safe to call twice. */
  drain(): Promise<void>;
  /** Drains, then closes every connection, by force after `drainMaxMs`. Safe to call twice. */
  stop(): Promise<void>;
  readonly load: IngestLoad;
}

/** Rejects when the token key cannot be used. */
export async function createIngest(deps: IngestDeps): Promise<Ingest> {
  const { config, store, bus, clock, random, events } = deps;
  const { region, regions } = config;
  const limits = config.limits ?? INGEST_LIMITS;
  const place = { region, regions };
  let isDraining = false;

  const tokens = await createTokens(config.tokenKeys, clock);
  const poker = createPoker({ home: region, bus, owners: deps.owners, onPoke: events.poked });
  const relay = createRelay(
    {
      ...place,
      limits: limits.relay,
      onOutcome: events.relayed,
      onState: events.linkChanged,
      onFault: events.failed,
    },
    { store, bus, clock, random },
  );
  const homes = createHomes(
    {
      ...place,
      locateTimeoutMs: limits.locateTimeoutMs,
      claimTimeoutMs: limits.regionTimeoutMs,
      entriesMax: limits.homesCachedMax,
      believedMs: limits.homesBelievedMs,
      onFault: events.failed,
    },
    { store, bus, clock },
  );
  const acceptor = createAcceptor(
    { ...place, limits: limits.accept, onCommit: events.committed, onAccepted: events.accepted },
    { store, bus, homes, poker, relay, clock, random },
  );
  const requestTimeoutMs = limits.regionTimeoutMs;
  const writer = createDirectoryWriter(
    { ...place, requestTimeoutMs },
    { store, bus, homes, poker, relay },
  );
  const statuses = createStatuses(
    { ...place, requestTimeoutMs: limits.statusTimeoutMs },
    { store, bus },
  );
  const inbox = createInbox({ ...place, requestTimeoutMs }, { store, bus });
  const intake = createIntake(bus, {
    runningMax: limits.intakeRunningMax,
    queueMax: limits.intakeQueueMax,
    onMalformed: (subject) => events.refused(subject, "malformed"),
    onOverloaded: (subject) => events.refused(subject, "overloaded"),
    onFailure: events.failed,
  });
  const keyed = createApiKeys(
    {
      believedMs: limits.apiKeyBelievedMs,
      refusedMs: limits.apiKeyRefusedMs,
      entriesMax: limits.apiKeysCachedMax,
      verify: (apiKey) => store.tenants.verifyApiKey(apiKey, config.apiKeyPepper),
    },
    clock,
  );

  const httpOptions: HttpServerOptions = {
    limits: limits.http,
    isDraining: () => isDraining,
    nextRequestId: requestIds(random),
    onFailure: events.failed,
    onAnswer: events.answered,
  };
  const app = createHttpServer(httpOptions);
  const routes = routesOf({
    keyed,
    employee: (authorization) => tokens.authenticate(authorization),
    acceptor,
    directory: createDirectoryRoutes({
      ...place,
      requestTimeoutMs,
      store,
      bus,
      homes,
      writer,
      tokens,
    }),
    imports: { ...place, homes, writer },
    statuses,
    inbox,
    health: createHealth({ store, bus, clock, isDraining: () => isDraining }),
    metricsText: deps.metricsText,
  });
  addRoutes(app, routes, httpOptions);

  const drain = async (): Promise<void> => {
    isDraining = true;
    await Promise.all([acceptor.drain(), intake.drain()]);
  };
  const start = async (): Promise<{ port: number }> => {
    serveRegion({ region, intake, store, poker, writer, statuses, inbox, onOddity: events.odd });
    relay.start();
    await app.listen({ host: config.host, port: config.port });
    return { port: (app.server.address() as AddressInfo).port };
  };
  let started: Promise<{ port: number }> | undefined;
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    const force = clock.setTimer(limits.drainMaxMs, () => app.server.closeAllConnections());
    await drain();
    await app.close();
    force.cancel();
    await relay.stop();
  };

  return {
    start: () => (started ??= start()),
    drain,
    stop: () => (stopped ??= stop()),
    get load() {
      return loadOf(acceptor, relay, intake);
    },
  };
}

function loadOf(acceptor: Acceptor, relay: Relay, intake: Intake): IngestLoad {
  return {
    acceptWaitingCount: acceptor.waitingCount,
    relayQueuedCount: relay.queuedCount,
    intakeWaitingCount: intake.waitingCount,
  };
}

/** Unique per node by its random part; cheap, since every request takes one. */
function requestIds(random: Random): () => string {
  const prefix = Buffer.from(random.bytes(6)).toString("hex");
  let count = 0;
  return () => `${prefix}-${(++count).toString(36)}`;
}
