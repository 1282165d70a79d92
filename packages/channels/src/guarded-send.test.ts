// packages/channels/src/guarded-send.test.ts
// Goal: SG1 and SG5 at the send. Method: the tables of registration through the sender itself, beside
// a receiver that counts connections; name servers that change their answers, scripted and real.
import { createSocket } from "node:dgram";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  checkEndpoint,
  createEndpointPolicy,
  createResolver,
  type WebhookSender,
} from "./index.ts";
import { HOSTILE_ADDRESSES, HOSTILE_ENDPOINTS } from "./test-hostile-endpoints.ts";
import { codeOf, HOST, postTo, type Receiver, senderFor, startReceiver } from "./test-receiver.ts";

let receiver: Receiver;
/** What names lead to, one answer after another; the last one stays. */
let answers: string[][] = [];
let asked: string[] = [];
const resolve = (host: string): Promise<string[]> => {
  asked.push(host);
  return Promise.resolve((answers.length > 1 ? answers.shift() : answers[0]) ?? []);
};
const closed: WebhookSender[] = [];
const script = (...next: string[][]): void => void ([answers, asked] = [next, []]);

beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(async () => {
  await receiver.close();
  for (const one of closed) await one.close();
});

function sender(policy = {}): WebhookSender {
  closed.push(senderFor({ policy, deps: { resolve }, limits: { idleMs: 1 } }));
  return closed.at(-1)!;
}

test.each(HOSTILE_ENDPOINTS)(
  "SG1 — at the send %j is refused before anything is asked",
  async (url) => {
    script(["127.0.0.1"]);
    const before = receiver.connectionsCount();
    const strict = sender({ allow: [], ports: [443] });
    expect(codeOf(await strict.post(postTo(receiver, { url })))).toBe("refused endpoint");
    expect(asked).toEqual([]);
    expect(receiver.connectionsCount()).toBe(before);
  },
);

test.each(HOSTILE_ADDRESSES)("SG5 — a name that leads to %j is not dialled", async (address) => {
  const strict = sender({ allow: [] });
  for (const all of [[address], ["8.8.8.8", address], [address, "2606:4700::1111"]]) {
    script(all);
    expect(codeOf(await strict.post(postTo(receiver)))).toBe("refused endpoint");
    expect(asked).toEqual([HOST]);
  }
});

test("SG5 — an answer that changes after registration is refused at the send", async () => {
  const policy = createEndpointPolicy({ ports: "any" });
  const post = postTo(receiver);
  expect(checkEndpoint(post.url, policy).kind).toBe("endpoint");
  const before = receiver.connectionsCount();
  script(["127.0.0.1"]);
  expect(codeOf(await sender({ allow: [] }).post(post))).toBe("refused endpoint");
  expect(receiver.connectionsCount()).toBe(before);
});

test("SG5 — the address that was checked is the one that is dialled: nobody asks twice", async () => {
  // 127.0.0.1 is open here and 127.0.0.2 is not; the receiver listens on the first only.
  script(["127.0.0.1"], ["127.0.0.2"]);
  receiver.answer((response) => response.writeHead(204, { connection: "close" }).end());
  const one = sender();
  expect(codeOf(await one.post(postTo(receiver)))).toBe("accepted");
  expect(asked).toEqual([HOST]);
  expect(codeOf(await one.post(postTo(receiver)))).toBe("refused endpoint"); // dials anew
  expect(asked).toEqual([HOST, HOST]);
});

test("SG5 — one address among good ones refuses the name, in any place", async () => {
  const one = sender();
  const before = receiver.connectionsCount();
  for (const all of [
    ["127.0.0.1", "10.0.0.1"],
    ["10.0.0.1", "127.0.0.1"],
    ["127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1", "::1"],
  ]) {
    script(all);
    expect(codeOf(await one.post(postTo(receiver)))).toBe("refused endpoint");
  }
  expect(receiver.connectionsCount()).toBe(before);
});

test("SG3 — a host that is opened leads into private networks, and not to this machine", async () => {
  const opened = sender({ allow: [HOST] });
  for (const address of [
    "127.0.0.1",
    "::1",
    "169.254.169.254",
    "fd00:ec2::254",
    "100.100.100.200",
  ]) {
    script([address]);
    expect(codeOf(await opened.post(postTo(receiver)))).toBe("refused endpoint");
  }
  const policy = createEndpointPolicy({ allow: [HOST] });
  for (const address of ["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fd12::1"]) {
    expect(policy.mayConnect(address, HOST)).toBe(true);
    expect(policy.mayConnect(address, "other.example.com")).toBe(false);
  }
});

