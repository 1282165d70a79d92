// Goal: RN6 of a real process. Method: `carillon node` beside a real local cluster's, with a module
// loaded into it that rejects a promise, which nobody holds, at a signal.
import { fork } from "node:child_process";
import { join } from "node:path";
import { CLOSE_CODES } from "@carillon/contracts";
import { systemClock, systemRandom } from "@carillon/kernel";
import { expect, onTestFinished, test } from "vitest";
import { ApiClient } from "./clients/api-client.ts";
import { DevCluster } from "./dev/dev-cluster.ts";
import { newDataFolder } from "./dev/dev-run.ts";
import { readOrCreateSecrets } from "./dev/dev-secrets.ts";
import { nodeEnv } from "./dev/node-env.ts";
import { isNodeReady, type NodeReady } from "./node-messages.ts";

const TEST_MAX_MS = 120_000;
const MAIN = join(import.meta.dirname, "main.ts");
const PLANT = `process.on("SIGUSR2", () => void Promise.reject(new RangeError("planted")));`;

test(
  "RN6 — a rejection that nobody handles: one error line, sockets closed as in a drain, exit 1",
  async () => {
    const folder = newDataFolder();
    onTestFinished(() => folder.remove());
    const cluster = await DevCluster.start({
      dataFolder: folder.path,
      regions: ["fra"],
      isDurable: false,
      isFresh: false,
      nodeOptions: {},
      log: () => undefined,
    });
    onTestFinished(() => cluster.stop());
    const { child, ready, lines, exited } = await startNode(
      nodeEnv({
        region: "fra",
        regions: ["fra"],
        roles: ["gateway", "worker"],
        natsUrl: cluster.natsUrl("fra"),
        storeUrl: cluster.storeUrl("fra"),
        secrets: readOrCreateSecrets(join(folder.path, "secrets"), systemRandom),
        ingestPort: 0,
        gatewayPort: 0,
        more: {},
      }),
    );
    const api = new ApiClient(
      { baseUrl: cluster.region("fra").ingestUrl, apiKey: cluster.apiKey, connectionsMax: 1 },
      systemClock,
    );
    onTestFinished(() => api.close());
    await api.expect({ method: "PUT", path: "/v1/recipients/ada", body: "{}" });
    const [token = ""] = (await api.tokensOf(["ada"])).values();
    const { closed } = await joined(ready.gatewayPort, token);

    child.kill("SIGUSR2");
    child.kill("SIGUSR2"); // what follows from a bug is no news
    expect(await exited).toEqual([1, null]);
    expect(await closed).toBe(CLOSE_CODES.drain);
    const errors = lines.filter(({ level }) => level === "error");
    expect(errors).toMatchObject([{ event: "node.uncaught" }]);
    expect(errors[0]?.["reason"]).toContain("RangeError: planted");
  },
  TEST_MAX_MS,
);

async function startNode(env: Record<string, string>) {
  const child = fork(MAIN, ["node"], {
    env,
    execArgv: ["--import", `data:text/javascript,${encodeURIComponent(PLANT)}`],
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  const lines: Record<string, unknown>[] = [];
  let rest = "";
  child.stdout?.on("data", (data: Buffer) => {
    const parts = (rest + data.toString()).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) lines.push(JSON.parse(part) as Record<string, unknown>);
  });
  // Not its exit: what it logged last may be on its way still.
  const exited = new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.once("close", (code, signal) => resolve([code, signal])),
  );
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  const ready = await new Promise<NodeReady>((resolve, reject) => {
    child.on("message", (message) => isNodeReady(message) && resolve(message));
    void exited.then((end) => reject(new Error(`ended: ${String(end)} ${JSON.stringify(lines)}`)));
  });
  return { child, ready, lines, exited };
}

/** Resolves when it has joined; `closed` with the code of its end. */
async function joined(port: number | null, token: string): Promise<{ closed: Promise<number> }> {
  const bearer = `base64url.bearer.phx.${Buffer.from(token).toString("base64url")}`;
  const url = `ws://127.0.0.1:${port}/socket/websocket?vsn=2.0.0`;
  const socket = new WebSocket(url, ["phoenix", bearer]);
  socket.binaryType = "arraybuffer";
  const closed = new Promise<number>((resolve) =>
    socket.addEventListener("close", ({ code }) => resolve(code)),
  );
  socket.addEventListener("open", () => socket.send('["1","1","inbox","phx_join",{}]'));
  await new Promise<void>((resolve) =>
    socket.addEventListener("message", ({ data }) => {
      const heard = typeof data === "string" ? data : Buffer.from(data as ArrayBuffer).toString();
      if (heard.includes('"status":"ok"')) resolve();
    }),
  );
  return { closed };
}
