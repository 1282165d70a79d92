// Goal: FO1–FO3 and FO5. Method: two places in memory, as their databases and nodes would be; the command dies
// after each of its steps in turn and is said again.
import type { AdminHome, HomeClaim, HomeLook, HomeRequest } from "@carillon/contracts";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { failover, type FailoverOptions } from "./failover.ts";
import type { HomeApi, StepAnswer } from "./home-api.ts";

class Died extends Error {}

interface Place {
  isUp: boolean;
  isInRecovery: boolean;
  isStreaming: boolean;
  lagMs: number;
  silentMs: number | null;
  rights: NonNullable<HomeLook["replica"]>["rights"];
  row: {
    claim: HomeClaim | null;
    state: HomeLook["state"];
    movingTo: string | null;
    fenceLsn: string | null;
  };
  leasedCount: number;
  isPlanned: boolean | null;
}

const FENCE = "0/3000060";

/** Home fra with its copy in par; the copy follows the host's row while it streams. */
function world() {
  const clock = new FakeClock();
  const places: Record<string, Place> = {};
  const put = (place: string, more: Partial<Place>): Place =>
    (places[place] = {
      isUp: true,
      isInRecovery: false,
      isStreaming: false,
      lagMs: 0,
      silentMs: null,
      rights: undefined,
      row: { claim: { epoch: 1, host: "fra" }, state: "serving", movingTo: null, fenceLsn: null },
      leasedCount: 0,
      isPlanned: null,
      ...more,
    });
  const fra = put("fra", { leasedCount: 256 });
  const par = put("par", { isInRecovery: true, isStreaming: true });
  const writes: string[] = [];
  const standingOf = (name: string, { isInRecovery, row }: Place): HomeLook["standing"] => {
    if (isInRecovery) return "standby";
    const newest = Math.max(...Object.values(places).map((one) => one.row.claim?.epoch ?? 0));
    if (row.claim === null) return "undeclared";
    if (row.claim.epoch < newest) return "fenced";
    if (row.claim.host !== name) return "undeclared";
    return row.state ?? "undeclared";
  };
  const replicate = (): void => {
    if (par.isInRecovery && par.isStreaming && fra.isUp) par.row = { ...fra.row };
  };
  const lookOf = (name: string, place: Place): HomeLook => ({
    kind: "look",
    home: "fra",
    place: name,
    memberId: `${name}-1`,
    standing: standingOf(name, place),
    isInRecovery: place.isInRecovery,
    ...place.row,
    supersededBy: null,
    replica: place.isInRecovery
      ? {
          isStreaming: place.isStreaming,
          receivedLsn: "0/3000000",
          replayedLsn: "0/3000000",
          replayedAt: "2026-11-22T21:00:00.000Z",
          lagMs: place.isStreaming ? place.lagMs : null,
          silentMs: place.isStreaming ? place.silentMs : null,
          rights: place.rights,
        }
      : null,
    since:
      place.isPlanned === null
        ? null
        : {
            isPlanned: place.isPlanned,
            replayedLsn: "0/3000000",
            replayedAt: null,
            snapshot: null,
          },
    leasedCount: place.leasedCount,
    withheldTenants: [],
  });
  const act = (name: string, place: Place, request: HomeRequest): StepAnswer => {
    const wrote = (what: string): void => void writes.push(what);
    const { row } = place;
    switch (request.kind) {
      case "drain":
        if (row.movingTo !== null && row.movingTo !== request.to)
          return { kind: "refused", reason: "409. busy: another" };
        if (row.state === "serving") {
          place.row = { ...row, state: "draining", movingTo: request.to };
          place.leasedCount = 0;
          wrote("drain");
        }
        break;
      case "fence":
        if (row.fenceLsn === null) {
          place.row = { ...row, state: "fenced", fenceLsn: FENCE };
          wrote("fence");
        }
        break;
      case "take":
        if (standingOf(name, place) === "serving") break;
        if (request.fenceLsn !== null && row.fenceLsn !== request.fenceLsn)
          return { kind: "refused", reason: "409. not_fenced: not here" };
        place.isInRecovery = false;
        place.isPlanned = request.fenceLsn !== null;
        place.row = {
          claim: { epoch: (row.claim?.epoch ?? 0) + 1, host: name },
          state: "serving",
          movingTo: null,
          fenceLsn: null,
        };
        place.leasedCount = 256;
        wrote(request.fenceLsn === null ? "take unplanned" : "take planned");
        break;
      case "resume":
        place.row = {
          claim: { epoch: (row.claim?.epoch ?? 0) + 1, host: name },
          state: "serving",
          movingTo: null,
          fenceLsn: null,
        };
        place.leasedCount = 256;
        wrote("resume");
        break;
      default:
    }
    replicate();
    return { kind: "reply", reply: lookOf(name, place) };
  };
  /** `diesAfter`: so many writing steps are done, and the command hears of the last no more. */
  const run = async (more: Partial<FailoverOptions> = {}, diesAfter = Infinity) => {
    let stepsLeft = diesAfter;
    const api: HomeApi = {
      clock,
      async homes(): Promise<AdminHome[]> {
        replicate();
        const up = Object.entries(places).filter(([, place]) => place.isUp);
        const looks = up.map(([name, place]) => lookOf(name, place));
        const claim = looks
          .flatMap((look) => look.claim ?? [])
          .reduce<HomeClaim | null>(
            (one, other) => (other.epoch > (one?.epoch ?? 0) ? other : one),
            null,
          );
        return [{ home: "fra", claim, places: looks }];
      },
      async step(_home, name, request) {
        const place = places[name];
        if (place === undefined || !place.isUp) return { kind: "silent", reason: "503" };
        const answer = act(name, place, request);
        if (request.kind !== "look" && --stepsLeft === 0) throw new Died();
        return answer;
      },
    };
    const options = {
      home: "fra",
      to: "par",
      isForced: false,
      lagMaxMs: 30_000,
      replayMaxMs: 5_000,
    };
    const state = { isOver: false };
    const outcome = failover(api, { ...options, ...more }, () => undefined)
      .catch((cause: unknown) => {
        if (!(cause instanceof Died)) throw cause;
        return { kind: "died" } as const;
      })
      .finally(() => (state.isOver = true));
    while (!state.isOver) await clock.advance(250);
    return outcome;
  };
  return { fra, par, writes, run, put };
}

