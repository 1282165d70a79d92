// packages/delivery/src/session-table.ts
// The live sessions of one partition's recipients, as their gateways reported them.
//   SE1  A session is named by (gateway, sid); opening it again replaces it.
//   SE2  `sentOffset` never goes back but by an open: no offset is sent twice except as a resend.
import { LIMITS } from "@carillon/contracts";

export interface Session {
  readonly gatewayId: string;
  readonly sid: number;
  /** Everything up to it was sent to this session, or lies before its join. */
  sentOffset: number;
  ackedOffset: number;
  /** Offsets sent to it that have an outcome other than delivered; for `receivedLate`. */
  lateOffsets: readonly number[];
}

const NO_SESSIONS: readonly Session[] = [];

export class SessionTable {
  readonly #byIndex = new Map<number, Session[]>();
  readonly #closedAtMs = new Map<number, number>(); // of recipients without a session now
  readonly #beganOffset = new Map<number, number>(); // of recipients that joined anew; ≤ all of them
  #count = 0;

  get count(): number {
    return this.#count;
  }

  of(index: number): readonly Session[] {
    return this.#byIndex.get(index) ?? NO_SESSIONS;
  }

  find(index: number, gatewayId: string, sid: number): Session | undefined {
    return this.of(index).find((session) => session.sid === sid && session.gatewayId === gatewayId);
  }

  /** Whose session it is; looks at all of them, for a gateway that no longer knows. */
  ownerOf(gatewayId: string, sid: number): number | undefined {
    for (const index of this.#byIndex.keys())
      if (this.find(index, gatewayId, sid) !== undefined) return index;
    return undefined;
  }

  mayOpen(index: number, gatewayId: string, sid: number): boolean {
    const isKnown = this.find(index, gatewayId, sid) !== undefined;
    return isKnown || this.of(index).length < LIMITS.socketsPerRecipientMax;
  }

  open(index: number, session: Session): void {
    this.close(index, session.gatewayId, session.sid, undefined);
    const sessions = this.#byIndex.get(index);
    if (sessions === undefined) this.#byIndex.set(index, [session]);
    else sessions.push(session);
    this.#closedAtMs.delete(index);
    this.#count++;
  }

  /** A device joined without a place: what lies up to `offset` it has never been sent (SD4). */
  began(index: number, offset: number): void {
    this.#beganOffset.set(index, Math.max(offset, this.beganOffset(index)));
  }

  /** Up to it a place proves nothing: it may be of a device that began there; 0: nobody began. */
  beganOffset(index: number): number {
    return this.#beganOffset.get(index) ?? 0;
  }

  /** Returns whether the recipient has no session any more, having had this one. */
  close(index: number, gatewayId: string, sid: number, nowMs: number | undefined): boolean {
    const sessions = this.#byIndex.get(index);
    const at = sessions?.findIndex((s) => s.sid === sid && s.gatewayId === gatewayId) ?? -1;
    if (sessions === undefined || at < 0) return false;
    sessions.splice(at, 1);
    this.#count--;
    if (sessions.length > 0) return false;
    this.#byIndex.delete(index);
    if (nowMs !== undefined) this.#closedAtMs.set(index, nowMs);
    return true;
  }

  /** What was sent and is not acked has another outcome now: an ack that still comes is a late one. */
  mayAckLate(index: number, offset: number): void {
    for (const session of this.of(index))
      if (session.sentOffset >= offset && session.ackedOffset < offset)
        session.lateOffsets = [...session.lateOffsets, offset].slice(-LIMITS.recoveryMax);
  }

  /** Closes all sessions of a lost gateway; returns the recipients left without one. */
  closeGateway(gatewayId: string, nowMs: number): number[] {
    const left: number[] = [];
    for (const [index, sessions] of [...this.#byIndex])
      for (const session of [...sessions])
        if (session.gatewayId === gatewayId && this.close(index, gatewayId, session.sid, nowMs))
          left.push(index);
    return left;
  }

  /** When the recipient's last session closed, on the monotonic clock; undefined: long ago. */
  closedAtMs(index: number): number | undefined {
    return this.#closedAtMs.get(index);
  }

  /** Forgets closings before `beforeMs`. */
  forgetClosed(beforeMs: number): void {
    for (const [index, closedAtMs] of this.#closedAtMs)
      if (closedAtMs < beforeMs) this.#closedAtMs.delete(index);
  }
}
