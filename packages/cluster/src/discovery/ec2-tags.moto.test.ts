// Goal: C1–C5 and C8 against an EC2 API that is not ours. Method: the unmodified AWS SDK, moto over
// HTTP, a proxy that breaks answers by region; 1,200 instances in four regions, real time.
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CreateTagsCommand,
  EC2Client,
  RunInstancesCommand,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { systemClock, systemRandom } from "@carillon/kernel";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { CandidatesBook } from "./candidates-book.ts";
import { createEc2TagsSource } from "./ec2-tags-source.ts";
import { createPoller, type PollReport } from "./poller.ts";
import {
  type FaultProxy,
  findMoto,
  type Moto,
  type PlantedFault,
  startFaultProxy,
  startMoto,
} from "./test-moto.ts";

const AWS_REGIONS = {
  fra: "eu-central-1",
  lon: "eu-west-2",
  par: "eu-west-3",
  dub: "eu-west-1",
} as const;
type Region = keyof typeof AWS_REGIONS;
const REGIONS = Object.keys(AWS_REGIONS) as Region[];
const CREDENTIALS = { accessKeyId: "testing", secretAccessKey: "testing" };
const RESERVATIONS = 25;
const PAGE_SIZE = 10; // moto's pages count reservations: three of them
const INSTANCES_EACH = 12;
const PER_REGION = RESERVATIONS * INSTANCES_EACH;
const CLUSTER = "acme-prod";
const SET_UP_MAX_MS = 600_000; // moto takes seconds for a list of 300 on a busy machine
const POLL_EVERY_MS = 1_000;
const REQUEST_MAX_MS = 10_000; // a page of a busy machine takes seconds
const FIND_MAX_MS = 120_000; // for the same reason; the deadline itself is tested in sources.test.ts

const folder = mkdtempSync(join(tmpdir(), "carillon-discovery-"));
afterAll(() => rmSync(folder, { recursive: true }));
const motoCommand = findMoto();
let moto: Moto;
let proxy: FaultProxy;
const pollers: { stop(): void }[] = [];
const books: CandidatesBook[] = [];

const clientOf = (region: Region): EC2Client =>
  new EC2Client({
    region: AWS_REGIONS[region],
    endpoint: moto.endpoint,
    credentials: CREDENTIALS,
  });

async function runInstances(region: Region, tags: Record<string, string>, count: number) {
  const client = clientOf(region);
  const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
  const { Instances = [] } = await client.send(
    new RunInstancesCommand({
      ImageId: "ami-12c6146b",
      MinCount: count,
      MaxCount: count,
      TagSpecifications: [{ ResourceType: "instance", Tags }],
    }),
  );
  client.destroy();
  return Instances.map(({ InstanceId }) => InstanceId ?? "");
}

function sourceOf(region: Region, requestMaxMs: number) {
  return createEc2TagsSource({
    region,
    awsRegion: AWS_REGIONS[region],
    cluster: CLUSTER,
    role: "nats",
    addressKind: "private-ipv4",
    endpoint: proxy.endpoint,
    credentials: CREDENTIALS,
    pageSize: PAGE_SIZE,
    requestMaxMs,
  });
}

/** Pollers of all regions on one book; `next` resolves with a region's next poll that fits. */
async function polling(
  asked: readonly Region[] = REGIONS,
  { requestMaxMs } = { requestMaxMs: REQUEST_MAX_MS },
) {
  const onFault = (what: string, detail: string): never => {
    throw new Error(`${what}: ${detail}`);
  };
  const path = join(mkdtempSync(join(folder, "test-")), "candidates.json");
  if (existsSync(firstPath)) copyFileSync(firstPath, path); // each begins with the first answers
  const book = new CandidatesBook({
    path,
    cluster: CLUSTER,
    regions: REGIONS,
    clock: systemClock,
    onFault,
  });
  books.push(book);
  await book.load();
  let waiting: { fits: (report: PollReport) => boolean; resolve: (r: PollReport) => void }[] = [];
  const own = asked.map((region) =>
    createPoller({
      source: sourceOf(region, requestMaxMs),
      book,
      clock: systemClock,
      random: systemRandom,
      pollEveryMs: POLL_EVERY_MS,
      findMaxMs: FIND_MAX_MS,
      onPoll(report) {
        const met = waiting.filter(({ fits }) => fits(report));
        waiting = waiting.filter((one) => !met.includes(one));
        for (const { resolve } of met) resolve(report);
      },
      onCrash: (cause) => {
        throw cause;
      },
    }),
  );
  pollers.push(...own);
  return {
    path,
    book,
    start: (): void => own.forEach((poller) => poller.start()),
    idsOf: (region: Region): string[] => book.get(region).peers.map(({ id }) => id),
    next: (region: Region, fits: (report: PollReport) => boolean = () => true) =>
      new Promise<PollReport>((resolve) => {
        waiting.push({ fits: (report) => report.region === region && fits(report), resolve });
      }),
  };
}

