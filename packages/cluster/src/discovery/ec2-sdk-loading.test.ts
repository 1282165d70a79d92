// Goal: DS5, C1. Method: the source in a Node process of its own that sees what is loaded; an address
// that takes no connection.
import { execFile, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { createEc2TagsSource } from "./ec2-tags-source.ts";
import { newFolder } from "./test-folder.ts";

const TEST_MAX_MS = 120_000;

test(
  "DS5 — C1 the SDK is loaded by the first poll, not before; a load that failed is tried again by the next",
  async () => {
    const folder = newFolder();
    const script = join(folder, "polls.mjs");
    const index = new URL("../index.ts", import.meta.url).href;
    writeFileSync(
      script,
      `import { registerHooks } from "node:module";
      let loadsCount = 0;
      registerHooks({
        resolve(name, context, next) {
          if (name !== "@aws-sdk/client-ec2") return next(name, context);
          if (++loadsCount === 1) throw new Error("planted: no such module yet");
          return next(name, context);
        },
      });
      const { createEc2TagsSource } = await import(${JSON.stringify(index)});
      const source = createEc2TagsSource({
        region: "fra", awsRegion: "eu-central-1", cluster: "acme", role: "nats",
        addressKind: "private-ipv4", endpoint: "http://127.0.0.1:1",
        credentials: { accessKeyId: "testing", secretAccessKey: "testing" },
      });
      const seen = [loadsCount];
      for (let n = 0; n < 3; n++) {
        const { kind, detail } = await source.find(new AbortController().signal);
        seen.push(loadsCount, kind, detail.includes("planted"));
      }
      console.log(JSON.stringify(seen));`,
    );
    const { PATH = "" } = process.env;
    const { stdout } = await promisify(execFile)(process.execPath, [script], { env: { PATH } });
    expect(JSON.parse(stdout)).toEqual([
      0, // the package is loaded, a source is made
      ...[1, "failed", true],
      ...[2, "failed", false], // the network by now
      ...[2, "failed", false],
    ]);
  },
  TEST_MAX_MS,
);

// Elsewhere a full queue refuses instead of being silent.
const isSilentWhenFull = process.platform === "linux";
if (!isSilentWhenFull)
  process.stderr.write("\nSKIPPED: the limit of connecting to EC2 is tested on Linux only\n");

test.skipIf(!isSilentWhenFull)(
  "C1 — an address that takes no connection: given up after the limit of connecting, not of answering",
  async () => {
    const port = await silentPort();
    const source = createEc2TagsSource({
      region: "fra",
      awsRegion: "eu-central-1",
      cluster: "acme",
      role: "nats",
      addressKind: "private-ipv4",
      endpoint: `http://127.0.0.1:${port}`,
      credentials: { accessKeyId: "testing", secretAccessKey: "testing" },
      connectMaxMs: 500,
      requestMaxMs: 10 * TEST_MAX_MS, // this one would let the test hang
    });
    const outcome = await source.find(new AbortController().signal);
    expect(outcome).toMatchObject({ kind: "failed", reason: "timeout" });
  },
  TEST_MAX_MS,
);

/** Of a server that sleeps, with its queue of connections full: the next one is never answered. */
async function silentPort(): Promise<number> {
  const child = spawn(
    process.execPath,
    [
      "-e",
      `const server = require("node:net").createServer();
       server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(server.address().port));`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const sockets: Socket[] = [];
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    child.kill("SIGKILL");
  });
  const port = await new Promise<number>((resolve) =>
    child.stdout.once("data", (data: Buffer) => resolve(Number(data.toString()))),
  );
  child.kill("SIGSTOP");
  for (;;) {
    const socket = connect(port, "127.0.0.1").on("error", () => undefined);
    sockets.push(socket);
    const isTaken = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      setTimeout(() => resolve(false), 1_000); // a connection to this machine takes microseconds
    });
    if (!isTaken) return port;
  }
}
