// packages/cluster/src/discovery/nats-conf-keeper.ts
// Keeps nats.conf as it should be, and the server running with it.
//   NK1  The file is written, and the server told, only when the text has changed (C8).
//   NK2  SIGHUP at most once in 10 s; what changes meanwhile goes out together, the last text wins.
//   NK3  A reload counts when the server says so by its `config_load_time` (it moves on success only,
//        tried). One that it refuses is told, the text before it is put back with its time, and the
//        same text is tried again with that run of the server after 5 min only.
//   NK4  While the server runs, its gateway part stays (NR2); it changes with the server's next start.
//   NK5  Without any answer, ever, an existing file is left as it is: no routes are not known routes.
//   NK6  What was missed (a crash between writing and telling, a server that was started meanwhile)
//        is found again every 10 s.
import { readFile, stat } from "node:fs/promises";
import type { Clock, Timer } from "@carillon/kernel";
import { isAbsent, restore, writeDurably } from "./durable-file.ts";
import { withRunningGateway } from "./nats-routes.ts";
import type { NatsServerHandle, ServerRun } from "./nats-server-handle.ts";

export type ReloadReport =
  | { readonly kind: "written" } // no server runs: it will start with it
  | { readonly kind: "confirmed" }
  | { readonly kind: "refused" } // the old file is back
  | { readonly kind: "unconfirmed" } // it was told, and cannot be asked
  | { readonly kind: "gateway_frozen"; readonly isFrozen: boolean } // when that changes
  | { readonly kind: "failed"; readonly detail: string }; // the disk, or what renders

/** When the server was last told; outlives a restart of the keeper, so that NK2 does. */
export interface HangUps {
  lastAtMs: number | undefined;
}

export interface NatsConfKeeperDeps {
  readonly path: string;
  /** The whole text for these routes. May throw: `failed`. */
  readonly render: (routes: readonly string[]) => string;
  readonly server: NatsServerHandle;
  readonly clock: Clock;
  readonly hangUps: HangUps;
  readonly onReport: (report: ReloadReport) => void;
}

export interface NatsConfKeeper {
  /** Undefined: nothing is known (NK5). */
  want(routes: readonly string[] | undefined): void;
  /** Ends; resolves when nothing is under way. Safe to call twice. */
  stop(): Promise<void>;
}

export const HANG_UP_EVERY_MS = 10_000;
const CHECK_EVERY_MS = 10_000;
const REFUSED_AGAIN_MS = 300_000; // it may have been a certificate that was not there yet
const CONFIRM_MAX_MS = 5_000;
const CONFIRM_ASK_MS = 100;

export function createNatsConfKeeper(deps: NatsConfKeeperDeps): NatsConfKeeper {
  return new Keeper(deps);
}

class Keeper implements NatsConfKeeper {
  readonly #deps: NatsConfKeeperDeps;
  readonly #previousPath: string;
  #wanted: { readonly routes: readonly string[] | undefined } | undefined;
  #refused: { readonly text: string; readonly mark: string; readonly atMs: number } | undefined;
  /** What the server is known to run with; the wall clocks need not be compared again. */
  #loaded: { readonly text: string; readonly mark: string } | undefined;
  #isGatewayFrozen = false;
  #isStopped = false;
  #isAgain = false;
  #working: Promise<void> | undefined;
  #timer: Timer | undefined;

  constructor(deps: NatsConfKeeperDeps) {
    this.#deps = deps;
    this.#previousPath = `${deps.path}.previous`;
  }

  want(routes: readonly string[] | undefined): void {
    this.#wanted = { routes };
    this.#look();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#working;
  }

