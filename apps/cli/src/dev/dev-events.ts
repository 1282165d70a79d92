// apps/cli/src/dev/dev-events.ts
// What a local cluster tells of its parts.

export type DevComponent = "node" | "worker" | "nats" | "postgres";

export interface DevRestarted {
  readonly component: DevComponent;
  readonly region: string | null; // null: Postgres
  readonly pid: number;
}

export interface DevExit {
  readonly component: DevComponent;
  readonly region: string | null;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** False: it was asked to stop, or nobody restarts it. */
  readonly isRestarting: boolean;
}

export interface DevEvents {
  exit: [DevExit];
  restarted: [DevRestarted];
}
