// packages/channels/src/check-endpoint.test.ts
// Goal: SG1, SG3 and SG4 at registration. Method: tables; nothing is resolved or dialled.
import { describe, expect, test } from "vitest";
import {
  allowEntryProblem,
  checkEndpoint,
  createEndpointPolicy,
  ENDPOINT_PROBLEMS,
  type EndpointPolicyOptions,
} from "./index.ts";
import { HOSTILE_ENDPOINTS } from "./test-hostile-endpoints.ts";

const told = (text: string, options?: EndpointPolicyOptions): string => {
  const check = checkEndpoint(text, createEndpointPolicy(options));
  return check.kind === "endpoint" ? check.url.href : check.problem;
};

test("SG1 — the table of hostile endpoints has more than 60 of them, each once", () => {
  expect(HOSTILE_ENDPOINTS.length).toBeGreaterThanOrEqual(60);
  expect(new Set(HOSTILE_ENDPOINTS.map(([text]) => text)).size).toBe(HOSTILE_ENDPOINTS.length);
});

test.each(HOSTILE_ENDPOINTS)("SG1 — at registration %j is refused: %s", (text, problem) => {
  expect(told(text)).toBe(problem);
});

test.each([
  ["https://hook.example.com/", "https://hook.example.com/"],
  ["https://hook.example.com", "https://hook.example.com/"],
  ["https://hook.example.com:443/x?y=z", "https://hook.example.com/x?y=z"],
  ["https://hook.example.com./x", "https://hook.example.com/x"],
  ["HTTPS://Hook.EXAMPLE.com/X", "https://hook.example.com/X"],
  ["https://müller.example/x", "https://xn--mller-kva.example/x"],
  ["https://hook.example.com/x#part", "https://hook.example.com/x"],
  ["https://_a.b-c.example.com/%20@:", "https://_a.b-c.example.com/%20@:"],
  ["https://1.2.3.4.example.com/", "https://1.2.3.4.example.com/"],
  ["https://localhost.example.com/", "https://localhost.example.com/"],
])("SG1 — %s is an endpoint, and is dialled as %s", (text, href) => {
  expect(told(text)).toBe(href);
});

describe("what the operator opens", () => {
  const allow = ["10.1.0.0/16", "fd12:3456::/32", "127.0.0.1", "hooks.corp", "*.svc.internal"];
  test.each([
    ["https://10.1.2.3/", "https://10.1.2.3/"],
    ["https://167838211/", "https://10.1.2.3/"],
    ["https://[fd12:3456::1]/", "https://[fd12:3456::1]/"],
    ["https://127.0.0.1/", "https://127.0.0.1/"],
    ["https://hooks.corp/", "https://hooks.corp/"],
    ["https://a.svc.internal/", "https://a.svc.internal/"],
    ["https://10.2.0.1/", "address"],
    ["https://127.0.0.2/", "address"],
    ["https://[::ffff:127.0.0.1]/", "address"], // never: what is inside of it is named, or not at all
    ["https://svc.internal/", "host"],
    ["https://xsvc.internal/", "host"],
    ["https://hooks.corp.internal/", "host"],
    ["https://other.corp/", "host"],
  ])("SG3 — %s → %s", (text, answer) => {
    expect(told(text, { allow })).toBe(answer);
  });

  test("SG3 — schemes, ports and the length are the policy's", () => {
    const schemes = ["https:", "http:"] as const;
    expect(told("http://hook.example.com/", { schemes })).toBe("port"); // 80 is a port as any other
    expect(told("http://hook.example.com/", { schemes, ports: [80] })).toContain("http://hook");
    expect(told("https://hook.example.com:8443/", { ports: "any" })).toContain(":8443");
    expect(told("https://hook.example.com/", { lengthMax: 10 })).toBe("too_long");
  });

  test("SG3 — with a list of hosts nothing else is an endpoint, by whole labels", () => {
    const onlyHosts = ["fcm.googleapis.com", "*.push.apple.com"];
    const ask = (host: string): string => told(`https://${host}/`, { onlyHosts });
    expect(ask("fcm.googleapis.com")).toBe("https://fcm.googleapis.com/");
    expect(ask("fcm.googleapis.com.")).toBe("https://fcm.googleapis.com/");
    expect(ask("web.push.apple.com")).toBe("https://web.push.apple.com/");
    expect(ask("push.apple.com")).toBe("not_listed");
    expect(ask("xpush.apple.com")).toBe("not_listed");
    expect(ask("web.push.apple.com.example.com")).toBe("not_listed");
    expect(ask("fcm.googleapis.com.example.com")).toBe("not_listed");
  });

  test.each([
    ["10.0.0.0/8", undefined],
    ["::1", undefined],
    ["*.corp.example", undefined],
    ["hooks", undefined],
    ["0.0.0.0/0", "has not from 8 to 32 bits"],
    ["10.0.0.0/33", "has not from 8 to 32 bits"],
    ["::/0", "has not from 16 to 128 bits"],
    ["10.0.0.0/", "has no number of bits after its slash"],
    ["10.0.0.0/8/8", "has no number of bits after its slash"],
    ["64:ff9b::/96", "holds an IPv4 address inside of IPv6"],
    ["::ffff:10.0.0.1", "holds an IPv4 address inside of IPv6"],
    ["fe80::1%eth0", "is neither a CIDR nor a host's name in lower case"],
    ["10.0.0", "is neither a CIDR nor a host's name in lower case"],
    ["https://hooks.corp", "is neither a CIDR nor a host's name in lower case"],
    ["Hooks.Corp", "is neither a CIDR nor a host's name in lower case"],
    ["*", "is neither a CIDR nor a host's name in lower case"],
    ["", "is neither a CIDR nor a host's name in lower case"],
  ])("SG3 — an entry %j of the allow list: %s", (entry, problem) => {
    expect(allowEntryProblem(entry)).toBe(problem);
    let thrown = "";
    try {
      createEndpointPolicy({ allow: [entry] });
    } catch (error) {
      thrown = String(error);
    }
    const expected =
      problem === undefined ? "" : `TypeError: an entry of the allow list ${problem}`;
    expect(thrown).toBe(expected);
  });
});

test("SG4 — a problem is one of fixed texts, and repeats nothing of the endpoint", () => {
  for (const [text] of HOSTILE_ENDPOINTS) {
    const check = checkEndpoint(text, createEndpointPolicy());
    if (check.kind !== "refused") throw new Error(text);
    expect(Object.keys(check)).toEqual(["kind", "problem"]);
    expect(ENDPOINT_PROBLEMS[check.problem]).toMatch(/^[a-z ,:/]+$/i);
  }
});