const isFound = ({ outcome }: PollReport): boolean => outcome.kind === "found";
const isFailed = ({ outcome }: PollReport): boolean => outcome.kind === "failed";
const reasonOf = ({ outcome }: PollReport): string =>
  outcome.kind === "failed" ? outcome.reason : outcome.kind;

/** What each region has; what it had when everything was built (`firstPath` has those). */
const ids = new Map<Region, string[]>();
const firstIds = new Map<Region, string[]>();
const firstPath = join(folder, "first.json");
let first: Awaited<ReturnType<typeof polling>>;
let firstReports: PollReport[];

describe.skipIf(motoCommand === undefined)("EC2 by moto, 1,200 instances in four regions", () => {
  beforeAll(async () => {
    moto = await startMoto(motoCommand ?? "");
    proxy = await startFaultProxy(moto.endpoint);
    const tags = { "carillon:cluster": CLUSTER, "carillon:role": "nats" };
    for (const region of REGIONS) {
      const created: string[] = [];
      for (let n = 0; n < RESERVATIONS; n++)
        created.push(...(await runInstances(region, tags, INSTANCES_EACH)));
      ids.set(region, created.toSorted());
      await runInstances(region, { ...tags, "carillon:cluster": "acme-test" }, 3);
      await runInstances(region, { Name: "somebody else's" }, 3);
      firstIds.set(region, created.toSorted());
    }
    first = await polling();
    const firsts = REGIONS.map((region) => first.next(region, isFound));
    first.start();
    firstReports = await Promise.all(firsts);
    for (const poller of pollers.splice(0)) poller.stop();
    await first.book.flushed();
    copyFileSync(first.path, firstPath);
  }, SET_UP_MAX_MS);
  afterEach(async () => {
    for (const poller of pollers.splice(0)) poller.stop();
    await Promise.all(books.splice(0).map((book) => book.flushed()));
    for (const region of REGIONS) proxy.fault(AWS_REGIONS[region], undefined);
  });
  afterAll(async () => {
    await proxy?.stop();
    await moto?.stop();
  });

  test("C1, C8 — every page of every region, sorted, others' instances not among them", () => {
    const { book, idsOf } = first;
    expect(REGIONS.map(idsOf)).toEqual(REGIONS.map((region) => firstIds.get(region)));
    const pages = firstReports.map(({ outcome }) => outcome.kind === "found" && outcome.pagesCount);
    expect(pages).toEqual(Array(4).fill(3));
    const addresses = REGIONS.flatMap((region) => book.get(region).peers.map((p) => p.address));
    expect(addresses.filter((address) => !/^10\.\d+\.\d+\.\d+$/.test(address))).toEqual([]);
    expect(addresses).toHaveLength(4 * PER_REGION);
  });

  test(
    "C2, C5 — each region broken in its own way: nobody is lost, and the others are asked on",
    async () => {
      const { book, start, next, idsOf } = await polling();
      const rounds: Record<Region, [PlantedFault, string]>[] = [
        {
          fra: [{ kind: "throttle", page: 3 }, "throttled"],
          lon: [{ kind: "reset", page: 3 }, "network"],
          par: [{ kind: "truncated", page: 2 }, "malformed"],
          dub: [{ kind: "hang", page: 2 }, "timeout"],
        },
        {
          fra: [{ kind: "html" }, "server"],
          lon: [{ kind: "cut", page: 3 }, "network"],
          par: [{ kind: "throttle" }, "throttled"],
          dub: [{ kind: "html", page: 2 }, "server"],
        },
      ];
      for (const round of rounds) {
        const ends = REGIONS.map((region) => {
          proxy.fault(AWS_REGIONS[region], round[region][0]);
          // A poll under way ends with the fault of the round before.
          return next(region, (report) => reasonOf(report) === round[region][1]);
        });
        start(); // the second time it does nothing
        await Promise.all(ends);
        expect(REGIONS.map(idsOf)).toEqual(REGIONS.map((region) => firstIds.get(region)));
        expect(book.get("fra").failing).not.toBe(null);
        const heal = next("lon", isFound); // one heals while three are down
        proxy.fault(AWS_REGIONS.lon, undefined);
        await heal;
        expect(book.get("lon").failing).toBe(null);
        expect(book.get("par").failing).not.toBe(null);
      }
    },
    SET_UP_MAX_MS,
  );

  test(
    "C3 — an empty answer is held twice; when the region is back nobody has gone",
    async () => {
      const { book, start, next, idsOf } = await polling(["par"]);
      const isEmpty = ({ outcome }: PollReport): boolean =>
        outcome.kind === "found" && outcome.candidates.length === 0;
      const second = next("par", (report) => isEmpty(report) && report.record.equalCount === 2);
      proxy.fault(AWS_REGIONS.par, { kind: "empty" });
      start();
      const { decisions } = await second;
      proxy.fault(AWS_REGIONS.par, undefined);
      expect(new Set(decisions.map(({ verdict }) => verdict.kind))).toEqual(new Set(["held"]));
      expect(decisions).toHaveLength(PER_REGION);
      await next("par", (report) => isFound(report) && !isEmpty(report));
      expect(idsOf("par")).toEqual(ids.get("par"));
      expect(book.get("par").peers.every(({ missedCount }) => missedCount === 0)).toBe(true);
    },
    SET_UP_MAX_MS,
  );

  test(
    "C3 — an instance that is terminated leaves with the third answer, one that comes is there at once",
    async () => {
      const { start, next, idsOf } = await polling(["dub"]);
      const [gone = ""] = ids.get("dub") ?? [];
      const verdictOf = (report: PollReport): string | undefined =>
        report.decisions.find(({ peer }) => peer.id === gone)?.verdict.kind;
      const held = next("dub", (report) => verdictOf(report) === "held");
      const dropped = next("dub", (report) => verdictOf(report) === "dropped");
      const client = clientOf("dub");
      await client.send(new TerminateInstancesCommand({ InstanceIds: [gone] }));
      const [come = ""] = await runInstances("dub", { Name: "fra-d" }, 1);
      await client.send(
        new CreateTagsCommand({
          Resources: [come],
          Tags: [
            { Key: "carillon:cluster", Value: CLUSTER },
            { Key: "carillon:role", Value: "worker nats" },
          ],
        }),
      );
      client.destroy();
      const now = [...(ids.get("dub") ?? []).filter((id) => id !== gone), come].toSorted();
      ids.set("dub", now);
      start();
      await held;
      expect(idsOf("dub")).toContain(gone);
      const { decisions } = await dropped;
      expect(decisions.find(({ peer }) => peer.id === gone)?.verdict).toEqual({
        kind: "dropped",
        missedCount: 3,
      });
      expect(idsOf("dub")).toEqual(now);
    },
    SET_UP_MAX_MS,
  );

  test(
    "C2 — a cold start while the API is down has everybody from disk, before anything is asked",
    async () => {
      for (const region of REGIONS) proxy.fault(AWS_REGIONS[region], { kind: "hang" });
      // Nothing of it comes to moto: no page that is slow can be taken for one that hangs.
      const { book, start, next, idsOf } = await polling(REGIONS, { requestMaxMs: 1_000 });
      expect(REGIONS.map(idsOf)).toEqual(REGIONS.map((region) => firstIds.get(region)));
      const failures = REGIONS.map((region) => next(region, isFailed));
      start();
      expect((await Promise.all(failures)).map(reasonOf)).toEqual(Array(4).fill("timeout"));
      expect(REGIONS.map(idsOf)).toEqual(REGIONS.map((region) => firstIds.get(region)));
      expect(book.ageMs("fra")).toBeGreaterThan(0);
    },
    SET_UP_MAX_MS,
  );
});
