// Goal: AC1 to AC4, PD4. Method: a delivery node on a fake clock and a store in memory; what is counted is
// compared with what the same audience is expanded to.
import {
  type OwnerPlanRequest,
  policyRequestSchema,
  preferencesRequestSchema,
  type RegionAudience,
} from "@carillon/contracts";
import { Bitset, Fault } from "@carillon/kernel";
import { expect, test } from "vitest";
import { countAudience } from "./audience-count.ts";
import { notificationOf } from "./fake-ledger-store.ts";
import { Partition } from "./partition.ts";
import type { PolicyStore } from "./tenant-rules-book.ts";
import { start } from "./test-delivery.ts";

const asked = (audience: RegionAudience, more: Partial<OwnerPlanRequest> = {}) => ({
  home: "fra",
  tenantId: "acme",
  audience,
  exclude: [],
  partitions: [[0, 0]] as [number, number][],
  ...more,
});
const NOTHING = { partitions: [], targeted: 0, optedOut: 0, locales: [] };
const broadcast = { kind: "broadcast" } as const;

test("AC1 — what is counted is what the same audience is expanded to", async () => {
  const { clock, store, node, poke } = start();
  const of = (locale: string | null, site: string, ...groups: string[]) => ({
    locale,
    attributes: { site },
    groups,
  });
  store.addRecipient(0, "ada", of("de", "Linz", "wardens"));
  store.addRecipient(0, "ben", of("de", "Graz", "wardens"));
  store.addRecipient(0, "cyd", of(null, "Linz"));
  store.addRecipient(0, "dan", of("en", "Linz", "wardens"));
  store.addRecipient(0, "eve", { ...of("en", "Linz", "wardens"), tenantId: "other" });
  await clock.advance(0);
  const linz = { key: "site", cmp: "eq", val: "Linz" } as const;
  const wardens = { kind: "group", tag: "wardens" } as const;
  const audiences: readonly (readonly [RegionAudience, string[]])[] = [
    [broadcast, []],
    [wardens, ["dan", "nobody"]],
    [{ kind: "filter", filter: linz }, []],
    [{ kind: "except", of: wardens, tags: [], filters: [linz] }, []],
    [{ kind: "recipients", recipientIds: ["ada", "nobody", "eve"] }, []],
  ];
  const counted: unknown[] = [];
  for (const [offset, [audience, exclude]] of audiences.entries()) {
    const id = `00000000-0000-7000-8000-00000000000${offset}`;
    const { targeted, locales, partitions } = await node.count(asked(audience, { exclude }));
    expect(partitions).toEqual([0]);
    counted.push([targeted, ...locales]);
    poke(store.plan(0, notificationOf({ id, exclude }), audience));
    await clock.advance(300);
    expect(store.setOf(0, offset + 1, "targeted")).toHaveLength(targeted);
  }
  expect(counted).toEqual([
    [4, ["de", 2], [null, 1], ["en", 1]],
    [2, ["de", 2]],
    [3, ["de", 1], [null, 1], ["en", 1]],
    [1, ["de", 1]],
    [1, ["de", 1]],
  ]);
});

test("AC1 — who was stored before it was asked is counted, though no poke told of them", async () => {
  const { clock, store, node } = start();
  store.addRecipient(0, "ada");
  await clock.advance(0);
  store.addRecipient(0, "late");
  const now = node.count(asked(broadcast, { partitions: [[0, 2]] }));
  await clock.advance(0);
  expect(await now).toMatchObject({ partitions: [0], targeted: 2 });
});

test("IN3, AU4 — a poke brings a change of members into the index at once, a lost one the sweep does", async () => {
  const { clock, store, node } = start();
  store.addRecipient(0, "ada");
  await clock.advance(0);
  const [ada] = store.directory.get(0)!;
  const wardens = async () => {
    const counted = node.count(asked({ kind: "group", tag: "wardens" })); // as it is in memory
    await clock.advance(0);
    return (await counted).targeted;
  };
  store.directory.set(0, [{ ...ada!, groups: ["wardens"], version: 2 }]);
  expect(await wardens()).toBe(0);
  node.onPoke({ home: "fra", items: [], directory: [[0, 2]] });
  await clock.advance(0);
  expect(await wardens()).toBe(1);
  store.directory.set(0, [{ ...ada!, groups: [], version: 3 }]);
  await clock.advance(2_100);
  expect(await wardens()).toBe(0);
});

test("AC2 — what is not served here, or cannot be read now, is left out", async () => {
  const { clock, store, node } = start();
  store.addRecipient(0, "ada");
  await clock.advance(0);
  const elsewhere = asked(broadcast, {
    partitions: [
      [0, 1],
      [7, 1],
    ],
  });
  expect(await node.count(elsewhere)).toMatchObject({ partitions: [0], targeted: 1 });
  const otherHome = asked(broadcast, { home: "lon" });
  expect(await node.count(otherHome)).toEqual(NOTHING);
  store.addRecipient(0, "ben");
  store.failuresLeft = 1;
  const whileAway = await node.count(asked(broadcast, { partitions: [[0, 2]] }));
  expect(whileAway).toEqual(NOTHING);
  node.lose([0]);
  expect(await node.count(asked(broadcast))).toMatchObject({ partitions: [] });
});

