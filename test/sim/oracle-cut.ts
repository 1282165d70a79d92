// test/sim/oracle-cut.ts
// D5 in a run where other things go wrong, too: what follows for certain. In an interval in which nothing
// is wrong with a region but that it is cut off, its own people are shown its own posts within 2 s; and
// once two regions reach each other again, with nothing else wrong, what waited is there within 10 s.
// So every post has an instant by which each of its people must have it; that it comes once is D3.
import type { Cluster } from "./cluster.ts";
import type { Device } from "./people.ts";
import { LIMITS } from "@carillon/contracts";
import { firstClearMs, type Span, touches, type Weather } from "./weather.ts";

/** From the post, for people of the region that accepts it. */
const OWN_MAX_MS = 2_000;
/** From the answer, or from the healing if that is later, for all others. */
const OTHERS_MAX_MS = 10_000;
/** Around a change of owner: its sessions are opened again, and a handover may take as long (C20). */
const MOVED_MS = 2_000;

/** How often somebody had an instant by which it had to be there, and that was in the run. */
export interface ArrivalCounts {
  /** Own people, while their region was cut off. */
  readonly ownWhileCut: number;
  /** People of another region, who had waited for the healing. */
  readonly othersAfterCut: number;
}

export function checkArrival(cluster: Cluster, weather: Weather): ArrivalCounts {
  const { world, senders, devices, oracle } = cluster;
  const deviceOf = new Map(devices.map((device) => [device.name, device]));
  const counts = { ownWhileCut: 0, othersAfterCut: 0 };
  const settled = (region: string): readonly Span[] => weather.settledTroublesOf(region);
  for (const { id, key, region, request, expected, postedAtMs, answeredAtMs } of senders.posts) {
    // Whose life is short may expire first.
    if (id === undefined || answeredAtMs === undefined) continue;
    if (request.ttlSeconds !== LIMITS.ttlDefaultSeconds) continue;
    for (const { recipientId } of expected) {
      const device = deviceOf.get(recipientId);
      if (device === undefined || oracle.poison?.victim.device === device) continue;
      // Who has never been there has no place to go on from, and joins above what was committed by then:
      // any time from the post on, since its answer may be lost (seed 152).
      if ((device.lives[0]?.fromMs ?? Infinity) > postedAtMs) continue;
      const { home } = device.identity;
      const isOwn = home === region;
      const lengthMs = isOwn ? OWN_MAX_MS : OTHERS_MAX_MS;
      const cuts = isOwn ? [] : weather.cutsBetween(region, home);
      const spans = [...settled(region), ...settled(home), ...cuts, ...awayOf(cluster, device)];
      // With all well from the post on, the answer is in it; else the sender may have had to wait.
      const isClearAtPost = isOwn && firstClearMs(spans, postedAtMs, lengthMs) === postedAtMs;
      const clearMs = isClearAtPost ? postedAtMs : firstClearMs(spans, answeredAtMs, lengthMs);
      const limitMs = clearMs + lengthMs;
      if (limitMs > world.nowMs) continue;
      if (isOwn && touches(weather.cutsOf(home), clearMs, limitMs)) counts.ownWhileCut++;
      if (!isOwn && touches(cuts, answeredAtMs, clearMs)) counts.othersAfterCut++;
      const shownAtMs = oracle.shownAtMs.get(`${device.name}/${id}`) ?? Infinity;
      if (shownAtMs <= limitMs) continue;
      const when = shownAtMs === Infinity ? "never" : `at ${(shownAtMs / 1_000).toFixed(3)}`;
      world.violate(
        "D5",
        `${device.name} was shown ${key} of ${region} ${when}, ` +
          `all was well from ${(clearMs / 1_000).toFixed(3)} for ${lengthMs / 1_000} s`,
      );
      return counts;
    }
  }
  return counts;
}

/** When a device may miss what is sent: without a whole session, or around a change of its owner. */
export function awayOf({ oracle }: Cluster, { lives, identity, partition }: Device): Span[] {
  const moves = ownerChangesOf(oracle, identity.home, partition);
  const away = lives.map(({ fromMs }, at) => ({
    fromMs: lives[at - 1]?.toMs ?? -Infinity,
    toMs: fromMs,
  }));
  return [...moves, ...away, { fromMs: lives.at(-1)?.toMs ?? -Infinity, toMs: Infinity }];
}

/** When a partition may be served by nobody. */
export function ownerChangesOf(
  { ownerChangesMs }: Cluster["oracle"],
  home: string,
  partition: number,
): Span[] {
  const changesMs = ownerChangesMs.get(`${home}/${partition}`) ?? [];
  return changesMs.map((atMs) => ({ fromMs: atMs - MOVED_MS, toMs: atMs + MOVED_MS }));
}