test("SG3 — an address that is opened may be named, and is asked nobody for", async () => {
  script([]);
  const url = `https://127.0.0.1:${receiver.port}/`;
  expect(codeOf(await sender().post(postTo(receiver, { url })))).toBe("accepted");
  expect(asked).toEqual([]);
});

test("SG3, SG5 — plain HTTP, where a policy allows it, is guarded as TLS is", async () => {
  const ids: unknown[] = [];
  const plain = createServer((request, response) => {
    ids.push(request.headers["webhook-id"]);
    request.resume().on("end", () => response.writeHead(204).end());
  });
  await new Promise<void>((listening) => plain.listen(0, "127.0.0.1", listening));
  const url = `http://${HOST}:${(plain.address() as AddressInfo).port}/`;
  const schemes = ["https:", "http:"];
  script(["127.0.0.1"]);
  const strict = sender({ allow: [], schemes });
  expect(codeOf(await strict.post(postTo(receiver, { url })))).toBe("refused endpoint");
  expect(codeOf(await sender({ schemes }).post(postTo(receiver, { url, id: "msg" })))).toBe(
    "accepted",
  );
  expect(ids).toEqual(["msg"]);
  plain.closeAllConnections();
  await new Promise((ended) => plain.close(ended));
});

test("SG5 — a real name server whose answers change: public for the check, ours for the dial", async () => {
  const dns = await startNameServer();
  const real = createResolver({
    timeoutMs: 2_000,
    triesMax: 2,
    servers: [`127.0.0.1:${dns.port}`],
  });
  dns.say({ A: "8.8.8.8", AAAA: "2606:4700::1111" });
  expect(await real(HOST)).toEqual(["8.8.8.8", "2606:4700::1111"]);
  dns.say({ A: "127.0.0.1" });
  const before = receiver.connectionsCount();
  const guarded = senderFor({ policy: { allow: [] }, deps: { resolve: real } });
  expect(codeOf(await guarded.post(postTo(receiver)))).toBe("refused endpoint");
  expect(receiver.connectionsCount()).toBe(before);
  const open = senderFor({ deps: { resolve: real } });
  expect(codeOf(await open.post(postTo(receiver)))).toBe("accepted");
  dns.say({});
  await expect(real(HOST)).rejects.toThrow("ENODATA");
  dns.say({ AAAA: "::1" });
  expect(await real(HOST)).toEqual(["::1"]);
  for (const one of [guarded, open]) await one.close();
  dns.close();
});

interface Zone {
  readonly A?: string;
  readonly AAAA?: string;
}

/** Answers every question with the same addresses, for no time at all (RFC 1035 §4). */
async function startNameServer() {
  const socket = createSocket("udp4");
  let zone: Zone = {};
  socket.on("message", (query, peer) => {
    const end = query.indexOf(0, 12) + 5; // of the question: name, type, class
    const isA = query.readUInt16BE(end - 4) === 1;
    const address = isA ? zone.A : zone.AAAA;
    const head = Buffer.from(query.subarray(0, 12));
    head.writeUInt16BE(0x8180, 2); // an answer, recursion done, no error
    head.writeUInt16BE(address === undefined ? 0 : 1, 6);
    head.writeUInt32BE(0, 8); // no authorities, nothing besides
    const data = address === undefined ? Buffer.alloc(0) : bytesOf(address);
    const record = Buffer.from([0xc0, 12, 0, isA ? 1 : 28, 0, 1, 0, 0, 0, 0, 0, data.length]);
    const answer = address === undefined ? [] : [record, data];
    socket.send(Buffer.concat([head, query.subarray(12, end), ...answer]), peer.port, peer.address);
  });
  await new Promise<void>((resolve_) => socket.bind(0, "127.0.0.1", resolve_));
  return {
    port: socket.address().port,
    say: (next: Zone) => (zone = next),
    close: () => socket.close(),
  };
}

function bytesOf(address: string): Buffer {
  if (!address.includes(":")) return Buffer.from(address.split(".").map(Number));
  const [before = "", after = ""] = address.split("::");
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const [head, tail] = [groups(before), groups(after)];
  const all = [...head, ...Array<string>(8 - head.length - tail.length).fill("0"), ...tail];
  return Buffer.from(all.map((group) => group.padStart(4, "0")).join(""), "hex");
}
