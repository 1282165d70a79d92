// apps/ingest/src/http-server.ts
// The HTTP edge: limits, request ids, authentication before the body, problem+json for everything.
//   IN2  Every answer that is not 2xx is RFC 9457 problem+json with a stable code (A13).
//   IN3  Nothing of a body is read before its caller is known.
//   IN4  While draining, writes are refused with 503 and `Connection: close`; what was accepted
//        before is finished and answered.
import { STATUS_CODES } from "node:http";
import { Readable } from "node:stream";
import { ERROR_CODES, LIMITS, type Problem, problemOf } from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from "fastify";
import { type Answer, problem, type ProblemAnswer } from "./answer.ts";
import { parseJsonBody } from "./json-body.ts";
import type { AnyRoute } from "./routes.ts";

export interface HttpLimits {
  readonly headersTimeoutMs: number;
  /** A whole request, so an import too. */
  readonly requestTimeoutMs: number;
  /** Nothing in either direction for so long: the socket goes. */
  readonly silenceTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly connectionsMax: number;
}

/** What a handler gets to see of a request. `Caller` is what `authenticate` made of it. */
export interface Call<Caller> {
  readonly caller: Caller;
  readonly requestId: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly header: (name: string) => string | undefined;
  /** Body `json`: the value, not validated. */
  readonly body: unknown;
  /** Body `ndjson`: the bytes as they come; otherwise empty. */
  readonly stream: AsyncIterable<Buffer>;
}

export type Authenticated<Caller> =
  | { readonly kind: "caller"; readonly caller: Caller }
  | ProblemAnswer;

export interface Route<Caller> {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  readonly body: "none" | "json" | "ndjson";
  /** Writes are refused while draining (IN4). */
  readonly isWrite: boolean;
  readonly authenticate: (authorization: string | undefined) => Promise<Authenticated<Caller>>;
  readonly handle: (call: Call<Caller>) => Promise<Answer>;
}

export interface HttpServerOptions {
  readonly limits: HttpLimits;
  readonly isDraining: () => boolean;
  readonly nextRequestId: () => string;
  readonly onFailure: (event: "request.failed" | "store.unavailable", cause: unknown) => void;
  readonly onAnswer: (route: string, status: number, durationMs: number) => void;
}

/** As nginx logs it: the client went before it had its answer. */
const CLIENT_CLOSED_STATUS = 499;
const SANE_REQUEST_ID = /^[\w.:-]{1,128}$/;
const JSON_TYPE = /^application\/json\s*(;|$)/i;
const NDJSON_TYPE = /^application\/x-ndjson\s*(;|$)/i;

