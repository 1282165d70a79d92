// apps/gateway/src/drain.ts
// Closing all sockets evenly over a window, so that the other nodes are not stormed (W10).
//   GW19  After a share of the window at least that share of the sockets is closed; at its end all.

export interface DrainStep {
  readonly atMs: number; // after the start of the drain
  readonly closeCount: number;
}

/** Steps of at least `stepMs`; their counts sum up to `socketsCount`. */
export function planDrain(socketsCount: number, windowMs: number, stepMs: number): DrainStep[] {
  const stepsCount = Math.max(1, Math.min(socketsCount, Math.ceil(windowMs / stepMs)));
  return Array.from({ length: stepsCount }, (_, step) => ({
    atMs: (windowMs * step) / stepsCount,
    closeCount:
      Math.ceil((socketsCount * (step + 1)) / stepsCount) -
      Math.ceil((socketsCount * step) / stepsCount),
  }));
}
