// Goal: PC1 and PC2 of `carillon notification` and `carillon explain`. Method: the command as a process of its own,
// against a scripted API. Against real nodes: test/e2e/control.test.ts.
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import {
  type NotificationStatus,
  type RecipientExplanation,
  zeroCounts,
} from "@carillon/contracts";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

const main = new URL("main.ts", import.meta.url).pathname;
const ID = "019ad8f2-7c00-7000-8000-0123456789ab";
const API_KEY = "crl_0123abcd_of-the-tests";

const asked: string[] = [];
const bodies: string[] = [];
let answer: { status: number; body: unknown } = { status: 200, body: {} };
const server = createServer((request, response) => {
  asked.push(`${request.method} ${request.url} ${request.headers.authorization}`);
  request.on("data", (chunk: Buffer) => void bodies.push(chunk.toString()));
  response
    .writeHead(answer.status, { "content-type": "application/json" })
    .end(JSON.stringify(answer.body));
});
let url = "";
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());
beforeEach(() => {
  asked.splice(0);
  bodies.splice(0);
});

async function carillon(...words: string[]) {
  const env = { PATH: process.env["PATH"] ?? "", CARILLON_API_KEY: API_KEY };
  const options = { env, timeout: 30_000 };
  try {
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [main, ...words, "--url", url],
      options,
    );
    return { code: 0, stdout, stderr };
  } catch (cause) {
    const { code, stdout, stderr } = cause as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}
const cellsOf = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => line.split(/\s{2,}/));

const counts = { ...zeroCounts(), targeted: 1_200, deliveredSocket: 1_000, deferred: 150 };
const STATUS: NotificationStatus = {
  ...{ id: ID, acceptedAt: "2026-12-01T09:00:00.000Z", acceptedRegion: "fra", priority: "high" },
  ...{ state: "delivering", control: "paused", ratePerMinute: 6_000 },
  counts: { ...counts, pending: 200, unknown: 3 },
  regions: [
    { region: "fra", state: "finished", counts: { ...zeroCounts(), targeted: 1_000 } },
    { region: "lon", state: "delivering", counts },
  ],
};
const STORY: RecipientExplanation = {
  ...{ notificationId: ID, recipientId: "emp é", homeRegion: "lon", state: "scheduled" },
  dueAt: "2026-12-02T07:00:00.000Z",
  reason: null,
  ...{ read: true, acknowledged: false, offset: 7 },
  rows: [{ offset: 7, sets: ["targeted", "moved"] }],
  journal: "kept",
  timeline: [
    {
      ...{ at: "2026-12-01T22:00:00.000Z", node: "lon-1", epoch: 4, attempt: 0 },
      ...{ kind: "deferred", code: "ownQuietHours", detail: null, text: "It was put off." },
    },
  ],
  isCut: true,
};

test("PC1 — status: by region, counts that are nowhere other than 0 left out, and what its sender did", async () => {
  answer = { status: 200, body: STATUS };
  const { code, stdout, stderr } = await carillon("notification", "status", ID.toUpperCase());
  expect([code, stderr]).toEqual([0, ""]);
  expect(asked).toEqual([`GET /v1/notifications/${ID} Bearer ${API_KEY}`]);
  expect(cellsOf(stdout).filter((_, at) => at !== 3)).toEqual([
    [`${ID}: delivering, paused by its sender`],
    ["accepted in fra at 2026-12-01T09:00:00.000Z, priority high, 6,000 people a minute"],
    ["REGION", "STATE", "TARGETED", "DELIVEREDSOCKET", "DEFERRED"],
    ["fra", "finished", "1,000", "0", "0"],
    ["lon", "delivering", "1,200", "1,000", "150"],
    ["all", "delivering", "1,200", "1,000", "150"],
    ["200 pending, 3 recipients unknown"],
  ]);
});

test("PC1, PC2 — pause, resume, cancel and recall: what is in force then; --json is the answer as it is", async () => {
  for (const verb of ["pause", "resume", "cancel", "recall"]) {
    const body = { id: ID, control: `${verb}d`, changedAt: "2026-12-01T09:00:00.000Z" };
    answer = { status: 202, body };
    const told = `${ID} is ${verb}d since 2026-12-01T09:00:00.000Z, in every region within 2 s\n`;
    expect(await carillon("notification", verb, ID)).toEqual({ code: 0, stdout: told, stderr: "" });
    const { stdout } = await carillon("notification", verb, ID, "--json");
    expect(JSON.parse(stdout)).toEqual(body);
    expect(asked.splice(0)).toEqual(
      [0, 1].map(() => `POST /v1/notifications/${ID}/${verb} Bearer ${API_KEY}`),
    );
  }
});

