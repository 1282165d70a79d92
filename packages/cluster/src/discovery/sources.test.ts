// Goal: DS1–DS3 of the sources that are no API, and the deadline around any. Method: the conformance
// suite, files that are broken in every way, a fake clock.
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FakeClock } from "@carillon/testkit";
import { describe, expect, test } from "vitest";
import { readingConformance, sourceConformance } from "./conformance.ts";
import { createFileSource } from "./file-source.ts";
import { type DiscoverySource, findWithin, type FindOutcome, isAddress } from "./source.ts";
import { createStaticSource } from "./static-source.ts";
import { newFolder } from "./test-folder.ts";

const open = new AbortController().signal;
const never = new Promise<never>(() => {});

sourceConformance("static", {
  idOf: (address) => address,
  having: (candidates) =>
    Promise.resolve(
      createStaticSource({ region: "fra", addresses: candidates.map(({ address }) => address) }),
    ),
});

readingConformance("file", {
  idOf: (address) => `i-${address}`,
  having(candidates) {
    const path = join(newFolder(), "peers.json");
    writeFileSync(path, JSON.stringify({ regions: { fra: { peers: candidates } } }));
    return Promise.resolve(createFileSource({ region: "fra", path }));
  },
  broken: () => Promise.resolve(createFileSource({ region: "fra", path: "/nowhere/peers.json" })),
});

describe("file", () => {
  const whole = JSON.stringify({ regions: { fra: { peers: [{ id: "a", address: "10.0.0.1" }] } } });
  test.each([
    ["cut off", whole.slice(0, -3), "is not JSON"],
    ["empty", "", "is not JSON"],
    ["of another form", "[]", "regions.fra.peers is not a list"],
    ["without the region", whole.replace("fra", "lon"), "regions.fra.peers is not a list"],
    [
      "with an address that is none",
      whole.replace("10.0.0.1", "10.0.0.1 port: 1"),
      'regions.fra.peers[0] is not { "id": …, "address": … }',
    ],
  ])("DS1 — a file that is %s is no answer", async (_, text, problem) => {
    const path = join(newFolder(), "peers.json");
    writeFileSync(path, text);
    const outcome = await createFileSource({ region: "fra", path }).find(open);
    expect(outcome).toEqual({ kind: "failed", reason: "malformed", detail: `${path}: ${problem}` });
  });

  test("DS1 — a file that may not be read is no answer", async () => {
    const path = join(newFolder(), "peers.json");
    writeFileSync(path, whole);
    chmodSync(path, 0);
    const outcome = await createFileSource({ region: "fra", path: join(path, "x") }).find(open);
    expect(outcome).toMatchObject({ kind: "failed", reason: "unreadable" });
  });
});

test("DS2 — an address is a host name, IPv4 or IPv6, and nothing that could end a line", () => {
  const good = ["10.0.0.1", "gw-1.fra.example", "2a05:d014::1", "::1", "localhost"];
  const bad = ["", "a b", "a\nb", 'a"', "-a", "a:4222", "nats://a", "[::1]", ":", "a/b", "a,b"];
  expect(good.filter((text) => !isAddress(text))).toEqual([]);
  expect(bad.filter(isAddress)).toEqual([]);
  expect(() => createStaticSource({ region: "fra", addresses: ["a b"] })).toThrow("DS1");
});

function sourceOf(find: (signal: AbortSignal) => Promise<FindOutcome>): DiscoverySource {
  return { kind: "static", region: "fra", find };
}

test("DS3 — C1 one deadline around everything, also for a source that is deaf to it", async () => {
  const clock = new FakeClock();
  let isAborted = false;
  const deaf = sourceOf((signal) => {
    signal.addEventListener("abort", () => (isAborted = true));
    return never;
  });
  let outcome: FindOutcome | undefined;
  void findWithin(deaf, { clock }).then((settled) => (outcome = settled));
  await clock.advance(14_999);
  expect([outcome, isAborted]).toEqual([undefined, false]);
  await clock.advance(1);
  expect(outcome).toEqual({
    kind: "failed",
    reason: "timeout",
    detail: "no complete answer within 15000 ms",
  });
  expect([isAborted, clock.timersCount]).toEqual([true, 0]);
});

test("DS3 — a source that rejects has failed", async () => {
  const clock = new FakeClock();
  const broken = sourceOf(() => Promise.reject(new Error("bug")));
  const outcome = await findWithin(broken, { clock });
  expect([outcome.kind, clock.timersCount]).toEqual(["failed", 0]);
});
