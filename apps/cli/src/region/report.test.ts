// Goal: FO4. Method: two places that answer from lists, in pages.
import type { HomeLook, HomeRequest, ReportRow, ReportTable } from "@carillon/contracts";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import type { HomeApi, StepAnswer } from "./home-api.ts";
import { reportLoss } from "./report.ts";

const SALT = "5a".repeat(16);
const MISSING =
  "no fenced database of home fra answers; start a node beside it, before it is made a copy again";

const row = (key: string[], digest = "", about: ReportRow["about"] = {}): ReportRow => ({
  key,
  digest,
  about,
});
const notification = (id: string, isAcceptedHere: boolean, more: ReportRow["about"] = {}) =>
  row([id], "", {
    tenantId: "acme",
    acceptedRegion: isAcceptedHere ? "fra" : "lon",
    isAcceptedHere,
    targetRegions: "fra,lon,par",
    unsentTo: null,
    ...more,
  });

const people = (offsets: string, peopleCount: number) => ({
  ...{ offsets, peopleCount, waitingCount: 0, isWhole: false, everybody: "" },
});
const where = (notificationId: string, partition: number) => ({ notificationId, partition });

function look(place: string, standing: HomeLook["standing"]): HomeLook {
  return {
    kind: "look",
    home: "fra",
    place,
    memberId: `${place}-1`,
    standing,
    isInRecovery: false,
    claim: { epoch: standing === "serving" ? 2 : 1, host: place },
    state: standing === "serving" ? "serving" : "fenced",
    movingTo: null,
    fenceLsn: null,
    supersededBy: null,
    replica: null,
    since:
      standing === "serving"
        ? { isPlanned: false, replayedLsn: "0/10", replayedAt: "then", snapshot: "5:9:7" }
        : null,
    leasedCount: 0,
    withheldTenants: [],
  };
}

function apiOf(
  old: Partial<Record<ReportTable, ReportRow[]>>,
  taken: Partial<Record<ReportTable, ReportRow[]>>,
  places = [look("fra", "fenced"), look("par", "serving")],
  salted: Record<"report" | "compare", { isSalted?: boolean }> = {
    report: { isSalted: true },
    compare: { isSalted: true },
  },
) {
  const asked: HomeRequest[] = [];
  const answerTo = (request: HomeRequest): StepAnswer => {
    asked.push(request);
    if (request.kind === "report") {
      const all = old[request.table] ?? [];
      const from =
        request.after === null ? 0 : all.findIndex(({ key }) => key[0] === request.after?.[0]) + 1;
      const rows = all.slice(from, from + request.limit);
      return {
        kind: "reply",
        reply: { kind: "report", rows, isLast: rows.length < request.limit, ...salted.report },
      };
    }
    if (request.kind !== "compare")
      return { kind: "refused", code: "failover_refused", reason: "409" };
    const there = new Map(
      (taken[request.table] ?? []).map(({ key, digest }) => [key.join(), digest]),
    );
    const missing = request.rows.flatMap(({ key }, at) => (there.has(key.join()) ? [] : at));
    const different = request.rows.flatMap(({ key, digest }, at) =>
      there.has(key.join()) && there.get(key.join()) !== digest ? at : [],
    );
    const lacking = request.table === "people" ? { lacking: different.map(() => 2) } : {};
    const found = { missing, different, ...lacking };
    return { kind: "reply", reply: { kind: "compared", ...found, ...salted.compare } };
  };
  const api: HomeApi = {
    clock: new FakeClock(),
    homes: async () => [{ home: "fra", claim: { epoch: 2, host: "par" }, places }],
    step: async (_home, _place, request) => answerTo(request),
  };
  return { api, asked };
}

