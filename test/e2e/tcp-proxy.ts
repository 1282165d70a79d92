// test/e2e/tcp-proxy.ts
// A TCP proxy on loopback whose connections can be dropped without a word, as a network does, and
// which can be cut: no connection stands, and none comes about, until it is healed.
import { createServer, connect, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";

export interface TcpProxy {
  readonly port: number;
  /** Resets every connection; returns how many there were. */
  dropAll(): number;
  cut(): void;
  heal(): void;
  close(): Promise<void>;
}

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const open = new Set<Socket>();
  let isCut = false;
  const server = createServer((inbound) => {
    if (isCut) {
      inbound.resetAndDestroy();
      return;
    }
    const outbound = connect(targetPort, "127.0.0.1");
    open.add(inbound);
    for (const [from, to] of [
      [inbound, outbound],
      [outbound, inbound],
    ] as const) {
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        open.delete(inbound);
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const dropAll = (): number => {
    const count = open.size;
    for (const socket of open) socket.resetAndDestroy();
    return count;
  };
  return {
    port: (server.address() as AddressInfo).port,
    dropAll,
    cut() {
      isCut = true;
      dropAll();
    },
    heal() {
      isCut = false;
    },
    async close() {
      dropAll();
      server.close();
      await once(server, "close");
    },
  };
}
