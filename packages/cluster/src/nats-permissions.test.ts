// Goal: NP1–NP3 as a table that a person can read; a change of rights shows here.
import { subjects } from "@carillon/contracts";
import { expect, test } from "vitest";
import { natsInboxPrefixOf, natsPermissionsOf, natsUsersOf } from "./nats-permissions.ts";

const FRA = { region: "fra" };
const ASKED = [
  ...["claim", "directory", "explain", "groups", "homes", "inbox", "locate", "members", "notify"],
  ...["plan", "preferences", "recipient", "recipients", "status", "templates"],
];

test("NP1, NP2 — ingest: asks every region, answers for its home, pokes owners", () => {
  expect(natsPermissionsOf(["ingest"], FRA)).toEqual({
    publish: [
      "_INBOX.*.ingest.>",
      "_INBOX.*.node.>",
      "_INBOX.*.worker.>",
      "beat-near.fra.*",
      "beat.fra.*",
      "home.*.at.*",
      "member.*.*.admin",
      "member.*.*.plan",
      "member.*.*.poke",
      "member.*.*.route",
      "place.*.homes",
      ...ASKED.map((what) => `region.*.${what}`),
    ],
    subscribe: [
      "_INBOX.fra.ingest.>",
      "beat-near.fra.*",
      "beat.*.*",
      "home.fra.at.*",
      "member.fra.*.admin",
      "place.fra.homes",
      "region.fra.acked",
      ...ASKED.map((what) => `region.fra.${what}`),
    ],
  });
});

test("NP1, NP2 — worker: hears pokes and sessions of its home, delivers to any gateway", () => {
  expect(natsPermissionsOf(["worker"], FRA)).toEqual({
    publish: [
      "_INBOX.*.gateway.>",
      "_INBOX.*.ingest.>",
      "_INBOX.*.node.>",
      "_INBOX.*.worker.>",
      "beat-near.fra.*",
      "beat.fra.*",
      "member.*.*.deliver",
      "member.*.*.route",
      "place.*.homes",
      "region.*.acked",
    ],
    subscribe: [
      "_INBOX.fra.worker.>",
      "beat-near.fra.*",
      "beat.*.*",
      "home.fra.at.*",
      "home.fra.part.*",
      "member.fra.*.admin",
      "member.fra.*.plan",
      "member.fra.*.poke",
      "member.fra.*.route",
      "place.fra.homes",
    ],
  });
});

test("NP1, NP2 — gateway: speaks to owners, hears what is delivered in its region", () => {
  expect(natsPermissionsOf(["gateway"], FRA)).toEqual({
    publish: [
      "_INBOX.*.ingest.>",
      "_INBOX.*.node.>",
      "beat-near.fra.*",
      "beat.fra.*",
      "home.*.part.*",
    ],
    subscribe: [
      "_INBOX.fra.gateway.>",
      "beat-near.fra.*",
      "beat.*.*",
      "member.fra.*.admin",
      "member.fra.*.deliver",
    ],
  });
});

test("NP1 — agent: hears who is there and says nothing", () => {
  expect(natsPermissionsOf(["agent"], FRA)).toEqual({
    publish: [],
    subscribe: ["_INBOX.fra.agent.>", "beat-near.fra.*", "beat.*.*"],
  });
});

test("NP1 — a node with several roles has their rights together, and an inbox of its own", () => {
  const [ingest, worker, node] = [["ingest"], ["worker"], ["ingest", "worker"]].map((roles) =>
    natsPermissionsOf(roles as ("ingest" | "worker")[], FRA),
  );
  const both = new Set([...ingest!.publish, ...worker!.publish]);
  expect(new Set(node!.publish)).toEqual(both);
  expect(node!.subscribe).toContain("_INBOX.fra.node.>");
  expect(node!.subscribe.filter((subject) => subject.startsWith("_INBOX"))).toHaveLength(1);
  expect(natsInboxPrefixOf(["gateway"], "lon")).toBe("_INBOX.lon.gateway");
  expect(() => natsPermissionsOf([], FRA)).toThrow("NP1");
});

test("NP2 — a region that may take another's home over is asked and heard for both", () => {
  const place = { region: "lon", homes: ["lon", "fra"] };
  const worker = natsPermissionsOf(["worker"], place);
  expect(worker.subscribe.filter((subject) => subject.startsWith("home."))).toEqual([
    "home.fra.at.*",
    "home.fra.part.*",
    "home.lon.at.*",
    "home.lon.part.*",
  ]);
  expect(worker.subscribe).toContain("member.lon.*.poke");
  expect(worker.subscribe).not.toContain("member.fra.*.poke");
  expect(worker.publish).toContain("beat.lon.*");
  expect(natsPermissionsOf(["ingest"], place).subscribe).toContain("region.fra.notify");
});

test("NP2 — the second token of every subject is its region, its home or its member's region", () => {
  const all = [
    subjects.regionNotify("fra"),
    subjects.beat("fra", "fra-worker-1"),
    subjects.memberPoke("fra-worker-1"),
    subjects.memberDeliver("fra-gateway-1"),
    subjects.memberAdmin("fra-node-1"),
    subjects.memberRoute("fra-worker-1"),
    subjects.partitionSessions("fra", 17),
  ];
  expect(all.map((subject) => subject.split(".")[1])).toEqual(all.map(() => "fra"));
});

test("NP1 — users: one for each key, several keys for one name", () => {
  const users = natsUsersOf({ worker: ["UA", "UB"], node: ["UC"] }, FRA);
  expect(users.map((user) => ("nkey" in user ? user.nkey : ""))).toEqual(["UA", "UB", "UC"]);
  expect(users[0]?.permissions).toEqual(natsPermissionsOf(["worker"], FRA));
  expect(users[2]?.permissions).toEqual(natsPermissionsOf(["ingest", "worker", "gateway"], FRA));
});
