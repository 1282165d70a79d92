// apps/cli/src/agent/metrics-server.ts
// GET /metrics and /healthz of a node that has no HTTP API of its own.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Fault } from "@carillon/kernel";

export interface MetricsServerOptions {
  readonly host: string;
  readonly port: number; // 0: any
  /** After the start, such as no file left to accept with. */
  readonly onError: (cause: Error) => void;
  readonly render: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

export interface MetricsServer {
  readonly port: number;
  stop(): Promise<void>;
}

const HEADERS_MAX_MS = 5_000;
const CONNECTIONS_MAX = 64; // a scraper or two

/** Rejects with Fault `listen_failed`. */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const { host, port, render } = options;
  const server = createServer((request, response) => {
    const end = (status: number, type: string, body: string): void =>
      void response.writeHead(status, { "content-type": type }).end(body);
    if (request.url === "/healthz") return end(200, "text/plain", "ok\n");
    if (request.url !== "/metrics") return end(404, "text/plain", "/metrics or /healthz\n");
    void render().then(
      ({ contentType, text }) => end(200, contentType, text),
      () => end(500, "text/plain", "cannot be rendered\n"),
    );
  });
  server.headersTimeout = HEADERS_MAX_MS;
  server.requestTimeout = HEADERS_MAX_MS;
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    const onError = (cause: Error): void => {
      const code = "code" in cause ? String(cause.code) : cause.message;
      const message = `${host}:${port} cannot be listened on: ${code}`;
      reject(new Fault(message, { code: "listen_failed", isRetryable: true, cause }));
    };
    server.once("error", onError).listen(port, host, () => {
      server.off("error", onError).on("error", options.onError);
      resolve();
    });
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
