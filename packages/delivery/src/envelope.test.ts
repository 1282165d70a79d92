// packages/delivery/src/envelope.test.ts
// Goal: EN1 and the choice of a locale. Method: examples.
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
