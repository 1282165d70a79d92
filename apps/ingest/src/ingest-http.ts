// apps/ingest/src/ingest-http.ts
// One run of the HTTP side of an ingest node: its server, and what waits for a group commit.
import type { AddressInfo } from "node:net";
import { ownBus } from "@carillon/bus";
import { createRouter, type Router } from "@carillon/cluster";
import { ownClock, type OwnRun } from "@carillon/process";
import { type Acceptor, createAcceptor } from "./accept.ts";
import { createApiKeys } from "./api-keys.ts";
import { createDirectoryRoutes } from "./directory-routes.ts";
import { createFollowUps } from "./follow-ups.ts";
import { createGroupRoutes } from "./group-routes.ts";
import { createHealth } from "./health.ts";
import { ALWAYS_SERVING } from "./home-gate.ts";
import { addRoutes, createHttpServer, type HttpServerOptions } from "./http-server.ts";
import type { IngestDeps } from "./ingest-options.ts";
import { createServices, type Services } from "./ingest-services.ts";
import { INGEST_LIMITS } from "./limits.ts";
import type { Poker } from "./poke.ts";
import type { Relay } from "./relay.ts";
import { type RoutesDeps, routesOf } from "./routes.ts";
import { createTemplateRoutes } from "./template-routes.ts";
import { createTokens } from "./tokens.ts";

export interface HttpParts extends IngestDeps {
  readonly poker: Poker;
  readonly relay: Relay;
}

export interface IngestHttp {
  readonly port: number;
  readonly acceptWaitingCount: number;
  /** Refuses new writes, finishes what was accepted. Safe to call twice. */
  drain(): Promise<void>;
  /** Drains, then closes every connection, by force after `drainMaxMs`. */
  stop(): Promise<void>;
  /** Closes every connection now. */
  abandon(): Promise<void>;
}

/** Rejects when the token key cannot be used or the port is taken; then nothing is left open. */
export async function startHttp(
  parts: HttpParts,
  { run, port }: { readonly run: OwnRun; readonly port: number },
): Promise<IngestHttp> {
  const { config, store, random, events } = parts;
  const bus = ownBus(run, parts.bus);
  const clock = ownClock(run, parts.clock);
  const limits = config.limits ?? INGEST_LIMITS;
  let isDraining = false;

  const deps = { ...parts, bus, clock };
  const services = createServices(deps);
  const place = { region: config.region, regions: config.regions };
  const acceptor: Acceptor = createAcceptor(
    { ...place, limits: limits.accept, onCommit: events.committed, onAccepted: events.accepted },
    { ...deps, ...services },
  );
  const httpOptions: HttpServerOptions = {
    limits: limits.http,
    isDraining: () => isDraining,
    nextRequestId: requestIds(random),
    onFailure: events.failed,
    onAnswer: events.answered,
  };
  const app = createHttpServer(httpOptions);
  const gate = deps.home ?? ALWAYS_SERVING;
  const health = createHealth({ store, bus, clock, home: gate, isDraining: () => isDraining });
  const router = createRouter({
    bus,
    clock,
    members: {
      ownerOf: (home, partition) => parts.owners.ownerOf(home, partition),
      onMemberLost: (listener) => parts.owners.onMemberLost(run.guarded(listener)),
    },
    observer: { onCalled: events.called, onCallsOpen: events.callsOpen },
  });
  run.onOver(() => router.stop());
  const routes = routesOf(await routeDepsOf(deps, { services, acceptor, health, router }));
  addRoutes(app, routes, httpOptions);
  try {
    await app.listen({ host: config.host, port });
  } catch (cause) {
    await app.close();
    throw cause;
  }
  app.server.on("error", run.crashed);

  const drain = async (): Promise<void> => {
    isDraining = true;
    await acceptor.drain();
  };
  return {
    port: (app.server.address() as AddressInfo).port,
    get acceptWaitingCount() {
      return acceptor.waitingCount;
    },
    drain,
    async stop() {
      const force = clock.setTimer(limits.drainMaxMs, () => app.server.closeAllConnections());
      await drain();
      await app.close();
      force.cancel();
    },
    async abandon() {
      const closed = app.close();
      app.server.closeAllConnections();
      await closed;
    },
  };
}

async function routeDepsOf(
  parts: HttpParts,
  made: {
    services: Services;
    acceptor: Acceptor;
    health: RoutesDeps["health"];
    router: Router;
  },
): Promise<RoutesDeps> {
  const { config, store, bus, clock } = parts;
  const {
    homes,
    groups,
    members,
    templates,
    plans,
    policies,
    controls,
    rates,
    preferences,
    writer,
    statuses,
    inbox,
    explanations,
    recipientLists,
  } = made.services;
  const limits = config.limits ?? INGEST_LIMITS;
  const place = { region: config.region, regions: config.regions };
  const tokens = await createTokens(config.tokenKeys, clock);
  const keyed = createApiKeys(
    {
      believedMs: limits.apiKeyBelievedMs,
      refusedMs: limits.apiKeyRefusedMs,
      entriesMax: limits.apiKeysCachedMax,
      verify: (apiKey) => store.tenants.verifyApiKey(apiKey, config.apiKeyPepper),
    },
    clock,
  );
  const requestTimeoutMs = limits.regionTimeoutMs;
  return {
    keyed,
    employee: (authorization) => tokens.authenticate(authorization),
    acceptor: made.acceptor,
    directory: createDirectoryRoutes({
      ...place,
      requestTimeoutMs,
      store,
      bus,
      homes,
      writer,
      tokens,
    }),
    groups: createGroupRoutes({ regions: config.regions, groups, members, homes }),
    templates: createTemplateRoutes({ store, templates }),
    imports: { ...place, homes, writer },
    plans,
    policies,
    controls,
    rates,
    followUps: createFollowUps(place, {
      ...{ store, clock, statuses, controls, plans },
      acceptor: made.acceptor,
    }),
    preferences,
    statuses,
    explanations,
    recipientLists,
    inbox,
    admin: {
      operatorKey: config.operatorKey,
      regions: config.regions,
      requestTimeoutMs: limits.statusTimeoutMs,
      bus,
      router: made.router,
      owners: parts.owners,
      homes,
      members: parts.members,
    },
    home: parts.home ?? ALWAYS_SERVING,
    webhooks: parts.webhooks,
    health: made.health,
    metricsText: parts.metricsText,
  };
}

/** Unique per node by its random part; cheap, since every request takes one. */
function requestIds(random: IngestDeps["random"]): () => string {
  const prefix = Buffer.from(random.bytes(6)).toString("hex");
  let count = 0;
  return () => `${prefix}-${(++count).toString(36)}`;
}
