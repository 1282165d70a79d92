// test/sim/oracle-neighbours.ts
// D7: what one recipient does delays nobody else by more than 50 ms. Turns take no time here; what is seen
// is who waits for whom. Of each row that was planned while nothing was wrong with its region: whoever of
// it had a session, and is no bad neighbour, is shown it as soon as ever, or 50 ms later.
import type { Cluster } from "./cluster.ts";
import type { Neighbour } from "./neighbours.ts";
import { awayOf } from "./oracle-cut.ts";
import { touches, type Weather } from "./weather.ts";

/** From the commit: poke, audience and its commit, message, and a socket's 25 ms. */
const NEEDED_MS = 35;
const DELAY_MAX_MS = 50;

export interface NeighbourCounts {
  /** Shown in a partition of which somebody else was poisoned or flooded. */
  readonly besides: number;
  /** The longest that anybody needed where nothing was wrong. */
  readonly neededMax: number;
  readonly calmRows: number;
}

export function checkNeighbours(
  { cluster, weather }: { readonly cluster: Cluster; readonly weather: Weather },
  neighbours: readonly Neighbour[],
): NeighbourCounts {
  const { world, devices, oracle, databases } = cluster;
  let [besides, neededMax, calmRows] = [0, 0, 0];
  const limitMs = NEEDED_MS + DELAY_MAX_MS;
  for (const device of devices) {
    if (neighbours.some((neighbour) => neighbour.device === device)) continue;
    const { home, tenantId, recipientId } = device.identity;
    const database = databases.get(home);
    const index = database?.recipients.get(`${tenantId}/${recipientId}`)?.index;
    if (database === undefined || index === undefined) continue;
    const spans = [...weather.settledTroublesOf(home), ...awayOf(cluster, device)];
    for (const row of oracle.rowsOf(home, device.partition)) {
      const { plannedAtMs, notificationId, offset } = row;
      const endMs = plannedAtMs + limitMs;
      const mayExpire = row.expiresAtMs < database.nowMs() - world.nowMs + endMs;
      if (!row.targets.has(index) || mayExpire || endMs > world.nowMs) continue;
      if (touches(spans, plannedAtMs, endMs)) continue;
      const shownAtMs = oracle.shownAtMs.get(`${device.name}/${notificationId}`) ?? Infinity;
      const isBeside = neighbours.some(
        ({ device: bad, fromMs, toMs }) =>
          bad.identity.home === home &&
          bad.partition === device.partition &&
          fromMs <= plannedAtMs &&
          plannedAtMs <= toMs,
      );
      calmRows++;
      if (isBeside) besides++;
      neededMax = Math.max(neededMax, shownAtMs - plannedAtMs);
      if (shownAtMs <= endMs) continue;
      const late =
        shownAtMs === Infinity ? "never" : `${Math.round(shownAtMs - plannedAtMs)} ms after`;
      world.violate(
        "D7",
        `${device.name} was shown ${device.partition}@${offset} ${late} its commit`,
      );
      return { besides, neededMax, calmRows };
    }
  }
  return { besides, neededMax, calmRows };
}
