// packages/cluster/src/discovery/nats-conf-keeper.ts
// Keeps nats.conf as it should be, and the server running with it.
//   NK1  The file is written, and the server told, only when the text has changed (C8).
//   NK2  SIGHUP at most once in 10 s; what changes meanwhile goes out together, the last text wins.
//   NK3  A reload counts when the server says so by its `config_load_time` (it moves on success only,
//        tried). One that it refuses is told, the text that this reload replaced is put back with its
//        time, and the same text is tried again with that run of the server after 5 min only.
//        One of which the server says nothing, since its monitoring does not answer, counts as not
//        known: it is told, and the server is told again every 5 min until it answers.
//   NK4  While the server runs, its gateway part and its monitoring port stay (NR2); they change with
//        the server's next start.
//   NK5  Without any answer, ever, an existing file is left as it is: no routes are not known routes.
//   NK6  What was missed (a crash between writing and telling, a signal that could not be sent, a
//        server that was started meanwhile) is found again every 10 s, without an answer as well.
//   NK7  A fault that stays is told once in 5 min.
import { readFile, rm, stat } from "node:fs/promises";
import type { Clock, Timer } from "@carillon/kernel";
import { isAbsent, restore, writeDurably } from "./durable-file.ts";
import { withRunningParts } from "./nats-routes.ts";
import type { NatsServerHandle, ServerRun } from "./nats-server-handle.ts";
import { digestOf, readTold, type ToldRecord, writeTold } from "./told-record.ts";

export type ReloadReport =
  | { readonly kind: "written" } // no server runs: it will start with it
  | { readonly kind: "confirmed" } // also of one that was unconfirmed, once it is known
  /** The old file is back, or there was nothing that this reload had replaced. */
  | { readonly kind: "refused"; readonly isPutBack: boolean }
  | { readonly kind: "unconfirmed" } // it was told, and does not answer; every 5 min (NK3)
  /** It could not be told: the run ended, or belongs to another user. Tried again. */
  | { readonly kind: "not_told"; readonly reason: "gone" | "denied" }
  | { readonly kind: "gateway_frozen"; readonly isFrozen: boolean } // when that changes
  | { readonly kind: "failed"; readonly detail: string }; // the disk, or what renders

export interface NatsConfKeeperDeps {
  readonly path: string;
  /**
   * The whole text for these routes, asked at each look. May throw: `failed`. What it tells is
   * `failed` as well, and its text counts nevertheless.
   */
  readonly render: (routes: readonly string[], tell: (problem: string) => void) => string;
  readonly server: NatsServerHandle;
  readonly clock: Clock;
  readonly onReport: (report: ReloadReport) => void;
}

export interface NatsConfKeeper {
  /** Undefined: nothing is known (NK5). */
  want(routes: readonly string[] | undefined): void;
  /** Ends; resolves when nothing is under way. Safe to call twice. */
  stop(): Promise<void>;
}

export const HANG_UP_EVERY_MS = 10_000;
const SAME_AGAIN_MS = 300_000; // NK7
const CHECK_EVERY_MS = 10_000;
const REFUSED_AGAIN_MS = 300_000; // it may have been a certificate that was not there yet
const UNCONFIRMED_AGAIN_MS = REFUSED_AGAIN_MS; // for all that is known it was refused
const CONFIRM_MAX_MS = 5_000;
const CONFIRM_ASK_MS = 100;

export function createNatsConfKeeper(deps: NatsConfKeeperDeps): NatsConfKeeper {
  return new Keeper(deps);
}

