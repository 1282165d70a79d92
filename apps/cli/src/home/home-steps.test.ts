// Goal: HP1 to HP3. Method: steps asked over a network in memory, of a row in memory.
import type { HomeReply, HomeRequest } from "@carillon/contracts";
import { expect, test } from "vitest";
import { prepareUnlessKept } from "./home-database.ts";
import { homeAt } from "./test-home.ts";

const COPY = { isInRecovery: true } as const;
const FENCED_COPY = { ...COPY, state: "fenced", movingTo: "par", fenceLsn: "0/10" } as const;
const codeOf = (reply: HomeReply): string => (reply.kind === "refused" ? reply.code : reply.kind);

test("HP1 — a copy is taken with a higher epoch; said again it is so already", async () => {
  const { answerFromLon, start, step, calls } = homeAt("par", COPY);
  answerFromLon({ fra: { epoch: 1, host: "fra" } });
  await start();
  const taken = await step({ kind: "take", fenceLsn: null });
  expect(taken).toMatchObject({
    kind: "look",
    standing: "serving",
    claim: { epoch: 2, host: "par" },
  });
  expect(codeOf(await step({ kind: "take", fenceLsn: null }))).toBe("look");
  expect(calls).toEqual(["promote", "declare 2 par unplanned", "migrate"]);
});

test("HP1 — another node declared meanwhile: answered as it is now, and nothing is changed", async () => {
  for (const state of ["serving", "fenced"] as const) {
    const { answerFromLon, start, step, calls, database, stored } = homeAt("par", COPY);
    answerFromLon({});
    await start();
    database.meanwhile = () =>
      void Object.assign(stored, { state, claim: { epoch: 2, host: "par" } });
    const reply = await step({ kind: "take", fenceLsn: null });
    expect(codeOf(reply)).toBe(state === "serving" ? "look" : "not_standby");
    expect(calls.filter((call) => call.startsWith("declare"))).toEqual([]);
    expect(stored).toMatchObject({ state, claim: { epoch: 2, host: "par" } });
  }
});

test("HP1 — planned: only with the fence that was asked for", async () => {
  const { answerFromLon, start, step, calls, stored } = homeAt("par", COPY);
  answerFromLon({});
  await start();
  expect(codeOf(await step({ kind: "take", fenceLsn: "0/10" }))).toBe("not_fenced");
  Object.assign(stored, FENCED_COPY);
  expect(codeOf(await step({ kind: "take", fenceLsn: "0/20" }))).toBe("not_fenced");
  expect(calls).toEqual([]);
  expect(await step({ kind: "take", fenceLsn: "0/10" })).toMatchObject({ standing: "serving" });
  expect(calls).toEqual(["promote", "declare 2 par planned", "migrate"]);
});

test("HP1 — a copy of who was the host before is not promoted, nor a database that is no copy", async () => {
  const stale = homeAt("par", COPY);
  stale.answerFromLon({ fra: { epoch: 3, host: "dub" } });
  await stale.start();
  expect(codeOf(await stale.step({ kind: "take", fenceLsn: null }))).toBe("superseded");
  const empty = homeAt("par", { ...COPY, claim: null, state: null });
  empty.answerFromLon({});
  await empty.start();
  expect(codeOf(await empty.step({ kind: "take", fenceLsn: null }))).toBe("not_standby");
  expect([...stale.calls, ...empty.calls]).toEqual([]);
});

const NOTHING = { claim: null, state: null };

test("HD1, HP1 — away from home an empty database stays empty, and is not taken; told", async () => {
  const away = homeAt("par", NOTHING);
  away.answerFromLon({ fra: { epoch: 1, host: "fra" } });
  await prepareUnlessKept(away.store, "fra");
  await away.start();
  expect(codeOf(await away.step({ kind: "take", fenceLsn: null }))).toBe("not_standby");
  expect([away.keeper.standing, away.keeper.isEmpty, away.calls]).toEqual(["undeclared", true, []]);
  const promoted = homeAt("par");
  await prepareUnlessKept(promoted.store, "fra");
  expect(promoted.calls).toEqual(["migrate"]);
});

test("HD1 — at home an empty database is begun, when nobody tells of a later host, or nobody answers", async () => {
  for (const told of [undefined, {}, { fra: { epoch: 1, host: "fra" } }]) {
    const { store, start, keeper, calls, answerFromLon, lines } = homeAt("fra", NOTHING);
    if (told !== undefined) answerFromLon(told);
    await prepareUnlessKept(store, "fra");
    expect(calls).toEqual([]); // others are asked first
    await start();
    expect([keeper.standing, keeper.isEmpty, calls]).toEqual(["serving", false, ["migrate"]]);
    expect(lines.filter(({ event }) => event === "home.database_empty")).toEqual([]);
  }
});

test("HD1 — at home, after a disk was lost, and another region hosts it: left empty, told once, not served", async () => {
  for (const claim of [
    { epoch: 2, host: "par" },
    { epoch: 3, host: "fra" }, // it went and came back; this database knows nothing of it
    { epoch: 1, host: "par" }, // it was begun there
  ]) {
    const { store, start, step, keeper, calls, clock, stored, answerFromLon, lines } = homeAt(
      "fra",
      NOTHING,
    );
    answerFromLon({ fra: claim });
    await prepareUnlessKept(store, "fra");
    await start();
    for (let count = 0; count < 50; count++) await clock.advance(100);
    expect([keeper.standing, keeper.isEmpty, calls, stored.claim]).toEqual([
      "undeclared",
      true,
      [],
      null,
    ]);
    const told = lines.filter(({ event }) => event === "home.database_empty");
    expect(told).toMatchObject([{ ...claim, home: "fra", place: "fra", level: "error" }]);
    for (const kind of ["report", "take"] as const) {
      const request: HomeRequest =
        kind === "take"
          ? { kind, fenceLsn: null }
          : { kind, table: "notification", snapshot: null, after: null, limit: 10 };
      expect(codeOf(await step(request))).toMatch(/^not_/); // nothing to compare, and no copy
    }
    Object.assign(stored, { isInRecovery: true, claim, state: "serving" }); // made a copy
    await clock.advance(1_000);
    expect([keeper.standing, keeper.isEmpty]).toEqual(["standby", false]);
  }
});

