// Goal: A13, IN2. Method: a table of requests that must not pass, each with the status, the code
// and the field that the answer names, against a real node; then that nothing was stored.
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ask, startRegions, TEST_MAX_MS, type TestNode, type TestRegions } from "./test-regions.ts";

let regions: TestRegions;
let node: TestNode;
let readKey: string;

beforeAll(async () => {
  regions = await startRegions(["fra"]);
  node = await regions.startNode("fra");
  readKey = await regions.newApiKey("fra", ["read"]);
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

const content = { en: { title: "Hello" } };
const valid = { audience: { broadcast: true }, content };
const POST = "POST /v1/notifications";
const PUT = "PUT /v1/recipients/ada";
const TOKENS = "POST /v1/tokens";

interface Bad {
  readonly what: string;
  readonly to: string; // method and path
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  readonly key?: "none" | "wrong" | "read";
  readonly status: number;
  readonly code: string;
  readonly field?: string;
}

function nested(depth: number): unknown {
  let filter: unknown = { key: "city", cmp: "exists" };
  for (let level = 1; level < depth; level++) filter = { op: "not", nodes: [filter] };
  return { audience: { filter }, content };
}
const leaves = Array.from({ length: 256 }, () => ({ key: "city", cmp: "exists" }));
const json = { "content-type": "application/json" };
const bad = (status: number, code: string, field?: string) =>
  field === undefined ? { status, code } : { status, code, field };
const field = (name: string) => bad(422, "invalid_field", name);

const TABLE: readonly Bad[] = [
  { what: "no key", to: POST, body: valid, key: "none", ...bad(401, "unauthenticated") },
  { what: "wrong key", to: POST, body: valid, key: "wrong", ...bad(401, "unauthenticated") },
  { what: "key without the scope", to: POST, body: valid, key: "read", ...bad(403, "forbidden") },
  { what: "no JSON", to: POST, body: "{", ...bad(400, "bad_json") },
  { what: "no body", to: POST, headers: json, ...bad(400, "bad_json") },
  { what: "not UTF-8", to: POST, body: Uint8Array.of(0x22, 0xff), ...bad(400, "bad_json") },
  { what: "33 levels of lists", to: POST, body: "[".repeat(33), ...bad(400, "bad_request") },
  { what: "a list", to: POST, body: [], ...field("body") },
  { what: "null", to: POST, body: "null", ...field("body") },
  {
    what: "a form",
    to: POST,
    body: "a=1",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    ...bad(415, "unsupported_media_type"),
  },
  {
    what: "JSON to the import",
    to: "POST /v1/recipients/import",
    body: {},
    ...bad(415, "unsupported_media_type"),
  },
  {
    what: "more than 1 MiB",
    to: POST,
    body: `{"x":"${"x".repeat(1_048_576)}"}`,
    ...bad(413, "body_too_large"),
  },
  { what: "no audience", to: POST, body: { content }, ...field("audience") },
  { what: "no content", to: POST, body: { audience: { broadcast: true } }, ...field("content") },
  { what: "an unknown field", to: POST, body: { ...valid, titel: "x" }, ...field("titel") },
  {
    what: "two audiences",
    to: POST,
    body: { content, audience: { broadcast: true, recipients: ["ada"] } },
    ...field("audience"),
  },
  {
    what: "no recipients",
    to: POST,
    body: { content, audience: { recipients: [] } },
    ...field("audience.recipients"),
  },
  {
    what: "a recipient with a space",
    to: POST,
    body: { content, audience: { recipients: ["ada", "b b"] } },
    ...field("audience.recipients[1]"),
  },
  {
    what: "10,001 recipients",
    to: POST,
    body: {
      content,
      audience: { recipients: Array.from({ length: 10_001 }, (_, at) => `r${at}`) },
    },
    ...field("audience.recipients"),
  },
  { what: "a filter 9 deep", to: POST, body: nested(9), ...field("audience.filter") },
  {
    what: "a filter of 257 nodes",
    to: POST,
    body: { content, audience: { filter: { op: "or", nodes: leaves } } },
    ...field("audience.filter"),
  },
  {
    what: "an unknown comparison",
    to: POST,
    body: { content, audience: { filter: { key: "city", cmp: "like", val: "B" } } },
    ...field("audience.filter.cmp"),
  },
  { what: "no locale", to: POST, body: { ...valid, content: {} }, ...field("content") },
  {
    what: "a wrong locale",
    to: POST,
    body: { ...valid, content: { EN: { title: "x" } } },
    ...field("content.EN"),
  },
  {
    what: "no title",
    to: POST,
    body: { ...valid, content: { en: { body: "x" } } },
    ...field("content.en.title"),
  },
  {
    what: "an empty title",
    to: POST,
    body: { ...valid, content: { en: { title: "" } } },
    ...field("content.en.title"),
  },
  {
    what: "a NUL in the title",
    to: POST,
    body: { ...valid, content: { en: { title: "a\0b" } } },
    ...field("content.en.title"),
  },
  {
    what: "half a surrogate pair",
    to: POST,
    body: '{"audience":{"broadcast":true},"content":{"en":{"title":"\\ud800"}}}',
    ...field("content.en.title"),
  },
  {
    what: "a link that is no URL",
    to: POST,
    body: { ...valid, content: { en: { title: "x", link: "javascript:alert(1)" } } },
    ...field("content.en.link"),
  },
  {
    what: "content over 2,700 bytes",
    to: POST,
    body: { ...valid, content: { en: { title: "x", body: "ü".repeat(1_500) } } },
    ...field("content.en"),
  },
  { what: "a wrong priority", to: POST, body: { ...valid, priority: 1 }, ...field("priority") },
  { what: "ttl 0", to: POST, body: { ...valid, ttlSeconds: 0 }, ...field("ttlSeconds") },
  { what: "ttl 1.5", to: POST, body: { ...valid, ttlSeconds: 1.5 }, ...field("ttlSeconds") },
  {
    what: "an infinite ttl",
    to: POST,
    body: '{"audience":{"broadcast":true},"content":{"en":{"title":"x"}},"ttlSeconds":1e999}',
    ...field("ttlSeconds"),
  },
  {
    what: "an Idempotency-Key with a space",
    to: POST,
    body: valid,
    headers: { "idempotency-key": "a b" },
    ...field("Idempotency-Key"),
  },
  {
    what: "a long Idempotency-Key",
    to: POST,
    body: valid,
    headers: { "idempotency-key": "k".repeat(256) },
    ...field("Idempotency-Key"),
  },
  { what: "an unknown region", to: PUT, body: { homeRegion: "mars" }, ...field("homeRegion") },
  { what: "an unknown zone", to: PUT, body: { timeZone: "Mars/Base" }, ...field("timeZone") },
  {
    what: "a nested attribute",
    to: PUT,
    body: { attributes: { city: { name: "B" } } },
    ...field("attributes.city"),
  },
  { what: "an unknown field", to: PUT, body: { name: "Ada" }, ...field("name") },
  {
    what: "an id with a space",
    to: "PUT /v1/recipients/a%20b",
    body: {},
    ...field("recipientId"),
  },
  {
    what: "a long id",
    to: `PUT /v1/recipients/${"x".repeat(129)}`,
    body: {},
    ...field("recipientId"),
  },
  { what: "a broken escape", to: "GET /v1/recipients/%zz", ...bad(400, "bad_request") },
  { what: "an unknown recipient", to: "GET /v1/recipients/nobody", ...bad(404, "not_found") },
  { what: "no id", to: "GET /v1/notifications/12", ...field("id") },
  {
    what: "an unknown notification",
    to: "GET /v1/notifications/01890000-0000-7000-8000-000000000000",
    ...bad(404, "not_found"),
  },
  { what: "no recipients", to: TOKENS, body: { recipientIds: [] }, ...field("recipientIds") },
  {
    what: "a short ttl",
    to: TOKENS,
    body: { recipientIds: ["ada"], ttlSeconds: 59 },
    ...field("ttlSeconds"),
  },
  { what: "an API key instead of a token", to: "GET /v1/inbox", ...bad(401, "unauthenticated") },
  { what: "an unknown path", to: "GET /v1/nothing", ...bad(404, "not_found") },
  { what: "a wrong method", to: "DELETE /v1/notifications", ...bad(405, "method_not_allowed") },
  {
    what: "a wrong method",
    to: "POST /v1/recipients/ada",
    body: {},
    ...bad(405, "method_not_allowed"),
  },
];

describe("A13 — bad input is refused with its status, code and field", () => {
  test.each(TABLE)("$to: $what → $status $code $field", async (row) => {
    const [method = "", path = ""] = row.to.split(" ");
    const keys = {
      none: undefined,
      wrong: `crl_0123456789abcdef_${"x".repeat(43)}`,
      read: readKey,
    };
    const token = row.key === undefined ? regions.apiKey : keys[row.key];
    const answer = await ask(`${node.url}${path}`, {
      method,
      ...(token === undefined ? {} : { token }),
      ...(row.body === undefined ? {} : { body: row.body }),
      headers: { "x-request-id": "test-1", ...row.headers },
    });
    const errors = answer.body["errors"] as { field: string; message: string }[] | undefined;
    expect({
      status: answer.status,
      type: answer.headers.get("content-type"),
      requestId: answer.headers.get("x-request-id"),
      problem: {
        type: answer.body["type"],
        status: answer.body["status"],
        code: answer.body["code"],
        requestId: answer.body["requestId"],
      },
      field: errors?.[0]?.field,
    }).toEqual({
      status: row.status,
      type: "application/problem+json",
      requestId: "test-1",
      problem: {
        type: `https://carillon.dev/errors/${row.code}`,
        status: row.status,
        code: row.code,
        requestId: "test-1",
      },
      field: row.field,
    });
  });

  test("IN2 — a request that is not HTTP is answered 400 and the connection is closed", async () => {
    const { port } = new URL(node.url);
    const text = await new Promise<string>((resolve, reject) => {
      let received = "";
      const socket = connect(Number(port), "127.0.0.1", () => socket.write("HELLO\r\n\r\n"));
      socket.on("data", (data) => (received += data.toString()));
      socket.on("error", reject);
      socket.on("close", () => resolve(received));
    });
    expect(text.split("\r\n")[0]).toBe("HTTP/1.1 400 Bad Request");
    expect(JSON.parse(text.split("\r\n\r\n")[1]!)).toMatchObject({ code: "bad_request" });
  });

  test("IN3 — a caller that is nobody is told before it has sent its body", async () => {
    const { port } = new URL(node.url);
    const text = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), "127.0.0.1", () =>
        socket.write(
          "POST /v1/notifications HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" +
            "content-length: 1000000\r\n\r\n{",
        ),
      );
      socket.on("error", reject);
      socket.once("data", (data) => {
        resolve(data.toString());
        socket.destroy();
      });
    });
    expect(text.split("\r\n")[0]).toBe("HTTP/1.1 401 Unauthorized");
  });

  test("405 names what is allowed; a request id that is not sane is replaced", async () => {
    const answer = await ask(`${node.url}/v1/recipients/ada`, {
      method: "DELETE",
      headers: { "x-request-id": "a b" },
    });
    expect(answer.headers.get("allow")).toBe("PUT, GET, HEAD");
    expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/);
  });

  test("nothing of all this was stored", async () => {
    const heads = await node.store.ledger.readHeads("fra", [...Array(256).keys()]);
    expect(new Set(heads.map((head) => head.nextOffset))).toEqual(new Set([1]));
    expect(new Set(heads.map((head) => head.directoryVersion))).toEqual(new Set([0]));
    expect(node.events.filter(({ name }) => name === "failed")).toEqual([]);
  });
});
