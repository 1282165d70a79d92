// Goal: DM1. Method: a real HTTP server that answers, hangs, breaks off, or is not there.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "@carillon/kernel";
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