test("FO1 — planned: drained, fenced, replayed, promoted; said again it was so already", async () => {
  const { run, writes } = world();
  expect(await run()).toMatchObject({ kind: "done", host: "par", epoch: 2, isPlanned: true });
  expect(writes).toEqual(["drain", "fence", "take planned"]);
  expect(await run()).toMatchObject({ kind: "done", isChanged: false, isPlanned: null });
  expect(writes.length).toBe(3);
});

test("FO3 — dead after each step in turn, it is said again and goes on; each step is done once", async () => {
  for (const diesAfter of [1, 2, 3]) {
    const { run, writes } = world();
    expect(await run({}, diesAfter)).toEqual({ kind: "died" });
    expect(writes.length).toBe(diesAfter);
    expect(await run()).toMatchObject({ kind: "done", host: "par", epoch: 2 });
    expect(writes).toEqual(["drain", "fence", "take planned"]);
  }
});

test("FO1, FO2 — fenced, and then the old host is silent: nobody can tell that it stayed so; only forced, and unplanned", async () => {
  for (const isTakenBack of [false, true]) {
    const { run, writes, fra, par } = world();
    expect(await run({}, 2)).toEqual({ kind: "died" });
    par.isStreaming = false; // the fence is there
    if (isTakenBack) await run({ to: "fra" });
    fra.isUp = false;
    const refused = await run();
    expect(refused).toMatchObject({ kind: "refused", code: "old_host_silent" });
    expect(JSON.stringify(refused)).toContain(
      `It has the fence of fra at ${FENCE}, so nothing is lost unless fra took the home back since`,
    );
    expect(await run({ isForced: true })).toMatchObject({
      kind: "done",
      isPlanned: false,
      fenceLsn: FENCE,
    });
    expect(writes).toEqual([
      "drain",
      "fence",
      ...(isTakenBack ? ["resume"] : []),
      "take unplanned",
    ]);
  }
});

test("FO1 — fenced, and the old host says that it still is: taken as planned, whatever the link does", async () => {
  for (const isPromoted of [false, true]) {
    const { run, writes, par } = world();
    expect(await run({}, 2)).toEqual({ kind: "died" });
    par.isStreaming = false;
    par.isInRecovery = !isPromoted;
    expect(await run()).toMatchObject({ kind: "done", isPlanned: true, fenceLsn: null });
    expect(writes).toEqual(["drain", "fence", "take planned"]);
  }
});

