// Goal: DS1–DS6, C1, C7. Method: the unmodified AWS SDK against an API that answers what it is told.
import { describe, expect, test } from "vitest";
import { readingConformance } from "./conformance.ts";
import { addressOf, createEc2TagsSource, type Ec2TagsSourceOptions } from "./ec2-tags-source.ts";
import {
  answerOf,
  errorOf,
  type FakeAnswer,
  type FakeInstance,
  pageOf,
  startFakeEc2,
} from "./test-ec2.ts";

const open = new AbortController().signal;
const OPTIONS: Ec2TagsSourceOptions = {
  region: "fra",
  awsRegion: "eu-central-1",
  cluster: "acme",
  role: "nats",
  addressKind: "private-ipv4",
  credentials: { accessKeyId: "test", secretAccessKey: "test" },
  connectMaxMs: 2_000,
  requestMaxMs: 20_000,
};

async function sourceOf(
  answer: (token: string | null) => FakeAnswer | "hang" | "reset",
  options: Partial<Ec2TagsSourceOptions> = {},
) {
  const { endpoint, asked } = await startFakeEc2(answer);
  return { asked, source: createEc2TagsSource({ ...OPTIONS, endpoint, ...options }) };
}

const find = async (answer: (token: string | null) => FakeAnswer | "hang" | "reset") =>
  (await sourceOf(answer)).source.find(open);

readingConformance("ec2-tags", {
  idOf: (address) => `i-${address}`,
  having: async (candidates) => {
    const page = pageOf(candidates.map(({ id, address }) => ({ id, privateIp: address })));
    return (await sourceOf(() => page)).source;
  },
  broken: async () => (await sourceOf(() => "reset")).source,
});

const many = (from: number, to: number): FakeInstance[] =>
  Array.from({ length: to - from }, (_, n) => ({
    id: `i-${String(from + n).padStart(4, "0")}`,
    privateIp: `10.40.${(from + n) >> 8}.${(from + n) & 255}`,
  }));

test("DS4 — C1 every page, by its token and not by its count, an empty one in the middle too", async () => {
  const pages = new Map([
    [null, pageOf(many(0, 3), "two")],
    ["two", pageOf([], "three")],
    ["three", pageOf(many(3, 5))],
  ]);
  const { source, asked } = await sourceOf((token) => pages.get(token)!, { pageSize: 5 });
  const outcome = await source.find(open);
  expect(outcome).toEqual({
    kind: "found",
    candidates: many(0, 5).map(({ id, privateIp }) => ({ id, address: privateIp })),
    skipped: [],
    pagesCount: 3,
  });
  expect(asked.map((form) => Object.fromEntries(form))).toEqual(
    [undefined, "two", "three"].map((token) => ({
      Action: "DescribeInstances", // and never DescribeTags
      Version: "2016-11-15",
      MaxResults: "5",
      "Filter.1.Name": "tag:carillon:cluster",
      "Filter.1.Value.1": "acme",
      "Filter.2.Name": "instance-state-name",
      "Filter.2.Value.1": "pending",
      "Filter.2.Value.2": "running",
      ...(token !== undefined && { NextToken: token }),
    })),
  );
});

describe("DS4 — the second page of two is", () => {
  const whole = pageOf(many(3, 5));
  const cut = (text: string): FakeAnswer => ({
    status: 200,
    text: whole.text.slice(0, whole.text.indexOf(text)),
  });
  test.each<[string, FakeAnswer | "reset", string]>([
    ["throttled", errorOf(503, "RequestLimitExceeded"), "throttled"],
    ["throttled by another name", errorOf(400, "Throttling"), "throttled"],
    ["denied", errorOf(403, "UnauthorizedOperation"), "denied"],
    ["an error", errorOf(500, "InternalError"), "server"],
    ["an HTML error", { status: 502, text: "<html><body>Bad Gateway</body></html>" }, "server"],
    ["HTML, and called good", { status: 200, text: "<html><body>hi</body></html>" }, "malformed"],
    ["empty, and called good", { status: 200, text: "" }, "malformed"],
    ["text", { status: 200, text: "hello" }, "malformed"],
    ["without its list", answerOf(""), "malformed"],
    [
      "with an instance that has no id",
      answerOf(
        "<reservationSet><item><instancesSet><item/></instancesSet></item></reservationSet>",
      ),
      "malformed",
    ],
    ["cut off in an instance", cut("10.40.0.4"), "malformed"],
    ["cut off between instances", cut("<item><instancesSet><item><instanceId>i-0004"), "malformed"],
    ["cut off at its end", cut("</DescribeInstancesResponse>"), "malformed"],
    ["the first one again", pageOf(many(0, 3), "two"), "malformed"],
    ["reset", "reset", "network"],
  ])("%s: no answer at all", async (_, second, reason) => {
    const outcome = await find((token) => (token === null ? pageOf(many(0, 3), "two") : second));
    expect(outcome).toMatchObject({ kind: "failed", reason });
    expect(outcome.kind === "failed" && outcome.detail).toMatch(/^.{4,200}$/);
  });
});

