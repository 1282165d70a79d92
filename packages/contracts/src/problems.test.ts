// packages/contracts/src/problems.test.ts
// Goal: CT5–CT7. Method: tables of refused inputs with the exact fields and messages they get.
import { expect, test } from "vitest";
import type { z } from "zod";
import {
  fieldErrorsOf,
  importLineSchema,
  LIMITS,
  notificationRequestSchema,
  recipientRequestSchema,
  tokensRequestSchema,
} from "./index.ts";

/** "field message" of every field error; throws when the schema takes the input. */
function problems(schema: z.ZodType, input: unknown): string[] {
  const parsed = schema.safeParse(input);
  if (parsed.success) throw new Error("was accepted");
  return fieldErrorsOf(parsed.error, input).map(({ field, message }) => `${field} ${message}`);
}

const plain = { audience: { broadcast: true }, content: { en: { title: "Hello" } } };
const to = (audience: unknown): unknown => ({ ...plain, audience });
const says = (content: unknown): unknown => ({ ...plain, content });
const ID = "must not hold spaces, control characters or '/'";
const ONE_OF_FOUR = "audience must hold exactly one of recipients, group, filter and broadcast";
const NAME = "must begin with a letter and hold letters, digits, _ . -";
const VALUE = "must be a string, or a number, or true or false, or a list";

const NOTIFICATIONS: readonly [string, unknown, string[]][] = [
  ["an empty object", {}, ["audience is required", "content is required"]],
  ["a list", [], ["body must be an object"]],
  ["null", null, ["body must be an object"]],
  ["a string", "x", ["body must be an object"]],
  ["nothing", undefined, ["body is required"]],
  ["an unknown field", { ...plain, when: 1 }, ["when is not a known field"]],
  ["a field with a space", { ...plain, "a b": 1 }, ['["a b"] is not a known field']],
  ["an empty audience", to({}), [ONE_OF_FOUR]],
  ["a misspelt audience", to({ recipient: ["a"] }), [ONE_OF_FOUR]],
  ["two audiences", to({ recipients: ["a"], broadcast: true }), [ONE_OF_FOUR]],
  ["a number as audience", to(5), ["audience must be an object"]],
  ["null as audience", to(null), ["audience must be an object"]],
  ["broadcast false", to({ broadcast: false }), ["audience.broadcast must be true"]],
  ["a string of recipients", to({ recipients: "bob" }), ["audience.recipients must be a list"]],
  ["no recipient", to({ recipients: [] }), ["audience.recipients must hold at least 1 item"]],
  [
    "10,001 recipients",
    to({ recipients: Array.from({ length: 10_001 }, (_, index) => `e${index}`) }),
    ["audience.recipients must hold at most 10000 items"],
  ],
  [
    "bad recipient ids",
    to({ recipients: ["a", "b c", 3, "", "d/e", "x".repeat(129), "f\u0000"] }),
    [
      `audience.recipients[1] ${ID}`,
      "audience.recipients[2] must be a string",
      "audience.recipients[3] must not be empty",
      `audience.recipients[4] ${ID}`,
      "audience.recipients[5] must have at most 128 characters",
      `audience.recipients[6] ${ID}`,
    ],
  ],
  ["an extra field", to({ recipients: ["a"], all: 1 }), ["audience.all is not a known field"]],
  ["no content", says({}), ["content must hold at least one locale"]],
  ["a string as content", says("hi"), ["content must be an object"]],
  [
    "a bad locale",
    says({ EN: { title: "x" } }),
    ["content.EN is not a valid name: it must be a locale such as en or de-AT"],
  ],
  ["a string for a locale", says({ en: "x" }), ["content.en must be an object"]],
  [
    "bad parts of content",
    says({ "de-AT": { title: "", body: "\u0000", link: "javascript:1", data: { a: 1 } } }),
    [
      "content.de-AT.title must not be empty",
      "content.de-AT.body must not hold U+0000 or unpaired surrogates",
      "content.de-AT.link must be an http or https URL",
      "content.de-AT.data.a must be a string",
    ],
  ],
  [
    "content of more bytes than a push message takes",
    says({ en: { title: "x", body: "€".repeat(1_000) } }),
    ["content.en must be at most 2700 bytes as JSON, per locale"],
  ],
  ["a fraction", { ...plain, ttlSeconds: 1.5 }, ["ttlSeconds must be a whole number"]],
  ["too short a life", { ...plain, ttlSeconds: 0 }, ["ttlSeconds must be at least 1"]],
  ["a number as text", { ...plain, ttlSeconds: "5" }, ["ttlSeconds must be a number"]],
  [
    "an unknown priority",
    { ...plain, priority: "urgent" },
    ["priority must be one of low, normal, high, critical"],
  ],
  [
    "an empty exclude",
    { ...plain, exclude: {} },
    ["exclude must hold recipients, groups or filter"],
  ],
  ["a string as exclude", { ...plain, exclude: "bob" }, ["exclude must be a list, or an object"]],
  [
    "bad parts of exclude",
    { ...plain, exclude: { groups: ["a b"], recipients: [1], filter: { key: "a" } } },
    [
      "exclude.recipients[0] must be a string",
      `exclude.groups[0] ${ID}`,
      "exclude.filter must hold op and nodes, or key and cmp",
    ],
  ],
  ["an excluded id that is none", { ...plain, exclude: ["a b"] }, [`exclude[0] ${ID}`]],
  ["a group's id that is none", to({ group: "a/b" }), [`audience.group ${ID}`]],
  ["two groups", to({ group: ["a", "b"] }), ["audience.group must be a string"]],
];