test("FO1 — the old host took the home back behind the fence that is here: planned anew, or refused", async () => {
  for (const isStreaming of [true, false]) {
    const { run, writes, par } = world();
    expect(await run({}, 2)).toEqual({ kind: "died" });
    par.isStreaming = false;
    expect(await run({ to: "fra" })).toMatchObject({ kind: "done", epoch: 2, host: "fra" });
    par.isStreaming = isStreaming;
    const outcome = await run();
    expect(outcome).toMatchObject(
      isStreaming
        ? { kind: "done", epoch: 3, isPlanned: true }
        : { kind: "refused", code: "copy_behind" },
    );
    const anew = isStreaming ? ["drain", "fence", "take planned"] : [];
    expect(writes).toEqual(["drain", "fence", "resume", ...anew]);
  }
});

test("FO5 — the copy's user may not promote, or not see the stream: refused with the grant, nothing is drained", async () => {
  const { run, writes, par, fra } = world();
  par.rights = { user: "carillon", mayPromote: true, maySeeStreaming: false };
  par.isStreaming = false; // as it looks without the right
  expect(await run()).toMatchObject({
    code: "rights_missing",
    reason: expect.stringContaining("in fra: grant pg_monitor to carillon") as string,
  });
  par.rights.mayPromote = false;
  fra.isUp = false;
  for (const isForced of [false, true])
    expect(await run({ isForced })).toMatchObject({
      code: "rights_missing",
      reason: expect.stringContaining(
        "in fra: grant execute on function pg_promote to carillon",
      ) as string,
    });
  expect(writes).toEqual([]);
});

test("FO5 — behind the fence nobody needs to see the stream: it is waited for, and taken when it is here", async () => {
  const { run, writes, par } = world();
  expect(await run({}, 2)).toEqual({ kind: "died" });
  par.row = { ...par.row, state: "draining", fenceLsn: null }; // it has not arrived
  par.rights = { user: "carillon", mayPromote: true, maySeeStreaming: false };
  par.isStreaming = false; // as it looks without the right
  expect(await run()).toMatchObject({ kind: "refused", code: "not_replayed" });
  par.isStreaming = true;
  expect(await run()).toMatchObject({ kind: "done", host: "par", isPlanned: true });
  expect(writes).toEqual(["drain", "fence", "take planned"]);
});

test("FO5 — nothing arrives at the copy, over a link that is not closed: refused; once drained, silence says nothing", async () => {
  const { run, writes, par } = world();
  par.silentMs = 30_001;
  expect(await run()).toMatchObject({ kind: "refused", code: "copy_behind" });
  expect(writes).toEqual([]);
  par.silentMs = 30_000;
  expect(await run({}, 1)).toEqual({ kind: "died" });
  par.silentMs = 60_000; // nobody writes there
  expect(await run()).toMatchObject({ kind: "done", isPlanned: true });
});

test("FO5 — --max-lag 0: the silence between two refreshes of leases is no lag", async () => {
  const { run, par } = world();
  par.silentMs = 5_001;
  expect(await run({ lagMaxMs: 0 })).toMatchObject({ kind: "refused", code: "copy_behind" });
  par.silentMs = 2_900;
  expect(await run({ lagMaxMs: 0 })).toMatchObject({ kind: "done", isPlanned: true });
});

test("FO1 — the copy has a fence of before, and the host another one: not promoted as planned", async () => {
  const { run, writes, par, fra } = world();
  expect(await run({}, 2)).toEqual({ kind: "died" });
  par.isStreaming = false; // it has the first fence
  const claim = { epoch: 2, host: "fra" };
  fra.row = { claim, state: "fenced", movingTo: "par", fenceLsn: "0/4000060" };
  expect(await run()).toMatchObject({ kind: "refused", code: "not_replayed" });
  expect(writes).toEqual(["drain", "fence"]);
});

test("FO1 — a copy that does not follow, or is far behind: refused before anything is changed", async () => {
  const { run, writes, par } = world();
  par.lagMs = 30_001;
  expect(await run()).toMatchObject({ kind: "refused", code: "copy_behind" });
  par.isStreaming = false;
  expect(await run({ isForced: true })).toMatchObject({ kind: "refused", code: "copy_behind" });
  expect(writes).toEqual([]);
});

