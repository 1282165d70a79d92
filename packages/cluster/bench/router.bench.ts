// packages/cluster/bench/router.bench.ts
// One message to 100,000 recipients of three nodes: messages, bytes, and the time of each end; beside
// it one send each. No server: a bus that counts, or the bus in memory. Times are processor time, since
// other work on the machine would count otherwise. Accepted numbers: RESULTS.md.
import { type Bus, createMemoryNetwork } from "@carillon/bus";
import { partitionOf } from "@carillon/contracts";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createRuntime } from "@carillon/process";
import {
  castHandler,
  createRouter,
  type ServedPartition,
  type ServedTable,
  startDispatcher,
} from "../src/index.ts";
import { ASK, key, NOTE, startTestNode } from "../src/test-routes.ts";

const KEYS_COUNT = 100_000;
const ROUNDS_COUNT = 7;
const NODES = ["w-0", "w-1", "w-2"];
const keys = Array.from({ length: KEYS_COUNT }, (_, n) => key(`employee-${n}`));
const body = { id: "0193", text: "x".repeat(1_000) };
const ownerOf = (_home: string, partition: number): string => NODES[partition % 3]!;
const members = { ownerOf, onMemberLost: () => () => undefined };
/** Milliseconds of processor time of this process, garbage collection included. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

function report(name: string, values: number[], unit = "ms"): void {
  const digits = median(values) < 100 ? 1 : 0;
  console.log(`${name.padEnd(58)} ${median(values).toFixed(digits)} ${unit}`);
}

for (const payloadMaxBytes of [4_194_304, 1_048_576]) {
  const bus = {
    payloadMaxBytes,
    publish: () => ({ kind: "sent" }),
  } as unknown as Bus;
  const router = createRouter({ bus, clock: systemClock, members });
  const times: number[] = [];
  let outcome = router.sendEach(keys, { kind: NOTE, body });
  for (let round = 0; round < ROUNDS_COUNT; round++) {
    const startMs = cpuMs();
    outcome = router.sendEach(keys, { kind: NOTE, body });
    times.push(cpuMs() - startMs);
  }
  const { messageCount, bytesCount } = outcome;
  const limit = `max_payload ${payloadMaxBytes >> 20} MiB`;
  console.log(
    `sendEach to ${KEYS_COUNT} keys over 3 nodes, ${limit}: ${messageCount} messages, ` +
      `${bytesCount} bytes (${(bytesCount / KEYS_COUNT).toFixed(1)} a key, body of ${body.text.length})`,
  );
  report(`  the sender's time`, times);
  const single: number[] = [];
  for (let round = 0; round < 3; round++) {
    const startMs = cpuMs();
    for (const one of keys) router.send(one, { kind: NOTE, body });
    single.push(cpuMs() - startMs);
  }
  report(`  the sender's time with ${KEYS_COUNT} sends instead`, single);
}

// The owner's end: a third of them arrive, each is found, and its process handles it.
{
  const nats = createMemoryNetwork();
  const runtime = createRuntime({
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
  });
  let handledCount = 0;
  let wake = (): void => undefined;
  type Served = ServedPartition & ServedTable<{ id: string }>;
  const slots = Array.from({ length: 256 }, () => new Map<string, number>()); // as the directory has it
  for (const { tenantId, recipientId } of keys) {
    const own = slots[partitionOf(tenantId, recipientId)]!;
    own.set(`${tenantId}/${recipientId}`, own.size);
  }
  const served = Array.from({ length: 256 }, (_, n): Served => ({
    table: runtime.createTable<undefined, { id: string }>({
      name: `fra/${n}`,
      behaviour: {
        init: () => undefined,
        onCast() {
          if (++handledCount === expectedCount) wake();
        },
      },
    }),
    slotOf: (tenantId, recipientId) => slots[n]!.get(`${tenantId}/${recipientId}`),
  }));
  const mine = keys.filter(
    ({ tenantId, recipientId }) => ownerOf("fra", partitionOf(tenantId, recipientId)) === "w-0",
  );
  const expectedCount = mine.length;
  const bus = nats.connect("w-0");
  const router = createRouter({ bus, clock: systemClock, members });
  let heardMs = 0;
  const subscribe: Bus["subscribe"] = (subject, onMessage, options) => {
    const timed: typeof onMessage = (message) => {
      const startMs = cpuMs();
      onMessage(message);
      heardMs = cpuMs() - startMs;
    };
    return bus.subscribe(subject, timed, options);
  };
  startDispatcher<Served>({
    memberId: "w-0",
    bus: { payloadMaxBytes: bus.payloadMaxBytes, subscribe } as Bus,
    owners: members,
    router,
    handlers: [castHandler(NOTE, ({ id }) => ({ id }))],
    mayServe: () => true,
    servedPartition: (_, partition) => served[partition],
    onDispatched: () => undefined,
    onCrash: (cause) => {
      throw cause;
    },
  });
  const [held, done]: [number[], number[]] = [[], []];
  for (let round = 0; round <= ROUNDS_COUNT; round++) {
    handledCount = 0;
    const finished = new Promise<void>((resolve) => (wake = resolve));
    router.sendEach(mine, { kind: NOTE, body });
    const startMs = cpuMs();
    await finished;
    if (round > 0) done.push(cpuMs() - startMs);
    if (round > 0) held.push(heardMs);
  }
  console.log(`one message for ${expectedCount} recipients at their owner:`);
  report("  the thread is held by the dispatcher for", held);
  report("  until all processes have handled it", done);
}

// Calls: to this process and back, 256 under way.
{
  const nats = createMemoryNetwork();
  const node = startTestNode({ memberId: "a", bus: nats.connect("a"), clock: systemClock });
  node.view.elsewhere = "a";
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS_COUNT; round++) {
    const startMs = cpuMs();
    const caller = async (): Promise<void> => {
      for (let n = 0; n < 80; n++)
        await node.router.call(keys[n]!, { kind: ASK, body: { id: "1" } }, 5_000);
    };
    await Promise.all(Array.from({ length: 256 }, caller));
    rates.push((80 * 256) / ((cpuMs() - startMs) / 1_000));
    node.handled.length = 0;
  }
  report("calls answered in this process, 256 under way", rates, "calls per second of processor");
}
