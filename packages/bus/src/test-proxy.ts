// packages/bus/src/test-proxy.ts
// A TCP line that a test can cut and heal; for this package's own tests.
import { createConnection, createServer, type Server, type Socket } from "node:net";

export interface Line {
  readonly url: string;
  /** Connections that were made through it, ever. */
  readonly connectionsCount: number;
  cut(): Promise<void>;
  heal(): Promise<void>;
}

export async function createLine(port: number, targetUrl: string): Promise<Line> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  let connectionsCount = 0;

  const accept = (near: Socket): void => {
    connectionsCount++;
    const far = createConnection({ host: target.hostname, port: Number(target.port) });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("error", () => to.destroy()).on("close", () => to.destroy());
      from.on("close", () => sockets.delete(from));
      from.pipe(to);
    }
  };
  const heal = (): Promise<void> =>
    new Promise((resolve, reject) => {
      server = createServer(accept).once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
  const cut = async (): Promise<void> => {
    const closed = new Promise((resolve) => server?.close(resolve) ?? resolve(undefined));
    for (const socket of sockets) socket.resetAndDestroy();
    await closed;
  };
  await heal();
  return {
    url: `nats://127.0.0.1:${port}`,
    get connectionsCount() {
      return connectionsCount;
    },
    cut,
    heal,
  };
}
