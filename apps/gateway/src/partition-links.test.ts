// Goal: GW2–GW4 of partition-links.ts, example by example. Method: plain calls, no bus.
import type { Beat } from "@carillon/contracts";
import { describe, expect, test } from "vitest";
import {
  isAccepted,
  type LinkMember,
  NOT_SYNCED,
  type OpenBatch,
  PartitionLinks,
} from "./partition-links.ts";

const ME = "gateway-1";

function member(sid: number, partition = 7): LinkMember {
  return { sid, home: "fra", partition, link: null, syncedSeq: NOT_SYNCED, isOpening: false };
}

function beatOf(memberId: string, told: { owned?: [number, number][]; seq?: number } = {}): Beat {
  const links: Record<string, number> = told.seq === undefined ? {} : { [ME]: told.seq };
  const owned = { fra: told.owned ?? [[7, 1] as [number, number]] };
  return { memberId, region: "fra", roles: ["worker"], isDraining: false, build: "", owned, links };
}

function start() {
  const links = new PartitionLinks<LinkMember>(ME);
  const open = (sids: LinkMember[]): OpenBatch<LinkMember> => {
    for (const one of sids) if (one.link === null) links.join(one);
    const batch = links.nextBatch(links.get("fra", sids[0]!.partition)!, 500);
    if (batch === null) throw new Error("nothing waits");
    return batch;
  };
  const sync = (one: LinkMember, ownerId: string, seq: number) =>
    links.settle(open([one]), { ownerId, seq }, [true]);
  return { links, open, sync };
}
const keys = (found: readonly { key: string }[]): string[] => found.map(({ key }) => key);

test("GW2 — only the owner that opened the session, and only what it sent after that", () => {
  const { sync } = start();
  const anna = member(1);
  expect(isAccepted(anna, "w1", 1)).toBe(false);
  expect(sync(anna, "w1", 4)).toBe("synced");
  expect([isAccepted(anna, "w1", 4), isAccepted(anna, "w1", 5), isAccepted(anna, "w2", 5)]).toEqual(
    [false, true, false],
  );
});

test("GW3 — a gap makes every partition of that owner unsynced, and no other's", () => {
  const { links, sync } = start();
  const [a, b, c] = [member(1, 7), member(2, 8), member(3, 9)];
  sync(a, "w1", 0);
  sync(b, "w1", 0);
  sync(c, "w2", 0);
  expect(keys(links.observe("w1", 1))).toEqual([]);
  expect(keys(links.observe("w1", 3))).toEqual(["fra/7", "fra/8"]);
  expect([isAccepted(a, "w1", 3), isAccepted(b, "w1", 3), isAccepted(c, "w2", 1)]).toEqual([
    false,
    false,
    true,
  ]);
});

test("GW3 — the first delivery after the first answer may be late, but not too new", () => {
  const late = start();
  late.sync(member(1), "w1", 5);
  expect(keys(late.links.observe("w1", 4))).toEqual([]);
  expect(keys(late.links.observe("w1", 5))).toEqual([]);
  expect(keys(late.links.observe("w1", 6))).toEqual([]);
  const lost = start();
  lost.sync(member(1), "w1", 5);
  expect(keys(lost.links.observe("w1", 7))).toEqual(["fra/7"]);
});

test("GW3 — answers that overtake each other do not hide a delivery between them", () => {
  const { links, open } = start();
  const [a, b] = [member(1), member(2)];
  const first = open([a]);
  const second = open([b]);
  links.settle(second, { ownerId: "w1", seq: 6 }, [true]);
  links.settle(first, { ownerId: "w1", seq: 5 }, [true]);
  expect(keys(links.observe("w1", 7))).toEqual(["fra/7"]); // 6 was for a, and never came
});

test("GW4 — an answer older than a gap is not used, all of it waits again", () => {
  const { links, open } = start();
  const anna = member(1);
  const batch = open([anna]);
  links.observe("w1", 3);
  links.observe("w1", 5);
  expect(links.settle(batch, { ownerId: "w1", seq: 3 }, [true])).toBe("stale");
  expect(links.settle(open([anna]), { ownerId: "w1", seq: 5 }, [true])).toBe("synced");
});