test("DS5 — C1 a failure is asked once, not again", async () => {
  const { source, asked } = await sourceOf(() => errorOf(503, "RequestLimitExceeded"));
  expect(await source.find(open)).toMatchObject({ kind: "failed", reason: "throttled" });
  expect(asked).toHaveLength(1);
});

test("DS3 — C1 what hangs ends by the limit of a request, and by the poll's signal", async () => {
  const limited = await sourceOf(() => "hang", { requestMaxMs: 200 });
  expect(await limited.source.find(open)).toMatchObject({ kind: "failed", reason: "timeout" });
  const hanging = await sourceOf(() => {
    aborter.abort();
    return "hang";
  });
  const aborter = new AbortController();
  const outcome = await hanging.source.find(aborter.signal);
  expect(outcome).toMatchObject({ kind: "failed", reason: "timeout" });
});

test("DS1 — nobody there: refused is network", async () => {
  const source = createEc2TagsSource({ ...OPTIONS, endpoint: "http://127.0.0.1:1" });
  expect(await source.find(open)).toMatchObject({ kind: "failed", reason: "network" });
});

test("DS6 — other roles and instances without an address are skipped, and told", async () => {
  const outcome = await find(() =>
    pageOf([
      { id: "i-none", role: "nats" },
      { id: "i-both", privateIp: "10.40.0.3", role: "worker nats" },
      { id: "i-edge", privateIp: "10.40.0.2", role: "gateway" },
      { id: "i-bare", privateIp: "10.40.0.1", role: "" },
      { id: "i-odd", privateIp: "10.40.0.9 x", role: "nats+worker" },
    ]),
  );
  expect(outcome).toEqual({
    kind: "found",
    candidates: [{ id: "i-both", address: "10.40.0.3" }],
    skipped: [
      { id: "i-bare", reason: "other_role" },
      { id: "i-edge", reason: "other_role" },
      { id: "i-none", reason: "no_address" },
      { id: "i-odd", reason: "no_address" },
    ],
    pagesCount: 1,
  });
});

test("DS6 — C7 private, public or IPv6: the primary one of the first interface, else the lowest", () => {
  const second = { Attachment: { DeviceIndex: 1 }, Ipv6Addresses: [{ Ipv6Address: "2a05::9" }] };
  const first = {
    Attachment: { DeviceIndex: 0 },
    Ipv6Addresses: [{ Ipv6Address: "2a05::2" }, { Ipv6Address: "2a05::1" }],
  };
  const instance = {
    PrivateIpAddress: "10.40.0.1",
    PublicIpAddress: "203.0.113.7",
    NetworkInterfaces: [second, first],
  };
  expect(addressOf(instance, "private-ipv4")).toBe("10.40.0.1");
  expect(addressOf(instance, "public-ipv4")).toBe("203.0.113.7");
  expect(addressOf(instance, "ipv6")).toBe("2a05::1");
  const primary = {
    ...first,
    Ipv6Addresses: [...first.Ipv6Addresses, { Ipv6Address: "2a05::5", IsPrimaryIpv6: true }],
  };
  expect(addressOf({ NetworkInterfaces: [primary] }, "ipv6")).toBe("2a05::5");
  expect(addressOf({ NetworkInterfaces: [second] }, "ipv6")).toBeUndefined();
  expect(addressOf({ PrivateIpAddress: "" }, "private-ipv4")).toBeUndefined();
});
