// Goal: D1 for chains (ADR 0030): who does not acknowledge is escalated step by step, to a person of another region,
// too, over owners that die; who acknowledges ends it, wherever he is. Method: real nodes of two regions, real
// sockets, the shortest deadlines.
import type { RecipientExplanation } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";
import { startTestCluster, type TestCluster } from "./cluster.ts";

let system: TestCluster;
const fra = () => system.api("fra");

beforeAll(async () => {
  system = await startTestCluster(["fra", "lon"]);
  await fra().register("boss", "lon");
  for (const name of ["ada", "bob", "cyd"])
    await fra().register(name, "fra", { managerId: "boss" });
  await fra().register("dan", "fra");
  await until("fra knows the boss's home", 20_000, async () => {
    const homes = await system.store("fra").directory.homesOf(system.cluster.tenantId, ["boss"]);
    return homes.get("boss") === "lon" || undefined;
  });
});
afterAll(() => system?.stop());

/** What waits for acknowledgements in the region's database. */
async function chainsIn(region: string): Promise<unknown[]> {
  const { default: postgres } = await import("postgres"); // loaded mended by @carillon/store (ADR 0018)
  const sql = postgres(system.cluster.storeUrl(region), { max: 1, onnotice: () => undefined });
  try {
    return [...(await sql`select key, payload, buried_reason from timer where kind = 'flow'`)];
  } finally {
    await sql.end({ timeout: 5 });
  }
}

const STEPS = [
  { to: "recipient", content: { en: { title: "please acknowledge" } } },
  { to: { attribute: "managerId" }, content: { en: { title: "not acknowledged" } } },
  { to: "recipient", content: { en: { title: "last time" } } },
];
const explained = async (id: string, recipientId: string) =>
  (
    await fra().call<RecipientExplanation>(
      "GET",
      `/v1/notifications/${id}/recipients/${recipientId}`,
    )
  ).body;
const kindsOf = ({ timeline }: RecipientExplanation) =>
  timeline.flatMap(({ kind, code }) => (/escalat/i.test(kind) ? `${kind} ${code}` : []));

test("D1, FL3, FL4 — escalated to a manager in another region, its owner killed between steps: each step once", async () => {
  const [ada, bob, cyd, dan, boss] = await Promise.all([
    system.connect("ada", { region: "fra" }),
    system.connect("bob", { region: "fra" }),
    system.connect("cyd", { region: "fra" }),
    system.connect("dan", { region: "fra" }),
    system.connect("boss", { region: "lon", issuer: "fra" }),
  ]);
  const id = await fra().post({ recipients: ["ada", "bob", "cyd", "dan"] }, "evacuate", {
    priority: "critical",
    requireAck: { deadlineSeconds: 10, escalation: STEPS },
  });
  const startedAtMs = performance.now();
  for (const log of [ada, bob, cyd, dan]) await log.has(1);
  expect(ada.seen[0]?.requireAck).toEqual({ deadlineSeconds: 10 });
  const acknowledge = (log: typeof ada, at: number) => log.inbox.acknowledge(log.seen[at]!.offset);
  acknowledge(bob, 0); // in time
  for (const log of [ada, cyd, dan]) await log.has(2);
  expect(ada.seen[1]).toMatchObject({
    title: "please acknowledge",
    escalation: { of: id, recipientId: "ada", step: 1 },
  });
  acknowledge(cyd, 1); // what reminded him
  const reminder = cyd.seen[1]!.id;
  await until("that is in the ledger", 8_000, async () =>
    (await fra().status(reminder)).counts.acknowledged === 1 ? true : undefined,
  );

  // Between two steps: the next owner has the timer, and nothing else.
  system.cluster.killNode("fra", "SIGKILL");
  await boss.has(1, 90_000);
  expect(boss.seen[0]?.escalation).toEqual({ of: id, recipientId: "ada", step: 2 });
  expect(boss.titles).toEqual(["not acknowledged"]);
  acknowledge(boss, 0);

  // dan has nobody above him: that step is passed over, and the next one, his own, comes at once.
  await dan.has(3, 60_000);
  expect(dan.titles).toEqual(["evacuate", "please acknowledge", "last time"]);
  const stories = await until("the chains are at their end", 60_000, async () => {
    const all = await Promise.all(["ada", "dan"].map((name) => explained(id, name)));
    return kindsOf(all[0]!).includes("escalationEnded acknowledged") ? all : undefined;
  });
  console.log(`three steps in ${Math.round(performance.now() - startedAtMs)} ms, one owner killed`);
  expect(kindsOf(stories[0]!)).toEqual([
    "escalated recipient",
    "escalated attribute",
    "escalationEnded acknowledged",
  ]);
  expect(kindsOf(stories[1]!)).toEqual([
    "escalated recipient",
    "notEscalated no_attribute",
    "escalated recipient",
  ]);

  // Nothing waits any more, and nobody was told anything twice.
  expect(await chainsIn("fra")).toEqual([]);
  expect(ada.titles).toEqual(["evacuate", "please acknowledge"]);
  expect(bob.titles).toEqual(["evacuate"]);
  expect(cyd.titles).toEqual(["evacuate", "please acknowledge"]);
  expect(boss.titles).toEqual(["not acknowledged"]);
  const status = await fra().status(id);
  expect(status.counts).toMatchObject({ targeted: 4, deliveredSocket: 4, acknowledged: 1 });
  expect(await explained(id, "bob")).toMatchObject({ acknowledged: true });
}, 240_000);