  #look(): void {
    if (this.#isStopped || this.#wanted === undefined) return;
    this.#isAgain = true;
    this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    this.#timer?.cancel();
    let delayMs = CHECK_EVERY_MS;
    while (this.#isAgain && !this.#isStopped) {
      this.#isAgain = false;
      try {
        delayMs = await this.#once(this.#wanted?.routes);
      } catch (cause) {
        this.#deps.onReport({ kind: "failed", detail: String(cause) });
      }
    }
    this.#working = undefined;
    if (!this.#isStopped) this.#timer = this.#deps.clock.setTimer(delayMs, () => this.#look()); // NK6
  }

  /** Until the next look. */
  async #once(routes: readonly string[] | undefined): Promise<number> {
    const { path, render, server } = this.#deps;
    const before = await textOf(path);
    if (routes === undefined && before !== undefined) return CHECK_EVERY_MS; // NK5
    const run = await server.find();
    const wanted = render(routes ?? []);
    const { text, isGatewayFrozen } =
      run === undefined || before === undefined
        ? { text: wanted, isGatewayFrozen: false }
        : withRunningGateway(wanted, before); // NK4
    this.#tellFrozen(isGatewayFrozen);
    if (run === undefined) {
      if (text === before) return CHECK_EVERY_MS;
      await writeDurably(path, text);
      this.#deps.onReport({ kind: "written" });
      return CHECK_EVERY_MS;
    }
    if (this.#isRefused(run, text)) return CHECK_EVERY_MS;
    if (text === before && (await this.#isLoaded(run, text))) return CHECK_EVERY_MS;
    const waitMs = this.#hangUpWaitMs();
    if (waitMs > 0) return waitMs; // NK2
    if (this.#isAgain) return 0; // something newer is wanted by now: looked at again at once
    if (text !== before) await writeDurably(path, text, { previousPath: this.#previousPath });
    await this.#reload(run, text);
    return CHECK_EVERY_MS;
  }

  #isRefused(run: ServerRun, text: string): boolean {
    const refused = this.#refused;
    if (refused === undefined || refused.text !== text || refused.mark !== run.mark) return false;
    return this.#deps.clock.monotonicMs() < refused.atMs + REFUSED_AGAIN_MS;
  }

  /** Whether the server took its configuration after the file was written. Unknown: it has. */
  async #isLoaded({ mark }: ServerRun, text: string): Promise<boolean> {
    if (this.#loaded?.text === text && this.#loaded.mark === mark) return true;
    const loadedAtMs = await this.#deps.server.loadedAtMs();
    if (loadedAtMs === undefined) return true;
    const { mtimeMs } = await stat(this.#deps.path);
    if (loadedAtMs < Math.floor(mtimeMs)) return false;
    this.#loaded = { text, mark };
    return true;
  }

  #hangUpWaitMs(): number {
    const { clock, hangUps } = this.#deps;
    if (hangUps.lastAtMs === undefined) return 0;
    return Math.max(0, hangUps.lastAtMs + HANG_UP_EVERY_MS - clock.monotonicMs());
  }

  async #reload(run: ServerRun, text: string): Promise<void> {
    const { server, clock, hangUps, onReport } = this.#deps;
    const loadedBeforeMs = await server.loadedAtMs();
    hangUps.lastAtMs = clock.monotonicMs();
    const isTold = await server.hangUp(run);
    const outcome =
      isTold && loadedBeforeMs !== undefined ? await this.#outcome(loadedBeforeMs) : "unconfirmed";
    if (outcome === "confirmed") this.#loaded = { text, mark: run.mark };
    if (outcome === "refused") {
      this.#refused = { text, mark: run.mark, atMs: clock.monotonicMs() };
      await restore(this.#deps.path, this.#previousPath);
    }
    onReport({ kind: outcome });
  }

  /** NK3. Asked until it has taken it; a server that answers, and has not, has refused. */
  async #outcome(loadedBeforeMs: number): Promise<"confirmed" | "refused" | "unconfirmed"> {
    const { server, clock } = this.#deps;
    const endMs = clock.monotonicMs() + CONFIRM_MAX_MS;
    for (;;) {
      const loadedAtMs = await server.loadedAtMs();
      if (loadedAtMs !== undefined && loadedAtMs !== loadedBeforeMs) return "confirmed";
      if (clock.monotonicMs() >= endMs) return loadedAtMs === undefined ? "unconfirmed" : "refused";
      await clock.sleep(CONFIRM_ASK_MS);
    }
  }

  #tellFrozen(isFrozen: boolean): void {
    if (isFrozen === this.#isGatewayFrozen) return;
    this.#isGatewayFrozen = isFrozen;
    this.#deps.onReport({ kind: "gateway_frozen", isFrozen });
  }
}

/** Once, for a server that is about to be started. Rejects when the disk or `render` does. */
export async function writeNatsConf(
  deps: Pick<NatsConfKeeperDeps, "path" | "render">,
  routes: readonly string[] | undefined,
): Promise<"written" | "unchanged" | "kept"> {
  const before = await textOf(deps.path);
  if (routes === undefined && before !== undefined) return "kept"; // NK5
  const text = deps.render(routes ?? []);
  if (text === before) return "unchanged";
  await writeDurably(deps.path, text);
  return "written";
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if (isAbsent(cause)) return undefined;
    throw cause;
  }
}
