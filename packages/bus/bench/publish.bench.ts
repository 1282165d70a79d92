// packages/bus/bench/publish.bench.ts
// Messages per second and round trips through one real nats-server on this machine, two buses in
// this one process (so one core does both ends). Run: node packages/bus/bench/publish.bench.ts
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom } from "@carillon/kernel";
import { freePort, startNatsServer } from "@carillon/local";
import { connectBus, type Bus } from "../src/index.ts";

const ROUNDS_COUNT = 5;
const folder = mkdtempSync(join(tmpdir(), "carillon-bench-"));
const configText = `listen: 127.0.0.1:${await freePort()}\nmax_payload: 4MB`;
const server = await startNatsServer({ folder, name: "bench", configText });
const connect = (name: string): Promise<Bus> =>
  connectBus({ urls: [server.clientUrl], name, clock: systemClock, random: systemRandom });
const [ann, bob] = [await connect("ann"), await connect("bob")];

/** Publishes `count` messages, giving way when output is full; resolves when all have arrived. */
async function flood(from: Bus, subject: string, count: number, data: Uint8Array): Promise<number> {
  const startMs = performance.now();
  for (let sent = 0; sent < count;)
    if (from.publish(subject, data).kind === "sent" && ++sent % 1_000 !== 0) continue;
    else await new Promise((resolve) => setImmediate(resolve));
  await arrived(count);
  return count / ((performance.now() - startMs) / 1_000);
}

let arrivedCount = 0;
let wake = (): void => undefined;
async function arrived(count: number): Promise<void> {
  // oxlint-disable-next-line no-unmodified-loop-condition -- subscribers count
  while (arrivedCount < count) await new Promise<void>((resolve) => (wake = resolve));
  arrivedCount = 0;
}
const count = (): void => {
  arrivedCount++;
  wake();
};
bob.subscribe("far", count);
bob.subscribe("echo", (message) => message.reply(message.data));
ann.subscribe("near", count, { isSole: true });
await ann.request("echo", new Uint8Array(), 5_000);

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
async function report(name: string, unit: string, run: () => Promise<number>): Promise<void> {
  const values: number[] = [];
  await run(); // warm
  for (let round = 0; round < ROUNDS_COUNT; round++) values.push(await run());
  console.log(`${name.padEnd(48)} ${Math.round(median(values)).toLocaleString("en")} ${unit}`);
}

for (const [size, messages] of [
  [256, 100_000],
  [16_384, 10_000],
  [1_048_576, 200],
] as const)
  await report(`publish → subscriber, ${size} B`, "messages/s", () =>
    flood(ann, "far", messages, new Uint8Array(size)),
  );
await report("publish → sole subscriber in the process, 256 B", "messages/s", () =>
  flood(ann, "near", 200_000, new Uint8Array(256)),
);
await report("request → reply, one by one, 256 B", "µs", async () => {
  const startMs = performance.now();
  for (let n = 0; n < 2_000; n++) await ann.request("echo", new Uint8Array(256), 5_000);
  return (performance.now() - startMs) / 2;
});
await report("request → reply, 256 under way, 256 B", "requests/s", async () => {
  const startMs = performance.now();
  const asker = async (): Promise<void> => {
    for (let n = 0; n < 80; n++) await ann.request("echo", new Uint8Array(256), 5_000);
  };
  await Promise.all(Array.from({ length: 256 }, asker));
  return (80 * 256) / ((performance.now() - startMs) / 1_000);
});

await Promise.all([ann.drain(), bob.drain()]);
await server.stop();
rmSync(folder, { recursive: true });
