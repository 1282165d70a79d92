// packages/channels/src/special-addresses.prop.test.ts
// Goal: SG2. Method: a table of each range's ends, and ipaddr.js as an oracle of its own that knows
// the registries by its own list: what it does not call unicast is never public here.
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import { expect, test } from "vitest";
import { addressKind } from "./special-addresses.ts";
import { HOSTILE_ADDRESSES } from "./test-hostile-endpoints.ts";

const isUnicast = (address: string): boolean => ipaddr.parse(address).range() === "unicast";
/** Public by that oracle, and refused here: Azure's host agent, and what is outside of 2000::/3. */
const isOurs = (address: string): boolean => {
  const parsed = ipaddr.parse(address);
  if (parsed.kind() === "ipv4") return address === "168.63.129.16";
  return !parsed.match(ipaddr.parseCIDR("2000::/3"));
};

test.each(HOSTILE_ADDRESSES)("SG2 — %j is not public", (address) => {
  expect(addressKind(address)).not.toBe("public");
});

test.each([
  "1.0.0.0",
  "8.8.8.8",
  "9.255.255.255",
  "11.0.0.0",
  "100.63.255.255",
  "100.128.0.0",
  "126.255.255.255",
  "128.0.0.0",
  "168.63.129.17",
  "169.253.255.255",
  "169.255.0.0",
  "172.15.255.255",
  "172.32.0.0",
  "192.0.1.0",
  "192.167.255.255",
  "192.169.0.0",
  "198.17.255.255",
  "198.20.0.0",
  "223.255.255.255",
  "2000::",
  "2001:200::1",
  "2001:db7:ffff::1",
  "2001:db9::1",
  "2001:4860:4860::8888",
  "2606:4700::1111",
  "2a00:1450:4001::1",
  "3ffe:ffff::1",
  "3fff:1000::1",
])("SG2 — %s is public: the ranges end where the registries say", (address) => {
  expect(addressKind(address)).toBe("public");
});

test("SG2 — for all IPv4 addresses the answer is that of an independent list", () => {
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      const expected = isUnicast(address) && !isOurs(address);
      expect(addressKind(address) === "public").toBe(expected);
    }),
    { numRuns: 5_000 },
  );
});

test("SG2 — for all IPv6 addresses, near the ranges and elsewhere", () => {
  const groups = [
    "0",
    "1",
    "2",
    "64",
    "ff9b",
    "ffff",
    "100",
    "2001",
    "2002",
    "2620",
    "3fff",
    "db8",
  ];
  const group = fc.oneof(
    fc.constantFrom(...groups, "4f", "8000", "112", "fc00", "fe80", "fec0", "ff02", "5f00"),
    fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16)),
  );
  const near = fc.array(group, { minLength: 8, maxLength: 8 }).map((all) => all.join(":"));
  fc.assert(
    fc.property(fc.oneof(near, fc.ipV6()), (address) => {
      const expected = isUnicast(address) && !isOurs(address);
      expect(addressKind(address) === "public").toBe(expected);
    }),
    { numRuns: 10_000 },
  );
});
