// packages/channels/src/webhook-sender.ts
// Posts webhooks: checked endpoint, signature, one deadline over everything, one typed outcome.
//   WH4  `post` never rejects and ends within its times, whatever the receiver does or leaves undone.
//   WH5  Nothing of an endpoint, a secret or a body is in an outcome or an event.
//   WH6  No redirect is followed; of an answer no more than its bound is read, and none of it kept.
import type { Clock } from "@carillon/kernel";
import { Agent, type Dispatcher } from "undici";
import { checkEndpoint, hostOf } from "./check-endpoint.ts";
import type { EndpointPolicy } from "./endpoint-policy.ts";
import { createGuardedConnector } from "./guarded-connector.ts";
import { createResolver, type Resolve } from "./guarded-lookup.ts";
import { parseRetryAfterMs } from "./retry-after.ts";
import { type Lane, type TurnLimits, Turns } from "./turns.ts";
import { outcomeOfError, outcomeOfStatus, type WebhookOutcome } from "./webhook-outcome.ts";
import { webhookSignature } from "./webhook-signature.ts";

export interface WebhookPost {
  /** The same for every attempt: receivers know repeats by it. Visible ASCII without spaces. */
  readonly id: string;
  readonly tenantId: string;
  readonly url: string;
  /** When this attempt is made, not when its cause was. */
  readonly timestampMs: number;
  /** JSON. */
  readonly body: string;
}

export interface WebhookLimits extends TurnLimits {
  /** So long a post waits for its turn. Not part of its deadline: whoever got one late would waste it. */
  readonly turnMaxMs: number;
  /** From its turn to its outcome: secret, name, connection and answer. */
  readonly deadlineMs: number;
  readonly bodyBytesMax: number;
  readonly answerHeadBytesMax: number;
  readonly answerBodyBytesMax: number;
  readonly retryAfterMaxMs: number;
  /** A connection without a post is closed after this: its address was checked when it was opened. */
  readonly idleMs: number;
  readonly addressTimeoutMs: number;
  readonly dnsTimeoutMs: number;
}

export const WEBHOOK_LIMITS: WebhookLimits = {
  turnMaxMs: 2_500, // with the deadline less than the 8 s that an escalation waits for a post
  deadlineMs: 5_000,
  bodyBytesMax: 65_536, // so that all that wait hold no more than 64 MiB
  answerHeadBytesMax: 16_384,
  answerBodyBytesMax: 4_096, // N4
  retryAfterMaxMs: 3_600_000,
  idleMs: 4_000,
  addressTimeoutMs: 1_000,
  dnsTimeoutMs: 2_000,
  runningMax: 256,
  runningPerHostMax: 8,
  runningPerTenantMax: 64,
  waitingMax: 1_024,
  waitingPerLaneMax: 256,
};

export interface WebhookOptions {
  readonly policy: EndpointPolicy;
  /** Default: WEBHOOK_LIMITS. */
  readonly limits?: Partial<WebhookLimits>;
  /** PEM of authorities that receivers' certificates may be signed by besides the usual ones. */
  readonly ca?: string;
}

export interface WebhookDeps {
  readonly clock: Clock;
  /** `whsec_…`, the present one first; each signs. None: `no_secret`. A rejection is the same. */
  readonly secretsOf: (tenantId: string) => readonly string[] | Promise<readonly string[]>;
  /** Default: the machine's DNS servers. */
  readonly resolve?: Resolve;
  /** After each post. */
  readonly onPosted?: (outcome: WebhookOutcome, durationMs: number) => void;
}

export interface WebhookSender {
  post(post: WebhookPost): Promise<WebhookOutcome>;
  /** Posts under way now, and those that wait for their turn. */
  counts(): { readonly running: number; readonly waiting: number };
  /** Takes nothing more; who waits is told `closed`; resolves when what is under way has ended (WH4). */
  close(): Promise<void>;
}

const VISIBLE_ASCII = /^[\x21-\x7e]{1,256}$/; // it becomes a header

interface Attempt {
  readonly post: WebhookPost;
  readonly url: URL;
  readonly body: Buffer;
  readonly signal: AbortSignal;
}

