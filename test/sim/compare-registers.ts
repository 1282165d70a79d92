// test/sim/compare-registers.ts
// The comparison of the two databases for what senders do with notifications, and what a cap begins with. Not what a
// new owner reads of the register: that goes back 90 days by the real time, and ids here are of another.
import type { ControlRecord } from "@carillon/contracts";
import {
  HOME,
  heldOf,
  notificationOf,
  type Pair,
  PARTITIONS,
  someOf,
  TENANTS,
} from "./compare-draws.ts";
import * as controls from "./database-control.ts";
import { readRecent } from "./database-policy.ts";
import type { Dice } from "./world.ts";

type Step = (dice: Dice, pair: Pair) => Promise<readonly [unknown, unknown]>;

/** What the comparison accepts is accepted in the second that begins then. */
const ACCEPTED_MS = 1_767_603_600_000;
const ALWAYS_SECONDS = 1e6;

export const REGISTER_STEPS = {
  /** In any order, of its own tenant and of another, and of notifications that are not here. */
  async learnControls(dice, { real, database, known, machine }) {
    const of = known.slice(-12); // few, so that each has several
    const { id, tenantId } = dice.isHit(0.9) ? dice.pick(of) : notificationOf(dice, machine);
    const record: ControlRecord = {
      notificationId: id,
      state: dice.pick([
        "running",
        "running",
        "paused",
        "paused",
        "paused",
        "cancelled",
        "recalled",
      ]),
      changedAtMs: dice.below(6),
      changedIn: dice.pick(["fra", "lon"]),
    };
    const by = dice.isHit(0.9) ? tenantId : dice.pick(TENANTS);
    await real.controls.learn([{ tenantId: by, controls: [record] }]);
    controls.learn(database, { ...record, tenantId: by });
    return [
      sorted(await real.controls.readChanged(ALWAYS_SECONDS)),
      sorted(controls.readChanged(database, ALWAYS_SECONDS)),
    ];
  },
  /** Under right and wrong epochs; what is due then is what is claimed next. */
  async wake(dice, { real, database, known }) {
    const held = someOf(dice, PARTITIONS).map((n) => heldOf(dice, database, n));
    const some = (): string[] => someOf(dice, known).map(({ id }) => id);
    const heard = { cancelled: some(), running: dice.isHit(0.3) ? null : some() };
    return [await real.controls.wake(HOME, held, heard), controls.wake(database, held, heard)];
  },
  async readRecent(dice, { real, database }) {
    const partitions = someOf(dice, PARTITIONS);
    const question = {
      tenantId: dice.pick(TENANTS),
      sinceMs: ACCEPTED_MS + dice.below(1_000),
      priorities: dice.pick([["normal"], ["low", "normal"], ["low"]]),
      exceptCategories: dice.pick([[], ["safety"]]),
    };
    return [
      await real.policies.readRecent(HOME, partitions, question),
      readRecent(database, partitions, question),
    ];
  },
} satisfies Record<string, Step>;

function sorted(records: readonly ControlRecord[]): ControlRecord[] {
  return records
    .map(({ notificationId, state, changedAtMs, changedIn }) => ({
      ...{ notificationId, state, changedAtMs, changedIn },
    }))
    .toSorted((a, b) => (a.notificationId < b.notificationId ? -1 : 1));
}
