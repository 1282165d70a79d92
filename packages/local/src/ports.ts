// packages/local/src/ports.ts
// Free ports on 127.0.0.1 for servers that want to be told their port before they start.
//   LO1  One port is handed out once in a process, and never to two processes that use this file:
//        a process keeps the first port of a block of 64 bound for as long as it lives.
// The blocks lie below the ephemeral range (32768 and up on Linux, 49152 on macOS), so that an
// outgoing connection never takes a port between our test of it and the server's start.
import { createServer, type Server } from "node:net";
import { Fault, systemRandom } from "@carillon/kernel";

const HOST = "127.0.0.1";
const RANGE_START = 20_000;
const BLOCK_PORTS = 64;
const BLOCK_COUNT = 199; // 20,000 … 32,735

/** What the operating system's process has claimed; per process by nature, hence module state. */
const claimed: { guard: Server | undefined; next: number; end: number } = {
  guard: undefined,
  next: 0,
  end: 0,
};
let queue: Promise<unknown> = Promise.resolve();

/** A port nobody listens on now. LO1. Throws Fault `no_free_port` when all blocks are taken. */
export function freePort(): Promise<number> {
  const port = queue.then(takePort);
  queue = port.catch(() => undefined); // the caller gets the failure; the queue goes on
  return port;
}

/** `count` different free ports. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

async function takePort(): Promise<number> {
  for (let attempt = 0; attempt < BLOCK_COUNT * BLOCK_PORTS; attempt++) {
    if (claimed.next >= claimed.end) await claimBlock();
    const port = claimed.next++;
    const probe = await listen(port);
    if (probe === undefined) continue;
    await new Promise((resolve) => probe.close(resolve));
    return port;
  }
  throw noFreePort();
}

/** Guards of used-up blocks stay bound: the servers started on their ports may still run. */
async function claimBlock(): Promise<void> {
  const offset = Math.floor(systemRandom.next() * BLOCK_COUNT);
  for (let step = 0; step < BLOCK_COUNT; step++) {
    const start = RANGE_START + ((offset + step) % BLOCK_COUNT) * BLOCK_PORTS;
    const guard = await listen(start);
    if (guard === undefined) continue;
    guard.unref();
    claimed.guard = guard;
    claimed.next = start + 1;
    claimed.end = start + BLOCK_PORTS;
    return;
  }
  throw noFreePort();
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", () => resolve(undefined)); // in use, or not allowed: try the next one
    server.listen({ port, host: HOST, exclusive: true }, () => resolve(server));
  });
}

function noFreePort(): Fault {
  return new Fault(`no free port on ${HOST}`, { code: "no_free_port", isRetryable: true });
}
