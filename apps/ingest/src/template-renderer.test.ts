// apps/ingest/src/template-renderer.test.ts
// Goal: IN61 to IN64. Method: tables of texts and payloads; any payload (fast-check) against what content may be.
import { contentSchema, LIMITS, templateRequestSchema } from "@carillon/contracts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { FormatterCache } from "./icu-formats.ts";
import { type CompiledTemplate, compileTemplate } from "./template-renderer.ts";

const properties = {
  count: { type: "integer" },
  amount: { type: "number" },
  day: { type: "string", format: "date" },
  at: { type: "string", format: "date-time" },
  name: { type: "string" },
  form: { type: "string" },
  isPaid: { type: "boolean" },
};
const FORMATTERS_MAX = 64;

function compile(locales: object, more: object = {}) {
  const [defaultLocale] = Object.keys(locales);
  const payloadSchema = { type: "object", properties };
  const request = { locales, defaultLocale, payloadSchema, ...more };
  const cache = new FormatterCache(FORMATTERS_MAX);
  return { cache, compiled: compileTemplate(templateRequestSchema.parse(request), cache) };
}
function templateOf(locales: object, more: object = {}): CompiledTemplate {
  const { compiled } = compile(locales, more);
  if (compiled.kind === "refused") throw new Error(JSON.stringify(compiled.errors));
  return compiled.template;
}
const render = (locales: object, payload: object, more: object = {}) => {
  const template = templateOf(locales, more);
  return template.render(payload as never, template.locales);
};
const titleOf = (title: string, payload: object, locale = "en") => {
  const rendered = render({ [locale]: { title } }, payload);
  return rendered.kind === "content" ? rendered.content[locale]?.title : rendered.errors;
};
const errorsOf = (locales: object) => {
  const { compiled } = compile(locales);
  return compiled.kind === "refused" ? compiled.errors : [];
};

test.each([
  ["en", "{count, plural, =0 {No shifts} one {# shift} other {# shifts}}", { count: 1 }, "1 shift"],
  [
    "en",
    "{count, plural, =0 {No shifts} one {# shift} other {# shifts}}",
    { count: 0 },
    "No shifts",
  ],
  ["ru", "{count, plural, one {# смена} few {# смены} other {# смен}}", { count: 3 }, "3 смены"],
  ["ru", "{count, plural, one {# смена} few {# смены} other {# смен}}", { count: 21 }, "21 смена"],
  [
    "en",
    "{count, selectordinal, one {#st} two {#nd} few {#rd} other {#th}}",
    { count: 22 },
    "22nd",
  ],
  ["de", "{form, select, f {Kollegin} m {Kollege} other {Team}}", { form: "f" }, "Kollegin"],
  ["de", "{amount, number, ::currency/EUR}", { amount: 1234.5 }, "1.234,50\u00a0€"],
  ["de", "{day, date, long}", { day: "2026-03-01" }, "1. März 2026"],
  ["de", "{at, time, short}", { at: "2026-03-01T23:30:00+01:00" }, "22:30"],
  ["en", "{isPaid, select, true {Paid} other {Open}}: {isPaid}", { isPaid: false }, "Open: false"],
  ["en", "It's '{'{name}'}'", { name: "Ann" }, "It's {Ann}"],
] as const)("A12 — in %s: %s", (locale, title, payload, text) => {
  expect(titleOf(title, payload, locale)).toBe(text);
});

test("A12 — times are in the template's zone, and a day is that day in every zone", () => {
  const texts = { en: { title: "{day, date, full}", body: "{at, date, short} {at, time, long}" } };
  const payload = { day: "2026-03-01", at: "2026-03-01T12:00:00Z" };
  const rendered = render(texts, payload, { timeZone: "Pacific/Auckland" });
  expect(rendered).toEqual({
    kind: "content",
    content: {
      en: { title: "Sunday, March 1, 2026", body: "3/2/26 1:00:00 AM GMT+13" },
    },
  });
  expect(render(texts, payload, { timeZone: "America/Adak" })).toMatchObject({
    content: { en: { title: "Sunday, March 1, 2026" } },
  });
});

test("A12 — each locale has its own texts, the default one first, the others in order of their names", () => {
  const locales = { fr: { title: "Salut {name}" }, en: { title: "Hi" }, de: { title: "Hallo" } };
  const rendered = render(locales, { name: "Ann" });
  if (rendered.kind === "refused") throw new Error("was refused");
  expect(Object.entries(rendered.content)).toEqual([
    ["fr", { title: "Salut Ann" }],
    ["de", { title: "Hallo" }],
    ["en", { title: "Hi" }],
  ]);
});