test("GW4, D3 — an answer is not used when a delivery after it was overtaken by the next one", () => {
  const { links, open } = start();
  const anna = member(1);
  links.observe("w1", 4);
  const batch = open([anna]); // answered after 4: 5 and 6 hold what she has missed
  links.observe("w1", 6);
  links.observe("w1", 5); // both are held for her, in this order
  expect(links.settle(batch, { ownerId: "w1", seq: 4 }, [true])).toBe("stale");
  expect(links.settle(open([anna]), { ownerId: "w1", seq: 6 }, [true])).toBe("synced");
  expect(keys(links.observe("w1", 7))).toEqual([]);
  expect(isAccepted(anna, "w1", 7)).toBe(true);
});

test("GW3 — an owner that numbers from the beginning again is followed", () => {
  const { links, sync } = start();
  const anna = member(1);
  sync(anna, "w1", 7);
  links.observe("w1", 8);
  expect(keys(links.observe("w1", 1))).toEqual(["fra/7"]);
  expect(sync(member(2), "w1", 1)).toBe("synced");
  expect(keys(links.observe("w1", 2))).toEqual([]);
});

test("GW4 — an answer for a link that became unsynced meanwhile is not used", () => {
  const { links, open, sync } = start();
  const [a, b] = [member(1), member(2)];
  sync(a, "w1", 0);
  const batch = open([b]);
  links.onReconnected();
  expect(links.settle(batch, { ownerId: "w1", seq: 9 }, [true])).toBe("stale");
  expect(links.nextBatch(links.get("fra", 7)!, 500)?.members.map(({ sid }) => sid)).toEqual([1, 2]);
});

test("GW4 — a session is in one request at a time; a refused one waits again", () => {
  const { links, open } = start();
  const [a, b] = [member(1), member(2)];
  links.join(a);
  const batch = open([b]);
  expect(batch.members.map(({ sid }) => sid)).toEqual([1, 2]);
  expect(links.nextBatch(batch.link, 500)).toBe(null);
  expect(links.settle(batch, { ownerId: "w1", seq: 0 }, [true, false])).toBe("synced");
  expect(links.nextBatch(batch.link, 500)?.members.map(({ sid }) => sid)).toEqual([2]);
});

test("GW4 — a session that left while it was opened stays away", () => {
  const { links, open } = start();
  const [a, b] = [member(1), member(2)];
  links.join(a);
  const batch = open([b]);
  links.leave(a);
  links.settle(batch, { ownerId: "w1", seq: 0 }, [true, true]);
  expect([a.syncedSeq, b.syncedSeq]).toEqual([NOT_SYNCED, 0]);
  links.leave(b);
  expect(links.size).toBe(0);
});

