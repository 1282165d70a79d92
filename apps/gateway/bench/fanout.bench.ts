// apps/gateway/bench/fanout.bench.ts
// Deliveries per second from one gateway to many loopback sockets: from the bus message to the
// bytes in the clients' hands. Bursts of 8 in one turn (one write per socket, W7) against the same
// messages one a turn (one write each). Clients are other processes.
// Run: node apps/gateway/bench/fanout.bench.ts [sockets] [rounds]
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { recipientsOfOnePartition, startFixture } from "../src/testing/gateway-fixture.ts";

const SOCKETS_COUNT = Number(process.argv[2] ?? 2_000);
const ROUNDS_COUNT = Number(process.argv[3] ?? 20);
const BURST_COUNT = 8;
const CHILDREN_COUNT = 2;
const TITLE = "x".repeat(200);

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function main(): Promise<void> {
  const fixture = await startFixture({ limits: { outboundMaxBytes: 64 * 2 ** 20 } });
  const ids = recipientsOfOnePartition(SOCKETS_COUNT);
  const tokens = await Promise.all(ids.map((sub) => fixture.issuer.sign({ sub })));
  const counts = new Map<ChildProcess, number>();
  let onCount = (): void => undefined;
  const startedMs = performance.now();
  for (let index = 0; index < CHILDREN_COUNT; index++) {
    const child = fork(fileURLToPath(new URL("fanout-clients.ts", import.meta.url)));
    counts.set(child, 0);
    child.on("message", (count) => {
      counts.set(child, Number(count));
      onCount();
    });
    child.send({
      port: fixture.port,
      tokens: tokens.filter((_, at) => at % CHILDREN_COUNT === index),
    });
  }
  const total = (): number => [...counts.values()].reduce((sum, count) => sum + count, 0);
  const untilTotal = (expected: number): Promise<void> =>
    new Promise((resolve) => {
      onCount = () => void (total() >= expected && resolve());
      onCount();
    });
  while (
    fixture.gateway.stats().partitionsUnsyncedCount > 0 ||
    fixture.owner.sessionsCount < ids.length
  )
    await turn();
  console.log(`${ids.length} sockets joined in ${Math.round(performance.now() - startedMs)} ms`);

  let expected = 0;
  const run = async (name: string, isOneTurn: boolean): Promise<void> => {
    const beginMs = performance.now();
    const cpu = process.cpuUsage();
    for (let round = 0; round < ROUNDS_COUNT; round++) {
      for (let message = 0; message < BURST_COUNT; message++) {
        fixture.owner.post(ids, { id: "0193f000-0000-7000-8000-000000000000", title: TITLE });
        if (!isOneTurn) {
          await turn(); // the bus hands it over
          await turn(); // the write leaves
        }
      }
      expected += BURST_COUNT * ids.length;
      await untilTotal(expected);
    }
    const seconds = (performance.now() - beginMs) / 1_000;
    const { user, system } = process.cpuUsage(cpu);
    const count = ROUNDS_COUNT * BURST_COUNT * ids.length;
    console.log(
      `${name}: ${Math.round(count / seconds)} deliveries/s, ` +
        `${((user + system) / count).toFixed(2)} µs CPU of the gateway's process each`,
    );
  };
  for (let time = 0; time < 3; time++) {
    await run("8 in one turn (coalesced)", true);
    await run("one a turn (one write each)", false);
  }
  for (const child of counts.keys()) child.kill();
  await fixture.stop();
}

await main();
