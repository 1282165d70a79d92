// Goal: D1, D2 over a power cut of the machine that has the databases of two regions. Method: their
// disk is a CutVolume; posts go on while the power is cut at a moment nobody chose; the machine comes
// back with the disk as it was, and whatever was answered 202 until then is looked for.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DevCluster } from "@carillon/cli";
import { createStore } from "@carillon/store";
import { afterEach, describe, expect, test } from "vitest";
import { RegionApi, until } from "../e2e/api.ts";
import { CutVolume, whyNoVolumes } from "./cut-volume.ts";

const missing = whyNoVolumes();
if (missing !== undefined) console.warn(`SKIPPED: test/chaos/power-cut.test.ts, ${missing}`);

const REGIONS = ["fra", "lon"] as const;
const PEOPLE_COUNT = 40; // each region's; nobody has a device, so that outcomes come by themselves
const POSTERS_COUNT = 16;
const CUTS_COUNT = process.env["CARILLON_TEST_LONG"] === "1" ? 10 : 2;

describe.skipIf(missing !== undefined)("a power cut", { timeout: 600_000 }, () => {
  const ends: (() => Promise<void> | void)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).toReversed()) await end();
  }, 120_000);

  function newVolume(): CutVolume {
    const volume = new CutVolume(768);
    ends.push(() => volume.remove());
    return volume;
  }

  async function start(volume: CutVolume, isDurable: boolean): Promise<DevCluster> {
    rmSync(join(volume.path, "data/dev.lock"), { force: true }); // names this very process
    const cluster = await DevCluster.start({
      dataFolder: join(volume.path, "data"),
      regions: REGIONS,
      isDurable,
      isFresh: false,
      nodeOptions: { CARILLON_NODE_SESSION_GRACE_MS: "1000" },
      log: () => undefined,
    });
    ends.push(() => cluster.stop());
    return cluster;
  }

  test("D1, D2 — what was answered 202 is there, and ends for everybody once", async () => {
    const volume = newVolume();
    let cluster = await start(volume, true);
    expect(existsSync(join(volume.path, "data/postgres/data/PG_VERSION"))).toBe(true);
    for (const region of REGIONS) await register(cluster, region);
    let acceptedCount = 0;
    for (let cut = 0; cut < CUTS_COUNT; cut++) {
      const accepted = await cutUnderTraffic(volume, cluster, 1_500 + 700 * cut);
      expect(accepted.size).toBeGreaterThan(100); // else nothing was under way
      cluster = await start(volume, true);
      await allEnd(cluster, accepted);
      acceptedCount += accepted.size;
    }
    console.info(`power cut: ${acceptedCount} answered 202 before ${CUTS_COUNT} cuts, 0 lost`);
  });

  test("D1 — the check bites: without sync the same cut loses what was answered 202", async () => {
    const volume = newVolume();
    const cluster = await start(volume, false);
    for (const region of REGIONS) await register(cluster, region);
    volume.sync(); // the people are on the disk, and the schema
    const accepted = await cutUnderTraffic(volume, cluster, 1_500);
    const lost = await lostOf(await start(volume, false), accepted);
    console.info(`power cut without sync: ${lost} of ${accepted.size} answered 202 are lost`);
    expect(lost).toBeGreaterThan(0);
  });

  /** Ids of what was answered 202, by the region that answered. Afterwards nothing runs. */
  async function cutUnderTraffic(
    volume: CutVolume,
    cluster: DevCluster,
    afterMs: number,
  ): Promise<Map<string, Posted>> {
    const accepted = new Map<string, Posted>();
    const state = { isOver: false };
    const posters = Array.from({ length: POSTERS_COUNT }, async (_, poster) => {
      const region = REGIONS[poster % REGIONS.length] ?? "fra";
      const api = apiOf(cluster, region);
      for (let n = poster; !state.isOver; n += POSTERS_COUNT) {
        // Of both regions, so that every post is relayed; sometimes to everybody.
        const audience =
          n % 50 === 0
            ? { broadcast: true }
            : { recipients: REGIONS.map((home) => nameOf(home, n)) };
        const body = { audience, content: { en: { title: `number ${n}` } } };
        const answer = await api
          .call<{ id: string }>("POST", "/v1/notifications", body)
          .catch(() => undefined); // the power is away
        if (answer?.status !== 202) continue;
        const targeted = n % 50 === 0 ? PEOPLE_COUNT * REGIONS.length : REGIONS.length;
        if (!state.isOver) accepted.set(answer.body.id, { region, targeted });
      }
    });
    await new Promise((resolve) => setTimeout(resolve, afterMs)); // that nobody chose the moment is the point
    volume.cut();
    // Read after the copy: what is answered 202 until here must be in it.
    state.isOver = true;
    volume.thaw();
    await cluster.stop();
    await Promise.all(posters);
    volume.restore();
    return accepted;
  }
});

interface Posted {
  readonly region: string;
  readonly targeted: number;
}

function nameOf(region: string, n: number): string {
  return `${region}-${n % PEOPLE_COUNT}`;
}

function apiOf(cluster: DevCluster, region: string): RegionApi {
  return new RegionApi(cluster.region(region).ingestUrl, cluster.apiKey);
}

async function register(cluster: DevCluster, region: string): Promise<void> {
  const lines = Array.from({ length: PEOPLE_COUNT }, (_, n) =>
    JSON.stringify({ recipientId: nameOf(region, n), homeRegion: region }),
  );
  await apiOf(cluster, region).importLines(lines.join("\n"));
  const last = nameOf(region, PEOPLE_COUNT - 1);
  for (const other of REGIONS)
    await until(`${other} knows them`, 20_000, async () => {
      const { status } = await apiOf(cluster, other).call("GET", `/v1/recipients/${last}`);
      return status === 200 || undefined;
    });
}

async function allEnd(cluster: DevCluster, accepted: ReadonlyMap<string, Posted>): Promise<void> {
  for (const [id, { region, targeted }] of accepted) {
    const { counts } = await apiOf(cluster, region).finished(id, 120_000);
    expect([id, counts]).toEqual([
      id,
      expect.objectContaining({ targeted, noDevice: targeted, pending: 0 }),
    ]);
  }
}

/** How many are not in the database of the region that answered. */
async function lostOf(cluster: DevCluster, accepted: ReadonlyMap<string, Posted>): Promise<number> {
  let lostCount = 0;
  for (const region of REGIONS) {
    const store = createStore({
      url: cluster.storeUrl(region),
      poolMax: 2,
      applicationName: "test",
      connectTimeoutMs: 5_000,
      statementTimeoutMs: 5_000,
    });
    for (const [id, posted] of accepted)
      if (posted.region === region && (await store.notifications.get("demo", id)) === undefined)
        lostCount++;
    await store.close();
  }
  return lostCount;
}
