// Goal: W8, GW17, GW18: who is let in. Real sockets, tables.
import { SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parseKeySet } from "./authenticate.ts";
import {
  createIssuer,
  type Fixture,
  type Issuer,
  startFixture,
} from "./testing/gateway-fixture.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 5 });

describe("W8 — handshakes", () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await startFixture({ config: { origins: ["https://hr.example"] } });
  });
  afterAll(() => fixture.stop());

  test.each<[string, { url?: string; origin?: string }, string]>([
    ["no vsn", { url: "/socket/websocket" }, "HTTP 403"],
    ["vsn 1.0.0", { url: "/socket/websocket?vsn=1.0.0" }, "HTTP 403"],
    ["another path", { url: "/socket?vsn=2.0.0" }, "HTTP 404"],
    ["a path below", { url: "/socket/websocket/x?vsn=2.0.0" }, "HTTP 404"],
    ["a foreign origin", { origin: "https://evil.example" }, "HTTP 403"],
    ["an origin that only begins alike", { origin: "https://hr.example.evil" }, "HTTP 403"],
  ])("%s is refused", async (_, options, message) => {
    await expect(fixture.connect(options)).rejects.toThrow(message);
  });

  test("a known origin, and a client that is no browser, are let in", async () => {
    const client = await fixture.connect({ origin: "https://hr.example" });
    expect(client.ws.protocol).toBe("phoenix");
    expect((await fixture.connect()).ws.protocol).toBe("phoenix");
  });

  test("a token in the query is not read", async () => {
    const token = await fixture.issuer.sign();
    const url = `/socket/websocket?vsn=2.0.0&token=${token}`;
    const client = await fixture.connect({ url, token: null });
    client.join();
    await until(() =>
      expect(client.reply("1")).toEqual({
        status: "error",
        response: { reason: "unauthenticated" },
      }),
    );
  });

  test("health, and what is no WebSocket", async () => {
    const statusOf = async (path: string): Promise<[number, unknown]> => {
      const response = await fetch(`http://127.0.0.1:${fixture.port}${path}`);
      return [response.status, await response.json()];
    };
    expect(await statusOf("/livez")).toEqual([200, { status: "ok" }]);
    expect(await statusOf("/readyz")).toEqual([200, { status: "ready", isBusConnected: true }]);
    expect(await statusOf("/socket/websocket?vsn=2.0.0")).toEqual([
      426,
      { reason: "upgrade_required" },
    ]);
    expect(await statusOf("/")).toEqual([404, { reason: "not_found" }]);
  });

  test("too many sockets: 503", async () => {
    const full = await startFixture({ limits: { socketsMax: 1 } });
    await full.connect();
    await expect(full.connect()).rejects.toThrow("HTTP 503");
    expect(full.gateway.stats().refusedTotal).toBe(1);
    await full.stop();
  });
});