test("FO4 — by kind: lost here, told committed, with who has it; outcomes and changes apart", async () => {
  const old = {
    notification: [
      notification("n1", true, { unsentTo: "par" }),
      notification("n2", false),
      notification("n3", true), // both have it
    ],
    people: [
      row(["n1", "7"], "a", { ...people("3,9", 4), waitingCount: 1 }),
      row(["n2", "7"], "a", { ...people("", 0), isWhole: true }),
      row(["n3", "8"], "old", people("1", 9)),
    ],
    recipient: [row(["acme", "ann"], "x"), row(["acme", "bob"], "y")],
    outbox: [
      row(["1"], "", { targetRegion: "par", kind: "notification", notificationId: "n1" }),
      row(["2"], "", { targetRegion: "par", kind: "notification", notificationId: "n3" }), // sent since
      row(["3"], "", { targetRegion: "par", kind: "homes", notificationId: null }),
    ],
    tenant: [row(["acme"], "strict"), row(["fresh"], "")],
    api_key: [
      row(["k1"], "revoked", { tenantId: "acme", isRevoked: true }),
      row(["k2"], "", { tenantId: "fresh", isRevoked: false }),
      row(["k3"], "", { tenantId: "acme", isRevoked: false }),
    ],
    recipient_home: [row(["acme", "liz"], "lon", { home: "lon" })],
    recipient_group: [row(["acme", "nurses"], "a", { isDeleted: true })],
    timer: [row(["7", "reminder", "ann"], "a", { tenantId: "acme", dueAt: "then" })],
    tenant_policy: [row(["acme"], "strict")],
    template: [
      row(["acme", "shift", "2"], "a", { isDeleted: false }),
      row(["acme", "zeal", "1"], "a", { isDeleted: true }),
    ],
    notification_control: [row(["n3"], "a", { tenantId: "acme", state: "cancelled" })],
    notification_rate: [
      row(["n3"], "a", { tenantId: "acme", ratePerMinute: 600 }),
      row(["n4"], "a", { tenantId: "acme", ratePerMinute: null }),
    ],
  };
  const taken = {
    notification: [notification("n3", true)],
    people: [row(["n3", "8"], "new")],
    tenant_policy: [row(["acme"], "before")],
    template: [row(["acme", "zeal", "1"], "before")],
    recipient: [row(["acme", "bob"], "before")],
    tenant: [row(["acme"], "par")],
    api_key: [row(["k1"], "good"), row(["k3"], "")],
    recipient_group: [row(["acme", "nurses"], "before")],
  };
  const { api, asked } = apiOf(old, taken);
  const outcome = await reportLoss(api, "fra", SALT);
  expect(outcome).toEqual({
    kind: "report",
    report: {
      home: "fra",
      from: { place: "fra", epoch: 1 },
      to: { place: "par", epoch: 2 },
      isPlanned: false,
      replayedLsn: "0/10",
      replayedAt: "then",
      lostPeopleCount: 6, // four of n1, two of n3
      counts: {
        accepted: 1,
        relayedIn: 1,
        ledgerRows: 2,
        outcomes: 1,
        recipients: 2,
        tenants: 2,
        apiKeys: 2,
        homes: 1,
        groups: 1,
        timers: 1,
        policies: 1,
        templates: 2,
        controls: 1,
        rates: 2,
        outbox: 1,
      },
      lost: {
        accepted: [
          {
            id: "n1",
            tenantId: "acme",
            acceptedRegion: "fra",
            targetRegions: ["fra", "lon", "par"],
            confirmedBy: ["lon"],
          },
        ],
        relayedIn: [
          {
            id: "n2",
            tenantId: "acme",
            acceptedRegion: "lon",
            targetRegions: ["fra", "lon", "par"],
            confirmedBy: [],
          },
        ],
        ledgerRows: [
          { ...where("n1", 7), offsets: [3, 9], peopleCount: 4, waitingCount: 1, isWhole: false },
          { ...where("n2", 7), offsets: [], peopleCount: 0, waitingCount: 0, isWhole: true },
        ],
        outcomes: [
          {
            ...where("n3", 8),
            ...{ offsets: [1], peopleCount: 9, waitingCount: 0, isWhole: false, lostCount: 2 },
          },
        ],
        recipients: [
          { tenantId: "acme", recipientId: "ann", isNew: true },
          { tenantId: "acme", recipientId: "bob", isNew: false },
        ],
        tenants: [
          { tenantId: "fresh", isNew: true },
          { tenantId: "acme", isNew: false },
        ],
        apiKeys: [
          { tenantId: "fresh", keyId: "k2", isNew: true, isRevoked: false },
          { tenantId: "acme", keyId: "k1", isNew: false, isRevoked: true },
        ],
        homes: [{ tenantId: "acme", recipientId: "liz", home: "lon", isNew: true }],
        groups: [{ tenantId: "acme", groupId: "nurses", isNew: false, isDeleted: true }],
        timers: [
          {
            tenantId: "acme",
            partition: 7,
            kind: "reminder",
            key: "ann",
            dueAt: "then",
            isNew: true,
          },
        ],
        policies: [{ tenantId: "acme", isNew: false }],
        templates: [
          { tenantId: "acme", templateId: "shift", version: 2, isNew: true, isDeleted: false },
          { tenantId: "acme", templateId: "zeal", version: 1, isNew: false, isDeleted: true },
        ],
        controls: [{ tenantId: "acme", notificationId: "n3", state: "cancelled", isNew: true }],
        rates: [
          { tenantId: "acme", notificationId: "n3", ratePerMinute: 600, isNew: true },
          { tenantId: "acme", notificationId: "n4", ratePerMinute: null, isNew: true },
        ],
        outbox: [{ notificationId: "n1", targetRegion: "par" }],
      },
    },
  });
  expect(new Set(asked.flatMap((one) => (one.kind === "report" ? one.snapshot : [])))).toEqual(
    new Set(["5:9:7"]),
  );
  const salts = asked.flatMap((one) => ("table" in one ? one.salt : []));
  expect(new Set(salts)).toEqual(new Set([SALT]));
});

