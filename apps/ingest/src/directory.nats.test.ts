// Goal: IN12, IN16, IN17, IN19 to IN21, IN30, D8 and tokens. Method: two regions, recipients written and
// read through either; databases are looked at directly.
import { connect } from "node:net";
import { arbiterOf, partitionOf } from "@carillon/contracts";
import { importJWK, jwtVerify } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  ask,
  collectPokes,
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
  ({ regions, fra, lon } = await startFraAndLon(
    { "probe-1": { homeRegion: "lon" }, "probe-2": { homeRegion: "fra" } },
    { ownerOf: (home) => `${home}-w` },
  ));
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

const put = (node: TestNode, id: string, body: unknown) =>
  ask(`${node.url}/v1/recipients/${encodeURIComponent(id)}`, {
    method: "PUT",
    token: regions.apiKey,
    body,
  });
const get = (node: TestNode, id: string) =>
  ask(`${node.url}/v1/recipients/${encodeURIComponent(id)}`, { token: regions.apiKey });
const importLines = (node: TestNode, body: string) =>
  ask(`${node.url}/v1/recipients/import`, {
    method: "POST",
    token: regions.apiKey,
    body,
    headers: { "content-type": "application/x-ndjson" },
  });

test("A6, D8 — a recipient is stored in its home region only, and read from every region", async () => {
  const body = { homeRegion: "lon", locale: "de-AT", attributes: { city: "Wien", tags: ["a"] } };
  const created = await put(fra, "ada@ö.example", body);
  expect([created.status, created.body]).toEqual([
    201,
    {
      recipientId: "ada@ö.example",
      homeRegion: "lon",
      locale: "de-AT",
      timeZone: null,
      attributes: { city: "Wien", tags: ["a"] },
      updatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
    },
  ]);
  expect(await fra.store.directory.read(TENANT, "ada@ö.example")).toBeUndefined();
  expect((await get(fra, "ada@ö.example")).body).toEqual(created.body);
  expect((await get(lon, "ada@ö.example")).body).toEqual(created.body);
  const replaced = await put(lon, "ada@ö.example", { timeZone: "Europe/Vienna" });
  expect(replaced.status).toBe(200);
  expect(replaced.body).toMatchObject({ locale: null, timeZone: "Europe/Vienna", attributes: {} });
});

test("IN16 — the known home wins without a wish, and a wish that differs is 409", async () => {
  expect((await put(lon, "ben", {})).body).toMatchObject({ homeRegion: "lon" });
  expect((await put(fra, "ben", {})).body).toMatchObject({ homeRegion: "lon" });
  const conflict = await put(fra, "ben", { homeRegion: "fra" });
  expect(conflict.status).toBe(409);
  expect(conflict.body).toMatchObject({
    code: "home_region_conflict",
    errors: [{ field: "homeRegion", message: "differs from where the recipient lives" }],
  });
});

test("IN17 — the owner of the partition is poked with the new directory version", async () => {
  const bus = await regions.connectBus("lon", "lon/worker");
  const pokes = collectPokes(bus, "lon-w");
  let count = 0;
  await until("the subscription is known", async () => {
    await put(fra, `poked-${count++}`, { homeRegion: "lon" });
    return pokes.length > 0;
  });
  pokes.length = 0;
  await put(fra, "cyd", { homeRegion: "lon" });
  const partition = partitionOf(TENANT, "cyd");
  const poke = await until("the poke", () =>
    pokes.find(({ directory }) => directory[0]?.[0] === partition),
  );
  const [head] = await lon.store.ledger.readHeads("lon", [partition]);
  expect(poke).toEqual({
    home: "lon",
    items: [],
    directory: [[partition, head!.directoryVersion]],
  });
});

test("homes are told to the other regions without being asked", async () => {
  await put(lon, "dan", {});
  await until("fra knows", async () => {
    const homes = await fra.store.directory.homesOf(TENANT, ["dan"]);
    return homes.get("dan") === "lon";
  });
});

test("IN12 — ids unknown here are found in the other region, and the rest is counted", async () => {
  await lon.store.directory.upsert({
    home: "lon",
    tenantId: TENANT,
    changes: [{ recipientId: "eve", locale: null, timeZone: null, attributes: {} }],
    otherRegions: [], // as if the message about it were still under way
  });
  const body = {
    audience: { recipients: ["eve", "nobody-1", "nobody-2", "eve"] },
    content: { en: { title: "Hello" } },
  };
  const request = { method: "POST", token: regions.apiKey, body };
  const answer = await ask(`${fra.url}/v1/notifications`, request);
  expect(answer.body).toMatchObject({ regions: ["lon"], unknownCount: 2 });
  expect(await fra.store.directory.homesOf(TENANT, ["eve"])).toEqual(new Map([["eve", "lon"]]));
});