test("FO1 — the link breaks behind the fence: not promoted; taken back, or on when it is mended", async () => {
  for (const isTakenBack of [true, false]) {
    const { run, writes, par } = world();
    expect(await run({}, 1)).toEqual({ kind: "died" });
    par.isStreaming = false;
    expect(await run()).toMatchObject({ kind: "refused", code: "copy_behind" });
    par.isStreaming = true;
    expect(await run({}, 2)).toEqual({ kind: "died" }); // drain again, then the fence
    par.row = { ...par.row, state: "draining", fenceLsn: null }; // it has not arrived
    par.isStreaming = false;
    expect(await run()).toMatchObject({ kind: "refused", code: "not_replayed" });
    par.isStreaming = !isTakenBack;
    const outcome = await run({ to: isTakenBack ? "fra" : "par" });
    expect(outcome).toMatchObject({ kind: "done", epoch: 2, host: isTakenBack ? "fra" : "par" });
    expect(writes).toEqual(["drain", "fence", isTakenBack ? "resume" : "take planned"]);
  }
});

test("FO2 — a silent host: refused with what the copy knows; with --force it is taken", async () => {
  const { run, writes, fra, par } = world();
  fra.isUp = par.isStreaming = false;
  const refused = await run();
  expect(refused).toMatchObject({ kind: "refused", code: "old_host_silent" });
  expect(JSON.stringify(refused)).toContain("last commit 2026-11-22T21:00:00.000Z");
  expect(writes).toEqual([]);
  expect(await run({ isForced: true })).toMatchObject({
    kind: "done",
    isPlanned: false,
    replayedLsn: "0/3000000",
  });
  expect(writes).toEqual(["take unplanned"]);
});

test("FO1 — a copy that somebody promoted by hand: refused while the host answers, --force or not", async () => {
  const { run, writes, par } = world();
  par.isInRecovery = false;
  for (const isForced of [false, true])
    expect(await run({ isForced })).toMatchObject({ kind: "refused", code: "copy_diverged" });
  expect(writes).toEqual([]);
});

test("FO2 — a database that was never copied is no copy, --force or not, host there or not", async () => {
  for (const isUp of [true, false]) {
    const { run, writes, fra, par } = world();
    fra.isUp = isUp;
    par.isInRecovery = par.isStreaming = false;
    par.row = { claim: null, state: null, movingTo: null, fenceLsn: null };
    for (const isForced of [false, true])
      expect(await run({ isForced })).toMatchObject({ kind: "refused", code: "no_copy" });
    expect(writes).toEqual([]);
  }
});

test("FO3 — promoted without the host, and dead before it was declared: said again it is declared", async () => {
  const { run, writes, fra, par } = world();
  fra.isUp = false;
  par.isInRecovery = par.isStreaming = false;
  const refused = await run();
  expect(refused).toMatchObject({ kind: "refused", code: "old_host_silent" });
  expect(JSON.stringify(refused)).toContain("par was promoted already, at epoch 1");
  expect(await run({ isForced: true })).toMatchObject({ kind: "done", isPlanned: false, epoch: 2 });
  expect(writes).toEqual(["take unplanned"]);
});

test("FO2 — --force while the host answers is a planned one all the same", async () => {
  const { run, writes } = world();
  expect(await run({ isForced: true })).toMatchObject({ kind: "done", isPlanned: true });
  expect(writes).toEqual(["drain", "fence", "take planned"]);
});

test("FO1 — taking back waits for the copy to say that it is one", async () => {
  const { run, writes, par } = world();
  expect(await run({}, 2)).toEqual({ kind: "died" });
  par.isUp = false;
  expect(await run({ to: "fra" })).toMatchObject({ kind: "refused", code: "old_host_silent" });
  expect(await run({ to: "fra", isForced: true })).toMatchObject({ kind: "done", host: "fra" });
  expect(writes).toEqual(["drain", "fence", "resume"]);
});

test("FO3 — no copy, no such home, another failover under way: refused", async () => {
  const { run, put } = world();
  expect(await run({ to: "dub" })).toMatchObject({ kind: "refused", code: "no_copy" });
  expect(await run({ home: "ber" })).toMatchObject({ kind: "refused", code: "unknown_home" });
  put("dub", { isInRecovery: true, isStreaming: true });
  expect(await run({}, 1)).toEqual({ kind: "died" });
  expect(await run({ to: "dub" })).toMatchObject({ kind: "refused", code: "step_refused" });
});