describe("W8, GW17 — tokens", () => {
  let fixture: Fixture;
  let foreign: Issuer;
  beforeAll(async () => {
    const [es256, rs256] = [await createIssuer("ES256", "k2"), await createIssuer("RS256", "k3")];
    foreign = await createIssuer();
    fixture = await startFixture();
    await fixture.stop();
    const eddsa = await createIssuer("EdDSA", "k1");
    const twin = await createIssuer("EdDSA", "k4");
    const keys = [eddsa, es256, rs256, twin].flatMap(({ jwks }) => jwks.keys);
    const auth = { jwks: { keys }, regions: ["fra", "lon"], issuer: "hr", audience: "carillon" };
    fixture = await startFixture({ config: { auth } });
    issuers = { eddsa, es256, rs256, twin };
  });
  afterAll(() => fixture.stop());
  let issuers: Record<"eddsa" | "es256" | "rs256" | "twin", Issuer>;
  const claims = { iss: "hr", aud: "carillon" };
  const symmetric = (): Promise<string> =>
    new SignJWT({ tenant: "acme", sub: "anna", home: "fra", ...claims })
      .setProtectedHeader({ alg: "HS256", kid: "k1" })
      .setExpirationTime("1h")
      .sign(Buffer.from(JSON.stringify(issuers.eddsa.jwks.keys[0])));
  const unsigned = (): string => {
    const part = (value: object): string =>
      Buffer.from(JSON.stringify(value)).toString("base64url");
    const body = { tenant: "acme", sub: "anna", home: "fra", exp: 4_000_000_000, ...claims };
    return `${part({ alg: "none" })}.${part(body)}.`;
  };

  test.each<[string, () => string | Promise<string>]>([
    ["EdDSA", () => issuers.eddsa.sign(claims)],
    ["ES256", () => issuers.es256.sign(claims)],
    ["RS256", () => issuers.rs256.sign(claims)],
    ["no kid, the first of two keys", () => issuers.eddsa.sign(claims, "")],
    ["no kid, the second of two keys", () => issuers.twin.sign(claims, "")],
  ])(
    "GW22 — %s is let in, by subprotocol and by the first frame, frames in order",
    async (_, sign) => {
      const token = await sign();
      const client = await fixture.connect({ token });
      client.join();
      await until(() => expect(client.reply("1")?.["status"]).toBe("ok"));
      const plain = await fixture.connect({ token: null });
      plain.join({ token });
      const queued = plain.push("phx_leave", {}); // GW22: waits for the token, then comes second
      await until(() => expect(plain.reply(queued)).toEqual({ status: "ok", response: {} }));
      expect(plain.frames.map(([, ref]) => ref)).toEqual([queued, "1"]); // "1": phx_close
    },
  );

  test.each<[string, () => string | Promise<string>, number]>([
    ["expired", () => issuers.eddsa.sign({ ...claims, exp: 1_000 }), 4001],
    ["not valid yet", () => issuers.eddsa.sign({ ...claims, nbf: 4_000_000_000 }), 4501],
    ["without exp", () => issuers.eddsa.sign({ ...claims, exp: undefined }), 4501],
    ["without tenant", () => issuers.eddsa.sign({ ...claims, tenant: undefined }), 4501],
    ["with a tenant of another form", () => issuers.eddsa.sign({ ...claims, tenant: "A B" }), 4501],
    ["without sub", () => issuers.eddsa.sign({ ...claims, sub: undefined }), 4501],
    ["with an empty sub", () => issuers.eddsa.sign({ ...claims, sub: "" }), 4501],
    ["with an unknown home", () => issuers.eddsa.sign({ ...claims, home: "nyc" }), 4501],
    [
      "with a subject for a home",
      () => issuers.eddsa.sign({ ...claims, home: "fra.part.1" }),
      4501,
    ],
    ["of another issuer", () => issuers.eddsa.sign({ ...claims, iss: "x" }), 4501],
    ["for another audience", () => issuers.eddsa.sign({ ...claims, aud: "x" }), 4501],
    ["of an unknown kid", () => issuers.eddsa.sign(claims, "k9"), 4501],
    ["signed by somebody else", () => foreign.sign(claims), 4501],
    ["with a symmetric signature", symmetric, 4501],
    ["without a signature", unsigned, 4501],
    ["that is none", () => "token", 4501],
    ["that is too long", () => "x".repeat(5_000), 4501],
  ])("one %s is not let in", async (_, sign, code) => {
    const token = await sign();
    expect((await (await fixture.connect({ token })).closed).code).toBe(code);
    if (token.length > 4_096) return;
    const plain = await fixture.connect({ token: null });
    plain.join({ token });
    expect((await plain.closed).code).toBe(code);
  });

  test("GW18 — nothing of a token is logged", async () => {
    const token = await issuers.eddsa.sign(claims);
    const client = await fixture.connect({ token });
    client.join();
    await until(() => expect(client.reply("1")?.["status"]).toBe("ok"));
    expect(fixture.logged.filter((line) => line.includes(token.slice(0, 20)))).toEqual([]);
  });
});

test.each([
  ["no JSON", "{"],
  ["no object", "[]"],
  ["no keys", '{"keys":[]}'],
  ["a symmetric key", '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'],
  ["a private key", '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"a","d":"b"}]}'],
])("GW17 — a key set with %s is refused", (_, text) => {
  expect(parseKeySet(text)).toEqual({
    ok: false,
    expected: 'a JSON Web Key Set ({"keys": […]}) with at least one key, all public',
  });
});

test("GW17 — a key set of public keys is taken", () => {
  const keys = [{ kty: "OKP", crv: "Ed25519", x: "a", kid: "k1" }];
  expect(parseKeySet(JSON.stringify({ keys }))).toEqual({ ok: true, value: { keys } });
});