const AT_1 = "at character 1";
test.each([
  ["{name", `must be an ICU message: ${AT_1}: expect argument closing brace`],
  ["{a.b}", `must be an ICU message: ${AT_1}: malformed argument`],
  ["{count, plural, one {x}}", "must be an ICU message: at character 24: missing other clause"],
  ["{nobody}", `must ask for what payloadSchema declares: a name of its properties, ${AT_1}`],
  ["{constructor}", `must ask for what payloadSchema declares: a name of its properties, ${AT_1}`],
  [
    "On {name, plural, other {}}",
    "must ask for what payloadSchema declares: a number or an integer, at character 4",
  ],
  [
    "{count, date}",
    `must ask for what payloadSchema declares: a string of format date or date-time, ${AT_1}`,
  ],
  [
    "{day, time}",
    `must ask for what payloadSchema declares: a string of format date-time, ${AT_1}`,
  ],
  [
    "{count, select, other {}}",
    `must ask for what payloadSchema declares: a string or a boolean, ${AT_1}`,
  ],
  [
    "{count, number, currency}",
    `must write a number in a style that exists (integer, percent, or a skeleton), ${AT_1}`,
  ],
  [
    "{count, number, toString}",
    `must write a number in a style that exists (integer, percent, or a skeleton), ${AT_1}`,
  ],
  ["{count, number, ::currency/XXXX}", `must write a number with a skeleton that exists, ${AT_1}`],
  ["{day, date, ::yyyyQQQ}", "must hold only number and date skeletons that exist"],
  ["{name}".repeat(65), "must hold at most 64 arguments"],
  [
    `${"{form, select, other {".repeat(8)}${"}}".repeat(8)}`,
    "must nest plural and select at most 7 deep",
  ],
  [
    `${"{form,select,other{".repeat(380)}${"}}".repeat(380)}`,
    "must nest plural and select at most 7 deep",
  ],
])("IN61 — %j is refused when it is stored", (title, message) => {
  expect(errorsOf({ en: { title } })).toEqual([{ field: "locales.en.title", message }]);
});

test("IN61 — every text that is wrong is named, by its locale and field", () => {
  const texts = { title: "{", body: "{x}", data: { "a b": "{}" } };
  expect(errorsOf({ en: texts, "de-AT": texts }).map(({ field }) => field)).toEqual([
    "locales.en.title",
    "locales.en.body",
    'locales.en.data["a b"]',
    "locales.de-AT.title",
    "locales.de-AT.body",
    'locales.de-AT.data["a b"]',
  ]);
});

test.each(["{count}", "{name, plural, other {}}", "'{'", "<b>x</b>", "a\\u0041", "#", "__proto__"])(
  "IN62 — a value %j is that text",
  (name) => {
    const title = "{form, select, x {<i>{name}</i>} other {{name}}}";
    expect(titleOf(title, { name, form: "x" })).toBe(`<i>${name}</i>`);
    expect(titleOf(title, { name, form: name })).toBe(name); // no option of that name
  },
);

test("IN62 — in a link values are encoded; only a link that is one value is taken as it is, if it may be one", () => {
  const link = "https://intra.example/{name}?count={count}";
  const evil = "../../x?y#z@evil.example/";
  expect(render({ en: { title: "x", link } }, { name: evil, count: 3 })).toMatchObject({
    content: {
      en: { link: `https://intra.example/${encodeURIComponent(evil)}?count=3` },
    },
  });
  const whole = { en: { title: "x", link: "{name}" } };
  expect(render(whole, { name: "https://a.example/b?c=d" })).toMatchObject({
    content: { en: { link: "https://a.example/b?c=d" } },
  });
  expect(render(whole, { name: "javascript:alert(1)" })).toMatchObject({
    errors: [
      {
        field: "content.en.link",
        message: "must be an http or https URL, as rendered with this payload",
      },
    ],
  });
});

test("IN64 — a payload is checked, and what a text lacks is named with its locale and field", () => {
  const locales = {
    en: { title: "Hello" },
    de: { title: "Hallo", data: { k: "{form, select, x {{name}} other {}}" } },
  };
  expect(render(locales, { form: "y" })).toMatchObject({ kind: "content" });
  expect(render(locales, { form: "x" })).toEqual({
    kind: "refused",
    errors: [{ field: "payload.name", message: "is required by locales.de.data.k" }],
  });
  expect(render(locales, { form: 1, day: "2026-02-30", salary: 5 })).toEqual({
    kind: "refused",
    errors: [
      { field: "payload.day", message: "must be a date" },
      { field: "payload.form", message: "must be a string" },
      { field: "payload.salary", message: "is not a known field" },
    ],
  });
});

