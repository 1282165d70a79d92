// apps/cli/src/region/failover.ts
// A declared failover, in order (spec C24, ADR 0015). What has been done stands in the databases alone:
// whoever was interrupted says the same again, and it goes on from there.
//   FO1  Planned, when the old host answers: drained, fenced, replayed up to the fence, promoted. Nothing
//        is lost, or nothing is promoted.
//   FO2  Unplanned only by `isForced`, and only while the old host is silent; what is known of the loss
//        is told, and no more.
//   FO3  Repeats change nothing; every wait has a limit.
//   FO5  What cannot succeed for want of a right, or of a copy that is told to be near, is refused before
//        anything is drained.
import type { AdminHome, HomeLook, HomeRequest } from "@carillon/contracts";
import { monitorText, msText, promoteText, silentText } from "./failover-texts.ts";
import type { HomeApi } from "./home-api.ts";

export interface FailoverOptions {
  readonly home: string;
  readonly to: string;
  /** Take over although the old host does not answer. */
  readonly isForced: boolean;
  /** A planned failover is not begun with a copy that is further behind. */
  readonly lagMaxMs: number;
  /** So long the copy may take to replay up to the fence. */
  readonly replayMaxMs: number;
}

export type FailoverOutcome =
  | {
      readonly kind: "done";
      readonly home: string;
      readonly host: string;
      readonly epoch: number;
      /** False: it was so already. */
      readonly isChanged: boolean;
      readonly isPlanned: boolean | null; // null: no failover, it was taken back or was there
      /** Of an unplanned one: everything committed later than this is not here. */
      readonly replayedLsn: string | null;
      readonly replayedAt: string | null;
      readonly durationMs: number;
      /**
       * Of an unplanned one: the copy had this fence of its old host. Nothing is lost, unless that one
       * took the home back after it, which nobody could tell.
       */
      readonly fenceLsn: string | null;
      /** Every partition has an owner. */
      readonly isServed: boolean;
    }
  | { readonly kind: "refused"; readonly code: FailoverRefusal; readonly reason: string };

export type FailoverRefusal =
  | "unknown_home"
  | "no_copy" // no node of the home answers at the target
  | "old_host_silent"
  | "copy_behind"
  | "copy_diverged"
  | "rights_missing" // of the copy's database user; the reason names the grant
  | "not_replayed"
  | "step_refused"
  | "step_unanswered";

/** A host that is being restarted answers within this; whoever says --force has looked already. */
const SILENCE_MAX_MS = 4_000;
const SILENCE_FORCED_MAX_MS = 1_500;
/** A home that is served writes its leases every 3 s: so long a copy hears nothing as a rule, and more. */
const SILENCE_USUAL_MS = 5_000;
const STEP_AGAIN_MS = 250;
const STEP_UNANSWERED_MAX_MS = 20_000;
const DRAIN_MAX_MS = 20_000;
const SERVED_MAX_MS = 30_000;
const PARTITIONS_COUNT = 256;

class Refusal extends Error {
  readonly code: FailoverRefusal;
  constructor(code: FailoverRefusal, reason: string) {
    super(reason);
    this.code = code;
  }
}

/** `say`: progress, one line a step. Throws ApiFault when the node that is asked cannot be reached. */
export async function failover(
  api: HomeApi,
  options: FailoverOptions,
  say: (line: string) => void,
): Promise<FailoverOutcome> {
  const startedAtMs = api.clock.monotonicMs();
  try {
    const { look, isChanged, fenceLsn } = await new Failover(api, options, say).run();
    const { since, claim } = look;
    const isTaken = isChanged && since !== null;
    return {
      kind: "done",
      home: options.home,
      host: claim?.host ?? options.to,
      epoch: claim?.epoch ?? 0,
      isChanged,
      isPlanned: isTaken ? since.isPlanned : null,
      replayedLsn: isTaken && !since.isPlanned ? since.replayedLsn : null,
      replayedAt: isTaken && !since.isPlanned ? since.replayedAt : null,
      fenceLsn: isTaken && !since.isPlanned ? fenceLsn : null,
      durationMs: Math.round(api.clock.monotonicMs() - startedAtMs),
      isServed: look.leasedCount === PARTITIONS_COUNT,
    };
  } catch (cause) {
    if (!(cause instanceof Refusal)) throw cause;
    return { kind: "refused", code: cause.code, reason: cause.message };
  }
}

