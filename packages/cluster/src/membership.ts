// packages/cluster/src/membership.ts
// Who is there: every member says who it is and what it owns, once a second to its region and every
// third second to all (DESIGN §6, ADR 0014). A change is told to all at once.
//   CL4  A member's own beat is known to itself without NATS: it serves its own people (D5).
//   CL6  A draining or suspect member owns what it owns by its leases, but is given nothing new.
//   CL13 While this member cannot hear, nobody else is suspect: "my link is down" is not "they are
//        silent". Without its link for 8 s it is isolated, and knows it (C14); a link that was up for
//        less than 3 s was not there.
//   CL18 A beat speaks for the region and the member of its subject, which the server checks as far as
//        it can: any other is malformed. Only who is a worker owns anything.
// What silence makes of members: member-table.ts (CL5, CL12).
import type { Bus, Subscription } from "@carillon/bus";
import {
  type Beat,
  beatSchema,
  decodeMessage,
  encodeMessage,
  type Role,
  subjects,
} from "@carillon/contracts";
import type { Clock, Scheduler, Timer } from "@carillon/kernel";
import { HearingTime } from "./hearing-time.ts";
import { type Member, MemberTable } from "./member-table.ts";
import { OwnerClaims } from "./owner-claims.ts";
import { TABLE_VERSIONS, type WeightedMember } from "./rendezvous.ts";

export interface MembershipLimits {
  readonly beatEveryMs: number;
  /** Every so manieth beat goes to all regions. */
  readonly farBeatEvery: number;
  readonly pauseMs: number;
  readonly pauseRemoteMs: number;
  readonly isolatedAfterMs: number;
  readonly linkStableMs: number;
  readonly forgetAfterMs: number;
  readonly departedMax: number;
}

export const MEMBERSHIP_DEFAULTS: MembershipLimits = {
  beatEveryMs: 1_000, // C12: a lost message on a link is noticed within one beat (ADR 0006)
  farBeatEvery: 3, // C12
  pauseMs: 3_000, // C12: suspect after about 4.6 s
  pauseRemoteMs: 10_000, // C12: after about 13.6 s
  isolatedAfterMs: 8_000, // C14
  linkStableMs: 3_000, // a link that flaps brings no beats to go by
  forgetAfterMs: 900_000, // long after its leases: what a person would call a dead node
  departedMax: 1_024, // ids of 20 bytes: of a day on which a region is restarted forty times
};

export interface MembershipOptions {
  readonly self: {
    readonly memberId: string;
    readonly region: string;
    readonly roles: readonly Role[];
    readonly build: string;
    /** The home whose partitions it may own (ADR 0015). Default: its region. */
    readonly home?: string;
    /** Share of partitions, relative to others; default 1. */
    readonly weight?: number;
  };
  readonly limits?: Partial<MembershipLimits>;
}

/** What this member says of itself with every beat; asked anew each time. */
export interface BeatSource {
  owned(): Beat["owned"];
  links(): Beat["links"];
}

/** What a member says of homes; asked anew for each beat. */
export type HomeSource = () => Pick<Beat, "standing" | "homes">;

export interface Membership {
  start(): void;
  /** Says so at once; others give this member nothing new (CL6). Safe to call twice. */
  drain(): void;
  /** Says that this incarnation has left, for good (CL12). Safe to call twice. */
  stop(): void;
  /** Sets what the beats tell; before it, this member owns nothing. */
  describe(source: BeatSource): void;
  /** An extra beat to all now, when what this member owns has changed. */
  beatNow(): void;
  /** The owner of a partition as far as known here. */
  ownerOf(home: string, partition: number): string | undefined;
  /**
   * Workers of this member's home, at its place, itself included, that may be
   * given partitions; sorted.
   */
  workers(): readonly string[];
  /** The same and suspects, with what placing partitions needs to know. */
  placeable(): readonly PlaceableWorker[];
  /** Everybody who has not left and is not forgotten, suspects included, with its last beat. */
  members(): readonly Member[];
  /** Neither suspect nor departed. */
  isAlive(memberId: string): boolean;
  /** Without NATS for 8 s: what others do is not known here (CL13). */
  isIsolated(): boolean;
  /** Incarnations that have left, as far as remembered. */
  readonly departedCount: number;
  /** Returns what removes the listener; so does `onMemberLost`. */
  onBeat(listener: (beat: Beat) => void): () => void;
  /** It is suspect or has left: what it had in hand is not to be waited for. */
  onMemberLost(listener: (memberId: string) => void): () => void;
}

