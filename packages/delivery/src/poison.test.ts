// Goal: S41, D7: a row that crashes whoever handles it fails, and costs nobody else anything. Method: a whole node
// on a fake clock; what is asked of a planted row, or of a planted recipient, throws.
import { expect, test } from "vitest";
import { FakeLedgerStore, notificationOf } from "./fake-ledger-store.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import { GATEWAY, start } from "./test-delivery.ts";
import { ALLOW } from "./verdict.ts";

const PEOPLE = Array.from({ length: 100 }, (_, n) => n);
const NEIGHBOUR = 100;
type Row = ReturnType<FakeLedgerStore["plan"]>;

function begin(isPoison: (entry: LedgerEntry, index: number) => boolean) {
  const store = new FakeLedgerStore();
  for (const n of [...PEOPLE, NEIGHBOUR]) store.addRecipient(0, `p${n}`);
  let lastId = 0;
  const plan = (members: readonly number[], category?: string): Row => {
    const id = `00000000-0000-7000-8000-${String(++lastId).padStart(12, "0")}`;
    const notification = notificationOf({ id, ...(category !== undefined && { category }) });
    return store.plan(0, notification, { members: [...members] });
  };
  const harness = start({
    store,
    verdictOf(_, index, entry) {
      if (isPoison(entry, index)) throw new Error("planted");
      return ALLOW;
    },
  });
  return { ...harness, plan };
}

const isOfPoison = ({ envelope }: LedgerEntry): boolean =>
  envelope.notification.category === "poison";

test("S41, D7, D1 — a row for a hundred crashes five of them, fails for all, and pauses nothing", async () => {
  const { clock, store, events, crashedKeys, plan, poke, open, taken } = begin(isOfPoison);
  await clock.advance(0);
  await open({ recipientId: `p${NEIGHBOUR}`, sid: 9 });
  for (const n of PEOPLE.slice(50)) await open({ recipientId: `p${n}`, sid: 1_000 + n });
  for (let round = 1; round <= 6; round++) {
    const poison = plan(PEOPLE, "poison");
    const neighbours = plan([NEIGHBOUR]);
    poke(poison, neighbours);
    await clock.advance(0);
    expect(taken()).toEqual([`${neighbours.offset}→9`]);
    await clock.advance(1_000);
    expect(crashedKeys).toHaveLength(5 * round); // and none of them again
    expect(store.setOf(0, poison.offset, "failed")).toEqual(PEOPLE);
  }
  const healthy = plan(PEOPLE);
  poke(healthy);
  await clock.advance(0);
  const sids = PEOPLE.slice(50).map((n) => 1_000 + n);
  expect(taken()).toEqual([`${healthy.offset}→${sids.join()}`]); // nobody is in quarantine
  expect(events.filter((event) => event === `noDevice ${healthy.offset}`)).toHaveLength(50);
});

test("S41, D1 — a row for few is tried three times by each, with a session or without, and fails", async () => {
  const { clock, store, crashedKeys, plan, poke, open } = begin(isOfPoison);
  await clock.advance(0);
  await open({ recipientId: "p0", sid: 7 });
  poke(plan([0, 1], "poison"));
  await clock.advance(2_000);
  expect(crashedKeys.toSorted()).toEqual(["acme/p0", "acme/p0", "acme/p1", "acme/p1"]);
  expect(store.setOf(0, 1, "failed")).toEqual([0, 1]);
});

test("S41, D7 — two who crash on everything fail nothing for the others", async () => {
  const { clock, store, plan, poke } = begin((_, index) => index < 2);
  await clock.advance(0);
  const rows = [plan(PEOPLE), plan(PEOPLE), plan(PEOPLE)];
  poke(...rows);
  await clock.advance(5_000);
  for (const { offset } of rows)
    expect(store.setOf(0, offset, "noDevice")).toEqual(PEOPLE.slice(2));
});

test("S41, D7 — who opens a session while such a row is open holds up nobody who opens with him", async () => {
  const { clock, node, store, plan, poke } = begin(isOfPoison);
  await clock.advance(0);
  poke(plan([0, 1], "poison"));
  await clock.advance(10); // between two tries
  const sessions = [0, NEIGHBOUR].map((n) => ({
    ...{ tenantId: "acme", position: null, ackedOffset: 0, device: "" },
    recipientId: `p${n}`,
    sid: n + 1,
  }));
  const kinds: string[] = [];
  await node.open(0, { gatewayId: GATEWAY, sessions }, ({ results }) => {
    kinds.push(...results.map(({ kind }) => kind));
  });
  expect(kinds).toEqual(["opened", "opened"]);
  await clock.advance(2_000);
  expect(store.setOf(0, 1, "failed")).toEqual([0, 1]);
});

test("S41, D7, SD1 — a row that cannot be encoded is left out of what a session has missed, and of nobody else's", async () => {
  const { clock, node, store, poke, taken, events } = begin(() => false);
  await clock.advance(0);
  const choking = {
    get title(): string {
      throw new Error("planted");
    },
  };
  const row = (members: number[], at: number, content: object) => {
    const id = `00000000-0000-7000-8000-00000000009${at}`;
    const notification = notificationOf({ id, content: { en: content as { title: string } } });
    return store.plan(0, notification, { members });
  };
  poke(row([0], 1, choking), row([0, 1], 2, { title: "all is well" }));
  await clock.advance(500);
  const sessions = [0, 1].map((n) => ({
    ...{ tenantId: "acme", position: { epoch: "e1", offset: 0 }, ackedOffset: 0, device: "" },
    recipientId: `p${n}`,
    sid: n + 1,
  }));
  const missed: unknown[] = [];
  await node.open(0, { gatewayId: GATEWAY, sessions }, ({ results }) => {
    missed.push(...results.map((result) => result.kind === "opened" && result.missed));
  });
  await clock.advance(0);
  expect(missed).toEqual([1, 1]);
  expect(taken()).toEqual(["2→1,2"]);
  expect(events.filter((event) => event.startsWith("fault"))).toEqual([]);
});