class Failover {
  readonly #api: HomeApi;
  readonly #options: FailoverOptions;
  readonly #say: (line: string) => void;

  constructor(api: HomeApi, options: FailoverOptions, say: (line: string) => void) {
    this.#api = api;
    this.#options = options;
    this.#say = say;
  }

  async run(): Promise<{ look: HomeLook; isChanged: boolean; fenceLsn: string | null }> {
    const { home, to } = this.#options;
    const seen = await this.#home();
    const target = placeOf(seen, to);
    if (target === undefined)
      throw new Refusal(
        "no_copy",
        `no node of home ${home} answers in ${to}; there are some in ` +
          (seen.places.map(({ place }) => place).join(", ") || "no region"),
      );
    const fenceLsn = target.movingTo === to ? target.fenceLsn : null;
    if (target.standing === "serving") return { look: target, isChanged: false, fenceLsn: null };
    if (target.claim?.host === to && !target.isInRecovery) await this.#takeBack(seen, target);
    else await this.#moveHere(seen, target);
    return { look: await this.#served(), isChanged: true, fenceLsn };
  }

  /** The target's own failover to elsewhere was not finished, or never began elsewhere. */
  async #takeBack(seen: AdminHome, target: HomeLook): Promise<void> {
    const { to, isForced } = this.#options;
    const { movingTo } = target;
    const copy = movingTo === null ? undefined : placeOf(seen, movingTo);
    if (movingTo !== null && copy?.isInRecovery !== true && !isForced)
      throw new Refusal(
        "old_host_silent",
        `the copy in ${movingTo} does not answer as one: it may have been promoted. Look at it; ` +
          "with --force it is not waited for",
      );
    this.#say(`${to}: taking back`);
    await this.#step(to, { kind: "resume" });
  }

