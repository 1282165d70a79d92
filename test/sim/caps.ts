// test/sim/caps.ts
// A tenant's frequency cap, and what of a run's posts it counts; posts that take each other's place (A11, ADR 0024).
// The policy is known in every region from the start, and stays: how it travels is not played.
import type { FrequencyCap, Notification, NotificationRequest } from "@carillon/contracts";
import type { Database } from "./database.ts";
import { TENANT } from "./senders.ts";
import type { Dice, World } from "./world.ts";

/** The shortest that there is. */
export const CAP_WINDOW_MS = 60_000;
/** No cap holds these back. */
const MANDATORY = "safety";
const KEYS = ["menu", "rota", "weather"] as const;

type Counted = Pick<Notification, "priority" | "category">;

export class Caps {
  readonly cap: FrequencyCap;
  readonly #dice: Dice;
  readonly #collapseShare: number;

  constructor(world: World, databases: Iterable<Database>) {
    const dice = world.dice("caps");
    this.#dice = dice;
    this.cap = {
      maxCount: 2 + dice.below(7),
      perSeconds: CAP_WINDOW_MS / 1_000,
      priorities: dice.pick([["low", "normal"], ["normal", "high"], ["low"]]),
    };
    this.#collapseShare = dice.pick([0.2, 0.6]);
    const policy = { frequencyCap: this.cap, mandatoryCategories: [MANDATORY] };
    for (const { policies } of databases)
      policies.set(TENANT, { policy, changedAtMs: 1, changedIn: "fra" });
  }

  /** What the next post has beside its audience and time. */
  draw(): Pick<NotificationRequest, "category" | "collapseKey"> {
    const dice = this.#dice;
    return {
      ...(dice.isHit(0.3) && { category: dice.pick([MANDATORY, "news"]) }),
      ...(dice.isHit(this.#collapseShare) && { collapseKey: dice.pick(KEYS) }),
    };
  }

  /** It uses up the cap, and is held back by it. */
  isCounted({ priority, category }: Counted): boolean {
    return this.cap.priorities.some((one) => one === priority) && category !== MANDATORY;
  }
}
