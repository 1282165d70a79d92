// packages/process/src/supervisor/own-run.ts
// A part of a node as a child: what it arms and subscribes is its own, and ends with its run.
//   OR1  What a run was called back for and threw, and a loop of it that was rejected, is its crash:
//        told once, to its supervisor, with what it threw.
//   OR2  From its crash, its end or its being killed on nothing of a run is called any more: timers,
//        subscriptions and listeners are gone.
//   OR3  A run that crashed has been abandoned, within `abandonMaxMs`, before its supervisor hears of
//        it: the next run finds ports, leases and subjects free.
import { Fault, type Clock } from "@carillon/kernel";
import { causeText, type Exit } from "../exit.ts";
import type { ChildContext, ChildSpec, Started } from "./child.ts";
import type { TreeNode } from "./tree.ts";

/** What a part gets of its run. None of these needs `this`. */
export interface OwnRun {
  /** False from its crash on, and once it has ended. */
  readonly isCurrent: boolean;
  /** The same callback; what it throws is the crash of this run. Does nothing after the run. */
  readonly guarded: <Args extends readonly unknown[]>(
    callback: (...args: Args) => void,
  ) => (...args: Args) => void;
  /** Ends the run as a crash. The first one counts. */
  readonly crashed: (cause: unknown) => void;
  /** A promise that nobody waits for: its rejection is the crash of this run. */
  readonly watch: (work: Promise<unknown>) => void;
  /** Called once when the run is over, the last one first. Must not throw. */
  readonly onOver: (undo: () => void) => void;
}

/** A part that has started. */
export interface OwnPart {
  /** In good order: finishes and hands over. Its timers and subscriptions live until it settles. */
  stop(): void | Promise<void>;
  /**
   * After a crash, or when `stop` took too long: nothing may be left behind, and nothing that the
   * part holds in memory may be trusted. Default: `stop`.
   */
  abandon?(): void | Promise<void>;
  /** What is below it, when that is worth showing. */
  tree?(): Pick<TreeNode, "children" | "childrenCount">;
}

export interface OwnChildSpec extends Omit<ChildSpec, "start"> {
  readonly clock: Clock;
  /** After a crash it is waited so long until the part is gone; then it is restarted anyway. */
  readonly abandonMaxMs: number;
  /** After a crash, when the part is gone and before its supervisor hears of it. Must not throw. */
  readonly onCrash?: (cause: unknown) => void;
  start(run: OwnRun): OwnPart | Promise<OwnPart>;
}

export function ownChild(child: OwnChildSpec): ChildSpec {
  const { clock: _clock, abandonMaxMs: _abandonMaxMs, onCrash: _onCrash, ...spec } = child;
  return { ...spec, start: (context) => new Run(context, child).begin() };
}

class Run implements OwnRun {
  readonly #context: ChildContext;
  readonly #child: OwnChildSpec;
  readonly #undos: (() => void)[] = [];
  #part: OwnPart | undefined;
  #isOver = false;
  #crash: { readonly cause: unknown } | undefined;
  /** Resolves when the run has been abandoned and its supervisor told. */
  #ending: Promise<void> | undefined;

  constructor(context: ChildContext, child: OwnChildSpec) {
    this.#context = context;
    this.#child = child;
  }

  get isCurrent(): boolean {
    return !this.#isOver;
  }

  /** A run that crashes before its start has settled has not started (OR3). */
  async begin(): Promise<Started> {
    try {
      this.#part = await this.#child.start(this);
    } catch (cause) {
      this.#end();
      throw this.#crash === undefined ? cause : this.#crash.cause;
    }
    if (this.#crash !== undefined) throw errorOf(await this.#abandoned(this.#crash.cause));
    const part = this.#part;
    return {
      stop: () => this.#stop(),
      kill: () => this.#kill(),
      ...("tree" in part && { tree: () => nodeOf(this.#context.id, part) }),
    };
  }

  readonly guarded: OwnRun["guarded"] =
    (callback) =>
    (...args) => {
      if (this.#isOver) return; // OR2
      try {
        callback(...args);
      } catch (cause) {
        this.crashed(cause);
      }
    };

  readonly crashed = (cause: unknown): void => {
    if (this.#isOver) return;
    this.#crash = { cause };
    this.#end();
    if (this.#part !== undefined) this.#ending = this.#endAsCrash(cause);
  };

  readonly watch = (work: Promise<unknown>): void => {
    work.catch(this.crashed);
  };

  readonly onOver = (undo: () => void): void => {
    if (this.#isOver) undo();
    else this.#undos.push(undo);
  };

  async #endAsCrash(cause: unknown): Promise<void> {
    const exit = await this.#abandoned(cause);
    this.#child.onCrash?.(cause);
    this.#context.exited(exit);
  }

  /** The exit, once nothing of the part is left or the time is over. Never rejects. */
  async #abandoned(cause: unknown): Promise<Exit> {
    const { clock, abandonMaxMs } = this.#child;
    const late = Promise.withResolvers<never>();
    const timer = clock.setTimer(abandonMaxMs, () =>
      late.reject(new Fault(`not gone after ${abandonMaxMs} ms`, NOT_GONE)),
    );
    try {
      await Promise.race([this.#abandon(), late.promise]);
      return { kind: "error", error: cause };
    } catch (failure) {
      const message = `${causeText(cause)}; abandoning it: ${causeText(failure)}`;
      return { kind: "error", error: new AggregateError([cause, failure], message) };
    } finally {
      timer.cancel();
    }
  }

  async #abandon(): Promise<void> {
    const part = this.#part;
    await (part?.abandon === undefined ? part?.stop() : part.abandon());
  }

  async #stop(): Promise<void> {
    if (this.#ending !== undefined) return this.#ending;
    try {
      await this.#part?.stop();
    } finally {
      this.#end();
    }
  }

  /** What it could not give back in time is no longer waited for; that it failed is reported. */
  async #kill(): Promise<void> {
    this.#end();
    if (this.#ending === undefined) await this.#abandon();
  }

  #end(): void {
    this.#isOver = true;
    for (const undo of this.#undos.splice(0).toReversed()) undo();
  }
}

const NOT_GONE = { code: "not_gone", isRetryable: true } as const;

function errorOf(exit: Exit): unknown {
  return exit.kind === "error" ? exit.error : exit;
}

function nodeOf(id: string, part: OwnPart): TreeNode {
  const below = part.tree?.() ?? { children: [], childrenCount: 0 };
  return { id, type: "worker", status: "running", restartsCount: 0, lastExit: undefined, ...below };
}
