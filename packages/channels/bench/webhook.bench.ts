// packages/channels/bench/webhook.bench.ts
// Webhooks per second: checked, signed and posted over TLS to a receiver in a process of its own on
// this machine; and what the parts of it cost. Run: node packages/channels/bench/webhook.bench.ts
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { systemClock } from "@carillon/kernel";
import { createEndpointPolicy, checkEndpoint, deriveWebhookSecret } from "../src/index.ts";
import { addressKind } from "../src/special-addresses.ts";
import { CA, postTo, senderFor, SERVER_KEY, startReceiver } from "../src/test-receiver.ts";
import { webhookSignature } from "../src/webhook-signature.ts";

const ROUNDS_COUNT = 5;
const POSTS_COUNT = 4_000;

if (process.argv[2] === "receiver") await receive();
else await measure();

async function receive(): Promise<void> {
  const receiver = await startReceiver();
  process.send?.({ port: receiver.port, ca: CA });
}

async function measure(): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), ["receiver"]);
  const [{ port, ca }] = (await once(child, "message")) as [{ port: number; ca: string }];
  const sender = senderFor({ ca });
  const text = JSON.stringify({ type: "ack.overdue", data: "x".repeat(500) });
  const one = () => sender.post(postTo({ port } as never, { body: text }));

  await report("posts under way at once: 8 (one host)", "posts/s", () =>
    perSecond(POSTS_COUNT, async () => {
      let left = POSTS_COUNT;
      const worker = async (): Promise<void> => {
        while (left-- > 0) if ((await one()).kind !== "accepted") throw new Error("not accepted");
      };
      await Promise.all(Array.from({ length: 8 }, worker));
    }),
  );
  await report("one by one", "posts/s", () =>
    perSecond(1_000, async () => {
      for (let n = 0; n < 1_000; n++) await one();
    }),
  );
  await sender.close();
  child.kill();

  const policy = createEndpointPolicy();
  const secrets = [deriveWebhookSecret(SERVER_KEY, "acme")];
  const body = Buffer.from(text);
  const url = "https://hook.example.com/acme/overdue?token=0123456789abcdef";
  const costs: readonly (readonly [string, () => unknown])[] = [
    ["checkEndpoint", () => checkEndpoint(url, policy)],
    ["addressKind, IPv4", () => addressKind("93.184.216.34")],
    ["addressKind, IPv6", () => addressKind("2606:2800:220:1:248:1893:25c8:1946")],
    [
      "signature of 540 B",
      () => webhookSignature(secrets, { id: "msg_1", timestampSeconds: 1, body }),
    ],
    ["deriveWebhookSecret", () => deriveWebhookSecret(SERVER_KEY, "acme")],
  ];
  for (const [name, run] of costs)
    await report(name, "µs", () => {
      const startMs = systemClock.monotonicMs();
      for (let n = 0; n < 20_000; n++) run();
      return Promise.resolve((systemClock.monotonicMs() - startMs) / 20);
    });
}

async function perSecond(count: number, run: () => Promise<void>): Promise<number> {
  const startMs = systemClock.monotonicMs();
  await run();
  return count / ((systemClock.monotonicMs() - startMs) / 1_000);
}

async function report(name: string, unit: string, run: () => Promise<number>): Promise<void> {
  await run(); // warm
  const values: number[] = [];
  for (let round = 0; round < ROUNDS_COUNT; round++) values.push(await run());
  const [least, median, most] = [0, ROUNDS_COUNT >> 1, ROUNDS_COUNT - 1].map((place) =>
    (values.toSorted((a, b) => a - b)[place] ?? 0).toPrecision(3),
  );
  console.log(`${name.padEnd(40)} ${Number(median)} ${unit} (${Number(least)} to ${Number(most)})`);
}