test("HP1 — it died between promotion and declaration: the step said again declares", async () => {
  const { answerFromLon, start, step, calls, keeper } = homeAt("par", {
    ...FENCED_COPY,
    isInRecovery: false,
  });
  answerFromLon({});
  await start();
  expect(keeper.standing).toBe("undeclared");
  await step({ kind: "take", fenceLsn: "0/10" });
  expect([keeper.standing, calls]).toEqual(["serving", ["declare 2 par planned", "migrate"]]);
});

test("HP1 — Postgres does not end recovery: told, and nothing is declared", async () => {
  const { answerFromLon, start, step, calls, database, keeper } = homeAt("par", COPY);
  answerFromLon({});
  database.promotes = false;
  await start();
  expect(codeOf(await step({ kind: "take", fenceLsn: null }))).toBe("promotion_failed");
  expect([keeper.standing, calls]).toEqual(["standby", ["promote"]]);
});

test("HP1, HP2 — drain, fence and resume where the home is; each a line in the log, once", async () => {
  const { answerFromLon, start, step, calls, lines, database, keeper } = homeAt("fra");
  answerFromLon({});
  await start();
  expect(codeOf(await step({ kind: "fence", to: "par" }))).toBe("busy");
  for (const standing of ["draining", "draining"])
    expect(await step({ kind: "drain", to: "par" })).toMatchObject({ standing });
  expect(codeOf(await step({ kind: "drain", to: "dub" }))).toBe("busy");
  for (const fenceLsn of ["0/10", "0/10"])
    expect(await step({ kind: "fence", to: "par" })).toMatchObject({ fenceLsn });
  expect(codeOf(await step({ kind: "residency", tenantId: "demo", failoverTo: [] }))).toBe(
    "not_host",
  );
  expect(await step({ kind: "resume" })).toMatchObject({ claim: { epoch: 2, host: "fra" } });
  expect(codeOf(await step({ kind: "residency", tenantId: "demo", failoverTo: ["par"] }))).toBe(
    "done",
  );
  expect(codeOf(await step({ kind: "residency", tenantId: "no", failoverTo: [] }))).toBe(
    "not_found",
  );
  expect(keeper.standing).toBe("serving");
  expect(calls.filter((call) => call === "resume 2").length).toBe(1);
  const audit = lines.filter((line) => line["audit"] === true);
  expect(audit.map((line) => line["step"])).toEqual(["drain", "fence", "resume", "residency"]);
  database.isBroken = true;
  expect(codeOf(await step({ kind: "look" }))).toBe("store_unavailable");
});

test("HP1 — a home that was superseded is not resumed, and a copy is not drained", async () => {
  const old = homeAt("fra");
  old.answerFromLon({ fra: { epoch: 2, host: "par" } });
  await old.start();
  expect(codeOf(await old.step({ kind: "resume" }))).toBe("superseded");
  expect(codeOf(await old.step({ kind: "drain", to: "par" }))).toBe("superseded");
  const copy = homeAt("par", COPY);
  await copy.start();
  expect(codeOf(await copy.step({ kind: "drain", to: "fra" }))).toBe("not_host");
  expect(codeOf(await copy.step({ kind: "resume" }))).toBe("not_host");
});

test("HP3 — no region of this cluster: neither a home's new place, nor in a tenant's residency", async () => {
  const { answerFromLon, start, step, calls } = homeAt("fra");
  answerFromLon({});
  await start();
  const requests: HomeRequest[] = [
    { kind: "residency", tenantId: "demo", failoverTo: ["par", "nyc"] },
    { kind: "drain", to: "nyc" },
  ];
  for (const request of requests) {
    const refused = await step(request);
    expect([codeOf(refused), refused]).toMatchObject([
      "not_found",
      { detail: "fra knows of no region nyc; there are fra, lon, par, dub" },
    ]);
  }
  expect(calls).toEqual(["migrate"]);
});

test("HP1 — the database's user may not promote: told with the grant, and nothing is tried", async () => {
  const rights = { user: "carillon", mayPromote: false, maySeeStreaming: true };
  const replica = { isStreaming: true, receivedLsn: null, replayedLsn: null, replayedAt: null };
  const { answerFromLon, start, step, calls, stored } = homeAt("par", {
    ...COPY,
    replica: { ...replica, lagMs: 0, rights },
  });
  answerFromLon({});
  await start();
  expect(await step({ kind: "take", fenceLsn: null })).toMatchObject({
    code: "promotion_failed",
    detail: expect.stringContaining("grant execute on function pg_promote to carillon") as string,
  });
  expect(calls).toEqual([]);
  Object.assign(stored, { isInRecovery: false, replica: null }); // promoted by hand
  expect(codeOf(await step({ kind: "take", fenceLsn: null }))).toBe("look");
  expect(calls).toEqual(["declare 2 par unplanned", "migrate"]);
});