  async #moveHere(seen: AdminHome, target: HomeLook): Promise<void> {
    const { home, to, isForced } = this.#options;
    if (target.claim === null && !target.isInRecovery)
      throw new Refusal("no_copy", `the database in ${to} knows of no home ${home}: it is no copy`);
    const host = seen.claim?.host ?? target.claim?.host ?? home;
    if (target.replica?.rights?.mayPromote === false)
      throw new Refusal("rights_missing", promoteText(target, host));
    const old = await this.#oldHost(host);
    // The host itself says that the fence which is here still stands: nothing came after it.
    if (old !== undefined && isSameFence(old, target, to)) return await this.#take(target.fenceLsn);
    if (old !== undefined && !target.isInRecovery)
      throw new Refusal(
        "copy_diverged",
        `the database in ${to} was promoted and never declared, and ${host} answers: it is no copy ` +
          "any more. Make it one again",
      );
    if (old !== undefined) return await this.#planned(old, target);
    if (!isForced) throw new Refusal("old_host_silent", silentText(host, target));
    this.#say(`${host}: silent; taking over without it`);
    await this.#take(null);
  }

  /** FO1. */
  async #planned(old: HomeLook, target: HomeLook): Promise<void> {
    const { to, lagMaxMs } = this.#options;
    const { replica } = target;
    const isFenced = old.movingTo === to && old.fenceLsn !== null;
    if (!isFenced && replica?.rights?.maySeeStreaming === false)
      throw new Refusal("rights_missing", monitorText(target, old.place));
    if (!isFenced && replica?.isStreaming !== true)
      throw new Refusal("copy_behind", `the copy in ${to} does not follow ${old.place}`);
    if (!isFenced && (replica?.lagMs ?? Infinity) > lagMaxMs)
      throw new Refusal("copy_behind", `the copy in ${to} is ${msText(replica?.lagMs)} behind`);
    // Once the home is drained, silence says nothing.
    const silentMs = replica?.silentMs ?? 0;
    if (old.standing === "serving" && silentMs > Math.max(lagMaxMs, SILENCE_USUAL_MS))
      throw new Refusal(
        "copy_behind",
        `the copy in ${to} has heard nothing of ${old.place} for ${msText(silentMs)}, over a ` +
          "link that is not closed",
      );
    this.#say(`${old.place}: draining`);
    await this.#step(old.place, { kind: "drain", to });
    await this.#until(DRAIN_MAX_MS, old.place, ({ leasedCount }) => leasedCount === 0);
    this.#say(`${old.place}: fencing`);
    const { fenceLsn } = await this.#step(old.place, { kind: "fence", to });
    if (fenceLsn === null) throw new Refusal("step_refused", `${old.place} has no fence`);
    this.#say(`${to}: replaying up to ${fenceLsn}`);
    const isHere = await this.#until(
      this.#options.replayMaxMs,
      to,
      (look) => look.state === "fenced" && look.fenceLsn === fenceLsn,
    );
    if (!isHere)
      throw new Refusal(
        "not_replayed",
        `the copy in ${to} has not replayed up to ${fenceLsn}. ${old.place} is fenced: say this ` +
          `again, or take it back with --to ${old.place}`,
      );
    await this.#take(fenceLsn);
  }

  async #take(fenceLsn: string | null): Promise<void> {
    const { to } = this.#options;
    this.#say(`${to}: promoting`);
    await this.#step(to, { kind: "take", fenceLsn });
  }

  /** Undefined: nobody there answers for some seconds. */
  async #oldHost(host: string): Promise<HomeLook | undefined> {
    const { clock } = this.#api;
    const maxMs = this.#options.isForced ? SILENCE_FORCED_MAX_MS : SILENCE_MAX_MS;
    const endsAtMs = clock.monotonicMs() + maxMs;
    for (;;) {
      const old = placeOf(await this.#home(), host);
      if (old !== undefined && !old.isInRecovery) return old;
      if (clock.monotonicMs() >= endsAtMs) return undefined;
      await clock.sleep(STEP_AGAIN_MS);
    }
  }

  /** Steps are repeated while nobody answers: a node may be on its way from one standing to another. */
  async #step(place: string, request: HomeRequest): Promise<HomeLook> {
    const { clock } = this.#api;
    const endsAtMs = clock.monotonicMs() + STEP_UNANSWERED_MAX_MS;
    for (;;) {
      const answer = await this.#api.step(this.#options.home, place, request);
      if (answer.kind === "reply" && answer.reply.kind === "look") return answer.reply;
      const reason = answer.kind === "reply" ? `answered ${answer.reply.kind}` : answer.reason;
      const isBusy = answer.kind === "silent" || reason.includes("store_unavailable:");
      if (!isBusy) throw new Refusal("step_refused", `${place}: ${reason}`);
      if (clock.monotonicMs() >= endsAtMs)
        throw new Refusal("step_unanswered", `${place}: ${reason}; say it again to go on`);
      await clock.sleep(STEP_AGAIN_MS);
    }
  }

  /** True once it is so; false when the time is over. */
  async #until(maxMs: number, place: string, isSo: (look: HomeLook) => boolean): Promise<boolean> {
    const { clock } = this.#api;
    const endsAtMs = clock.monotonicMs() + maxMs;
    for (;;) {
      const answer = await this.#api.step(this.#options.home, place, { kind: "look" });
      if (answer.kind === "reply" && answer.reply.kind === "look" && isSo(answer.reply))
        return true;
      if (clock.monotonicMs() >= endsAtMs) return false;
      await clock.sleep(STEP_AGAIN_MS);
    }
  }

  /** Told as it is when not every partition has an owner in time: it serves what it can. */
  async #served(): Promise<HomeLook> {
    const { to } = this.#options;
    this.#say(`${to}: serving`);
    await this.#until(
      SERVED_MAX_MS,
      to,
      ({ standing, leasedCount }) => standing === "serving" && leasedCount === PARTITIONS_COUNT,
    );
    return await this.#step(to, { kind: "look" });
  }

  async #home(): Promise<AdminHome> {
    const { home } = this.#options;
    const seen = (await this.#api.homes()).find((one) => one.home === home);
    if (seen === undefined) throw new Refusal("unknown_home", `there is no home region ${home}`);
    return seen;
  }
}

function placeOf(seen: AdminHome, place: string): HomeLook | undefined {
  return seen.places.find((look) => look.place === place);
}

/**
 * The fence in the copy is the one of the host now (ADR 0015). A fence alone proves nothing: its host may
 * have taken the home back after it, while the copy heard nothing more.
 */
function isSameFence(old: HomeLook, target: HomeLook, to: string): boolean {
  return (
    [old, target].every(({ state, movingTo }) => state === "fenced" && movingTo === to) &&
    target.fenceLsn !== null &&
    old.fenceLsn === target.fenceLsn &&
    old.claim?.epoch === target.claim?.epoch &&
    old.claim?.host === target.claim?.host
  );
}
