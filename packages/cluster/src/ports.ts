// packages/cluster/src/ports.ts
// What ownership needs of the store: lease rows (DESIGN §6). Times are the database's.

export interface LeaseRow {
  readonly partition: number;
  readonly ownerId: string | null;
  readonly epoch: number; // grows with every change of owner; 0: never owned
  readonly isExpired: boolean; // nobody holds it now, by the database's clock
  /** The last owner gave it back itself, so that nothing is in flight from before. */
  readonly isReleased: boolean;
}

export interface LeaseStore {
  list(home: string): Promise<LeaseRow[]>;
  /** Takes those that are free or expired, each with a higher epoch; returns the ones taken. */
  acquire(options: {
    home: string;
    memberId: string;
    partitions: readonly number[];
    leaseMs: number;
  }): Promise<{ partition: number; epoch: number }[]>;
  /**
   * Extends every lease this member holds, in one statement; returns what it still holds. The
   * statement ends within `limitMs`, all of it within twice that (CL20).
   */
  refresh(options: {
    home: string;
    memberId: string;
    leaseMs: number;
    limitMs: number;
  }): Promise<{ partition: number; epoch: number }[]>;
  /** Gives back; only where this member is still the owner. */
  release(options: {
    home: string;
    memberId: string;
    partitions: readonly number[];
  }): Promise<void>;
}
