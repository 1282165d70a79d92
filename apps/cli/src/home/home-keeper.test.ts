// Goal: HK1–HK6. Method: a row in memory, a network in memory, one fake clock.
import { beatSchema } from "@carillon/contracts";
import { expect, test } from "vitest";
import { homeAt } from "./test-home.ts";

const PAR = { fra: { epoch: 2, host: "par" } };

test("HK1 — asks before it serves; a newer claim fences it, and it never serves", async () => {
  const { keeper, answerFromLon, start, calls, changes } = homeAt("fra");
  answerFromLon(PAR);
  await start();
  expect([keeper.standing, calls, changes]).toEqual(["fenced", ["fence 2"], ["fenced"]]);
});

test("HK1 — nobody answers: it serves after the limit (D5); what was heard before still counts", async () => {
  const alone = homeAt("fra");
  const starting = alone.keeper.start();
  await alone.clock.advance(1_900);
  expect(alone.keeper.standing).toBe("undeclared");
  await alone.clock.advance(1_000);
  await starting;
  expect([alone.keeper.standing, alone.calls]).toEqual(["serving", ["migrate"]]);
  expect(alone.lines.map(({ event }) => event)).toContain("home.unasked");

  const told = homeAt("fra");
  told.heard.set("fra", { epoch: 2, host: "par" });
  await told.start();
  expect([told.keeper.standing, told.calls]).toEqual(["fenced", ["fence 2"]]);
});

test("HK1 — its own fence decides, whoever is silent; a copy waits and asks nobody", async () => {
  const fenced = homeAt("fra", { state: "fenced", supersededBy: PAR.fra, fenceLsn: "0/10" });
  await fenced.start();
  expect([fenced.keeper.standing, fenced.calls]).toEqual(["fenced", []]);
  const copy = homeAt("par", { isInRecovery: true });
  await copy.start();
  expect([copy.keeper.standing, copy.calls, copy.changes]).toEqual(["standby", [], ["standby"]]);
});

test("HK2, HK3 — a newer claim in a beat: the fence is written, then listeners are told, once", async () => {
  const { keeper, answerFromLon, start, calls, changes, clock, stored } = homeAt("fra");
  answerFromLon({});
  await start();
  expect(keeper.standing).toBe("serving");
  keeper.onChange(() => calls.push(`told ${stored.state}`));
  keeper.hear(PAR, "par-1");
  keeper.hear(PAR, "par-1");
  await clock.advance(5_000);
  expect(calls).toEqual(["migrate", "fence 2", "told fenced"]);
  expect(changes).toEqual(["serving", "fenced"]);
});

test("HK2 — a fence that cannot be written: nothing is served, and it is tried with each look", async () => {
  const { keeper, answerFromLon, start, calls, clock, database, stored } = homeAt("fra");
  answerFromLon({});
  await start();
  database.isFenceBroken = true;
  keeper.hear(PAR, "par-1");
  await clock.advance(2_500);
  expect([keeper.standing, stored.state]).toEqual(["fenced", "serving"]);
  database.isFenceBroken = false;
  await clock.advance(1_000);
  expect([keeper.standing, stored.state]).toEqual(["fenced", "fenced"]);
  expect(calls.filter((call) => call === "fence 2").length).toBeGreaterThan(2);
});

test("HK2 — the database is away when it is heard of: not served from the next look on", async () => {
  const { keeper, answerFromLon, start, clock, database, crashes } = homeAt("fra");
  answerFromLon({});
  await start();
  database.isBroken = true;
  keeper.hear(PAR, "par-1");
  await clock.advance(0);
  expect(keeper.standing).toBe("fenced");
  database.isBroken = false;
  await clock.advance(2_000);
  expect([keeper.standing, crashes]).toEqual(["fenced", []]);
});

test("HK3 — other tenants are withheld: told, and set before anybody is told", async () => {
  const { keeper, answerFromLon, start, clock, stored, changes, withheld } = homeAt("par", {
    claim: { epoch: 2, host: "par" },
    withheldTenants: ["strict"],
  });
  answerFromLon({});
  await start();
  expect(keeper.withholds("strict")).toBe(true);
  stored.withheldTenants = [];
  await clock.advance(1_000);
  expect(keeper.withholds("strict")).toBe(false);
  expect([changes, withheld]).toEqual([
    ["serving", "serving"],
    [["strict"], []],
  ]);
  await clock.advance(10_000);
  expect(changes.length).toBe(2);
});

