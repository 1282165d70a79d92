// apps/cli/src/metrics-server.ts
// A few pages over HTTP for whoever watches a process: GET /metrics, /healthz, and what it has besides.
//   AG6  An address that cannot be listened on ends nothing: it is told, and tried again for ever.
//        Being seen must not cost what there is to see.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { backoffDelayMs, type Clock, Fault, type Random, type Timer } from "@carillon/kernel";
import type { Metrics } from "@carillon/telemetry";

export interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

export interface MetricsServerOptions {
  readonly host: string;
  readonly port: number; // 0: any
  /** After the start, such as no file left to accept with. */
  readonly onError: (cause: Error) => void;
  /** By path. `/healthz` is there always: the process answers. */
  readonly pages: Readonly<Record<`/${string}`, () => Page | Promise<Page>>>;
}

export interface MetricsServer {
  readonly port: number;
  stop(): Promise<void>;
}

const HEADERS_MAX_MS = 5_000;
const CONNECTIONS_MAX = 64; // a scraper or two

/** Rejects with Fault `listen_failed`. */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const { host, port } = options;
  const pages: Readonly<Record<string, (() => Page | Promise<Page>) | undefined>> = {
    "/healthz": () => ({ status: 200, contentType: "text/plain", text: "ok\n" }),
    ...options.pages,
  };
  const paths = Object.keys(pages).join(", ");
  const server = createServer((request, response) => {
    const end = ({ status, contentType, text }: Page): void =>
      void response.writeHead(status, { "content-type": contentType }).end(text);
    const page = pages[request.url ?? ""];
    if (page === undefined)
      return end({ status: 404, contentType: "text/plain", text: `${paths}\n` });
    void (async () => page())().then(end, () =>
      end({ status: 500, contentType: "text/plain", text: "cannot be rendered\n" }),
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

export async function metricsPage({ render }: Pick<Metrics, "render">): Promise<Page> {
  return { status: 200, ...(await render()) };
}

export function jsonPage(status: number, body: object): Page {
  return { status, contentType: "application/json", text: `${JSON.stringify(body)}\n` };
}

export interface ListenFailure {
  readonly cause: Fault;
  readonly failuresCount: number;
  readonly nextDelayMs: number;
}

export interface KeepMetricsServedOptions extends MetricsServerOptions {
  /** Of the part that this belongs to: its timers end with it. */
  readonly clock: Clock;
  readonly random: Random;
  readonly onServed: (port: number) => void;
  readonly onFailed: (failure: ListenFailure) => void;
  /** Anything but `listen_failed`: a bug. */
  readonly onCrash: (cause: unknown) => void;
}

/** 1 s, growing to a minute: about how often it is scraped, so that no more than one scrape is missed. */
const AGAIN = { baseMs: 1_000, factor: 2, maxMs: 60_000, jitterShare: 0.2 };

/** AG6. Resolves after the first try, whatever became of it. */
export async function keepMetricsServed(
  options: KeepMetricsServedOptions,
): Promise<{ stop(): Promise<void> }> {
  const { clock, random, onServed, onFailed, onCrash } = options;
  let isStopped = false;
  let failuresCount = 0;
  let timer: Timer | undefined;
  let server: MetricsServer | undefined;
  const listen = async (): Promise<void> => {
    try {
      server = await startMetricsServer(options);
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      if (isStopped) return;
      const nextDelayMs = Math.round(backoffDelayMs(AGAIN, ++failuresCount, random));
      timer = clock.setTimer(nextDelayMs, again);
      return onFailed({ cause, failuresCount, nextDelayMs });
    }
    if (!isStopped) onServed(server.port);
  };
  const again = (): void => {
    trying = listen();
    trying.catch(onCrash);
  };
  let trying = listen();
  await trying;
  return {
    async stop() {
      isStopped = true;
      timer?.cancel();
      await trying.catch(() => undefined); // told by onCrash
      await server?.stop();
    },
  };
}
