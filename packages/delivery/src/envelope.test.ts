// packages/delivery/src/envelope.test.ts
// Goal: EN1, EN2. Method: examples, and any locales (fast-check).
import fc from "fast-check";
import { expect, test } from "vitest";
import { Envelope, EnvelopeCache, localeFor } from "./envelope.ts";
import { notificationOf } from "./fake-ledger-store.ts";

test.each([
  ["de-AT", ["en", "de-AT", "de"], "de-AT"],
  ["de-CH", ["en", "de-AT", "de"], "de"],
  ["de-CH", ["en", "de-AT"], "de-AT"],
  ["fr", ["en", "de"], "en"],
  [null, ["de", "en"], "de"],
])("a recipient of %s gets, of %j, %s", (wanted, available, chosen) => {
  expect(localeFor(wanted, available)).toBe(chosen);
});

test("EN1 — one text per locale, the same for everybody, without offset and epoch", () => {
  const content = { en: { title: "Hello", link: "https://example.com/" }, de: { title: "Hallo" } };
  const envelope = new Envelope(notificationOf({ content }), null);
  const english = envelope.payloadFor("en-GB");
  expect(envelope.payloadFor("fr")).toBe(english);
  expect(JSON.parse(english)).toEqual({
    id: notificationOf().id,
    priority: "normal",
    acceptedAtMs: 0,
    title: "Hello",
    link: "https://example.com/",
  });
  expect(JSON.parse(envelope.payloadFor("de-AT"))).toMatchObject({ title: "Hallo" });
});

test("EN1 — the cache keeps one envelope per notification, and the one that knows its audience", () => {
  const cache = new EnvelopeCache(2);
  const first = cache.put({ notification: notificationOf({ id: "a" }), audience: null });
  expect(cache.put({ notification: notificationOf({ id: "a" }), audience: null })).toBe(first);
  const whole = cache.put({
    notification: notificationOf({ id: "a" }),
    audience: { kind: "broadcast" },
  });
  expect(whole.audience).toEqual({ kind: "broadcast" });
  cache.put({ notification: notificationOf({ id: "b" }), audience: null });
  cache.put({ notification: notificationOf({ id: "c" }), audience: null });
  expect(cache.get("a")).toBeUndefined();
  expect(cache.get("b")).toBeDefined();
});

test.each([
  // its own, whatever is declared for it
  ["de-AT", ["en", "de", "de-AT"], { "de-AT": ["de"] }, "de-AT"],
  // what is declared for it, the first that is there, before its language
  ["de-AT", ["en", "de", "de-CH"], { "de-AT": ["de-LI", "de-CH", "de"] }, "de-CH"],
  ["de-AT", ["en", "de"], { "de-AT": ["it"] }, "de"],
  // its language, the script first
  ["zh-Hant-HK", ["en", "zh", "zh-Hant"], {}, "zh-Hant"],
  ["zh-Hant-HK", ["en", "zh", "zh-Hans", "zh-Hant-TW"], {}, "zh-Hant-TW"],
  ["zh-Hant-HK", ["en", "zh-Hans", "zh"], {}, "zh"],
  ["zh-Hant-HK", ["en", "zh-Hans"], {}, "zh-Hans"],
  ["de", ["en", "de-CH", "de-AT"], {}, "de-CH"],
  // of another language that begins alike: never
  ["d", ["en", "de"], {}, "en"],
  ["fil", ["en", "fi"], {}, "en"],
  // what is declared for its language serves its regions, when there is nothing of the language
  ["pt-BR", ["en", "es"], { pt: ["es"] }, "es"],
  ["pt-BR", ["en", "es", "pt-PT"], { pt: ["es"] }, "pt-PT"],
  ["sr-Latn-ME", ["en", "hr", "bs"], { sr: ["bs"], "sr-Latn": ["hr"] }, "hr"],
  // names that objects have by themselves are none that were declared
  ["constructor", ["en", "de"], {}, "en"],
] as const)("EN2 — of %s, with %j and %j: %s", (wanted, available, fallbacks, chosen) => {
  const declared: Record<string, string[]> = Object.fromEntries(
    Object.entries(fallbacks).map(([locale, others]) => [locale, [...others]]),
  );
  expect(localeFor(wanted, available, declared)).toBe(chosen);
});

test("EN2 — whatever is asked for, one that is there is chosen: its own, or of its language if there is any", () => {
  const locale = fc
    .tuple(
      fc.constantFrom("de", "zh", "pt"),
      fc.constantFrom("", "-Hant", "-Latn"),
      fc.constantFrom("", "-AT", "-HK"),
    )
    .map((parts) => parts.join(""));
  const available = fc.uniqueArray(locale, { minLength: 1, maxLength: 6 });
  const fallbacks = fc.dictionary(locale, fc.array(locale, { minLength: 1, maxLength: 3 }));
  const languageOf = (one: string) => one.split("-", 1)[0];
  fc.assert(
    fc.property(locale, available, fallbacks, (wanted, there, declared) => {
      const chosen = localeFor(wanted, there, declared);
      expect(there).toContain(chosen);
      const isOfLanguage = there.some((one) => languageOf(one) === languageOf(wanted));
      const isDeclared = Object.hasOwn(declared, wanted);
      expect(
        there.includes(wanted)
          ? chosen === wanted
          : isDeclared || !isOfLanguage || languageOf(chosen) === languageOf(wanted),
      ).toBe(true);
    }),
  );
});

test("EN2 — a recipient is sent what the notification's own fall-backs say", () => {
  const content = { en: { title: "Hello" }, "de-CH": { title: "Grüezi" }, de: { title: "Hallo" } };
  const notification = { ...notificationOf({ content }), fallbacks: { "de-AT": ["de-CH"] } };
  const envelope = new Envelope(notification, null);
  expect(JSON.parse(envelope.payloadFor("de-AT"))).toMatchObject({ title: "Grüezi" });
  expect(JSON.parse(envelope.payloadFor("de-LI"))).toMatchObject({ title: "Hallo" });
});
