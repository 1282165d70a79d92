// Goal: IN1, IN5, IN6. Method: fake time, a look-up that counts.
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { createApiKeys, type KeyCaller } from "./api-keys.ts";

function start(entriesMax = 100) {
  const clock = new FakeClock();
  const asked: string[] = [];
  const keys = new Map<string, KeyCaller>([
    ["crl_a_1", { tenantId: "acme", scopes: ["read"] }],
    ["crl_b_1", { tenantId: "acme", scopes: ["admin"] }],
  ]);
  const verify = async (apiKey: string): Promise<KeyCaller | undefined> => {
    asked.push(apiKey);
    await clock.sleep(10);
    return keys.get(apiKey);
  };
  const options = { believedMs: 30_000, refusedMs: 5_000, entriesMax, verify };
  const keyed = createApiKeys(options, clock);
  const outcomeOf = async (authorization: string | undefined): Promise<string> => {
    const answering = keyed("read")(authorization);
    await clock.advance(10);
    const answer = await answering;
    return answer.kind === "caller" ? answer.caller.tenantId : answer.code;
  };
  return { clock, asked, keys, keyed, outcomeOf };
}

test("IN5 — a key is believed for 30 s and not a moment longer", async () => {
  const { clock, asked, keys, outcomeOf } = start();
  expect(await outcomeOf("Bearer crl_a_1")).toBe("acme");
  keys.delete("crl_a_1");
  await clock.advance(29_979);
  expect(await outcomeOf("Bearer crl_a_1")).toBe("acme");
  await clock.advance(1);
  expect(await outcomeOf("Bearer crl_a_1")).toBe("unauthenticated");
  expect(asked).toEqual(["crl_a_1", "crl_a_1"]);
});

test("IN5 — a wrong key is asked for once in 5 s; what has no form of a key, never", async () => {
  const { clock, asked, outcomeOf } = start();
  for (const header of [undefined, "", "Bearer", "Basic crl_a_1", "Bearer crl_a", "Bearer x_a_1"])
    expect(await outcomeOf(header)).toBe("unauthenticated");
  expect(await outcomeOf("Bearer crl_z_1")).toBe("unauthenticated");
  expect(await outcomeOf("Bearer crl_z_1")).toBe("unauthenticated");
  expect(asked).toEqual(["crl_z_1"]);
  await clock.advance(5_000);
  await outcomeOf("Bearer crl_z_1");
  expect(asked.length).toBe(2);
});

test("IN6 — the same key many times at once is one look-up", async () => {
  const { clock, asked, keyed } = start();
  const answers = Array.from({ length: 20 }, () => keyed("read")("Bearer crl_b_1"));
  await clock.advance(10);
  expect((await Promise.all(answers)).map(({ kind }) => kind)).toEqual(Array(20).fill("caller"));
  expect(asked).toEqual(["crl_b_1"]);
});

test("A1 — a scope that the key lacks is 403; admin has every scope", async () => {
  const { clock, keyed } = start();
  const answers = [keyed("admin")("Bearer crl_a_1"), keyed("recipients:write")("Bearer crl_b_1")];
  await clock.advance(10);
  const [refused, allowed] = await Promise.all(answers);
  expect(refused).toEqual({
    kind: "problem",
    code: "forbidden",
    detail: "The key needs the scope admin.",
  });
  expect(allowed?.kind).toBe("caller");
});

test("IN1 — the cache forgets the longest unused beyond its limit", async () => {
  const { asked, outcomeOf } = start(1);
  await outcomeOf("Bearer crl_a_1");
  await outcomeOf("Bearer crl_b_1");
  await outcomeOf("Bearer crl_a_1");
  expect(asked).toEqual(["crl_a_1", "crl_b_1", "crl_a_1"]);
});