test("FO4 — more than a page: each row once", async () => {
  const many = Array.from({ length: 1_250 }, (_, at) => notification(`n${at}`, true));
  const { api } = apiOf({ notification: many }, { notification: many.slice(0, 600) });
  const outcome = await reportLoss(api, "fra", SALT);
  if (outcome.kind !== "report") throw new Error(outcome.reason);
  expect(outcome.report.lost.accepted.map(({ id }) => id)).toEqual(
    many.slice(600).map(({ key }) => key[0]),
  );
});

test("FO4 — without a fenced database, or a host, there is nothing to compare: refused", async () => {
  const noOld = apiOf({}, {}, [look("par", "serving")]);
  expect(await reportLoss(noOld.api, "fra", SALT)).toMatchObject({
    kind: "refused",
    code: "nothing_fenced",
  });
  const noHost = apiOf({}, {}, [look("fra", "fenced")]);
  expect(await reportLoss(noHost.api, "fra", SALT)).toMatchObject({
    kind: "refused",
    code: "home_not_served",
  });
  expect(await reportLoss(noHost.api, "ber", SALT)).toMatchObject({
    kind: "refused",
    code: "unknown_home",
  });
});

test("FO4 — of a home that was never moved no database is missing: told so, though its copy answers", async () => {
  const claim = { epoch: 1, host: "fra" };
  const host = { ...look("fra", "serving"), claim, since: null };
  const copy = { ...look("par", "standby"), claim, since: null };
  const moved = look("par", "serving");
  for (const [newest, places, reason] of [
    [claim, [host, copy], "home fra was never moved, so there is nothing to report"],
    [null, [{ ...host, claim: null }], "home fra was never moved, so there is nothing to report"],
    [{ epoch: 2, host: "par" }, [host, copy], MISSING], // heard of, and par's database is away
    [claim, [host, moved], MISSING], // fra has not heard of it yet
    [moved.claim, [moved], MISSING],
  ] as const) {
    const homes: HomeApi["homes"] = async () => [{ home: "fra", claim: newest, places }];
    const outcome = await reportLoss({ ...apiOf({}, {}).api, homes }, "fra", SALT);
    expect(outcome).toEqual({ kind: "refused", code: "nothing_fenced", reason });
  }
});

test("FO4 — a node of an older build, at either side, knows no salt: told, instead of rows that seem to differ", async () => {
  for (const [salted, place] of [
    [{ report: {}, compare: { isSalted: true } }, "fra"],
    [{ report: { isSalted: true }, compare: {} }, "par"],
  ] as const) {
    const { api } = apiOf({ notification: [notification("n1", true)] }, {}, undefined, salted);
    await expect(reportLoss(api, "fra", SALT)).rejects.toThrow(
      `a node in ${place} runs an older build`,
    );
  }
});
