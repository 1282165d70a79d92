// apps/gateway/src/partition-links.ts
// Between this gateway and the owners of its sessions' partitions: what is synced, what must be
// opened again. Pure: no I/O and no time; session-hub.ts runs the effects. Invariants:
//   GW2  A delivery is accepted for a session only when that session was opened by the same owner,
//        and nothing this owner sent since then is missing.
//   GW3  A gap in an owner's `seq`, a beat that tells of more than was heard, another owner, a lost
//        owner and a lost connection make all that depends on it unsynced.
//   GW4  A session is in at most one open request at a time; its answer counts only when its
//        partition did not become unsynced meanwhile.
// An owner's beats may be heard late, its deliveries skip NATS when it runs in this node (BU3): a
// beat that tells of less than is known here is old news, unless it is so twice in a row.
import { assert } from "@carillon/kernel";
import type { Beat } from "@carillon/contracts";
import { type KnownOwner, OwnerView, partitionKey } from "./owner-view.ts";

/** One session as far as links are concerned; the three variables belong to PartitionLinks. */
export interface LinkMember {
  readonly sid: number;
  readonly home: string;
  readonly partition: number;
  link: LinkOwner | null; // null: not among the links
  syncedSeq: number; // deliveries above it are accepted; NOT_SYNCED: none is
  isOpening: boolean; // its open request is on the way
}
export const NOT_SYNCED = -1;

/** `ownerId` null: unsynced, or nobody has answered yet. */
export interface LinkOwner {
  readonly key: string;
  readonly home: string;
  readonly partition: number;
  ownerId: string | null;
}

export interface PartitionLink<M extends LinkMember> extends LinkOwner {
  ownershipEpoch: number | null; // null: neither answer nor beat has told it yet
  generation: number; // grows with all that makes answers under way useless (GW4)
  isClaimed: boolean; // a beat of the owner has named the partition
  unclaimedBeats: number; // beats of the owner since its answer that did not
  readonly members: Set<M>;
  readonly waiting: Set<M>; // to be opened, not under way
}

export interface OpenBatch<M extends LinkMember> {
  readonly link: PartitionLink<M>;
  readonly generation: number;
  readonly members: readonly M[];
}

export interface OwnerAnswer {
  readonly ownerId: string;
  readonly seq: number;
  readonly ownershipEpoch?: number | undefined;
}

/**
 * What came of an answer. `refused`: nothing was opened, or by an owner that is none any more.
 * `stale`: it came too late to be used (GW4). All of the batch waits again in both cases.
 */
export type Settled = "synced" | "refused" | "stale";

/** One owner's deliveries to this gateway. */
interface OwnerLink {
  lastSeq: number | null; // of the last delivery; null: none yet
  baseSeq: number | null; // the lowest answer; deliveries above it must all come
  contiguousFrom: number; // from here to lastSeq nothing is missing
  seqAtBeat: number | null; // what was known when the last beat was heard; null: not synced then
}

export class PartitionLinks<M extends LinkMember> {
  readonly #gatewayId: string;
  readonly #links = new Map<string, PartitionLink<M>>();
  readonly #owners = new Map<string, OwnerLink>();
  readonly #view = new OwnerView();

  constructor(gatewayId: string) {
    this.#gatewayId = gatewayId;
  }

  get size(): number {
    return this.#links.size;
  }

