// test/sim/quiet.ts
// What the workers' verdicts are in a run where people are put off (ADR 0022): spans of time in which somebody
// is handed nothing, and notifications that somebody does not want. Drawn from the seed, by dice of their
// own; told by the wall clock of the node that asks, which may jump.
import type { DeliveryNodeDeps } from "@carillon/delivery";
import type { Database } from "./database.ts";
import { databaseNowMs, type Machine } from "./machine.ts";
import type { Employee } from "./senders.ts";
import type { Dice, World } from "./world.ts";

type Verdict = ReturnType<NonNullable<DeliveryNodeDeps["verdictOf"]>>;

/** By the wall clock, whole milliseconds. */
export interface QuietSpan {
  readonly fromMs: number;
  readonly toMs: number;
}

/** With the longest run of faults everybody is awake again before the run has to be over. */
const LAST_FROM_MS = 45_000;
const LENGTHS_MS = [300, 2_000, 6_000, 15_000] as const;
/** People of one zone wait for the same instants, so that several are one group. */
const ZONES_COUNT = 3;
/** Of 256. */
const OPTED_OUT_OF_256 = 24;

const ALLOW: Verdict = { kind: "allow" };
const OPTED_OUT: Verdict = { kind: "suppress", outcome: "optedOut" };

export class Quiet {
  readonly #spans = new Map<string, readonly QuietSpan[]>(); // by recipientId

  constructor(world: World, employees: readonly Employee[]) {
    const dice = world.dice("quiet");
    const startMs = Math.ceil(databaseNowMs(world));
    const zones = Array.from({ length: ZONES_COUNT }, () => drawSpans(dice, startMs));
    for (const { recipientId } of employees) {
      const spans = dice.isHit(0.8) ? dice.pick(zones) : [];
      this.#spans.set(recipientId, spans);
      for (const { fromMs, toMs } of spans)
        world.trace("plan", `${recipientId} is quiet ${fromMs - startMs} to ${toMs - startMs}`);
    }
  }

  /** The span that holds `wallMs`; undefined: he may be handed something. */
  spanAt(recipientId: string, wallMs: number): QuietSpan | undefined {
    return this.#spans
      .get(recipientId)
      ?.find(({ fromMs, toMs }) => fromMs <= wallMs && wallMs < toMs);
  }

  /** He wants none of it, ever: the same for every owner. */
  hasOptedOut(recipientId: string, notificationId: string): boolean {
    let hash = 0x811c9dc5; // FNV-1a
    for (const char of `${recipientId}/${notificationId}`)
      hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
    return ((hash >>> 16) & 0xff) < OPTED_OUT_OF_256;
  }

  /** What the worker of a node of `home` is given. */
  verdictsOf(machine: Machine, home: Database): NonNullable<DeliveryNodeDeps["verdictOf"]> {
    return ({ partition }, index, { envelope }): Verdict => {
      const recipientId = home.partition(partition).recipients[index]?.recipientId ?? "nobody";
      if (this.hasOptedOut(recipientId, envelope.notification.id)) return OPTED_OUT;
      const span = this.spanAt(recipientId, machine.wallClockMs());
      return span === undefined ? ALLOW : { kind: "defer", untilMs: span.toMs, reason: "paused" };
    };
  }
}

/** In order, none touches the next. */
function drawSpans(dice: Dice, startMs: number): QuietSpan[] {
  const spans: QuietSpan[] = [];
  let fromMs = Math.floor(dice.between(500, 12_000));
  while (fromMs < LAST_FROM_MS) {
    const toMs = fromMs + Math.floor(dice.pick(LENGTHS_MS) * dice.between(0.5, 1.5));
    spans.push({ fromMs: startMs + fromMs, toMs: startMs + toMs });
    fromMs = toMs + Math.floor(dice.between(200, 15_000));
  }
  return spans;
}