class Keeper implements NatsConfKeeper {
  readonly #deps: NatsConfKeeperDeps;
  readonly #previousPath: string;
  readonly #toldPath: string;
  readonly #faults: Record<"look" | "render" | "not_told", Repeats>;
  #wanted: { readonly routes: readonly string[] | undefined } | undefined;
  #refused: { readonly text: string; readonly mark: string; readonly atMs: number } | undefined;
  /** What the server is known to run with; the wall clocks need not be compared again. */
  #loaded: { readonly text: string; readonly mark: string } | undefined;
  /** The text for which the one before it was set aside; undefined: nothing of this run is. */
  #replacedBy: string | undefined;
  #told: ToldRecord | undefined;
  /** By the monotonic clock; undefined until the record on disk was read (NK2). */
  #hangUpAllowedAtMs: number | undefined;
  /** By the monotonic clock; counts while the server does not answer (NK3). */
  #tellAgainAtMs: number;
  #isUnconfirmed = false;
  #isGatewayFrozen = false;
  #isStopped = false;
  #isAgain = false;
  #working: Promise<void> | undefined;
  #timer: Timer | undefined;

  constructor(deps: NatsConfKeeperDeps) {
    this.#deps = deps;
    this.#previousPath = `${deps.path}.previous`;
    this.#toldPath = `${deps.path}.told`;
    this.#tellAgainAtMs = deps.clock.monotonicMs() + UNCONFIRMED_AGAIN_MS;
    const repeats = (): Repeats => new Repeats(deps.clock);
    this.#faults = { look: repeats(), render: repeats(), not_told: repeats() };
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
      let fault: string | undefined;
      try {
        delayMs = await this.#once(this.#wanted?.routes);
      } catch (cause) {
        fault = String(cause);
      }
      this.#fail("look", fault);
    }
    this.#working = undefined;
    if (!this.#isStopped) this.#timer = this.#deps.clock.setTimer(delayMs, () => this.#look()); // NK6
  }

  /** Undefined: there is none now, and the next is news. */
  #fail(kind: "look" | "render", detail: string | undefined): void {
    if (this.#faults[kind].isNews(detail) && detail !== undefined)
      this.#deps.onReport({ kind: "failed", detail });
  }