  get unsyncedCount(): number {
    let count = 0;
    for (const link of this.#links.values()) if (link.ownerId === null) count++;
    return count;
  }

  links(): IterableIterator<PartitionLink<M>> {
    return this.#links.values();
  }

  get(home: string, partition: number): PartitionLink<M> | undefined {
    return this.#links.get(partitionKey(home, partition));
  }

  /** Adds a session; it waits to be opened. */
  join(member: M): PartitionLink<M> {
    assert(member.link === null, "GW2 a session joins its partition once");
    const { home, partition } = member;
    const key = partitionKey(home, partition);
    let link = this.#links.get(key);
    if (link === undefined) {
      link = {
        key,
        home,
        partition,
        ownerId: null,
        ownershipEpoch: null,
        generation: 0,
        isClaimed: false,
        unclaimedBeats: 0,
        members: new Set(),
        waiting: new Set(),
      };
      this.#links.set(key, link);
    }
    member.link = link;
    link.members.add(member);
    link.waiting.add(member);
    return link;
  }

  /** Removes a session; an answer to its open request is ignored for it. */
  leave(member: M): void {
    const link = member.link && this.#links.get(member.link.key);
    member.link = null;
    member.syncedSeq = NOT_SYNCED;
    member.isOpening = false;
    if (!link) return;
    link.members.delete(member);
    link.waiting.delete(member);
    if (link.members.size === 0) this.#links.delete(link.key);
  }

  /** The next sessions to open, at most `countMax`; null: none waits. */
  nextBatch(link: PartitionLink<M>, countMax: number): OpenBatch<M> | null {
    if (link.waiting.size === 0) return null;
    const members: M[] = [];
    for (const member of link.waiting) {
      if (members.length >= countMax) break;
      link.waiting.delete(member);
      member.isOpening = true;
      members.push(member);
    }
    return { link, generation: link.generation, members };
  }

  /** `isOpened[i]`: the owner has opened members[i]; the others wait again. */
  settle(batch: OpenBatch<M>, answer: OwnerAnswer, isOpened: readonly boolean[]): Settled {
    const { link, members } = batch;
    const known = this.#view.ownerOf(link.key);
    const epoch = answer.ownershipEpoch ?? null;
    const isSuperseded = known !== undefined && epoch !== null && epoch < known.epoch;
    if (isSuperseded || !isOpened.includes(true)) {
      this.fail(batch);
      return "refused";
    }
    if (batch.generation !== link.generation || !this.#isUnbroken(answer)) {
      this.fail(batch);
      return "stale";
    }
    const isOther = link.ownerId !== null && link.ownerId !== answer.ownerId;
    const isNewer = epoch !== null && link.ownershipEpoch !== null && epoch > link.ownershipEpoch;
    if (isOther || isNewer) this.#unsync(link);
    link.ownerId = answer.ownerId;
    link.ownershipEpoch ??= epoch;
    if (known?.ownerId === answer.ownerId) {
      link.ownershipEpoch ??= known.epoch;
      link.isClaimed = link.ownershipEpoch === known.epoch;
    }
    members.forEach((member, index) => {
      if (member.link === null) return;
      member.isOpening = false;
      if (isOpened[index] === true) member.syncedSeq = answer.seq;
      else link.waiting.add(member);
    });
    return "synced";
  }

  /** No answer, or none that can be used: all of the batch waits again. */
  fail({ link, members }: OpenBatch<M>): void {
    for (const member of members) {
      if (member.link === null) continue;
      member.isOpening = false;
      link.waiting.add(member);
    }
  }

  /** Counts a delivery in. Returns the links that became unsynced by a gap before it (GW3). */
  observe(ownerId: string, seq: number): PartitionLink<M>[] {
    const owner = this.#ownerOf(ownerId);
    const { lastSeq, baseSeq } = owner;
    if (lastSeq !== null && seq <= lastSeq) {
      // Overtaken by a later one, or the owner has begun anew. A later one may be held for a session
      // that is being opened, and this one behind it: no answer under way can be used (D3).
      this.#forgetOwner(ownerId);
      return this.#unsyncOwner(ownerId);
    }
    const isInOrder =
      lastSeq === null ? baseSeq === null || seq <= baseSeq + 1 : seq === lastSeq + 1;
    owner.lastSeq = seq;
    if (lastSeq === null || !isInOrder) owner.contiguousFrom = seq;
    return isInOrder ? [] : this.#unsyncOwner(ownerId);
  }

  /** `unsynced`: became so by this beat. `ready`: waited, and an owner has shown up. */
  onBeat(beat: Beat): { unsynced: PartitionLink<M>[]; ready: PartitionLink<M>[] } {
    const unsynced = this.#compareSeq(beat);
    const ready: PartitionLink<M>[] = [];
    for (const key of this.#view.update(beat)) {
      const link = this.#links.get(key);
      const known = this.#view.ownerOf(key);
      if (link === undefined || known === undefined) continue;
      if (link.ownerId === null) ready.push(link);
      else if (isNewOwnership(link, known)) unsynced.push(this.#unsync(link));
    }
    for (const link of this.#links.values()) {
      if (link.ownerId !== beat.memberId) continue;
      const known = this.#view.ownerOf(link.key);
      if (known?.ownerId === beat.memberId) {
        link.ownershipEpoch ??= known.epoch;
        link.isClaimed = true;
      } else if (link.isClaimed || ++link.unclaimedBeats > 1) unsynced.push(this.#unsync(link)); // given back; or answered when it just had lost it
    }
    return { unsynced, ready };
  }

  onMemberLost(memberId: string): PartitionLink<M>[] {
    this.#view.forgetMember(memberId);
    this.#forgetOwner(memberId);
    return this.#unsyncOwner(memberId);
  }

  /** The connection was away: anything may have been lost. */
  onReconnected(): PartitionLink<M>[] {
    this.#owners.clear();
    return [...this.#links.values()].map((link) => this.#unsync(link));
  }

  /** What the owner says it sent last, against what was heard; only once something is synced. */
  #compareSeq(beat: Beat): PartitionLink<M>[] {
    const owner = this.#owners.get(beat.memberId);
    if (owner === undefined) return [];
    const knownSeq = this.#isSynced(beat.memberId) ? (owner.lastSeq ?? owner.baseSeq) : null;
    const { seqAtBeat } = owner;
    owner.seqAtBeat = knownSeq;
    if (knownSeq === null) return [];
    const sentSeq = beat.links[this.#gatewayId];
    const isForgotten = sentSeq === undefined ? seqAtBeat !== null : sentSeq < (seqAtBeat ?? 0);
    if (!isForgotten && (sentSeq === undefined || sentSeq <= knownSeq)) return [];
    this.#forgetOwner(beat.memberId);
    return this.#unsyncOwner(beat.memberId);
  }

  /** Nothing after `seq` is missing, as far as known; remembers where this owner's count began. */
  #isUnbroken({ ownerId, seq }: { ownerId: string; seq: number }): boolean {
    const owner = this.#ownerOf(ownerId);
    if (owner.lastSeq !== null) return seq >= owner.contiguousFrom - 1;
    owner.baseSeq = Math.min(owner.baseSeq ?? seq, seq); // answers may overtake each other
    return true;
  }

  #ownerOf(ownerId: string): OwnerLink {
    let owner = this.#owners.get(ownerId);
    if (owner === undefined) {
      owner = { lastSeq: null, baseSeq: null, contiguousFrom: 0, seqAtBeat: null };
      this.#owners.set(ownerId, owner);
    }
    return owner;
  }

  /**
   * Its count is learnt anew with the next answer. Answers under way count for nothing: what was
   * heard since they were asked for, and what was missing before that, is not known any more (GW4).
   */
  #forgetOwner(ownerId: string): void {
    this.#owners.delete(ownerId);
    for (const link of this.#links.values()) link.generation++;
  }

  #isSynced(ownerId: string): boolean {
    for (const link of this.#links.values()) if (link.ownerId === ownerId) return true;
    return false;
  }

  #unsyncOwner(ownerId: string): PartitionLink<M>[] {
    const unsynced: PartitionLink<M>[] = [];
    for (const link of this.#links.values())
      if (link.ownerId === ownerId) unsynced.push(this.#unsync(link));
    return unsynced;
  }

  #unsync(link: PartitionLink<M>): PartitionLink<M> {
    link.generation++;
    link.ownerId = null;
    link.ownershipEpoch = null;
    link.isClaimed = false;
    link.unclaimedBeats = 0;
    for (const member of link.members) {
      member.syncedSeq = NOT_SYNCED;
      if (!member.isOpening) link.waiting.add(member);
    }
    return link;
  }
}

/** Whether deliveries of `ownerId` up to `seq` may be written to the member's socket (GW2). */
export function isAccepted(member: LinkMember, ownerId: string, seq: number): boolean {
  return (
    member.syncedSeq !== NOT_SYNCED && seq > member.syncedSeq && member.link?.ownerId === ownerId
  );
}

/** A claim of an owner that is synced with changes nothing; an older one is old news (GW1). */
function isNewOwnership(link: PartitionLink<LinkMember>, known: KnownOwner): boolean {
  if (link.ownershipEpoch !== null) return known.epoch > link.ownershipEpoch;
  return known.ownerId !== link.ownerId;
}