test("PC1, PC2 — remind tells the reminder's id; rate what is in force, none for as fast as it goes", async () => {
  const other = ID.replace("7000", "7001");
  answer = { status: 202, body: { id: other, acceptedAt: "", regions: ["fra"] } };
  expect(await carillon("notification", "remind", ID)).toEqual({
    ...{ code: 0, stderr: "", stdout: `${other} reminds of it\n` },
  });
  const changedAt = "2026-12-01T09:00:00.000Z";
  answer = { status: 202, body: { id: ID, ratePerMinute: 600, changedAt } };
  const rated = await carillon("notification", "rate", ID, "600");
  const since = `since ${changedAt}, in every region within 2 s\n`;
  expect(rated.stdout).toBe(`${ID}: 600 people a minute at most ${since}`);
  answer = { status: 202, body: { id: ID, ratePerMinute: null, changedAt } };
  const free = await carillon("notification", "rate", ID, "none");
  expect(free.stdout).toBe(`${ID}: as fast as it goes ${since}`);
  expect(asked.map((line) => line.split(" ", 2).join(" "))).toEqual([
    `POST /v1/notifications/${ID}/remind`,
    ...[0, 1].map(() => `POST /v1/notifications/${ID}/rate`),
  ]);
  expect(bodies).toEqual(["{}", '{"ratePerMinute":600}', '{"ratePerMinute":null}']);
  asked.splice(0);
  for (const wrong of ["0", "1.5", "fast"]) {
    const { code, stderr } = await carillon("notification", "rate", ID, wrong);
    expect([code, stderr]).toEqual([64, expect.stringContaining("or none")]);
  }
  expect(asked).toEqual([]);
});

test("PC1 — explain: where he is, why, and the story in order", async () => {
  answer = { status: 200, body: STORY };
  const { code, stdout } = await carillon("explain", ID, "emp-é");
  expect(code).toBe(0);
  expect(asked).toEqual([`GET /v1/notifications/${ID}/recipients/emp-%C3%A9 Bearer ${API_KEY}`]);
  expect(cellsOf(stdout).filter((_, at) => at !== 4)).toEqual([
    [`emp é (home lon), notification ${ID}: scheduled, read`],
    ["", "waits until 2026-12-02T07:00:00.000Z"],
    ["", "row at offset 7: targeted, moved"],
    ["AT", "NODE", "EPOCH", "ATTEMPT", "EVENT", "CODE", "WHAT"],
    [
      ...["2026-12-01T22:00:00.000Z", "lon-1", "4", "–", "deferred", "ownQuietHours"],
      "It was put off.",
    ],
    ["", "… there are more events than are shown"],
  ]);
  const reason = { code: "excluded", text: "He is excluded." } as const;
  const { dueAt: _, ...without } = STORY;
  const none = { ...without, reason, state: "not_targeted", read: false, rows: [], timeline: [] };
  answer = { status: 200, body: { ...none, journal: "sampled_out", isCut: false } };
  expect(cellsOf((await carillon("explain", ID, "emp-1")).stdout)).toEqual([
    [`emp é (home lon), notification ${ID}: not_targeted`],
    ["", "He is excluded."],
    ["", "its story was not kept: of a large audience only failures and a share of all are"],
  ]);
});

test("PC1, PC2 — refused: 1 not found or cancelled before, 2 not reachable, 64 wrongly asked; one shape", async () => {
  for (const [status, code, exitCode] of [
    [404, "not_found", 1],
    [409, "already_cancelled", 1],
    [403, "forbidden", 1],
    [422, "invalid_field", 64],
    [503, "region_unreachable", 2],
  ] as const) {
    answer = { status, body: { code, title: "No", detail: "Not so." } };
    const message = `${status} No. Not so.`;
    for (const words of [
      ["notification", "resume", ID],
      ["explain", ID, "emp-1"],
    ]) {
      expect(await carillon(...words)).toEqual({
        code: exitCode,
        stdout: "",
        stderr: `carillon ${words[0]}: ${message}\n`,
      });
      const { stdout, stderr } = await carillon(...words, "--json");
      expect([JSON.parse(stdout), stderr]).toEqual([{ error: { code, message } }, ""]);
    }
  }
});
