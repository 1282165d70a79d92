// packages/delivery/src/escalation-ports.ts
// What chains need of the outside (ADR 0030): `packages/store` has the shape of the first, an app of the second.
import type { Notification } from "@carillon/contracts";

export interface EscalationStore {
  /** Those of the partition who have these indexes, in any order. Throws Fault. */
  readPeople(
    home: string,
    partition: number,
    indexes: readonly number[],
  ): Promise<
    readonly {
      readonly index: number;
      readonly recipientId: string;
      readonly attributes: Readonly<Record<string, unknown>>;
    }[]
  >;
  /** Steps that were accepted here; others are left out. Throws Fault. */
  readSteps(
    home: string,
    notificationIds: readonly string[],
  ): Promise<
    readonly {
      readonly notificationId: string;
      readonly isAcknowledged: boolean; // by somebody of this region
      readonly targetRegions: readonly string[];
    }[]
  >;
  /**
   * Accepts steps of one tenant, all or, with a Fault, none as far as is known. `repeated`: it was there already,
   * and nothing is changed. `unknown`: no region is known to be the recipient's home.
   */
  accept(
    home: string,
    steps: readonly { readonly notification: Notification; readonly recipientId: string }[],
  ): Promise<readonly ("accepted" | "repeated" | "unknown" | "unstorable")[]>;
}

/** Other regions, about steps that went to their people. */
export interface RegionAcks {
  /** Those of these that were acknowledged there; undefined: it does not answer. Never rejects. */
  acknowledged(
    region: string,
    tenantId: string,
    notificationIds: readonly string[],
  ): Promise<readonly string[] | undefined>;
}
