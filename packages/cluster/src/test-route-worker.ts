// A worker of router.nats.test.ts, in an operating-system process of its own: the real bus, membership,
// dispatcher and process runtime; it owns what its argument says, and ends with its parent.
import { connectBus } from "@carillon/bus";
import type { Beat } from "@carillon/contracts";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createRuntime, NO_REPLY, type ProcessTable } from "@carillon/process";
import {
  castHandler,
  createMembership,
  createRouter,
  type ServedPartition,
  type ServedTable,
  startDispatcher,
  tableCallHandler,
} from "./index.ts";
import { ASK, NOTE } from "./test-routes.ts";

export interface RouteWorkerOptions {
  readonly memberId: string;
  readonly region: string;
  readonly url: string;
  readonly owned: Beat["owned"];
  readonly lostAfterMs: number;
}

interface Step {
  readonly id: string;
  readonly text?: string | undefined;
}
type Served = ServedPartition & ServedTable<Step>;

async function run(options: RouteWorkerOptions): Promise<void> {
  const { memberId, region, owned, lostAfterMs } = options;
  const clock = systemClock;
  const bus = await connectBus({
    urls: [options.url],
    name: memberId,
    clock,
    random: systemRandom,
  });
  const membership = createMembership(
    {
      self: { memberId, region, roles: ["worker"], build: "test" },
      limits: { beatEveryMs: 200, pauseMs: lostAfterMs, pauseRemoteMs: lostAfterMs },
    },
    { bus, clock, scheduler: systemScheduler, onMalformed: () => undefined },
  );
  membership.describe({ owned: () => owned, links: () => ({}) });
  const runtime = createRuntime({ clock, scheduler: systemScheduler, random: systemRandom });
  const partitions = new Map<string, Served>();
  for (const [home, epochs] of Object.entries(owned))
    for (const [n] of epochs) partitions.set(`${home}/${n}`, servedPartition(`${home}/${n}`));
  const members = membership;
  startDispatcher<Served>({
    memberId,
    bus,
    owners: membership,
    router: createRouter({ bus, clock, members }),
    handlers: [
      castHandler(NOTE, (body): Step => body),
      tableCallHandler(ASK, (body): Step => body),
    ],
    mayServe: () => true,
    servedPartition: (home, n) => partitions.get(`${home}/${n}`),
    onDispatched: () => undefined,
    onCrash: (cause) => {
      throw cause;
    },
  });
  membership.start();

  /** Everybody whose name begins with "employee" lives in it; a slot is given at the first message. */
  function servedPartition(name: string): Served {
    const slots = new Map<string, number>();
    const table: ProcessTable<string[], Step> = runtime.createTable<string[], Step>({
      name,
      behaviour: {
        init: () => [],
        onCast: ({ state }, { id, text = "" }) => void state?.push(`${id}:${text.length}`),
        onCall({ state }, { id }) {
          if (id === "hang") return NO_REPLY;
          return { id: id === "list" ? (state ?? []).join() : id };
        },
      },
    });
    return {
      table,
      slotOf(tenantId, recipientId) {
        if (!recipientId.startsWith("employee")) return undefined;
        const key = `${tenantId}/${recipientId}`;
        const slot = slots.get(key) ?? slots.size;
        slots.set(key, slot);
        return slot;
      },
    };
  }
}

process.stdin.on("end", () => process.exit(0)).resume();
await run(JSON.parse(process.argv[2] ?? "") as RouteWorkerOptions);