export function createHttpServer(options: HttpServerOptions): FastifyInstance {
  const { limits } = options;
  const app = Fastify({
    logger: false,
    bodyLimit: LIMITS.bodyMaxBytes,
    connectionTimeout: limits.silenceTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    forceCloseConnections: "idle",
    return503OnClosing: false,
    routerOptions: { maxParamLength: 4_096 }, // ids are checked by their schema, not by a 404
    http: { headersTimeout: limits.headersTimeoutMs },
    genReqId: (raw) => {
      const given = raw.headers["x-request-id"];
      return typeof given === "string" && SANE_REQUEST_ID.test(given)
        ? given
        : options.nextRequestId();
    },
    clientErrorHandler(_error, socket) {
      if (!socket.writable) return;
      const body = JSON.stringify(problemOf("bad_request", { requestId: options.nextRequestId() }));
      socket.end(
        `HTTP/1.1 400 ${STATUS_CODES[400]}\r\ncontent-type: application/problem+json\r\n` +
          `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      );
    },
    frameworkErrors(_error, request, reply) {
      send(request, reply, problem("bad_request", { detail: "The URL cannot be read." }));
    },
  });
  app.server.maxConnections = limits.connectionsMax;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(JSON_TYPE, { parseAs: "buffer" }, (_request, body, done) =>
    done(null, body),
  );
  app.addContentTypeParser(NDJSON_TYPE, (_request, payload, done) => done(null, payload));
  app.addHook("onResponse", async (request, reply) => {
    options.onAnswer(request.routeOptions.url ?? "(none)", reply.statusCode, reply.elapsedTime);
  });
  app.addHook("onRequestAbort", async (request) => {
    options.onAnswer(request.routeOptions.url ?? "(none)", CLIENT_CLOSED_STATUS, 0);
  });
  app.setErrorHandler((error: FastifyError, request, reply) =>
    send(request, reply, problemOfError(error, request, options)),
  );
  return app;
}

/** Adds all routes, and the 404 and 405 for whatever is none. */
export function addRoutes(
  app: FastifyInstance,
  routes: readonly AnyRoute[],
  options: HttpServerOptions,
): void {
  // A route's handler only gets what its own `authenticate` gave.
  for (const route of routes) addRoute(app, route as Route<unknown>, options);
  app.setNotFoundHandler((request, reply) => {
    const allowed = methodsOf(routes, request.url);
    if (allowed.length === 0) return send(request, reply, problem("not_found"));
    void reply.header("allow", allowed.join(", "));
    return send(request, reply, problem("method_not_allowed"));
  });
}

function addRoute(app: FastifyInstance, route: Route<unknown>, options: HttpServerOptions): void {
  const callers = new WeakMap<FastifyRequest, unknown>();
  app.route({
    method: route.method,
    url: route.path,
    ...(route.body === "ndjson" ? { bodyLimit: Number.MAX_SAFE_INTEGER } : {}),
    onRequest: async (request, reply) => {
      if (route.isWrite && options.isDraining()) {
        void reply.header("connection", "close").header("retry-after", "1");
        return send(request, reply, problem("draining"));
      }
      const authenticated = await route.authenticate(request.headers.authorization);
      if (authenticated.kind === "problem") return send(request, reply, authenticated);
      const wrongType = wrongTypeOf(route, request.headers["content-type"]);
      if (wrongType !== undefined) return send(request, reply, wrongType);
      callers.set(request, authenticated.caller);
      return undefined;
    },
    handler: async (request, reply) => {
      const parsed = bodyOf(route, request.body);
      if (parsed.kind === "problem") return send(request, reply, parsed.problem);
      const answer = await route.handle({
        caller: callers.get(request),
        requestId: request.id,
        params: request.params as Record<string, string>,
        query: request.query as Record<string, unknown>,
        header: (name) => {
          const value = request.headers[name];
          return Array.isArray(value) ? value.join(", ") : value;
        },
        body: parsed.value,
        stream: request.body instanceof Readable ? request.body : Readable.from([]),
      });
      return send(request, reply, answer);
    },
  });
}

function wrongTypeOf(route: Route<unknown>, contentType: string | undefined) {
  if (route.body === "none") return undefined;
  const expected = route.body === "json" ? "application/json" : "application/x-ndjson";
  const pattern = route.body === "json" ? JSON_TYPE : NDJSON_TYPE;
  if (contentType !== undefined && pattern.test(contentType)) return undefined;
  return problem("unsupported_media_type", { detail: `Content-Type must be ${expected}.` });
}

function bodyOf(route: Route<unknown>, body: unknown) {
  if (route.body !== "json") return { kind: "value", value: undefined } as const;
  return parseJsonBody(Buffer.isBuffer(body) ? body : Buffer.alloc(0));
}

function send(request: FastifyRequest, reply: FastifyReply, answer: Answer): FastifyReply {
  void reply.header("x-request-id", request.id);
  if (answer.headers !== undefined) void reply.headers(answer.headers);
  if (answer.kind === "problem")
    return reply
      .code(ERROR_CODES[answer.code].status)
      .header("content-type", "application/problem+json")
      .send(Buffer.from(JSON.stringify(problemBody(answer, request.id)))); // no charset parameter
  if (typeof answer.body === "string") return reply.code(answer.status).send(answer.body);
  return reply
    .code(answer.status)
    .header("content-type", "application/json; charset=utf-8")
    .send(JSON.stringify(answer.body));
}

/** Holds no input: titles are fixed, messages name rules. */
function problemBody(answer: ProblemAnswer, requestId: string): Problem {
  return problemOf(answer.code, {
    ...(answer.detail === undefined ? {} : { detail: answer.detail }),
    ...(answer.errors === undefined ? {} : { errors: answer.errors }),
    requestId,
  });
}

function problemOfError(
  error: FastifyError,
  request: FastifyRequest,
  options: HttpServerOptions,
): ProblemAnswer {
  const { destroyed: isDestroyed, complete: isComplete } = request.raw;
  if (isDestroyed && !isComplete) return problem("bad_request"); // the client went; nobody reads it
  if (error instanceof Fault && error.code === "overloaded")
    return problem("overloaded", { headers: { "retry-after": "1" } });
  if (error instanceof Fault && error.code === "home_fenced")
    return problem("home_fenced", { headers: { "retry-after": "5" } }); // before this node knew it
  if (error instanceof Fault && error.isRetryable) {
    options.onFailure("store.unavailable", error);
    return problem("store_unavailable", { headers: { "retry-after": "1" } });
  }
  if (error.code === "FST_ERR_CTP_BODY_TOO_LARGE")
    return problem("body_too_large", { detail: `At most ${LIMITS.bodyMaxBytes} bytes.` });
  if (error.code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") return problem("unsupported_media_type");
  if (error.statusCode !== undefined && error.statusCode < 500) return problem("bad_request");
  options.onFailure("request.failed", error);
  return problem("internal");
}

function methodsOf(routes: readonly AnyRoute[], url: string): string[] {
  const path = url.split("?", 1)[0] ?? "";
  const methods = new Set<string>();
  for (const route of routes) {
    const pattern = new RegExp(`^${route.path.replaceAll(/:\w+/g, "[^/]+")}$`);
    if (pattern.test(path)) methods.add(route.method);
  }
  if (methods.has("GET")) methods.add("HEAD");
  return [...methods];
}
