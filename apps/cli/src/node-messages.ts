// apps/cli/src/node-messages.ts
// What a region node tells the process that started it, over the IPC channel.

/** Ports are null for roles that the node does not run. */
export interface NodeReady {
  readonly kind: "ready";
  readonly memberId: string;
  readonly ingestPort: number | null;
  readonly gatewayPort: number | null;
  /** Null: it cannot be listened on now, and is tried again (AG6). */
  readonly metricsPort: number | null;
}

export function isNodeReady(message: unknown): message is NodeReady {
  if (typeof message !== "object" || message === null) return false;
  const { kind, memberId, ...ports } = message as Partial<Record<keyof NodeReady, unknown>>;
  const isPort = (port: unknown): boolean => port === null || Number.isInteger(port);
  const { ingestPort, gatewayPort, metricsPort } = ports;
  return (
    kind === "ready" &&
    typeof memberId === "string" &&
    [ingestPort, gatewayPort, metricsPort].every(isPort)
  );
}