const without = (...categories: string[]) =>
  preferencesRequestSchema.parse({
    categories: Object.fromEntries(categories.map((name) => [name, { socket: false }])),
  });
/** A register in memory: `version` 0 is none, and each later one names `mandatory`. */
function registerOf(mandatory: string[]) {
  const register = { version: 1, isDown: false };
  const policies: PolicyStore = {
    async findChanged(known) {
      if (register.isDown) throw new Fault("down", { code: "unavailable", isRetryable: true });
      if (known.some(([, atMs]) => atMs === register.version)) return [];
      const mandatoryCategories = register.version > 1 ? mandatory : [];
      const policy = policyRequestSchema.parse({ mandatoryCategories });
      const record = { policy, changedAtMs: register.version, changedIn: "fra" };
      return [{ tenantId: "acme", record }];
    },
    readRecent: async () => [],
  };
  return { register, policies };
}

test("AC4, PD4 — counted as opted out is whom the same notification is held back from when it is sent", async () => {
  const { register, policies } = registerOf(["safety"]);
  register.version = 2;
  const { clock, store, node, poke } = start({ policies });
  store.addRecipient(0, "ada", { preferences: without("news") });
  store.addRecipient(0, "ben", { preferences: without("news", "safety") });
  store.addRecipient(0, "cyd");
  const onPhone = preferencesRequestSchema.parse({ categories: { news: { fcm: false } } });
  store.addRecipient(0, "dan", { preferences: onPhone }); // wants it on the channel that there is
  store.addRecipient(0, "eve", { preferences: without("news"), tenantId: "other" });
  await clock.advance(0);
  const counted: unknown[] = [];
  for (const [n, more] of (
    [
      { category: "news" },
      { category: "safety" },
      { category: "news", priority: "critical" },
      {},
      { category: "constructor" }, // a text of the caller's
    ] as const
  ).entries()) {
    const id = `00000000-0000-7000-8000-00000000001${n}`;
    const { targeted, optedOut } = await node.count(asked(broadcast, more));
    counted.push([targeted, optedOut]);
    poke(store.plan(0, notificationOf({ id, ...more }), broadcast));
    await clock.advance(6_000); // grace and flush
    expect(store.setOf(0, n + 1, "optedOut")).toHaveLength(optedOut!);
    expect(store.setOf(0, n + 1, "targeted")).toHaveLength(targeted);
  }
  expect(counted).toEqual([
    [4, 2],
    [4, 0],
    [4, 0],
    [4, 0],
    [4, 0],
  ]);
});

test("AC4, AC2 — counted by a policy as new as was asked for; while it cannot be read nothing is counted", async () => {
  const { register, policies } = registerOf(["news"]);
  const { clock, store, node, poke } = start({ policies, limits: { sweepEveryMs: 60_000 } });
  store.addRecipient(0, "ada", { preferences: without("news") });
  await clock.advance(0);
  const news = { category: "news" };
  expect(await node.count(asked(broadcast, news))).toMatchObject({ targeted: 1, optedOut: 1 });
  register.version = 2; // mandatory from now on; no sweep has told
  register.isDown = true;
  const newer = asked(broadcast, { ...news, policyVersion: [2, "fra"] });
  expect(await node.count(newer)).toEqual(NOTHING);
  register.isDown = false;
  expect(await node.count(newer)).toMatchObject({ targeted: 1, optedOut: 0 });
  poke(store.plan(0, notificationOf(news), broadcast));
  await clock.advance(6_000);
  expect(store.setOf(0, 1, "optedOut")).toEqual([]);
  const unknown = asked(broadcast, { ...news, policyVersion: [2, "lon"] }); // not told here yet
  expect(await node.count(unknown)).toEqual(NOTHING);
});

test("AC3 — after each slice the thread is left to others", async () => {
  let nowMs = 0;
  const turnsAtMs: number[] = [];
  const options = { epoch: 1, ledgerEpoch: "e1", knownOffset: 0, graceEndsAtMs: 0, tailMax: 1 };
  const { node } = start();
  node.stop();
  await countAudience(asked(broadcast, { partitions: [0, 1, 2, 3, 4].map((n) => [n, 0]) }), {
    clock: { monotonicMs: () => nowMs } as Parameters<typeof countAudience>[1]["clock"],
    sliceMs: 4,
    partition(number) {
      nowMs += 3; // what one takes
      return new Partition(
        { ...options, partition: number, tailMaxBytes: 1, ownRowsMax: 64 },
        () => ({}) as Partition["table"],
      );
    },
    readUnread: async () => new Bitset(),
    refreshDirectory: () => Promise.resolve(),
    rules: { isAsNewAs: () => Promise.resolve(true) },
    policy: { optedOutIn: () => 0 },
    laterTurn: async () => void turnsAtMs.push(nowMs),
    onFault: () => undefined,
  });
  expect(turnsAtMs).toEqual([6, 12]);
});
