// packages/contracts/src/template.test.ts
// Goal: CT25, CT26 and what a template's request refuses. Method: tables of schemas, payloads, requests.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { z } from "zod";
import {
  fieldErrorsOf,
  isLaterTemplate,
  LIMITS,
  notificationRequestSchema,
  payloadCheckOf,
  planRequestSchema,
  type TemplateRecord,
  templateRequestSchema,
} from "./index.ts";

function problems(schema: z.ZodType, input: unknown): string[] {
  const parsed = schema.safeParse(input);
  if (parsed.success) throw new Error("was accepted");
  return fieldErrorsOf(parsed.error, input).map(({ field, message }) => `${field} ${message}`);
}

const plain = { locales: { en: { title: "Hello" } }, defaultLocale: "en" };
const withSchema = (properties: unknown, more: object = {}) => ({
  ...plain,
  payloadSchema: { type: "object", properties, ...more },
});

test("CT25 — what is left out of a template is what it says itself: no payload, UTC, no fall-backs", () => {
  expect(templateRequestSchema.parse(plain)).toEqual({
    ...plain,
    fallbacks: {},
    timeZone: "UTC",
    payloadSchema: { type: "object", properties: {}, required: [], additionalProperties: false },
  });
});

const REQUESTS: readonly [string, unknown, string[]][] = [
  ["no locale", { ...plain, locales: {} }, ["defaultLocale must be one of locales"]],
  ["another default", { ...plain, defaultLocale: "de" }, ["defaultLocale must be one of locales"]],
  ["an unknown field", { ...plain, name: "x" }, ["name is not a known field"]],
  ["no title", { ...plain, locales: { en: { body: "x" } } }, ["locales.en.title is required"]],
  [
    "too long a text",
    { ...plain, locales: { en: { title: "x".repeat(8_001) } } },
    ["locales.en.title must have at most 8000 characters"],
  ],
  [
    "an empty fall-back",
    { ...plain, fallbacks: { "de-AT": [] } },
    ["fallbacks.de-AT must hold at least 1 item"],
  ],
  [
    "more bytes than go to another region at once",
    {
      ...plain,
      locales: {
        en: {
          title: "x",
          data: Object.fromEntries(
            Array.from({ length: 32 }, (_, n) => [`k${n}`, "€".repeat(3_000)]),
          ),
        },
      },
    },
    [`body must be at most ${LIMITS.templateMaxBytes} bytes as JSON`],
  ],
  [
    "a zone that is none",
    { ...plain, timeZone: "Mars/Base" },
    ["timeZone must be an IANA time zone such as Europe/Berlin"],
  ],
  [
    "a pattern",
    withSchema({ a: { type: "string", pattern: "(a+)+$" } }),
    ["payloadSchema.properties.a.pattern is not a known field"],
  ],
  [
    "another format",
    withSchema({ a: { type: "string", format: "email" } }),
    ["payloadSchema.properties.a.format must be one of date, date-time, uri"],
  ],
  [
    "a nested object",
    withSchema({ a: { type: "object", properties: {} } }),
    ["payloadSchema.properties.a.type must be one of string, number, integer, boolean"],
  ],
  [
    "a reference",
    withSchema({ a: { $ref: "#/properties/a" } }),
    ["payloadSchema.properties.a.type is required"],
  ],
  [
    "further properties",
    withSchema({}, { additionalProperties: true }),
    ["payloadSchema.additionalProperties must be false"],
  ],
  [
    "a name that JavaScript knows",
    '{"locales":{"en":{"title":"x"}},"defaultLocale":"en","payloadSchema":{"type":"object","properties":{},"required":["__proto__"]}}',
    [
      "payloadSchema.required[0] must begin with a letter and hold letters, digits and _",
      "payloadSchema.required must hold names of properties only",
    ],
  ],
  [
    "a required name without a property",
    withSchema({}, { required: ["constructor"] }),
    ["payloadSchema.required must hold names of properties only"],
  ],
];

test.each(REQUESTS)("CT25 — a template with %s is refused by field", (_, input, expected) => {
  const request: unknown = typeof input === "string" ? JSON.parse(input) : input;
  expect(problems(templateRequestSchema, request)).toEqual(expected);
});

