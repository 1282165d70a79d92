// packages/contracts/src/schemas.test.ts
// Goal: CT4, CT8, CT10, CT12 and what the schemas take. What they refuse is in problems.test.ts.
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { z } from "zod";
import {
  ackSchema,
  beatSchema,
  CLOSE_CODES,
  contentSchema,
  COUNT_NAMES,
  ERROR_CODES,
  type ErrorCodeName,
  HOME_EPOCH_MAX,
  homeClaimsSchema,
  importLineSchema,
  inboxJoinSchema,
  isReconnectable,
  isStorable,
  notificationRequestSchema,
  notificationSchema,
  partitionRequestSchema,
  problemOf,
  recipientIdSchema,
  recipientRequestSchema,
  regionSchema,
  tenantIdSchema,
  tokensRequestSchema,
  zeroCounts,
} from "./index.ts";

const content = { en: { title: "Hello" } };

test("a notification gets its defaults", () => {
  const request = { audience: { broadcast: true }, content };
  expect(notificationRequestSchema.parse(request)).toEqual({
    ...request,
    priority: "normal",
    ttlSeconds: 604_800,
  });
});

const filter = {
  op: "and",
  nodes: [
    { key: "site", cmp: "in", vals: ["paris", 7, true] },
    { op: "not", nodes: [{ key: "left", cmp: "exists" }] },
    { key: "since", cmp: "ge", val: "2020-01-01" },
  ],
};
const ACCEPTED: readonly [string, z.ZodType, unknown][] = [
  ["recipients", notificationRequestSchema, { audience: { recipients: ["a"] }, content }],
  ["a filter", notificationRequestSchema, { audience: { filter }, content }],
  [
    "a chain",
    notificationRequestSchema,
    {
      ...{ audience: { broadcast: true }, content },
      requireAck: {
        deadlineSeconds: 604_800,
        escalation: [
          { to: "recipient", channels: ["socket"], waitSeconds: 10, content },
          { to: { attribute: "managerId" }, waitSeconds: 10 },
          { to: { webhook: "https://a.example:8443/x?y" }, waitSeconds: 604_780 },
        ],
      },
    },
  ],
  ["an id with accents", recipientIdSchema, "Zoë.Müller@example.com"],
  ["an id with an emoji", recipientIdSchema, "🔔"],
  ["an id of 128 characters", recipientIdSchema, "x".repeat(128)],
  [
    "all parts of content",
    contentSchema,
    { title: "t", body: "", link: "https://a.b/c?d#e", data: { k: "v" } },
  ],
  ["a recipient without anything", recipientRequestSchema, {}],
  ["a recipient", recipientRequestSchema, { timeZone: "Europe/Dublin", locale: "sr-Latn-RS" }],
  ["an alias of a time zone", recipientRequestSchema, { timeZone: "Asia/Calcutta" }],
  ["UTC", recipientRequestSchema, { timeZone: "UTC" }],
  [
    "an import line",
    importLineSchema,
    { recipientId: "a", attributes: { a: [], b: 0.5, "c.d": false } },
  ],
  ["tokens", tokensRequestSchema, { recipientIds: ["a"] }],
  ["a region", regionSchema, "fra"],
  ["a join from scratch", inboxJoinSchema, {}],
  ["a join that resumes", inboxJoinSchema, { offset: 0, epoch: "e" }],
  ["a join with fields of a later version", inboxJoinSchema, { later: 1 }],
  ["an ack", ackSchema, { offset: 1 }],
];
test.each(ACCEPTED)("%s is accepted", (_, schema, input) => {
  expect(schema.safeParse(input).success).toBe(true);
});

const REFUSED: readonly [string, z.ZodType, unknown][] = [
  ["an id with a zero-width joiner", recipientIdSchema, "a\u200db"],
  ["an id with an unpaired surrogate", recipientIdSchema, "a\ud800"],
  ["an upper-case region", regionSchema, "FRA"],
  ["a region with a dot, which would split a subject", regionSchema, "fr.a"],
  ["a tenant with a slash", tenantIdSchema, "a/b"],
  ["an offset without its epoch", inboxJoinSchema, { offset: 3 }],
  ["an epoch without its offset", inboxJoinSchema, { epoch: "e" }],
  ["an ack of offset 0", ackSchema, { offset: 0 }],
  ["an ack of half an offset", ackSchema, { offset: 1.5 }],
  ["a link to a file", contentSchema, { title: "t", link: "file:///etc/passwd" }],
  ["a notification whose content is null", notificationSchema, notificationWith({ en: null })],
];
test.each(REFUSED)("%s is refused", (_, schema, input) => {
  expect(schema.safeParse(input).success).toBe(false);
});

function notificationWith(localized: unknown): unknown {
  return {
    id: "0193a5b0-0000-7000-8000-000000000000",
    tenantId: "acme",
    acceptedRegion: "par",
    acceptedAtMs: 1,
    expiresAtMs: 2,
    priority: "normal",
    content: localized,
    exclude: [],
  };
}