test("IN13 — that an id was unknown is not remembered", async () => {
  const body = { audience: { recipients: ["late"] }, content: { en: { title: "Hello" } } };
  const send = () =>
    ask(`${fra.url}/v1/notifications`, { method: "POST", token: regions.apiKey, body });
  expect((await send()).body).toMatchObject({ regions: [], unknownCount: 1 });
  await put(lon, "late", {});
  expect((await send()).body).toMatchObject({ regions: ["lon"], unknownCount: 0 });
});

test("IN15, D8 — each region gets the ids of its own people, once, without excluded ones", async () => {
  for (const [id, homeRegion] of Object.entries({ f1: "fra", f2: "fra", l1: "lon", l2: "lon" }))
    await put(fra, id, { homeRegion });
  const body = {
    audience: { recipients: ["l2", "f1", "l1", "f2", "f1", "l1"] },
    exclude: ["l2", "f2"],
    content: { en: { title: "Hello" } },
  };
  const request = { method: "POST", token: regions.apiKey, body };
  const answer = await ask(`${fra.url}/v1/notifications`, request);
  const id = String(answer.body["id"]);
  const there = await until("the copy", () => lon.store.notifications.get(TENANT, id));
  const here = await fra.store.notifications.get(TENANT, id);
  expect([here?.audience, there.audience]).toEqual([
    { kind: "recipients", recipientIds: ["f1"] },
    { kind: "recipients", recipientIds: ["l1"] },
  ]);
  expect([here?.notification.exclude, there.notification.exclude]).toEqual([[], []]);
});

test(
  "IN19, IN21 — 5,000 lines: the valid ones are stored by home, the others named with their line",
  async () => {
    const lines = Array.from({ length: 5_000 }, (_, at) =>
      JSON.stringify({
        recipientId: `imp-${at}`,
        homeRegion: at % 2 === 0 ? "fra" : "lon",
        attributes: { city: at % 3 === 0 ? "Köln" : "Leeds" },
      }),
    );
    lines[9] = "{";
    lines[99] = JSON.stringify({ recipientId: "imp 99" });
    lines[999] = JSON.stringify({ recipientId: "imp-999", homeRegion: "mars" });
    lines[1_999] = JSON.stringify({ recipientId: "ben", homeRegion: "fra" }); // lives in lon
    lines[2_999] = JSON.stringify({
      recipientId: "imp-2999",
      attributes: { a: "x".repeat(70_000) },
    });
    lines[3_999] = JSON.stringify({ recipientId: "imp-3999", salary: 1 });
    lines.splice(4_000, 0, "", "  "); // counted, not read
    const answer = await importLines(fra, `${lines.join("\r\n")}\n`);
    expect([answer.status, answer.body]).toEqual([
      200,
      {
        created: 4_994,
        updated: 0,
        rejected: 6,
        rejects: [
          { line: 10, field: "line", message: "must be a JSON object" },
          {
            line: 100,
            field: "recipientId",
            message: "must not hold spaces, control characters or '/'",
          },
          { line: 1_000, field: "homeRegion", message: "must be one of fra, lon" },
          { line: 2_000, field: "homeRegion", message: "differs from where the recipient lives" },
          { line: 3_000, field: "line", message: "must be at most 65536 bytes" },
          { line: 4_000, field: "salary", message: "is not a known field" },
        ],
      },
    ]);
    const ids = Array.from({ length: 5_000 }, (_, at) => `imp-${at}`);
    const inFra = await fra.store.directory.locate("fra", TENANT, ids);
    const inLon = await lon.store.directory.locate("lon", TENANT, ids);
    expect([inFra.size, inLon.size]).toEqual([2_500, 2_494]);
    expect((await get(lon, "imp-4998")).body).toMatchObject({ attributes: { city: "Köln" } });
    const again = await importLines(lon, lines.slice(0, 5).join("\n"));
    expect(again.body).toEqual({ created: 0, updated: 5, rejected: 0, rejects: [] });
  },
  TEST_MAX_MS,
);

test("of one id twice in an import the last line wins, in its first line's home", async () => {
  const lines = [
    { recipientId: "twice", homeRegion: "lon", attributes: { n: 1 } },
    { recipientId: "twice", attributes: { n: 2 } },
    { recipientId: "twice", homeRegion: "fra" },
  ];
  const answer = await importLines(fra, lines.map((line) => JSON.stringify(line)).join("\n"));
  expect(answer.body).toMatchObject({ created: 1, updated: 1, rejected: 1 });
  expect((await get(fra, "twice")).body).toMatchObject({ homeRegion: "lon", attributes: { n: 2 } });
});

test("IN20 — an import that is cut off in the middle leaves whole lines only", async () => {
  const { port } = new URL(fra.url);
  const line = JSON.stringify({ recipientId: "cut-1", homeRegion: "fra" });
  await new Promise<void>((resolve) => {
    const socket = connect(Number(port), "127.0.0.1", () => {
      socket.write(
        `POST /v1/recipients/import HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${regions.apiKey}\r\n` +
          `content-type: application/x-ndjson\r\ncontent-length: 100000\r\n\r\n${line}\n{"recipientId":"cut-2`,
        () => socket.destroy(),
      );
    });
    socket.on("close", () => resolve());
  });
  await until("the node noticed", () =>
    fra.events.some(({ name, args }) => name === "answered" && args[1] === 499),
  );
  expect((await get(fra, "cut-2")).status).toBe(404);
  expect(fra.events.filter(({ name }) => name === "failed")).toEqual([]);
});

