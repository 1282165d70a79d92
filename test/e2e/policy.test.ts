// test/e2e/policy.test.ts
// Goal: A3, A6, A11 and A4 through whole regions: a policy that is put in one region decides in another; what was
// decided is told. Method: real nodes of two regions; quiet hours that are all day but for an hour far from now.
import type { NotificationPlan, RecipientExplanation } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";
import { startTestCluster, type TestCluster } from "./cluster.ts";

let system: TestCluster;
const fra = () => system.api("fra");
const lon = () => system.api("lon");

beforeAll(async () => {
  system = await startTestCluster(["fra", "lon"]);
  for (const name of ["ada", "bob"]) await fra().register(name, "lon");
});
afterAll(() => system?.stop());

/** Quiet for 23 hours from half a day before now on, in UTC. */
function allDayButLater(): object {
  const hour = new Date().getUTCHours();
  const at = (offset: number) => `${String((hour + offset + 24) % 24).padStart(2, "0")}:00`;
  const windows = [{ from: at(-11), until: at(12) }];
  const days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
  return { days: Object.fromEntries(days.map((day) => [day, windows])) };
}

/** Owners read policies with their sweep, 2 s after the region has it (ADR 0024). */
async function whenPutOff(post: () => Promise<string>): Promise<string> {
  return until("the owner knows the policy", 20_000, async () => {
    const id = await post();
    const state = await until("it has been decided", 10_000, async () => {
      const { counts } = await fra().status(id);
      return counts.targeted === 1 && counts.pending === counts.deferred ? counts : undefined;
    });
    return state.deferred === 1 ? id : undefined;
  });
}

test("A11, A4 — posted in quiet time it is put off, a critical one is shown; the explanation says why", async () => {
  const log = await system.connect("ada", { region: "fra", issuer: "fra" });
  const put = await fra().call("PUT", "/v1/policy", { quietHours: { forAll: allDayButLater() } });
  expect(put.status).toBe(200);
  const audience = { recipients: ["ada"] };
  const id = await whenPutOff(() => fra().post(audience, "quiet"));
  const critical = await lon().finished(
    await lon().post(audience, "alarm", { priority: "critical" }),
  );
  expect(critical.counts).toMatchObject({ targeted: 1, deliveredSocket: 1 });
  expect(log.titles.filter((title) => title === "alarm")).toEqual(["alarm"]);
  const status = await lon().status(id);
  expect(status).toMatchObject({
    state: "delivering",
    counts: { targeted: 1, deferred: 1, pending: 1 },
  });
  const story = await until("its story is written", 10_000, async () => {
    const answer = await lon().call<RecipientExplanation>(
      "GET",
      `/v1/notifications/${id}/recipients/ada`,
    );
    return answer.body.timeline.find(({ kind }) => kind === "deferred");
  });
  expect(story).toMatchObject({ code: "tenantQuietHours" });
});

test("A6, A3 — who has opted out of a category is not sent it, and is counted, in the plan, too", async () => {
  const path = "/v1/recipients/bob/preferences";
  const put = await fra().call("PUT", path, { categories: { news: { socket: false } } });
  expect(put.status).toBe(200);
  await fra().call("PUT", "/v1/policy", {});
  const log = await system.connect("bob", { region: "lon", issuer: "lon" });
  const counts = await until("it is held back", 20_000, async () => {
    const id = await lon().post({ recipients: ["bob"] }, "news", { category: "news" });
    const status = await lon().finished(id, 10_000);
    return status.counts.optedOut === 1 ? status.counts : undefined;
  });
  expect(counts).toMatchObject({ targeted: 1, deliveredSocket: 0, pending: 0 });
  // A3: the plan counts by the code that decides, so it says what then comes.
  const news = { audience: { recipients: ["ada", "bob"] }, category: "news" };
  const { body: plan } = await fra().call<NotificationPlan>("POST", "/v1/notifications/plan", news);
  expect(plan).toMatchObject({ isComplete: true, targeted: 2, optedOut: 1, noDevice: null });
  const sent = await fra().finished(await fra().post(news.audience, "both", { category: "news" }));
  expect(sent.counts).toMatchObject({ targeted: plan.targeted, optedOut: plan.optedOut });
  const shifts = await until("the policy is gone", 20_000, async () => {
    const id = await lon().post({ recipients: ["bob"] }, "shifts", { category: "shifts" });
    return lon().finished(id, 3_000);
  });
  expect(shifts.counts).toMatchObject({ deliveredSocket: 1 });
  expect(log.titles).toContain("shifts");
});