  /** Until the next look. */
  async #once(routes: readonly string[] | undefined): Promise<number> {
    const { path, render, server } = this.#deps;
    const before = await textOf(path);
    if (routes === undefined && before !== undefined) return CHECK_EVERY_MS; // NK5
    const run = await server.find();
    let problem: string | undefined;
    const wanted = render(routes ?? [], (told) => (problem = told));
    this.#fail("render", problem);
    const { text, isGatewayFrozen } =
      run === undefined || before === undefined
        ? { text: wanted, isGatewayFrozen: false }
        : withRunningParts(wanted, before); // NK4
    this.#tellFrozen(isGatewayFrozen);
    if (run === undefined) {
      if (text === before) return CHECK_EVERY_MS;
      await writeDurably(path, text);
      this.#deps.onReport({ kind: "written" });
      return CHECK_EVERY_MS;
    }
    const waitMs = await this.#hangUpWaitMs();
    if (this.#isRefused(run, text)) return CHECK_EVERY_MS;
    if (text === before && (await this.#isLoaded(run, text))) return CHECK_EVERY_MS;
    if (waitMs > 0) return waitMs; // NK2
    if (this.#isAgain) return 0; // something newer is wanted by now: looked at again at once
    if (text !== before) {
      await writeDurably(path, text, { previousPath: this.#previousPath });
      this.#replacedBy = before === undefined ? undefined : text;
    }
    await this.#reload(run, text);
    return CHECK_EVERY_MS;
  }

  #isRefused(run: ServerRun, text: string): boolean {
    const refused = this.#refused;
    if (refused === undefined || refused.text !== text || refused.mark !== run.mark) return false;
    return this.#deps.clock.monotonicMs() < refused.atMs + REFUSED_AGAIN_MS;
  }

  /**
   * Whether the server took its configuration after the file was written. Where it does not answer
   * nobody knows: what it was told (NK6) stands for 5 min, and a run that was told nothing was started
   * with the file.
   */
  async #isLoaded({ mark }: ServerRun, text: string): Promise<boolean> {
    if (this.#loaded?.text === text && this.#loaded.mark === mark) return true;
    const loadedAtMs = await this.#deps.server.loadedAtMs();
    if (loadedAtMs === undefined) {
      const told = this.#told;
      if (told?.mark !== mark) return true;
      if (!told.isTold || told.digest !== digestOf(text)) return false;
      return this.#deps.clock.monotonicMs() < this.#tellAgainAtMs; // NK3
    }
    const { mtimeMs } = await stat(this.#deps.path);
    if (loadedAtMs < Math.floor(mtimeMs)) return false;
    this.#loaded = { text, mark };
    if (this.#isUnconfirmed) this.#deps.onReport({ kind: "confirmed" });
    this.#isUnconfirmed = false;
    return true;
  }

  async #hangUpWaitMs(): Promise<number> {
    const { clock } = this.#deps;
    if (this.#hangUpAllowedAtMs === undefined) {
      this.#told = await readTold(this.#toldPath);
      const agoMs = Math.max(
        0,
        clock.wallClockMs() - (this.#told?.atMs ?? Number.NEGATIVE_INFINITY),
      );
      this.#hangUpAllowedAtMs = clock.monotonicMs() + Math.max(0, HANG_UP_EVERY_MS - agoMs);
    }
    return Math.max(0, this.#hangUpAllowedAtMs - clock.monotonicMs());
  }

  async #reload(run: ServerRun, text: string): Promise<void> {
    const { server, clock, onReport } = this.#deps;
    const loadedBeforeMs = await server.loadedAtMs();
    await this.#note(run, { text, isTold: false });
    this.#hangUpAllowedAtMs = clock.monotonicMs() + HANG_UP_EVERY_MS;
    this.#tellAgainAtMs = clock.monotonicMs() + UNCONFIRMED_AGAIN_MS;
    const told = await server.hangUp(run);
    if (this.#faults.not_told.isNews(told === "told" ? undefined : told) && told !== "told")
      onReport({ kind: "not_told", reason: told });
    if (told !== "told") return;
    await this.#note(run, { text, isTold: true });
    const outcome =
      loadedBeforeMs === undefined ? "unconfirmed" : await this.#outcome(loadedBeforeMs);
    this.#isUnconfirmed = outcome === "unconfirmed";
    if (outcome === "refused") {
      this.#refused = { text, mark: run.mark, atMs: clock.monotonicMs() };
      const isPutBack =
        this.#replacedBy === text && (await restore(this.#deps.path, this.#previousPath));
      this.#replacedBy = undefined;
      onReport({ kind: "refused", isPutBack });
      return;
    }
    if (outcome === "confirmed") this.#loaded = { text, mark: run.mark };
    this.#replacedBy = undefined;
    await rm(this.#previousPath, { force: true }); // of no use any more, and it may hold logins
    onReport({ kind: outcome });
  }

  /** Before the signal and after it: what happens in between is found again (NK6). */
  async #note(
    { mark }: ServerRun,
    { text, isTold }: { text: string; isTold: boolean },
  ): Promise<void> {
    const atMs = this.#deps.clock.wallClockMs();
    this.#told = { mark, digest: digestOf(text), isTold, atMs };
    await writeTold(this.#toldPath, this.#told);
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

/** NK7. */
class Repeats {
  readonly #clock: Clock;
  #last: { readonly what: string; readonly atMs: number } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined: it is over. */
  isNews(what: string | undefined): boolean {
    const last = this.#last;
    const atMs = this.#clock.monotonicMs();
    if (what === undefined) this.#last = undefined;
    if (what === undefined || (what === last?.what && atMs < last.atMs + SAME_AGAIN_MS))
      return false;
    this.#last = { what, atMs };
    return true;
  }
}

/** Once, for a server that is about to be started. Rejects when the disk or `render` does. */
export async function writeNatsConf(
  deps: {
    readonly path: string;
    readonly render: (routes: readonly string[]) => string;
  },
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