test("HK4 — a node that slept serves nothing before it has asked again", async () => {
  const { keeper, answerFromLon, start, clock, stored } = homeAt("fra");
  const lon = answerFromLon({});
  await start();
  clock.block(9_000);
  expect(keeper.standing).toBe("undeclared"); // before any timer has fired
  lon.unsubscribe();
  answerFromLon(PAR);
  await clock.advance(2_000);
  expect([keeper.standing, stored.state]).toEqual(["fenced", "fenced"]);
});

test("HK4 — and goes on when nobody has taken over", async () => {
  const { keeper, answerFromLon, start, clock } = homeAt("fra");
  answerFromLon({});
  await start();
  clock.block(9_000);
  expect(keeper.standing).toBe("undeclared");
  await clock.advance(2_000);
  expect(keeper.standing).toBe("serving");
});

test("HK5 — claims of regions that are none here, or malformed, fence nobody: counted, told once", async () => {
  const { keeper, answerFromLon, start, stored, calls, clock, lines, metrics, heard } =
    homeAt("fra");
  heard.set("fra", { epoch: 8, host: "nyc" }); // an earlier build wrote it down
  answerFromLon({ fra: { epoch: 7, host: "nyc" }, nyc: { epoch: 1, host: "nyc" } });
  await start();
  const { homes } = beatSchema.parse({
    memberId: "par-1",
    region: "par",
    roles: [],
    isDraining: false,
    build: "1",
    owned: {},
    links: {},
    homes: {
      fra: { epoch: 1e300, host: "par" },
      lon: { epoch: 2, host: "par" },
      par: { epoch: 1.5, host: "dub" },
      ["x".repeat(1_000)]: { epoch: 9, host: "par" },
    },
  });
  for (let count = 0; count < 3; count++) keeper.hear(homes, "par-1");
  await clock.advance(1_000);
  expect([keeper.standing, stored.state, calls]).toEqual(["serving", "serving", ["migrate"]]);
  expect(keeper.told().homes).toEqual({
    fra: { epoch: 1, host: "fra" },
    lon: { epoch: 2, host: "par" }, // the rest of what it says counts
  });
  const told = () => lines.filter(({ event }) => event === "home.claim_refused");
  expect(told()).toMatchObject([
    { from: "home_heard", home: "fra", epoch: 8, host: "nyc", refusedCount: 1 },
  ]);
  expect((await metrics.homeClaimsRefused.get()).values[0]?.value).toBe(1 + 2 + 3 * 3);
  for (let count = 0; count < 300; count++) await clock.advance(1_000);
  keeper.hear(homes, "par-1");
  expect(told()[1]).toMatchObject({ from: "par-1", epoch: null, host: null, refusedCount: 13 });
});

test("HK6 — the gauge of a copy's lag tells what is known now: silence counts, and nothing is no number", async () => {
  const replica = { isStreaming: true, receivedLsn: "0/1", replayedLsn: "0/1", replayedAt: null };
  const { start, clock, metrics, stored } = homeAt("par", {
    isInRecovery: true,
    replica: { ...replica, lagMs: 1_500, silentMs: 20 },
  });
  await start();
  const lag = async () => (await metrics.homeReplayLag.get()).values[0]?.value;
  expect(await lag()).toBe(1.5);
  for (const [more, seconds] of [
    [{ lagMs: 0, silentMs: 7_000 }, 7],
    [{ lagMs: 0 }, 0], // an older build says nothing of silence
    [{ lagMs: null, isStreaming: false }, NaN],
  ] as const) {
    stored.replica = { ...replica, ...more };
    await clock.advance(1_000);
    expect(await lag()).toBe(seconds);
  }
  Object.assign(stored, { isInRecovery: false, replica: null, claim: { epoch: 2, host: "par" } });
  for (let count = 0; count < 30; count++) await clock.advance(100);
  expect(await lag()).toBe(0);
});