test("IN64 — what was rendered keeps the limits of content, or is refused by locale and field", () => {
  const locales = { en: { title: "{name}" }, de: { title: "x", body: "{name}{name}" } };
  expect(render(locales, { name: "x".repeat(200) })).toMatchObject({ kind: "content" });
  expect(render(locales, { name: "x".repeat(201) })).toEqual({
    kind: "refused",
    errors: [
      {
        field: "content.en.title",
        message: "must have at most 200 characters, as rendered with this payload",
      },
    ],
  });
  const long = { en: { title: "x", body: "{name}".repeat(64) } };
  expect(render(long, { name: "x".repeat(2_000) })).toMatchObject({ kind: "refused" });
  const bytes = { en: { title: "x", body: "{name}", data: { k: "{form}" } } };
  expect(render(bytes, { name: "€".repeat(900), form: "" })).toEqual({
    kind: "refused",
    errors: [
      {
        field: "content.en",
        message: `must be at most ${LIMITS.contentMaxBytes} bytes as JSON, per locale, as rendered with this payload`,
      },
    ],
  });
  expect(titleOf("{name}", { name: "" })).toEqual([
    {
      field: "content.en.title",
      message: "must not be empty, as rendered with this payload",
    },
  ]);
});

test("IN62, IN64 — whatever the payload is, what comes out is content, or a refusal that names a field", () => {
  const template = templateOf({
    en: {
      title: "{name} {count, plural, one {#} other {# {form, select, a {{name}} other {-}}}}",
      body: "{at, date, medium} {day, date} {amount, number, percent} {isPaid}",
      link: "https://x.example/{name}/{form}",
      data: { name: "{name}" },
    },
  });
  const value = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom("a", "__proto__", "constructor", "2026-01-01", "2026-01-01T00:00:00Z"),
    fc.double(),
    fc.integer(),
    fc.boolean(),
  );
  const name = fc.constantFrom(...Object.keys(properties), "__proto__", "toString");
  const whole = fc.record({
    name: fc.string(),
    form: fc.string(),
    count: fc.integer(),
    amount: fc.float({ noNaN: true, noDefaultInfinity: true }),
    isPaid: fc.boolean(),
    day: fc.constant("2026-01-01"),
    at: fc.constant("2026-01-01T00:00:00Z"),
  });
  fc.assert(
    fc.property(fc.oneof(whole, fc.dictionary(name, value)), (payload) => {
      const rendered = template.render(payload, ["en"]);
      const isRight =
        rendered.kind === "content"
          ? contentSchema.safeParse(rendered.content["en"]).success
          : rendered.errors.length > 0 && rendered.errors.every(({ field }) => field !== "");
      expect(isRight).toBe(true);
    }),
  );
});

test("IN63 — formatters that are kept have a limit, whatever many templates name", () => {
  const { cache, compiled } = compile({ en: { title: "{amount, number, percent}" } });
  if (compiled.kind === "refused") throw new Error("was refused");
  for (let digits = 0; digits < FORMATTERS_MAX + 30; digits++)
    cache.of("UTC").getNumberFormat("en", { maximumFractionDigits: digits });
  expect(cache.size).toBe(FORMATTERS_MAX);
  expect(compiled.template.render({ amount: 0.5 }, ["en"])).toMatchObject({
    content: { en: { title: "50%" } },
  });
});

test("IN63 — a template names so many styles of numbers and times, each locale's its own; the next is refused", () => {
  const skeletons = Array.from({ length: 64 }, (_, at) => `::scale/${at + 1}`);
  const body = skeletons.map((skeleton) => `{amount, number, ${skeleton}}`).join("");
  const locales = { en: { title: "x", body }, de: { title: "x", body } };
  expect(errorsOf(locales)).toEqual([]);
  const fr = { title: "{amount, number, percent} {amount, number, percent}" };
  expect(errorsOf({ ...locales, fr })).toEqual([
    {
      field: "locales.fr.title",
      message:
        "must, with all texts before it, write numbers and times in at most 128 styles, at character 1",
    },
  ]);
});
