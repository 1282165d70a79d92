// test/sim/controllers.ts
// People at the HR application who pause, resume and cancel what they have posted (A5, ADR 0029). A change is
// committed in one region and told to the others some time later; how it travels is not played.
import type { ControlState } from "@carillon/contracts";
import type { Cluster } from "./cluster.ts";
import { learn } from "./database-control.ts";
import type { Post } from "./senders.ts";
import { TENANT } from "./senders.ts";

const LOOK_EVERY_MS = 100;
/** Of the posts. */
const SHARE = 0.5;
const TOLD_MAX_MS = 400;

/** Until `endMs` something is done with half of the posts; what is paused is resumed, or cancelled. */
export function plantControllers(cluster: Cluster, { endMs }: { readonly endMs: number }): void {
  const { world, senders } = cluster;
  const dice = world.dice("controllers");
  let seenCount = 0;
  const waiting = new Set<Post>();
  world.every(LOOK_EVERY_MS, () => {
    for (const post of senders.posts.slice(seenCount)) waiting.add(post);
    seenCount = senders.posts.length;
    for (const post of waiting) {
      if (post.id === undefined) continue;
      waiting.delete(post);
      if (world.nowMs > endMs || !dice.isHit(SHARE)) continue;
      const firstMs = dice.between(0, 3_000);
      const isPaused = dice.isHit(0.5);
      const id = post.id;
      world.after(firstMs, () => change(cluster, id, isPaused ? "paused" : "cancelled"));
      const thenMs = firstMs + dice.between(1_000, 12_000);
      const next = dice.isHit(0.6) ? "running" : "cancelled";
      if (isPaused) world.after(thenMs, () => change(cluster, id, next));
    }
    return true;
  });
}

function change(cluster: Cluster, notificationId: string, state: ControlState): void {
  const { world, layout, databases, oracle } = cluster;
  const dice = world.dice(`control/${notificationId}/${state}`);
  const changedIn = dice.pick(layout.regions);
  const record = { tenantId: TENANT, notificationId, state, changedIn, changedAtMs: world.nowMs };
  for (const [region, database] of databases)
    world.after(region === changedIn ? 0 : dice.between(5, TOLD_MAX_MS), () => {
      learn(database, record);
      world.trace(`db ${region}`, `${notificationId.slice(-6)} is ${state}`);
      oracle.controls?.told(region, notificationId, {
        state: database.controls.get(notificationId)?.state ?? "running",
        atMs: world.nowMs,
      });
    });
}
