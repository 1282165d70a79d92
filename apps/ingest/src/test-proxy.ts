// apps/ingest/src/test-proxy.ts
// A TCP proxy that can hold and cut: a database that stalls or goes away. Tests only.
import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

export interface TestProxy {
  readonly port: number;
  /** What clients send from now on waits; resolves when something does. */
  hold(): Promise<void>;
  release(): void;
  /** Ends every connection; what was held is lost. */
  cut(): void;
  stop(): Promise<void>;
}

export async function startProxy(targetPort: number): Promise<TestProxy> {
  const sockets = new Set<Socket>();
  let isHeld = false;
  let held: { to: Socket; data: Buffer }[] = [];
  let onHeld: (() => void) | undefined;
  const server = createServer((client) => {
    const upstream = connect(targetPort, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (data) => {
      if (!isHeld) return void upstream.write(data);
      held.push({ to: upstream, data });
      onHeld?.();
    });
    upstream.on("data", (data) => client.write(data));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    hold: () => {
      isHeld = true;
      return new Promise((resolve) => (onHeld = resolve));
    },
    release() {
      isHeld = false;
      for (const { to, data } of held) to.write(data);
      held = [];
    },
    cut() {
      isHeld = false;
      held = [];
      for (const socket of sockets) socket.destroy();
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