test("IN30, D2 — the same new ids, created in both regions at the same moment, live once", async () => {
  const ids = Array.from({ length: 60 }, (_, at) => `once-${at}`);
  const answers = await Promise.all(
    ids.flatMap((id) => [put(fra, id, { attributes: { by: "fra" } }), put(lon, id, {})]),
  );
  const statuses = answers.map(({ status }) => status);
  expect(statuses.filter((status) => status === 201)).toHaveLength(60);
  expect(statuses.filter((status) => status === 200)).toHaveLength(60);
  const lines = Array.from({ length: 2_000 }, (_, at) => `{"recipientId":"flood-${at}"}`);
  const reports = await Promise.all([fra, lon].map((node) => importLines(node, lines.join("\n"))));
  const count = (name: string) => reports.reduce((sum, { body }) => sum + Number(body[name]), 0);
  expect([count("created"), count("updated"), count("rejected")]).toEqual([2_000, 2_000, 0]);
  const all = [...ids, ...lines.map((_, at) => `flood-${at}`)];
  const inFra = await fra.store.directory.locate("fra", TENANT, all);
  const inLon = await lon.store.directory.locate("lon", TENANT, all);
  expect(inFra.size + inLon.size).toBe(2_060);
  expect(all.filter((id) => inFra.has(id) && inLon.has(id))).toEqual([]);
  expect(fra.events.concat(lon.events).filter(({ name }) => name === "odd")).toEqual([]);
});

test("IN30 — of two wishes at the same moment one is 201, the other 409", async () => {
  const ids = Array.from({ length: 20 }, (_, at) => `wished-${at}`);
  for (const id of ids) {
    const answers = await Promise.all([
      put(fra, id, { homeRegion: "fra" }),
      put(lon, id, { homeRegion: "lon" }),
    ]);
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 409]);
  }
});

test("tokens are valid under the public key, carry the home, and unknown ids are listed", async () => {
  const answer = await ask(`${fra.url}/v1/tokens`, {
    method: "POST",
    token: regions.apiKey,
    body: { recipientIds: ["ben", "imp-0", "nobody-3", "ben"], ttlSeconds: 120 },
  });
  expect(answer.status).toBe(200);
  const { tokens, unknown } = answer.body as {
    tokens: { recipientId: string; homeRegion: string; token: string }[];
    unknown: string[];
  };
  expect(unknown).toEqual(["nobody-3"]);
  expect(tokens.map(({ recipientId, homeRegion }) => [recipientId, homeRegion])).toEqual([
    ["ben", "lon"],
    ["imp-0", "fra"],
  ]);
  const key = await importJWK(regions.publicJwk, "EdDSA");
  const { payload, protectedHeader } = await jwtVerify(tokens[0]!.token, key);
  expect(protectedHeader).toEqual({ alg: "EdDSA", kid: "test-key" });
  expect(payload).toEqual({
    tenant: TENANT,
    sub: "ben",
    home: "lon",
    iat: expect.any(Number) as number,
    exp: payload.iat! + 120,
  });
});

test("a home region that cannot be reached is 503, and its import lines are rejected", async () => {
  await lon.stop();
  const answer = await put(fra, "ben", { locale: "de" });
  expect([answer.status, answer.body["code"]]).toEqual([503, "region_unreachable"]);
  expect((await get(fra, "ben")).body["code"]).toBe("region_unreachable");
  // New ids can be created while the region that settles their homes is here (IN30, ADR 0009).
  const settledIn = (arbiter: string, name: string) =>
    Array.from({ length: 64 }, (_, at) => `${name}-${at}`).find(
      (id) => arbiterOf(["fra", "lon"], TENANT, id) === arbiter,
    )!;
  expect((await put(fra, settledIn("fra", "new"), {})).status).toBe(201);
  expect((await put(fra, settledIn("lon", "new"), {})).body["code"]).toBe("region_unreachable");
  const away = settledIn("lon", "away");
  const lines = [{ recipientId: "ben" }, { recipientId: "imp-0" }, { recipientId: away }];
  const report = await importLines(fra, lines.map((line) => JSON.stringify(line)).join("\n"));
  expect(report.body).toEqual({
    created: 0,
    updated: 1,
    rejected: 2,
    rejects: [
      {
        line: 1,
        field: "homeRegion",
        message: "the region lon cannot be reached; import the line again",
      },
      {
        line: 3,
        field: "recipientId",
        message: "its home is settled in a region that cannot be reached; import the line again",
      },
    ],
  });
});