export function createWebhookSender(options: WebhookOptions, deps: WebhookDeps): WebhookSender {
  const { policy, ca } = options;
  const { clock, secretsOf, onPosted } = deps;
  const limits = { ...WEBHOOK_LIMITS, ...options.limits };
  const dns = { timeoutMs: limits.dnsTimeoutMs, triesMax: 2 };
  const agent = new Agent({
    allowH2: false,
    pipelining: 1,
    connections: limits.runningPerHostMax,
    keepAliveTimeout: limits.idleMs,
    keepAliveMaxTimeout: limits.idleMs,
    maxHeaderSize: limits.answerHeadBytesMax,
    headersTimeout: 0, // the deadline covers it
    bodyTimeout: 0,
    connect: createGuardedConnector({
      policy,
      resolve: deps.resolve ?? createResolver(dns),
      timeoutMs: limits.deadlineMs,
      addressTimeoutMs: limits.addressTimeoutMs,
      ca,
    }),
  });
  const turns = new Turns(limits);
  const waiters = new Set<() => void>(); // each tells one that waits for its turn of the end
  let isClosed = false;
  const underWay = new Set<Promise<WebhookOutcome>>();

  async function checked(post: WebhookPost): Promise<WebhookOutcome> {
    const check = checkEndpoint(post.url, policy);
    if (check.kind === "refused") return { kind: "refused", code: "endpoint" };
    if (!VISIBLE_ASCII.test(post.id)) return { kind: "refused", code: "malformed_id" };
    const body = Buffer.from(post.body);
    if (body.length > limits.bodyBytesMax) return { kind: "refused", code: "too_large" };
    const lane = { tenantId: post.tenantId, host: hostOf(check.url) };
    const turn = await turnOf(lane);
    if (turn !== "turn") return { kind: "failed", code: turn };
    const deadline = new AbortController();
    const timer = clock.setTimer(limits.deadlineMs, () => deadline.abort());
    try {
      return await sent({ post, url: check.url, body, signal: deadline.signal });
    } finally {
      timer.cancel();
      turns.release(lane);
    }
  }

  /** `busy`: too many wait, or it waited too long. */
  function turnOf(lane: Lane): Promise<"turn" | "busy" | "closed"> {
    return new Promise((resolve) => {
      const settle = (answer: "turn" | "busy" | "closed"): void => {
        timer.cancel();
        waiters.delete(onClose);
        resolve(answer);
      };
      const entry = turns.enter(lane, () => settle("turn"));
      if (entry.kind === "running") return resolve("turn");
      if (entry.kind === "full") return resolve("busy");
      const leave = (answer: "busy" | "closed"): void => {
        entry.leave();
        settle(answer);
      };
      const onClose = (): void => leave("closed");
      const timer = clock.setTimer(limits.turnMaxMs, () => leave("busy"));
      waiters.add(onClose);
    });
  }

  async function sent({ post, url, body, signal }: Attempt): Promise<WebhookOutcome> {
    const secrets = await secretsBy(post.tenantId, signal);
    if (secrets.length === 0) return { kind: "failed", code: "no_secret" };
    const timestampSeconds = Math.floor(post.timestampMs / 1_000);
    const request: Dispatcher.RequestOptions = {
      origin: url.origin,
      path: url.pathname + url.search,
      method: "POST",
      headers: {
        "content-type": "application/json",
        "user-agent": "carillon-webhook/1",
        "webhook-id": post.id,
        "webhook-timestamp": String(timestampSeconds),
        "webhook-signature": webhookSignature(secrets, { id: post.id, timestampSeconds, body }),
      },
      body,
      signal,
    };
    try {
      const { statusCode, headers, body: rest } = await beforeEnd(agent.request(request), signal);
      const retryAfter = headers["retry-after"];
      const text = Array.isArray(retryAfter) ? retryAfter[0] : retryAfter;
      const at = { nowMs: clock.wallClockMs(), maxMs: limits.retryAfterMaxMs };
      // The head decides: what the body still does, or leaves undone, changes nothing.
      await rest.dump({ limit: limits.answerBodyBytesMax, signal }).catch(() => undefined);
      return outcomeOfStatus(statusCode, parseRetryAfterMs(text, at));
    } catch (error) {
      return signal.aborted ? { kind: "failed", code: "timeout" } : outcomeOfError(error);
    }
  }

  async function secretsBy(tenantId: string, signal: AbortSignal): Promise<readonly string[]> {
    try {
      return await beforeEnd(secretsOf(tenantId), signal);
    } catch {
      return []; // why, is known to whoever keeps the secrets
    }
  }

  return {
    async post(post) {
      if (isClosed) return { kind: "failed", code: "closed" };
      const startMs = clock.monotonicMs();
      const ending = checked(post);
      underWay.add(ending);
      const outcome = await ending.finally(() => underWay.delete(ending));
      onPosted?.(outcome, clock.monotonicMs() - startMs);
      return outcome;
    },
    counts: () => ({ running: turns.runningCount, waiting: turns.waitingCount }),
    async close() {
      isClosed = true;
      for (const tell of waiters) tell();
      await Promise.allSettled(underWay);
      await agent.destroy();
    },
  };
}

/** Rejects when `signal` is aborted, whatever `work` does; a request waits for its connection first. */
async function beforeEnd<T>(work: T | Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let onAbort = (): void => undefined;
  const end = new Promise<never>((_, reject) => {
    onAbort = () => reject(new Error("aborted"));
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work, end]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
