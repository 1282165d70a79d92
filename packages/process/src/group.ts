// packages/process/src/group.ts
// Named groups of processes, as OTP's pg on one node: topics to their sessions.
//   GR1  A member leaves when it ends; whoever joined twice leaves twice (P22).
//   GR2  A group without members is no group: nothing is kept of it.
import type { Monitor, Monitorable } from "./table-api.ts";

/** What a group needs of its members' table. */
export type MemberTable<Message extends object> = Monitorable & {
  generationOf(slot: number): number;
  cast(slot: number, message: Message): string;
};

interface Membership {
  readonly generation: number;
  joinCount: number;
  readonly monitor: Monitor;
}

/** All members are processes of one table. */
export class Groups<Message extends object> {
  readonly #table: MemberTable<Message>;
  readonly #groups = new Map<string, Map<number, Membership>>();

  constructor(table: MemberTable<Message>) {
    this.#table = table;
  }

  get size(): number {
    return this.#groups.size;
  }

  join(group: string, slot: number): void {
    const generation = this.#table.generationOf(slot);
    const known = this.#groups.get(group)?.get(slot);
    if (known?.generation === generation) {
      known.joinCount++;
      return;
    }
    const monitor = this.#table.monitor(slot, () => this.#remove(group, slot));
    known?.monitor.demonitor(); // of an incarnation that has ended, which is not told yet
    this.#remove(group, slot);
    const members = this.#groups.get(group) ?? new Map<number, Membership>();
    this.#groups.set(group, members.set(slot, { generation, joinCount: 1, monitor }));
  }

  /** False: it was no member. */
  leave(group: string, slot: number): boolean {
    const member = this.#groups.get(group)?.get(slot);
    if (member === undefined) return false;
    member.joinCount--;
    if (member.joinCount > 0) return true;
    member.monitor.demonitor();
    this.#remove(group, slot);
    return true;
  }

  /** In the order in which they joined; each once. */
  members(group: string): number[] {
    return [...(this.#groups.get(group)?.keys() ?? [])];
  }

  /** Returns how many accepted. */
  cast(group: string, message: Message): number {
    let acceptedCount = 0;
    for (const slot of this.#groups.get(group)?.keys() ?? [])
      if (this.#table.cast(slot, message) === "accepted") acceptedCount++;
    return acceptedCount;
  }

  #remove(group: string, slot: number): void {
    const members = this.#groups.get(group);
    members?.delete(slot);
    if (members?.size === 0) this.#groups.delete(group);
  }
}