test("CT25 — a payload is what its schema says, and nothing besides", () => {
  const { payloadSchema } = templateRequestSchema.parse(
    withSchema(
      {
        name: { type: "string", maxLength: 5 },
        kind: { type: "string", enum: ["early", "late"] },
        day: { type: "string", format: "date" },
        at: { type: "string", format: "date-time" },
        count: { type: "integer", minimum: 1, maximum: 9 },
        share: { type: "number" },
        isPaid: { type: "boolean" },
      },
      { required: ["name"] },
    ),
  );
  const check = payloadCheckOf(payloadSchema);
  const whole = {
    ...{ name: "Ann", kind: "late", day: "2028-02-29", at: "2026-12-01T08:00:00+01:00" },
    ...{ count: 9, share: 0.5, isPaid: false },
  };
  expect(check.parse(whole)).toEqual(whole);
  expect(check.parse({ name: "Ann" })).toEqual({ name: "Ann" });
  const wrong = {
    ...{ name: "Gertrude", kind: "night", day: "2026-02-29", at: "2026-12-01T08:00:00" },
    ...{ count: 10, share: "0.5", isPaid: 1, salary: 3 },
  };
  expect(problems(check, wrong)).toEqual([
    "name must have at most 5 characters",
    "kind must be one of early, late",
    "day must be a date",
    "at must be a datetime",
    "count must be at most 9",
    "share must be a number",
    "isPaid must be true or false",
    "salary is not a known field",
  ]);
  expect(problems(check, {})).toEqual(["name is required"]);
  expect(problems(check, JSON.parse('{"name":"x","constructor":1}'))).toEqual([
    "constructor is not a known field",
  ]);
});

const audience = { broadcast: true };
const content = { en: { title: "Hello" } };
const NOTIFICATIONS: readonly [string, object, string[]][] = [
  ["neither content nor template", {}, ["content is required"]],
  ["both", { content, template: "shift" }, ["content must not stand beside template"]],
  ["a payload alone", { content, payload: {} }, ["payload must not stand without template"]],
  [
    "fall-backs beside a template",
    { template: "shift", fallbacks: { "de-AT": ["de"] } },
    ["fallbacks must not stand beside template, which has its own"],
  ],
  ["a version alone", { template: { version: 1 } }, ["template.id is required"]],
  ["version 0", { template: { id: "shift", version: 0 } }, ["template.version must be at least 1"]],
  [
    "a nested payload",
    { template: "shift", payload: { a: { b: 1 } } },
    ["payload.a must be a string, or a number, or true or false"],
  ],
];
test.each(NOTIFICATIONS)(
  "CT26 — a notification with %s is refused by field",
  (_, more, expected) => {
    expect(problems(notificationRequestSchema, { audience, ...more })).toEqual(expected);
  },
);

test("CT26 — content with fall-backs, or a template by id or by version with its payload; a plan needs none", () => {
  const accepted = [
    { content, fallbacks: { "de-AT": ["de-CH", "de"] } },
    { template: "shift", payload: { count: 2 } },
    { template: { id: "shift", version: 3 } },
  ];
  for (const more of accepted) {
    const request = { audience, ...more };
    expect(notificationRequestSchema.parse(request)).toMatchObject(request);
    expect(planRequestSchema.parse(request)).toMatchObject(request);
  }
  expect(planRequestSchema.parse({ audience })).toMatchObject({ audience });
  const both = { audience, content, template: "shift" };
  expect(problems(planRequestSchema, both)).toEqual(["content must not stand beside template"]);
});

test("CT27 — of two records one is the later, and never both", () => {
  const record = fc.record({ changedAtMs: fc.nat(3), changedIn: fc.constantFrom("fra", "lon") });
  const whole = (part: { changedAtMs: number; changedIn: string }): TemplateRecord => ({
    templateId: "shift",
    version: 1,
    definition: null,
    ...part,
  });
  fc.assert(
    fc.property(record, record, (a, b) => {
      const isSame = a.changedAtMs === b.changedAtMs && a.changedIn === b.changedIn;
      const laters = [isLaterTemplate(whole(a), whole(b)), isLaterTemplate(whole(b), whole(a))];
      expect(laters.filter(Boolean)).toHaveLength(isSame ? 0 : 1);
    }),
  );
});
