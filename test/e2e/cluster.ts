// test/e2e/cluster.ts
// A cluster of real processes in a temporary folder, for one test file.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DevCluster, dropDevData } from "@carillon/cli";
import { createStore, type Store } from "@carillon/store";
import { RegionApi } from "./api.ts";
import { InboxLog } from "./inbox-log.ts";

export interface TestCluster {
  readonly cluster: DevCluster;
  readonly dataFolder: string;
  api(region: string): RegionApi;
  socketUrl(region: string): string;
  /** An employee with our client; its token comes from `issuer`. Not live yet. */
  inbox(recipientId: string, place: { region: string; issuer?: string }): InboxLog;
  /** As `inbox`, and live. */
  connect(recipientId: string, place: { region: string; issuer?: string }): Promise<InboxLog>;
  /** A look into the region's database; closed by `stop`. */
  store(region: string): Store;
  stop(): Promise<void>;
}

export async function startTestCluster(
  regions: readonly string[],
  nodeOptions: Readonly<Record<string, string>> = {},
  /** `durable` where Postgres is killed: else it acknowledges what it has not written. */
  disk: "quick" | "durable" = "quick",
): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), "carillon-e2e-"));
  const cluster = await DevCluster.start({
    dataFolder: folder,
    regions,
    isDurable: disk === "durable",
    isFresh: false,
    nodeOptions,
    log: () => undefined,
  });
  const inboxes: InboxLog[] = [];
  const stores = new Map<string, Store>();
  const placeOf = (region: string) => {
    const place = cluster.regions.get(region);
    if (place === undefined) throw new Error(`no region ${region}`);
    return place;
  };
  const api = (region: string) => new RegionApi(placeOf(region).ingestUrl, cluster.apiKey);
  const inbox: TestCluster["inbox"] = (recipientId, { region, issuer = region }) => {
    const log = new InboxLog(placeOf(region).socketUrl, () => api(issuer).token(recipientId));
    inboxes.push(log);
    return log;
  };
  return {
    cluster,
    dataFolder: folder,
    api,
    inbox,
    socketUrl: (region) => placeOf(region).socketUrl,
    async connect(recipientId, place) {
      const log = inbox(recipientId, place);
      await log.live();
      return log;
    },
    store(region) {
      const store =
        stores.get(region) ??
        createStore({
          url: cluster.storeUrl(region),
          poolMax: 2,
          applicationName: "test",
          connectTimeoutMs: 5_000,
          statementTimeoutMs: 5_000,
        });
      stores.set(region, store);
      return store;
    },
    async stop() {
      for (const log of inboxes) log.close();
      await Promise.all([...stores.values()].map((store) => store.close()));
      await cluster.stop();
      const denied = await denialsIn(join(folder, "nodes"));
      dropDevData(folder); // Postgres' data may lie elsewhere: a folder of mkdtemp is 0700
      await rm(folder, { recursive: true, force: true });
      if (denied.length > 0) throw new Error(`NATS denied a node something:\n${denied.join("\n")}`);
    },
  };
}

/** A right that is missing in nats-permissions.ts; what was denied may not have been noticed. */
async function denialsIn(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".log"));
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
  return texts.flatMap((text) => text.split("\n").filter((line) => /"bus\.\w+_denied"/.test(line)));
}
