// apps/cli/src/clients/api-client.ts
// A caller of one region's HTTP API with a fixed number of kept-alive connections.
//   DM1  Every request ends: with an answer, or `failed` after its limit.
//   DM4  To an https address the key goes over TLS only, to a server whose certificate is good: by Node's
//        list of authorities, and those of NODE_EXTRA_CA_CERTS.
import { Agent, request as httpRequest } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import type { NotificationAccepted, NotificationStatus, TokensAnswer } from "@carillon/contracts";
import { type Clock, Fault } from "@carillon/kernel";

export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: string;
  readonly body?: string;
  readonly contentType?: string; // default application/json
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

export type ApiOutcome =
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly text: string;
      readonly durationMs: number;
    }
  | { readonly kind: "failed"; readonly reason: string };

export interface ApiClientOptions {
  readonly baseUrl: string; // http://host:port or https://host:port
  readonly apiKey: string;
  readonly connectionsMax: number;
}

const TIMEOUT_MS = 30_000;
const TOKENS_PER_REQUEST = 1_000; // the API's own limit

export class ApiClient {
  readonly baseUrl: string;
  readonly #url: URL;
  readonly #authorization: string;
  readonly #agent: Agent;
  readonly #request: typeof httpRequest;
  readonly #clock: Clock;

  constructor(options: ApiClientOptions, clock: Clock) {
    this.baseUrl = options.baseUrl;
    this.#url = new URL(options.baseUrl);
    this.#authorization = `Bearer ${options.apiKey}`;
    const isTls = this.#url.protocol === "https:";
    const agent = { keepAlive: true, maxSockets: options.connectionsMax };
    this.#agent = isTls ? new TlsAgent(agent) : new Agent(agent);
    this.#request = isTls ? tlsRequest : httpRequest;
    this.#clock = clock;
  }

  /** Never rejects. DM1. */
  send(call: ApiRequest): Promise<ApiOutcome> {
    const startedAtMs = this.#clock.monotonicMs();
    const body = call.body === undefined ? undefined : Buffer.from(call.body);
    return new Promise((settle) => {
      const failed = (cause: Error): void => settle({ kind: "failed", reason: cause.message });
      const request = this.#request(
        {
          agent: this.#agent,
          hostname: this.#url.hostname.replace(/^\[|\]$/g, ""),
          port: this.#url.port,
          method: call.method,
          path: call.path,
          signal: AbortSignal.timeout(call.timeoutMs ?? TIMEOUT_MS),
          headers: {
            authorization: this.#authorization,
            ...(body && {
              "content-type": call.contentType ?? "application/json",
              "content-length": body.length,
            }),
            ...call.headers,
          },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on("data", (chunk: Buffer) => chunks.push(chunk));
          answer.on("error", failed);
          answer.on("end", () =>
            settle({
              kind: "answer",
              status: answer.statusCode ?? 0,
              text: Buffer.concat(chunks).toString(),
              durationMs: this.#clock.monotonicMs() - startedAtMs,
            }),
          );
        },
      );
      request.on("error", failed);
      request.end(body);
    });
  }

  /** The body of a 2xx answer. Throws Fault `api_failed` for everything else. */
  async expect(call: ApiRequest): Promise<unknown> {
    const outcome = await this.send(call);
    const name = `${call.method} ${call.path}`;
    if (outcome.kind === "failed") throw apiFault(`${name}: ${outcome.reason}`);
    if (outcome.status >= 300) throw apiFault(`${name}: ${outcome.status} ${outcome.text}`);
    return JSON.parse(outcome.text) as unknown;
  }

  async post(notification: object): Promise<NotificationAccepted> {
    const body = JSON.stringify(notification);
    const answer = await this.expect({ method: "POST", path: "/v1/notifications", body });
    return answer as NotificationAccepted;
  }

  async statusOf(notificationId: string): Promise<NotificationStatus> {
    const path = `/v1/notifications/${notificationId}`;
    return (await this.expect({ method: "GET", path })) as NotificationStatus;
  }

  /** Token by recipient. Throws Fault `api_failed`, also when one of them is not known. */
  async tokensOf(recipientIds: readonly string[]): Promise<Map<string, string>> {
    const tokens = new Map<string, string>();
    for (let start = 0; start < recipientIds.length; start += TOKENS_PER_REQUEST) {
      const some = recipientIds.slice(start, start + TOKENS_PER_REQUEST);
      const body = JSON.stringify({ recipientIds: some });
      // oxlint-disable-next-line no-await-in-loop -- signing is work for the node: one after another
      const answer = await this.expect({ method: "POST", path: "/v1/tokens", body });
      for (const issued of (answer as TokensAnswer).tokens)
        tokens.set(issued.recipientId, issued.token);
    }
    const missing = recipientIds.find((recipientId) => !tokens.has(recipientId));
    if (missing !== undefined) throw apiFault(`no token for ${missing}`);
    return tokens;
  }

  close(): void {
    this.#agent.destroy();
  }
}

function apiFault(message: string): Fault {
  return new Fault(message, { code: "api_failed", isRetryable: true });
}