export interface PlaceableWorker extends WeightedMember {
  readonly isSuspect: boolean;
  /** Since it joined, or was suspect last; of this member itself since its start. */
  readonly aliveForMs: number;
  /** The highest version of the table that it can compute; absent: 1 (CL21). */
  readonly tables?: number;
}

export type MemberChange = "joined" | "suspect" | "returned" | "left" | "forgotten";

export interface MembershipDeps {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly onMalformed: () => void;
  /** For log and metrics. */
  readonly onChange?: (change: MemberChange, member: { memberId: string; region: string }) => void;
  /** This member slept for so long that it is forgotten: it is to begin anew under another id. */
  readonly onOverslept?: () => void;
  /** Share of the last second that the thread was busy, 0 to 1. */
  readonly load?: () => number;
  readonly homes?: HomeSource;
}

export function createMembership(options: MembershipOptions, deps: MembershipDeps): Membership {
  const { self } = options;
  const { bus, clock } = deps;
  const limits = { ...MEMBERSHIP_DEFAULTS, ...options.limits };
  const table = new MemberTable({
    region: self.region,
    expectedMs: limits.beatEveryMs,
    expectedRemoteMs: limits.beatEveryMs * limits.farBeatEvery,
    ...limits,
  });
  const hearing = new HearingTime(clock, {
    gapMaxMs: limits.beatEveryMs * 2,
    isHearing: bus.isConnected,
  });
  const claims = new OwnerClaims();
  const beatListeners = new Listeners<Beat>();
  const lostListeners = new Listeners<string>();
  const startedAtMs = clock.monotonicMs();
  let ownBeat: Beat | undefined;
  let source: BeatSource = { owned: () => ({}), links: () => ({}) };
  let isDraining = false;
  let beatsCount = 0;
  let tickedAtMs = startedAtMs;
  let isLinked = bus.isConnected;
  let linkChangedAtMs = startedAtMs;
  let linkLostAtMs = startedAtMs; // since then it was not up for long
  let wasIsolated = false; // before it was up
  let subscriptions: Subscription[] = [];
  let timer: Timer | undefined;

  const change = (what: MemberChange, { memberId, region }: Beat): void => {
    deps.onChange?.(what, { memberId, region });
    if (what !== "suspect" && what !== "left") return;
    claims.forgetMember(memberId);
    lostListeners.tell(memberId);
  };

  const hear = (beat: Beat): void => {
    if (beat.memberId === self.memberId) return;
    const heard = table.hear(beat, hearing.nowMs());
    if (heard === "departed") return;
    if (heard !== "known") change(heard, beat);
    if (heard === "left") return;
    claims.update(beat);
    beatListeners.tell(beat);
  };

  const judge = (): void => {
    const { suspects, forgotten } = table.judge(hearing.nowMs());
    for (const member of suspects) change("suspect", member);
    for (const member of forgotten) change("forgotten", member);
  };

  const beatOf = (more: Partial<Beat>): Beat => ({
    memberId: self.memberId,
    region: self.region,
    roles: [...self.roles],
    isDraining,
    build: self.build,
    tables: TABLE_VERSIONS.length,
    owned: source.owned(),
    links: source.links(),
    ...(deps.load !== undefined && { load: deps.load() }),
    ...(self.weight !== undefined && { weight: self.weight }),
    ...(self.home !== undefined && { home: self.home }),
    ...deps.homes?.(),
    ...more,
  });

  const say = (subject: string): void => {
    const beat = beatOf({});
    ownBeat = beat;
    claims.update(beat); // CL4: before, and independent of, NATS
    deps.scheduler.defer(() => beatListeners.tell(beat)); // after local deliveries that were sent before it
    bus.publish(subject, encodeMessage(beat));
  };
  const beatNow = (): void => say(subjects.beat(self.region, self.memberId));

  const tick = (): void => {
    const nowMs = clock.monotonicMs();
    if (nowMs - tickedAtMs >= limits.forgetAfterMs && deps.onOverslept !== undefined) {
      deps.onOverslept(); // CL12: not a word under the old id
      return;
    }
    tickedAtMs = nowMs;
    timer = clock.setTimer(limits.beatEveryMs, tick);
    hearing.count(bus.isConnected);
    if (beatsCount++ % limits.farBeatEvery === 0) beatNow();
    else say(subjects.nearBeat(self.region, self.memberId));
    judge();
  };

  const listen = (subject: string): Subscription =>
    bus.subscribe(subject, (message) => {
      const decoded = decodeMessage(beatSchema, message.data);
      if (decoded.kind === "malformed" || !isOf(message.subject, decoded.message))
        return deps.onMalformed();
      const beat = decoded.message;
      hear(beat.roles.includes("worker") ? beat : { ...beat, owned: {} });
    });

  const onConnection = (isConnected: boolean): void => {
    hearing.count(isConnected);
    if (isConnected === isLinked) return;
    const nowMs = clock.monotonicMs();
    if (isConnected) wasIsolated = nowMs - linkLostAtMs >= limits.isolatedAfterMs;
    else if (nowMs - linkChangedAtMs >= limits.linkStableMs) linkLostAtMs = nowMs;
    isLinked = isConnected;
    linkChangedAtMs = nowMs;
  };

  const isIsolated = (): boolean => {
    const nowMs = clock.monotonicMs();
    if (!bus.isConnected) return nowMs - linkLostAtMs >= limits.isolatedAfterMs;
    return wasIsolated && nowMs - linkChangedAtMs < limits.linkStableMs;
  };

  const members = (): Member[] => {
    const others = table.members(hearing.nowMs());
    if (ownBeat === undefined) return others;
    const state = isDraining ? "draining" : "alive";
    const aliveForMs = clock.monotonicMs() - startedAtMs;
    return [{ ...ownBeat, state, phi: 0, silentMs: 0, aliveForMs }, ...others];
  };

  const placeable = (): PlaceableWorker[] =>
    members()
      .filter(({ region, roles }) => region === self.region && roles.includes("worker"))
      .filter((member) => servesHomeOf(member, self)) // HS3
      .filter(({ isDraining: isGoing }) => !isGoing) // CL6
      .map(({ memberId, weight = 1, tables = 1, aliveForMs, state }) => {
        return { memberId, weight, tables, aliveForMs, isSuspect: state === "suspect" };
      })
      .toSorted((a, b) => (a.memberId < b.memberId ? -1 : 1));

  return {
    start() {
      if (timer !== undefined) return;
      tickedAtMs = clock.monotonicMs();
      subscriptions = [
        listen(subjects.beats),
        listen(subjects.nearBeats(self.region)),
        bus.onConnection(onConnection),
      ];
      tick();
    },
    drain() {
      if (isDraining) return;
      isDraining = true;
      beatNow();
    },
    stop() {
      if (timer === undefined) return;
      timer.cancel();
      timer = undefined;
      for (const subscription of subscriptions) subscription.unsubscribe();
      const last = beatOf({ isDraining: true, hasLeft: true, owned: {} });
      bus.publish(subjects.beat(self.region, self.memberId), encodeMessage(last));
    },
    describe(newSource) {
      source = newSource;
    },
    beatNow,
    ownerOf: (home, partition) => claims.ownerOf(home, partition),
    workers: () => placeable().flatMap(({ memberId, isSuspect }) => (isSuspect ? [] : [memberId])),
    placeable,
    members,
    isAlive: (memberId) => memberId === self.memberId || table.isAlive(memberId),
    isIsolated,
    get departedCount() {
      return table.departedCount;
    },
    onBeat: (listener) => beatListeners.add(listener),
    onMemberLost: (listener) => lostListeners.add(listener),
  };
}

/** CL18 */
function isOf(subject: string, { region, memberId }: Beat): boolean {
  const [, ofRegion, ofMember] = subject.split(".");
  return ofRegion === region && ofMember === memberId;
}

class Listeners<Told> {
  readonly #entries = new Set<{ tell(told: Told): void }>();

  add(tell: (told: Told) => void): () => void {
    const entry = { tell }; // the same function may listen twice
    this.#entries.add(entry);
    return () => void this.#entries.delete(entry);
  }

  tell(told: Told): void {
    for (const entry of [...this.#entries]) entry.tell(told);
  }
}

/** Nobody is given partitions of a home that its own database does not say it serves. */
function servesHomeOf(beat: Beat, self: MembershipOptions["self"]): boolean {
  return homeOf(beat) === homeOf(self) && (beat.standing ?? "serving") === "serving";
}

/** A member of an older build serves the region it is in. */
function homeOf({ home, region }: { readonly home?: string | undefined; region: string }): string {
  return home ?? region;
}
