// Goal: DM1, DM4. Method: a real HTTP server that answers, hangs, breaks off, or is not there; a TLS
// server whose authority the machine knows, or does not.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "@carillon/kernel";
import { createTestPki } from "@carillon/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiClient } from "./api-client.ts";

let server: Server;
let api: ApiClient;

beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url === "/hang") return;
    if (request.url === "/break") {
      response.writeHead(200, { "content-length": 100 });
      response.write("{");
      setTimeout(() => response.destroy(), 10);
      return;
    }
    if (request.url === "/refuse") response.statusCode = 422;
    const { authorization } = request.headers;
    request.setEncoding("utf8");
    let body = "";
    request.on("data", (chunk: string) => (body += chunk));
    request.on("end", () => response.end(JSON.stringify({ authorization, body })));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const options = { baseUrl: `http://127.0.0.1:${port}`, apiKey: "crl_k_s", connectionsMax: 2 };
  api = new ApiClient(options, systemClock);
});

afterAll(async () => {
  api.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test("DM1 — an answer, with the key, the body and how long it took", async () => {
  const outcome = await api.send({ method: "POST", path: "/", body: '{"é":1}' });
  expect(outcome).toEqual({
    kind: "answer",
    status: 200,
    text: JSON.stringify({ authorization: "Bearer crl_k_s", body: '{"é":1}' }),
    durationMs: expect.any(Number) as number,
  });
});

test("DM1 — no answer, half an answer, nobody there: failed, and the connections are free again", async () => {
  const call = { method: "GET", timeoutMs: 100 } as const;
  const hung = ["/hang", "/hang", "/hang", "/break"].map((path) => api.send({ ...call, path }));
  expect((await Promise.all(hung)).map(({ kind }) => kind)).toEqual(Array(4).fill("failed"));
  expect((await api.send({ method: "GET", path: "/" })).kind).toBe("answer");
  const nobody = new ApiClient(
    { baseUrl: "http://127.0.0.1:1", apiKey: "crl_k_s", connectionsMax: 1 },
    systemClock,
  );
  expect((await nobody.send({ method: "GET", path: "/" })).kind).toBe("failed");
  nobody.close();
});

test("expect throws what was refused, and why", async () => {
  await expect(api.expect({ method: "GET", path: "/refuse" })).rejects.toMatchObject({
    code: "api_failed",
    message: expect.stringMatching(/^GET \/refuse: 422 /) as string,
  });
});

test("DM4 — https: nothing is said to a server that nobody vouches for; over TLS, to one that is known", async () => {
  const folder = mkdtempSync(join(tmpdir(), "carillon-api-"));
  const pki = createTestPki(folder);
  const { certPath, keyPath } = pki.issue("api", { dnsNames: [], addresses: ["127.0.0.1"] });
  const heard: (string | undefined)[] = [];
  const tls = createTlsServer(
    { cert: readFileSync(certPath), key: readFileSync(keyPath) },
    (request, response) => {
      heard.push(request.headers.authorization);
      response.end("over TLS");
    },
  );
  await new Promise<void>((resolve) => tls.listen(0, "127.0.0.1", resolve));
  const { port } = tls.address() as AddressInfo;
  const options = { baseUrl: `https://127.0.0.1:${port}`, apiKey: "crl_k_s", connectionsMax: 1 };
  try {
    const stranger = new ApiClient(options, systemClock);
    const refused = await stranger.send({ method: "GET", path: "/" });
    stranger.close();
    const reason = expect.stringContaining("unable to verify the first certificate") as string;
    expect(refused).toEqual({ kind: "failed", reason });
    expect(heard).toEqual([]);

    const client = new URL("./api-client.ts", import.meta.url).href;
    const script = `
      import { ApiClient } from ${JSON.stringify(client)};
      import { systemClock } from "@carillon/kernel";
      const api = new ApiClient(${JSON.stringify(options)}, systemClock);
      const outcome = await api.send({ method: "GET", path: "/" });
      api.close();
      console.log(outcome.kind, outcome.text ?? outcome.reason);`;
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: pki.caPath };
    const argv = ["--input-type=module", "--eval", script];
    const cwd = new URL(".", import.meta.url).pathname;
    const known = await promisify(execFile)(process.execPath, argv, { env, cwd, timeout: 30_000 });
    expect(known.stdout.trim()).toBe("answer over TLS");
    expect(heard).toEqual(["Bearer crl_k_s"]);
  } finally {
    tls.closeAllConnections();
    await new Promise((resolve) => tls.close(resolve));
    rmSync(folder, { recursive: true });
  }
});