test("CT8 text that Postgres or UTF-8 cannot hold is refused in every place", () => {
  expect(["", "🔔", "\n\t", "\uffff"].map(isStorable)).toEqual([true, true, true, true]);
  for (const text of ["a\u0000", "\ud83d", "\udd14\ud83d"]) {
    expect(isStorable(text)).toBe(false);
    const inputs: readonly [z.ZodType, unknown][] = [
      [contentSchema, { title: text }],
      [contentSchema, { title: "t", body: text }],
      [contentSchema, { title: "t", link: `https://a.b/${text}` }],
      [contentSchema, { title: "t", data: { k: text } }],
      [contentSchema, { title: "t", data: { [text]: "v" } }],
      [recipientIdSchema, text],
      [recipientRequestSchema, { attributes: { a: text } }],
      [recipientRequestSchema, { attributes: { a: [text] } }],
      [recipientRequestSchema, { attributes: { [text]: 1 } }],
    ];
    for (const [schema, input] of inputs) expect(schema.safeParse(input).success).toBe(false);
  }
});

test.each(Object.keys(ERROR_CODES) as ErrorCodeName[])("CT4 %s has its problem", (code) => {
  const { status, title, level } = ERROR_CODES[code];
  expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
  expect(status).toBeGreaterThanOrEqual(400);
  expect(status).toBeLessThan(600);
  expect(title).toMatch(/^[A-Z].*[^.]$/);
  expect(["debug", "info", "warn", "error"]).toContain(level);
  expect(problemOf(code, { requestId: "r1" })).toEqual({
    type: `https://carillon.dev/errors/${code}`,
    title,
    status,
    code,
    requestId: "r1",
  });
});

test("W5 a client reconnects after 1012 and 4000–4499, and stops after 1000 and 4500–4999", () => {
  const reconnects = Object.values(CLOSE_CODES).filter(isReconnectable);
  expect(reconnects.toSorted((a, b) => a - b)).toEqual([1012, 4001, 4008, 4010, 4011, 4029, 4030]);
  expect([1006, 4000, 4499, 4500, 4999].map(isReconnectable)).toEqual([
    true,
    true,
    true,
    false,
    false,
  ]);
});

test("counts start at zero, one for each name", () => {
  expect(Object.keys(zeroCounts())).toEqual(COUNT_NAMES);
  expect(new Set(Object.values(zeroCounts()))).toEqual(new Set([0]));
});

test("CT9 a beat of a later version is read", () => {
  const beat = {
    memberId: "m1",
    region: "fra",
    roles: ["worker"],
    isDraining: false,
    build: "1",
    owned: { fra: [[0, 3]] },
    links: { g1: 7 },
  };
  expect(beatSchema.parse({ ...beat, later: {} })).toMatchObject(beat);
});

test("CT10 no source outside tests imports a node: module, so that browsers can run it", () => {
  const folder = new URL(".", import.meta.url);
  const sources = readdirSync(folder).filter((name) => !name.endsWith(".test.ts"));
  const nodeImports = sources.filter((name) =>
    /from "node:|import\("node:|process\.|\bBuffer\b/.test(
      readFileSync(new URL(name, folder), "utf8"),
    ),
  );
  expect(nodeImports).toEqual([]);
});

test("a gateway's id is a token of subjects, at most 64 characters", () => {
  const isTaken = (gatewayId: string): boolean =>
    partitionRequestSchema.safeParse({ kind: "open", gatewayId, sessions: [] }).success;
  expect(["fra-gateway-1", "gw_A", "x".repeat(64)].map(isTaken)).toEqual([true, true, true]);
  const refused = ["", "a b", "a.b", "*", "a\r\nPUB", "x".repeat(65)];
  expect(refused.map(isTaken)).toEqual(refused.map(() => false));
});

test("CT12 — a claim of a home that nobody can have made is read as null, and the others are read", () => {
  const good = { epoch: HOME_EPOCH_MAX, host: "par" };
  const text = `{"a":{"epoch":1e300,"host":"par"},"b":{"epoch":1e999,"host":"par"},"c":{"epoch":null},
    "d":{"epoch":1.5,"host":"par"},"e":{"epoch":0,"host":"par"},"f":{"epoch":2,"host":"P A R"},
    "g":{"epoch":${HOME_EPOCH_MAX + 1},"host":"par"},"h":7,"fra":${JSON.stringify(good)}}`;
  const refused = Object.fromEntries("abcdefgh".split("").map((home) => [home, null]));
  expect(homeClaimsSchema.parse(JSON.parse(text))).toEqual({ ...refused, fra: good });
  // Ownership epochs of the highest one, and as many owners as fit below the next, are exact (HM4).
  expect(Number.isSafeInteger(HOME_EPOCH_MAX * 2 ** 32 + 2 ** 32 - 1)).toBe(true);
});

test("CT9 — a step of a chain that this build does not know refuses no message between regions", () => {
  const requireAck = { deadlineSeconds: 60, escalation: [{ to: { pigeon: "x" }, wings: 2 }] };
  const notification = {
    ...{ id: "00000000-0000-7000-8000-000000000001", tenantId: "acme", acceptedRegion: "fra" },
    ...{ acceptedAtMs: 1, expiresAtMs: 2, priority: "high", content, exclude: [], requireAck },
  };
  expect(notificationSchema.parse(notification).requireAck).toEqual(requireAck);
});
