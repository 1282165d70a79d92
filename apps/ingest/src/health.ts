// apps/ingest/src/health.ts
// /livez: the node answers. /readyz: it should get traffic (O-series; asked by load balancers).
//   IN29 The database decides, and draining. Without NATS a node stays ready: it serves its own
//        region's people, and what is for others waits in the outbox (D5). The body says it.
import type { Bus } from "@carillon/bus";
import type { Clock } from "@carillon/kernel";
import type { Store } from "@carillon/store";
import { type Answer, ok, problem } from "./answer.ts";
import { type HomeGate, refusalOf } from "./home-gate.ts";

export interface Health {
  live(): Promise<Answer>;
  ready(): Promise<Answer>;
}

const BELIEVED_MS = 1_000;

export function createHealth(deps: {
  readonly store: Store;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly isDraining: () => boolean;
  readonly home: HomeGate;
}): Health {
  const { store, bus, clock } = deps;
  let asked: { readonly atMs: number; readonly isUp: Promise<boolean> } | undefined;

  const isDatabaseUp = (): Promise<boolean> => {
    const nowMs = clock.monotonicMs();
    if (asked === undefined || nowMs - asked.atMs >= BELIEVED_MS)
      asked = {
        atMs: nowMs,
        isUp: store.ping().then(
          () => true,
          () => false,
        ),
      };
    return asked.isUp;
  };

  return {
    live: () => Promise.resolve(ok(200, { status: "live" })),
    async ready() {
      if (deps.isDraining()) return problem("draining");
      const refusal = refusalOf(deps.home);
      if (refusal !== undefined) return refusal;
      if (!(await isDatabaseUp())) return problem("store_unavailable");
      const busState = bus.isConnected ? "connected" : "disconnected";
      return ok(200, { status: "ready", database: "connected", bus: busState });
    },
  };
}