test.each(NOTIFICATIONS)("CT6 a notification with %s is refused by field", (_, input, expected) => {
  expect(problems(notificationRequestSchema, input)).toEqual(expected);
});

const acks = (requireAck: unknown): unknown => ({ ...plain, requireAck });
const steps = (...escalation: unknown[]): unknown => acks({ deadlineSeconds: 60, escalation });
const TARGET = 'must be "recipient", or hold attribute or webhook';
const ESCALATIONS: readonly [string, unknown, string[]][] = [
  ["true", acks(true), ["requireAck must be an object"]],
  ["no deadline", acks({}), ["requireAck.deadlineSeconds is required"]],
  [
    "a deadline that is too short, and an unknown field",
    acks({ deadlineSeconds: 9, until: 1 }),
    ["requireAck.deadlineSeconds must be at least 10", "requireAck.until is not a known field"],
  ],
  [
    "six steps",
    steps(...Array.from({ length: 6 }, () => ({ to: "recipient" }))),
    ["requireAck.escalation must hold at most 5 items"],
  ],
  [
    "steps to nobody",
    steps({}, { to: "manager" }, { to: { id: "bob" } }),
    [
      "requireAck.escalation[0].to is required",
      `requireAck.escalation[1].to ${TARGET}`,
      `requireAck.escalation[2].to ${TARGET}`,
    ],
  ],
  [
    "webhooks that are none",
    steps(
      { to: { webhook: "http://a.example" } },
      { to: { webhook: "https://user:word@a.example" } },
      { to: { webhook: "https://a.example" }, content: plain.content },
    ),
    [
      "requireAck.escalation[0].to.webhook must be an https URL",
      "requireAck.escalation[1].to.webhook must be an https URL without a user and a password",
      "requireAck.escalation[2].content must not stand beside a webhook",
    ],
  ],
  [
    "channels that there are not yet",
    steps(
      { to: "recipient", channels: ["webpush"] },
      { to: "recipient", channels: ["pigeon"] },
      { to: { attribute: "managerId" }, channels: ["socket"] },
    ),
    [
      'requireAck.escalation[0].channels must be ["socket"]: nothing is sent on other channels yet',
      "requireAck.escalation[1].channels[0] must be one of socket, webpush, fcm, apns",
      'requireAck.escalation[2].channels must not stand but beside to: "recipient"',
    ],
  ],
  [
    "a chain of more than two weeks",
    acks({
      deadlineSeconds: 604_800,
      escalation: [{ to: "recipient" }, { to: "recipient", waitSeconds: 10 }],
    }),
    ["requireAck.escalation must end within 14 days: the deadline and all waits together"],
  ],
  [
    "a step's content that is none",
    steps({ to: "recipient", content: { en: { title: "" } } }),
    ["requireAck.escalation[0].content.en.title must not be empty"],
  ],
];

