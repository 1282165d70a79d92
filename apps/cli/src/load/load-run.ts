// apps/cli/src/load/load-run.ts
// What the scenarios share: clients per region, recipients of their own, sessions for some of them.
import { assert, type Clock, Fault, type Random } from "@carillon/kernel";
import { ApiClient } from "../clients/api-client.ts";
import { affordableSockets } from "../clients/open-files.ts";
import { type Acked, Sessions, type SessionPlan } from "../clients/sessions.ts";
import { countText } from "../clients/text-table.ts";
import { importPeople } from "../demo/import.ts";
import type { Terminal } from "../terminal.ts";
import type { LoadTarget, LoadTargets } from "./targets.ts";

export interface LoadDeps {
  readonly terminal: Terminal; // for progress; results are returned
  readonly clock: Clock;
  readonly random: Random;
}

const OPEN_MAX_MS = 120_000;

export class LoadRun {
  readonly targets: readonly LoadTarget[];
  readonly deps: LoadDeps;
  readonly #apis: readonly ApiClient[];
  #sessions: Sessions | undefined;

  constructor({ targets, apiKey }: LoadTargets, connectionsCount: number, deps: LoadDeps) {
    this.targets = targets;
    this.deps = deps;
    const connectionsMax = Math.ceil(connectionsCount / targets.length);
    this.#apis = targets.map(
      ({ ingestUrl }) => new ApiClient({ baseUrl: ingestUrl, apiKey, connectionsMax }, deps.clock),
    );
  }

  api(target: number): ApiClient {
    const api = this.#apis[target];
    assert(api, "LD2 a client for each target");
    return api;
  }

  /** Ids of `count` recipients whose home is that target; the same in every run. */
  async register(prefix: string, target: number, count: number): Promise<string[]> {
    const name = this.targets[target]?.name.replaceAll(" ", "-") ?? "";
    const ids = Array.from({ length: count }, (_, n) => `${prefix}-${name}-${n + 1}`);
    const people = ids.map((recipientId) => ({ recipientId, attributes: { madeBy: "load" } }));
    await importPeople(this.api(target), people);
    return ids;
  }

  /**
   * Opens a session for each id, in its home region; `ids[i]` are target i's. Throws Fault
   * `not_live` when not all came up.
   */
  async connect(
    ids: readonly (readonly string[])[],
    onAck: (acked: Acked) => void,
  ): Promise<number> {
    const { clock, terminal } = this.deps;
    const wanted = ids.reduce((sum, some) => sum + some.length, 0);
    const { count, note } = affordableSockets(wanted);
    if (note !== undefined) throw new Fault(note, { code: "open_files", isRetryable: false });
    const plans = (await Promise.all(ids.map((some, target) => this.#plans(some, target)))).flat();
    const sessions = new Sessions({ onAck }, clock);
    this.#sessions = sessions;
    terminal.progress(`connecting ${countText(count)} sockets …`);
    const live = await sessions.open(plans, OPEN_MAX_MS);
    if (live < wanted)
      throw new Fault(`${live} of ${wanted} sockets came up`, {
        code: "not_live",
        isRetryable: true,
      });
    return live;
  }

  close(): void {
    this.#sessions?.close();
    for (const api of this.#apis) api.close();
  }

  async #plans(ids: readonly string[], target: number): Promise<SessionPlan[]> {
    const place = this.targets[target];
    assert(place, "LD2 a target for each list");
    const tokens = await this.api(target).tokensOf(ids);
    return ids.map((recipientId) => ({
      recipientId,
      home: place.name,
      region: place.name,
      socketUrl: place.socketUrl,
      token: tokens.get(recipientId) ?? "",
    }));
  }
}

/** Spreads `count` over `parts`, the first ones getting one more. Pure. */
export function spread(count: number, parts: number): number[] {
  return Array.from({ length: parts }, (_, n) => Math.floor((count + parts - 1 - n) / parts));
}

/** Resolves when `isDone`, or after `maxMs`; tells which. */
export async function until(isDone: () => boolean, maxMs: number, clock: Clock): Promise<boolean> {
  const endMs = clock.monotonicMs() + maxMs;
  while (!isDone()) {
    if (clock.monotonicMs() > endMs) return false;
    // oxlint-disable-next-line no-await-in-loop -- polls
    await clock.sleep(5);
  }
  return true;
}
