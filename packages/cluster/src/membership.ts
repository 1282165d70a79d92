// packages/cluster/src/membership.ts
// Who is there: every member says once a second who it is and what it owns (DESIGN §6).
//   CL4  A member's own beat is known to itself without NATS: it serves its own people (D5).
//   CL5  Silence longer than `lostAfterMs` means lost, measured on the monotonic clock; a lost
//        member that speaks again is a member again (its id is its incarnation).
//   CL6  A draining member owns what it owns, but is given nothing new.
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

export interface MembershipOptions {
  readonly self: {
    readonly memberId: string;
    readonly region: string;
    readonly roles: readonly Role[];
    readonly build: string;
    /** The home whose partitions it may own (ADR 0017). Default: its region. */
    readonly home?: string;
  };
  readonly beatEveryMs: number; // 1,000: a lost message on a link is noticed within one beat
  readonly lostAfterMs: number; // 5,000 inside a region
  readonly lostAfterRemoteMs: number; // 10,000 across regions
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
  stop(): void;
  /** Sets what the beats tell; before it, this member owns nothing. */
  describe(source: BeatSource): void;
  /** An extra beat now, when what this member owns has changed. */
  beatNow(): void;
  /** The owner of a partition as far as known here. */
  ownerOf(home: string, partition: number): string | undefined;
  /**
   * Workers of this member's home, at its place, itself included, that may be
   * given partitions; sorted.
   */
  workers(): readonly string[];
  /** Last beats of all members that are not lost. */
  members(): readonly Beat[];
  isAlive(memberId: string): boolean;
  /** Returns what removes the listener; so does `onMemberLost`. */
  onBeat(listener: (beat: Beat) => void): () => void;
  onMemberLost(listener: (memberId: string) => void): () => void;
}

interface Seen {
  beat: Beat;
  heardAtMs: number;
}

export function createMembership(
  options: MembershipOptions,
  deps: {
    readonly bus: Bus;
    readonly clock: Clock;
    readonly scheduler: Scheduler;
    readonly onMalformed: () => void;
    readonly homes?: HomeSource;
  },
): Membership {
  const { self } = options;
  const { bus, clock } = deps;
  const seen = new Map<string, Seen>();
  const owners = new Map<string, { memberId: string; epoch: number }>();
  const claims = new Map<string, Set<string>>(); // member → keys of its last beat
  const beatListeners = new Listeners<Beat>();
  const lostListeners = new Listeners<string>();
  let source: BeatSource = { owned: () => ({}), links: () => ({}) };
  let isDraining = false;
  let subscription: Subscription | undefined;
  let timer: Timer | undefined;

  const note = (beat: Beat): void => {
    seen.set(beat.memberId, { beat, heardAtMs: clock.monotonicMs() });
    claim(beat);
  };

  const hear = (beat: Beat): void => {
    note(beat);
    beatListeners.tell(beat);
  };

  const claim = ({ memberId, owned }: Beat): void => {
    const keys = new Set<string>();
    for (const [home, epochs] of Object.entries(owned)) {
      for (const [partition, epoch] of epochs) {
        const key = ownerKey(home, partition);
        keys.add(key);
        const known = owners.get(key);
        if (known === undefined || epoch >= known.epoch) owners.set(key, { memberId, epoch });
      }
    }
    forget(memberId, keys);
    claims.set(memberId, keys);
  };

  /** The member no longer claims what is not in `kept`. */
  const forget = (memberId: string, kept: ReadonlySet<string>): void => {
    for (const key of claims.get(memberId) ?? [])
      if (!kept.has(key) && owners.get(key)?.memberId === memberId) owners.delete(key);
  };

  const beatNow = (): void => {
    const beat: Beat = {
      memberId: self.memberId,
      region: self.region,
      roles: [...self.roles],
      isDraining,
      build: self.build,
      owned: source.owned(),
      links: source.links(),
      ...(self.home !== undefined && { home: self.home }),
      ...deps.homes?.(),
    };
    note(beat); // CL4: before, and independent of, NATS
    deps.scheduler.defer(() => beatListeners.tell(beat)); // after local deliveries that were sent before it
    bus.publish(subjects.beat(self.region, self.memberId), encodeMessage(beat));
  };

  const dropLost = (): void => {
    const nowMs = clock.monotonicMs();
    for (const [memberId, { beat, heardAtMs }] of seen) {
      const limitMs = beat.region === self.region ? options.lostAfterMs : options.lostAfterRemoteMs;
      if (memberId === self.memberId || nowMs - heardAtMs <= limitMs) continue;
      seen.delete(memberId);
      forget(memberId, new Set());
      claims.delete(memberId);
      lostListeners.tell(memberId);
    }
  };

  const tick = (): void => {
    timer = clock.setTimer(options.beatEveryMs, tick);
    beatNow();
    dropLost();
  };

  return {
    start() {
      if (subscription !== undefined) return;
      subscription = bus.subscribe(subjects.beats, (message) => {
        const decoded = decodeMessage(beatSchema, message.data);
        if (decoded.kind === "malformed") deps.onMalformed();
        else if (decoded.message.memberId !== self.memberId) hear(decoded.message);
      });
      tick();
    },
    drain() {
      if (isDraining) return;
      isDraining = true;
      beatNow();
    },
    stop() {
      timer?.cancel();
      subscription?.unsubscribe();
      timer = subscription = undefined;
    },
    describe(newSource) {
      source = newSource;
    },
    beatNow,
    ownerOf: (home, partition) => owners.get(ownerKey(home, partition))?.memberId,
    workers: () =>
      [...seen.values()]
        .map(({ beat }) => beat)
        .filter((beat) => beat.region === self.region && servesHomeOf(beat, self))
        .filter((beat) => beat.roles.includes("worker") && !beat.isDraining)
        .map((beat) => beat.memberId)
        .toSorted(),
    members: () => [...seen.values()].map(({ beat }) => beat),
    isAlive: (memberId) => seen.has(memberId),
    onBeat: (listener) => beatListeners.add(listener),
    onMemberLost: (listener) => lostListeners.add(listener),
  };
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

function ownerKey(home: string, partition: number): string {
  return `${home}/${partition}`;
}