test.each(ESCALATIONS)("CT6 a chain with %s is refused by field", (_, input, expected) => {
  expect(problems(notificationRequestSchema, input)).toEqual(expected);
});

const FILTER = " must hold op and nodes, or key and cmp";
const FILTERS: readonly [unknown, string[]][] = [
  [{}, [FILTER]],
  [{ key: "a" }, [FILTER]],
  [{ op: "and", key: "a", cmp: "eq", val: 1, nodes: [] }, [FILTER]],
  [5, [" must be an object"]],
  [null, [" must be an object"]],
  [{ op: "and" }, [".nodes is required"]],
  [{ op: "and", nodes: [] }, [".nodes must hold at least 1 item"]],
  [{ op: "or", nodes: "x" }, [".nodes must be a list"]],
  [{ op: "xor", nodes: [{ key: "a", cmp: "exists" }] }, [".op must be one of and, or, not"]],
  [
    { op: "not", nodes: [1, 2] },
    [".nodes must hold at most 1 item", ".nodes[0] must be an object"],
  ],
  [{ op: "and", nodes: [{ key: "a", cmp: "eq" }] }, [".nodes[0].val is required"]],
  [
    { op: "and", nodes: [{ op: "not", nodes: [{ key: "a", cmp: "eq", val: [1] }] }] },
    [".nodes[0].nodes[0].val must be a string, or a number, or true or false"],
  ],
  [{ cmp: "eq" }, [".key is required", ".val is required"]],
  [{ key: "1a", cmp: "eq", val: 1 }, [`.key ${NAME}`]],
  [
    { key: "a", cmp: "like", val: 1 },
    [".cmp must be one of in, exists, eq, ne, lt, le, gt, ge, contains, prefix"],
  ],
  [{ key: "a", cmp: "exists", val: 1 }, [".val is not a known field"]],
  [{ key: "a", cmp: "in", val: 1 }, [".vals is required", ".val is not a known field"]],
  [{ key: "a", cmp: "in", vals: [] }, [".vals must hold at least 1 item"]],
  [
    { key: "a", cmp: "in", vals: ["x", {}] },
    [".vals[1] must be a string, or a number, or true or false"],
  ],
  [{ key: "a", cmp: "eq", val: "x".repeat(513) }, [".val must have at most 512 characters"]],
  [{ key: "a", cmp: "ge", val: true }, [".val must be a string, or a number"]],
  [{ key: "a", cmp: "prefix", val: 1 }, [".val must be a string"]],
  [{ key: "a", cmp: "contains", val: false }, [".val must be a string"]],
  [{ key: "a", cmp: "lt", val: "2026-02-30" }, [".val must be a date or time that exists"]],
  [
    { op: "not", nodes: [{ key: "a", cmp: "gt", val: "2026-01-01T24:00Z" }] },
    [".nodes[0].val must be a date or time that exists"],
  ],
];

test.each(FILTERS)("CT6 the filter %j is refused by field", (filter, expected) => {
  const fields = expected.map((rest) => `audience.filter${rest}`);
  expect(problems(notificationRequestSchema, to({ filter })).slice(0, fields.length)).toEqual(
    fields,
  );
});

const leaf = { key: "a", cmp: "exists" };
function nested(levelCount: number): unknown {
  let filter: unknown = leaf;
  for (let level = 1; level < levelCount; level++) filter = { op: "not", nodes: [filter] };
  return filter;
}
const wide = (count: number): unknown => ({
  op: "or",
  nodes: Array.from({ length: count }, () => leaf),
});

test("CT5 a filter of the deepest and of the largest size is taken, one more is refused", () => {
  for (const filter of [nested(LIMITS.filterDepthMax), wide(LIMITS.filterNodesMax - 1)])
    expect(notificationRequestSchema.safeParse(to({ filter })).success).toBe(true);
  const deep = ["audience.filter must be at most 8 levels deep"];
  expect(problems(notificationRequestSchema, to({ filter: nested(9) }))).toEqual(deep);
  const large = ["audience.filter must hold at most 256 nodes"];
  expect(problems(notificationRequestSchema, to({ filter: wide(256) }))).toEqual(large);
});

