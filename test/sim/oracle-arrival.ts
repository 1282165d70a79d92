// test/sim/oracle-arrival.ts
// When what was sent came to people that were there all the time (D5, C22).
import type { Cluster } from "./cluster.ts";

export interface Bounds {
  /** From the answer, for those of the accepting region itself. */
  readonly ownMaxMs: number;
  readonly cutMs: number;
  readonly healMs: number;
  /** From the answer, or from the healing if that is later, for all others. */
  readonly healedMaxMs: number;
}

/** Of everything that was answered after people had joined, and long enough ago. */
export function checkShownWithin(cluster: Cluster, bounds: Bounds): void {
  const { world, senders, devices, oracle } = cluster;
  const joinedMs = 5_000;
  for (const { id, key, region, expected, answeredAtMs } of senders.posts) {
    if (id === undefined || answeredAtMs === undefined || answeredAtMs < joinedMs) continue;
    for (const { home, recipientId } of expected) {
      const device = devices.find(({ identity }) => identity.recipientId === recipientId);
      if (device === undefined) continue;
      const shownAtMs = oracle.shownAtMs.get(`${device.name}/${id}`) ?? Infinity;
      const isOwn = home === region;
      const isHeldUp =
        !isOwn && answeredAtMs > bounds.cutMs - 1_000 && answeredAtMs < bounds.healMs;
      const limitMs = isHeldUp
        ? bounds.healMs + bounds.healedMaxMs
        : answeredAtMs + (isOwn ? bounds.ownMaxMs : bounds.healedMaxMs);
      if (limitMs > world.nowMs || shownAtMs <= limitMs) continue;
      const lateMs = Math.round(shownAtMs - limitMs);
      world.violate("D5", `${key} of ${region} came to ${device.name} ${lateMs} ms too late`);
    }
  }
}

/** C22: who posts one after the other in one region has them shown in that order. */
export function checkOrderPerSender({ world, senders, devices, oracle }: Cluster): void {
  const done = senders.posts.filter(({ id }) => id !== undefined);
  for (const device of devices)
    for (const first of done)
      for (const next of done) {
        if (first.region !== next.region || (first.answeredAtMs ?? Infinity) >= next.postedAtMs)
          continue;
        const firstMs = oracle.shownAtMs.get(`${device.name}/${first.id}`);
        const nextMs = oracle.shownAtMs.get(`${device.name}/${next.id}`);
        if (firstMs === undefined || nextMs === undefined || firstMs <= nextMs) continue;
        return world.violate("C22", `${device.name} saw ${next.key} before ${first.key}`);
      }
}
