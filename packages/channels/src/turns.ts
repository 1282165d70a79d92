// packages/channels/src/turns.ts
// Who may send now: so many at once over all, to one host and of one tenant; the rest waits in lanes.
//   TN1  No more than each limit run. TN2 Lanes take turns, and a full lane holds up no other.
//   TN3  No more than `waitingMax` wait; what is over it is refused at once.

export interface TurnLimits {
  readonly runningMax: number;
  readonly runningPerHostMax: number;
  /** A tenant's many slow hosts must not take every place. */
  readonly runningPerTenantMax: number;
  readonly waitingMax: number;
  readonly waitingPerLaneMax: number;
}

export interface Lane {
  readonly tenantId: string;
  readonly host: string;
}

export type Entry =
  | { readonly kind: "running" }
  | { readonly kind: "waiting"; readonly leave: () => void }
  | { readonly kind: "full" };

interface WaitingLane extends Lane {
  /** In order of arrival. */
  readonly waiting: Set<() => void>;
}

export class Turns {
  readonly #limits: TurnLimits;
  readonly #ofHost = new Map<string, number>();
  readonly #ofTenant = new Map<string, number>();
  /** Whose turn is next, first. */
  readonly #lanes = new Map<string, WaitingLane>();
  #runningCount = 0;
  #waitingCount = 0;

  constructor(limits: TurnLimits) {
    this.#limits = limits;
  }

  get runningCount(): number {
    return this.#runningCount;
  }

  get waitingCount(): number {
    return this.#waitingCount;
  }

  /** `onTurn` is called later, once, if the answer is `waiting` and nobody leaves before. */
  enter(lane: Lane, onTurn: () => void): Entry {
    const key = `${lane.tenantId}\n${lane.host}`;
    const ahead = this.#lanes.get(key);
    if (ahead === undefined && this.#hasPlace(lane)) {
      this.#start(lane);
      return { kind: "running" };
    }
    const { waitingMax, waitingPerLaneMax } = this.#limits;
    if (this.#waitingCount >= waitingMax || (ahead?.waiting.size ?? 0) >= waitingPerLaneMax)
      return { kind: "full" };
    const own = ahead ?? { ...lane, waiting: new Set() };
    if (ahead === undefined) this.#lanes.set(key, own);
    own.waiting.add(onTurn);
    this.#waitingCount++;
    return {
      kind: "waiting",
      leave: () => {
        if (!own.waiting.delete(onTurn)) return;
        this.#waitingCount--;
        if (own.waiting.size === 0) this.#lanes.delete(key);
      },
    };
  }

  /** Of one that ran. The next ones are called before this returns. */
  release(lane: Lane): void {
    this.#runningCount--;
    lower(this.#ofHost, lane.host);
    lower(this.#ofTenant, lane.tenantId);
    for (const [key, next] of this.#lanes) {
      if (this.#runningCount >= this.#limits.runningMax) return;
      if (!this.#hasPlace(next)) continue;
      const [onTurn] = next.waiting;
      if (onTurn === undefined) continue;
      next.waiting.delete(onTurn);
      this.#waitingCount--;
      this.#lanes.delete(key);
      if (next.waiting.size > 0) this.#lanes.set(key, next); // behind the others
      this.#start(next);
      onTurn();
    }
  }

  #hasPlace({ tenantId, host }: Lane): boolean {
    const { runningMax, runningPerHostMax, runningPerTenantMax } = this.#limits;
    return (
      this.#runningCount < runningMax &&
      (this.#ofHost.get(host) ?? 0) < runningPerHostMax &&
      (this.#ofTenant.get(tenantId) ?? 0) < runningPerTenantMax
    );
  }

  #start({ tenantId, host }: Lane): void {
    this.#runningCount++;
    this.#ofHost.set(host, (this.#ofHost.get(host) ?? 0) + 1);
    this.#ofTenant.set(tenantId, (this.#ofTenant.get(tenantId) ?? 0) + 1);
  }
}

function lower(counts: Map<string, number>, key: string): void {
  const count = (counts.get(key) ?? 0) - 1;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
