// apps/ingest/src/templates.nats.test.ts
// Goal: IN60, IN65 to IN67, A2 and A12. Method: two regions over real NATS; templates made in either, used in
// both; what is stored of a notification is looked at directly.
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  ask,
  TENANT,
  TEST_MAX_MS,
  type TestNode,
  type TestRegions,
  until,
} from "./test-regions.ts";
import { startFraAndLon } from "./test-people.ts";

let regions: TestRegions;
let fra: TestNode;
let lon: TestNode;

beforeAll(async () => {
  ({ regions, fra, lon } = await startFraAndLon({
    liz: { homeRegion: "lon", locale: "de-AT" },
    fay: { homeRegion: "fra" },
  }));
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

const send = (
  node: TestNode,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
) => ask(`${node.url}/v1/${path}`, { method, token: regions.apiKey, body, headers });
const post = (node: TestNode, more: object, key?: string) =>
  send(
    node,
    "POST",
    "notifications",
    { audience: { broadcast: true }, ...more },
    key === undefined ? {} : { "idempotency-key": key },
  );
const storedIn = async (node: TestNode, id: unknown) =>
  (await node.store.notifications.get(TENANT, String(id)))?.notification;

const shift = {
  locales: {
    en: { title: "{count, plural, one {# open shift} other {# open shifts}}" },
    de: { title: "{count, plural, one {# offene Schicht} other {# offene Schichten}}" },
    "de-CH": { title: "Schichten: {count}", link: "https://x.example/{place}" },
  },
  defaultLocale: "en",
  fallbacks: { "de-AT": ["de-CH", "de"] },
  payloadSchema: {
    type: "object",
    properties: { count: { type: "integer" }, place: { type: "string" } },
    required: ["count", "place"],
  },
};
const payload = { count: 2, place: "Linz / Süd" };
const rendered = {
  en: { title: "2 open shifts" },
  de: { title: "2 offene Schichten" },
  "de-CH": { title: "Schichten: 2", link: "https://x.example/Linz%20%2F%20S%C3%BCd" },
};

test("A12 — a template is made, read by version, listed, replaced and deleted, from either region", async () => {
  const made = await send(fra, "PUT", "templates/made", shift);
  expect([made.status, made.body]).toEqual([
    201,
    {
      templateId: "made",
      version: 1,
      updatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
      ...shift,
      payloadSchema: { ...shift.payloadSchema, additionalProperties: false },
      timeZone: "UTC",
    },
  ]);
  expect((await send(lon, "GET", "templates/made")).body).toEqual(made.body); // IN65: at once
  const again = await send(lon, "PUT", "templates/made", shift);
  expect([again.status, again.body]).toEqual([200, made.body]); // the same version
  const other = { ...shift, fallbacks: {} };
  const replaced = await send(lon, "PUT", "templates/made", other);
  expect([replaced.status, replaced.body["version"]]).toEqual([200, 2]);
  expect((await send(lon, "GET", "templates/made?version=1")).body).toEqual(made.body);
  await until("fra has heard", async () => {
    return (await send(fra, "GET", "templates/made")).body["version"] === 2;
  });
  const { templateId, version, updatedAt } = replaced.body;
  const listed = await send(fra, "GET", "templates?limit=1");
  expect(listed.body).toEqual({
    templates: [{ templateId, version, updatedAt }],
    nextAfter: "made",
  });
  const rest = await send(fra, "GET", "templates?after=made");
  expect(rest.body).toEqual({ templates: [], nextAfter: null });
  expect((await send(fra, "DELETE", "templates/made")).status).toBe(204);
  expect((await send(fra, "DELETE", "templates/made")).status).toBe(404);
  await until("lon has heard", async () => {
    return (await send(lon, "GET", "templates/made")).status === 404;
  });
  expect((await send(lon, "GET", "templates/made?version=1")).status).toBe(404);
  const anew = await send(lon, "PUT", "templates/made", shift);
  expect([anew.status, anew.body["version"]]).toEqual([201, 4]);
});

test("IN67 — a notification of a template is content in every region, with the template's fall-backs", async () => {
  await send(fra, "PUT", "templates/shift", shift);
  const posted = await post(lon, { template: "shift", payload });
  expect([posted.status, posted.body["regions"]]).toEqual([202, ["fra", "lon"]]);
  for (const node of [lon, fra]) {
    const stored = await until("the relay", () => storedIn(node, posted.body["id"]));
    expect(stored).toMatchObject({ content: rendered, fallbacks: shift.fallbacks });
    expect(Object.keys(stored.content)).toEqual(["en", "de", "de-CH"]);
  }
  await send(fra, "DELETE", "templates/shift");
  expect(await storedIn(fra, posted.body["id"])).toMatchObject({ content: rendered });
});

test("EN2 — posted content may bring its fall-backs; the recipient's inbox shows what they say", async () => {
  const content = { en: { title: "Hello" }, de: { title: "Hallo" }, it: { title: "Ciao" } };
  const fallbacks = { "de-AT": ["fr", "it"] };
  const audience = { recipients: ["liz"] };
  const posted = await post(fra, { audience, content, fallbacks });
  const stored = await until("the relay", () => storedIn(lon, posted.body["id"]));
  expect(stored).toMatchObject({ content, fallbacks });
  const tokens = await send(fra, "POST", "tokens", { recipientIds: ["liz"] });
  const [{ token }] = tokens.body["tokens"] as [{ token: string }];
  const inbox = await ask(`${lon.url}/v1/inbox`, { token });
  const items = inbox.body["items"] as { id: string; locale: string; title: string }[];
  expect(items.find(({ id }) => id === posted.body["id"])).toMatchObject({
    locale: "it",
    title: "Ciao",
  });
});

test("IN66 — a version by its number, or the newest: a PUT holds for the next request", async () => {
  const title = (text: string) => ({ locales: { en: { title: text } }, defaultLocale: "en" });
  for (let n = 1; n <= 3; n++) {
    await send(fra, "PUT", "templates/news", title(`News ${n}`));
    const posted = await post(fra, { template: "news" });
    expect(await storedIn(fra, posted.body["id"])).toMatchObject({
      content: { en: { title: `News ${n}` } },
    });
  }
  const second = await post(lon, { template: { id: "news", version: 2 } });
  expect(await storedIn(lon, second.body["id"])).toMatchObject({
    content: { en: { title: "News 2" } },
  });
  const never = await post(lon, { template: { id: "news", version: 9 } });
  expect(never.body["errors"]).toEqual([
    { field: "template", message: "must be a template, and a version of it, that exists" },
  ]);
});

test("A12 — a preview is what would be sent: every locale, or what a locale's recipients get", async () => {
  await send(fra, "PUT", "templates/previewed", shift);
  const all = await send(lon, "POST", "templates/previewed/preview", { payload });
  expect([all.status, all.body]).toEqual([
    200,
    { templateId: "previewed", version: 1, content: rendered },
  ]);
  const preview = async (locale: string) =>
    (await send(fra, "POST", "templates/previewed/preview", { payload, locale })).body["content"];
  expect(await preview("de-AT")).toEqual({ "de-CH": rendered["de-CH"] });
  expect(await preview("fr")).toEqual({ en: rendered.en });
  const lacking = await send(fra, "POST", "templates/previewed/preview", { payload: { count: 1 } });
  expect([lacking.status, lacking.body["errors"]]).toEqual([
    422,
    [{ field: "payload.place", message: "is required" }],
  ]);
  expect((await send(fra, "POST", "templates/nowhere/preview", {})).status).toBe(404);
});

test("IN64 — what cannot be rendered is a 422 that names the field, for a plan and a dry run, too; nothing is accepted", async () => {
  await send(fra, "PUT", "templates/strict", shift);
  const long = { template: "strict", payload: { count: 1, place: "é".repeat(400) } };
  const errors = [
    {
      field: "content.de-CH.link",
      message: "must be an http or https URL, as rendered with this payload",
    },
  ];
  for (const answer of [
    await post(fra, long),
    await post(fra, { ...long, dryRun: true }),
    await send(fra, "POST", "notifications/plan", { audience: { broadcast: true }, ...long }),
  ])
    expect([answer.status, answer.body["errors"]]).toEqual([422, errors]);
});

test("IN61 — a template that is none is a 422 that names locale, field and place, and is not stored", async () => {
  const wrong = { ...shift, locales: { en: { title: "Hi", body: "Hi {count" } } };
  const answer = await send(fra, "PUT", "templates/wrong", wrong);
  expect([answer.status, answer.body["errors"]]).toEqual([
    422,
    [
      {
        field: "locales.en.body",
        message: "must be an ICU message: at character 4: expect argument closing brace",
      },
    ],
  ]);
  expect((await send(fra, "GET", "templates/wrong")).status).toBe(404);
});

test("IN60 — a repeat is replayed although its template was changed or deleted since; another body is not", async () => {
  await send(fra, "PUT", "templates/repeated", shift);
  const request = { template: "repeated", payload };
  const first = await post(fra, request, "repeat-template");
  expect(first.status).toBe(202);
  const stricter = { ...shift, locales: { en: { title: "New" } }, payloadSchema: undefined };
  expect((await send(fra, "PUT", "templates/repeated", stricter)).status).toBe(200);
  const changed = await post(fra, request, "repeat-template");
  expect([changed.status, changed.body]).toEqual([202, first.body]);
  expect(changed.headers.get("idempotency-replayed")).toBe("true");
  await send(fra, "DELETE", "templates/repeated");
  const deleted = await post(fra, request, "repeat-template");
  expect([deleted.status, deleted.body]).toEqual([202, first.body]);
  const other = await post(fra, { ...request, priority: "high" }, "repeat-template");
  expect([other.status, other.body["code"]]).toEqual([422, "idempotency_mismatch"]);
  const fresh = await post(fra, request, "another-key");
  expect([fresh.status, fresh.body["code"]]).toEqual([422, "invalid_field"]);
});

test("D8 — a template of one tenant is none of another, also in the list", async () => {
  await send(fra, "PUT", "templates/secret", shift);
  await fra.store.tenants.create("bolt", "Bolt");
  const token = await fra.store.tenants.createApiKey({
    tenantId: "bolt",
    scopes: ["admin"],
    pepper: "pepper-of-the-tests",
  });
  expect((await ask(`${fra.url}/v1/templates/secret`, { token })).status).toBe(404);
  expect((await ask(`${fra.url}/v1/templates`, { token })).body["templates"]).toEqual([]);
  const body = { audience: { broadcast: true }, template: "secret", payload };
  const posted = await ask(`${fra.url}/v1/notifications`, { method: "POST", token, body });
  expect(posted.status).toBe(422);
});

test("A1, A13 — scopes, ids and queries are checked", async () => {
  const reader = await regions.newApiKey("fra", ["read"]);
  const url = `${fra.url}/v1/templates/checked`;
  const refused = await ask(url, { method: "PUT", token: reader, body: shift });
  expect(refused.status).toBe(403);
  const long = await send(fra, "PUT", `templates/${"t".repeat(65)}`, shift);
  expect(long.body["errors"]).toEqual([
    { field: "templateId", message: "must have at most 64 characters" },
  ]);
  for (const [path, error] of [
    ["templates/x?version=0", { field: "version", message: "must be a whole number from 1" }],
    ["templates/x?v=1", { field: "v", message: "is not a known field" }],
    ["templates?limit=101", { field: "limit", message: "must be a whole number from 1 to 100" }],
    ["templates?after=a%20b", { field: "after", message: "must be a template's id" }],
    ["templates?page=2", { field: "page", message: "is not a known field" }],
  ] as const)
    expect((await send(fra, "GET", path)).body["errors"]).toEqual([error]);
});

test("IN65 — an unknown template while the other region is silent is 503, not 422; a known one works on", async () => {
  await send(fra, "PUT", "templates/known", shift);
  await regions.natsOf.get("lon")?.stop();
  const unknown = await post(fra, { template: "never-heard-of" });
  expect([unknown.status, unknown.body["code"]]).toEqual([503, "region_unreachable"]);
  expect((await send(fra, "PUT", "templates/never-heard-of", shift)).status).toBe(503);
  expect((await post(fra, { template: "known", payload })).status).toBe(202);
  await regions.restartNats("lon");
});