test("CT5 a filter of 100,000 levels is refused without exhausting the stack", () => {
  const deep = ["audience.filter must be at most 8 levels deep"];
  expect(problems(notificationRequestSchema, to({ filter: nested(100_000) }))).toEqual(deep);
});

test("CT6 a recipient's fields are named, with the attribute's own name", () => {
  const input = {
    homeRegion: "X",
    locale: "EN",
    timeZone: "Mars/Olympus",
    attributes: { "1": 1, b: {}, c: ["x", 1], "d.e": null, f: "\ud800" },
  };
  expect(problems(recipientRequestSchema, input)).toEqual([
    "homeRegion must be 2 to 16 lower-case letters or digits",
    "locale must be a locale such as en or de-AT",
    "timeZone must be an IANA time zone such as Europe/Berlin",
    `attributes.1 is not a valid name: it ${NAME}`,
    `attributes.b ${VALUE}`,
    "attributes.c[1] must be a string",
    `attributes["d.e"] ${VALUE}`,
    "attributes.f must not hold U+0000 or unpaired surrogates",
  ]);
});

test("CT6 65 attributes, an offset for a time zone and __proto__ are refused", () => {
  const attributes = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`a${index}`, 1]));
  const many = ["attributes must hold at most 64 attributes"];
  expect(problems(recipientRequestSchema, { attributes })).toEqual(many);
  const zone = ["timeZone must be an IANA time zone such as Europe/Berlin"];
  expect(problems(recipientRequestSchema, { timeZone: "+02:00" })).toEqual(zone);
  const input: unknown = JSON.parse('{"__proto__": {"locale": "en"}}');
  expect(problems(recipientRequestSchema, input)).toEqual(["__proto__ is not a known field"]);
});

test("CT6 an import line and a request for tokens are refused by field", () => {
  expect(problems(importLineSchema, {})).toEqual(["recipientId is required"]);
  expect(problems(importLineSchema, { recipientId: 5 })).toEqual(["recipientId must be a string"]);
  expect(problems(importLineSchema, { recipientId: "a/b" })).toEqual([`recipientId ${ID}`]);
  expect(problems(tokensRequestSchema, {})).toEqual(["recipientIds is required"]);
  const none = ["recipientIds must hold at least 1 item"];
  expect(problems(tokensRequestSchema, { recipientIds: [] })).toEqual(none);
  const short = ["ttlSeconds must be at least 60"];
  expect(problems(tokensRequestSchema, { recipientIds: ["a"], ttlSeconds: 5 })).toEqual(short);
});

test("CT6 10,000 wrong fields give the first 50", () => {
  const recipients = Array.from({ length: 10_000 }, () => "a b");
  const fields = problems(notificationRequestSchema, to({ recipients }));
  expect(fields).toHaveLength(LIMITS.fieldErrorsReported);
  expect(fields.at(-1)).toBe(`audience.recipients[49] ${ID}`);
});

test("CT6 the whole input has the name that the caller gives it", () => {
  const parsed = importLineSchema.safeParse(5);
  expect(fieldErrorsOf(parsed.error!, 5, "line")).toEqual([
    { field: "line", message: "must be an object" },
  ]);
});

test("CT6 without the input, zod's own words still tell missing from wrong", () => {
  const parsed = importLineSchema.safeParse({ locale: 1 });
  expect(fieldErrorsOf(parsed.error!)).toEqual([
    { field: "locale", message: "must be a string" },
    { field: "recipientId", message: "is required" },
  ]);
});

test("CT7 values are not echoed and a long name is cut", () => {
  const secret = "s3cret value";
  const input = {
    ...plain,
    audience: { recipients: [secret] },
    priority: secret,
    ttlSeconds: secret,
  };
  expect(problems(notificationRequestSchema, input).join()).not.toContain("s3cret");
  const name = `["${"k".repeat(64)}"] is not a known field`;
  expect(problems(notificationRequestSchema, { ...plain, ["k".repeat(99)]: 1 })).toEqual([name]);
});