describe("GW3 — beats", () => {
  test("more was sent than was heard: unsynced, and the count begins anew", () => {
    const { links, sync } = start();
    const anna = member(1);
    sync(anna, "w1", 2);
    expect(keys(links.onBeat(beatOf("w1", { seq: 2 })).unsynced)).toEqual([]);
    expect(keys(links.onBeat(beatOf("w1", { seq: 3 })).unsynced)).toEqual(["fra/7"]);
    sync(anna, "w1", 3);
    expect(keys(links.observe("w1", 4))).toEqual([]);
    expect(isAccepted(anna, "w1", 4)).toBe(true);
  });

  test("a beat older than the deliveries is no loss; the same twice is", () => {
    const { links, sync } = start();
    sync(member(1), "w1", 0);
    links.observe("w1", 1);
    links.observe("w1", 2);
    expect(keys(links.onBeat(beatOf("w1", { seq: 1 })).unsynced)).toEqual([]);
    expect(keys(links.onBeat(beatOf("w1", { seq: 1 })).unsynced)).toEqual(["fra/7"]);
  });

  test("absent from the beat: once may be old news, twice is forgotten", () => {
    const { links, sync } = start();
    sync(member(1), "w1", 0);
    expect(keys(links.onBeat(beatOf("w1")).unsynced)).toEqual([]);
    expect(keys(links.onBeat(beatOf("w1")).unsynced)).toEqual(["fra/7"]);
  });

  test("another owner with a higher epoch: unsynced; a stale one with a lower: not", () => {
    const { links, sync } = start();
    sync(member(1), "w1", 0);
    links.onBeat(beatOf("w1", { seq: 0, owned: [[7, 5]] }));
    expect(keys(links.onBeat(beatOf("w2", { owned: [[7, 4]] })).unsynced)).toEqual([]);
    expect(keys(links.onBeat(beatOf("w2", { owned: [[7, 6]] })).unsynced)).toEqual(["fra/7"]);
  });

  test("the same owner under another epoch, or without the partition: unsynced", () => {
    const { links, sync } = start();
    const anna = member(1);
    sync(anna, "w1", 0);
    links.onBeat(beatOf("w1", { seq: 0, owned: [[7, 5]] }));
    expect(keys(links.onBeat(beatOf("w1", { seq: 0, owned: [[7, 6]] })).unsynced)).toEqual([
      "fra/7",
    ]);
    sync(anna, "w1", 0);
    expect(keys(links.onBeat(beatOf("w1", { seq: 0, owned: [] })).unsynced)).toEqual(["fra/7"]);
  });

  test("an owner that was opened before its beat told of the partition is believed", () => {
    const { links, sync } = start();
    sync(member(1), "w1", 0);
    expect(keys(links.onBeat(beatOf("w1", { seq: 0, owned: [] })).unsynced)).toEqual([]);
    expect(keys(links.onBeat(beatOf("w1", { seq: 0 })).unsynced)).toEqual([]);
  });

  test("an answer from before the owner lost the partition is noticed by its second beat", () => {
    const { links, open } = start(); // found by partition-links.prop.test.ts
    const batch = open([member(1)]);
    links.onBeat(beatOf("w2", { owned: [[7, 2]] }));
    links.settle(batch, { ownerId: "w1", seq: 0 }, [true]);
    expect(keys(links.onBeat(beatOf("w1", { seq: 0, owned: [] })).unsynced)).toEqual([]);
    expect(keys(links.onBeat(beatOf("w1", { seq: 0, owned: [] })).unsynced)).toEqual(["fra/7"]);
  });

  test("an answer that tells its epoch: gone and back again is noticed by one beat", () => {
    const { links, open } = start(); // found by partition-links.prop.test.ts
    links.settle(open([member(1)]), { ownerId: "w1", seq: 0, ownershipEpoch: 1 }, [true]);
    const { unsynced } = links.onBeat(beatOf("w1", { seq: 0, owned: [[7, 3]] }));
    expect(keys(unsynced)).toEqual(["fra/7"]);
  });

  test("an answer under an older epoch than a beat has told is not used", () => {
    const { links, open } = start();
    const batch = open([member(1)]);
    links.onBeat(beatOf("w2", { owned: [[7, 2]] }));
    const answer = { ownerId: "w1", seq: 0, ownershipEpoch: 1 };
    expect(links.settle(batch, answer, [true])).toBe("refused");
    const newer = { ownerId: "w1", seq: 0, ownershipEpoch: 3 };
    expect(links.settle(open([member(2)]), newer, [true, true])).toBe("synced");
    expect(keys(links.onBeat(beatOf("w2", { owned: [[7, 2]] })).unsynced)).toEqual([]);
  });

  test("a new owner for those who wait is ready at once", () => {
    const { links } = start();
    links.join(member(1));
    const { ready, unsynced } = links.onBeat(beatOf("w1"));
    expect([keys(ready), keys(unsynced)]).toEqual([["fra/7"], []]);
  });

  test("a lost owner, a reconnect: unsynced", () => {
    const { links, sync } = start();
    const [a, b] = [member(1, 7), member(2, 8)];
    sync(a, "w1", 0);
    sync(b, "w2", 0);
    expect(keys(links.onMemberLost("w1"))).toEqual(["fra/7"]);
    expect(links.unsyncedCount).toBe(1);
    expect(keys(links.onReconnected())).toEqual(["fra/7", "fra/8"]);
  });
});

test("GW2 — an answer of another owner takes the partition over from the old one", () => {
  const { links, sync } = start();
  const [a, b] = [member(1), member(2)];
  sync(a, "w1", 3);
  sync(b, "w2", 0);
  expect([isAccepted(a, "w1", 4), isAccepted(b, "w2", 1), isAccepted(a, "w2", 1)]).toEqual([
    false,
    true,
    false,
  ]);
  expect(links.nextBatch(links.get("fra", 7)!, 500)?.members).toEqual([a]);
});
