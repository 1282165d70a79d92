// test/e2e/api.ts
// The public HTTP API of a running region, as a caller sees it; and waiting for what it says.
import type { NotificationStatus, TokensAnswer } from "@carillon/contracts";

export interface Answer<T> {
  readonly status: number;
  readonly body: T;
  readonly headers: Headers;
}

export class RegionApi {
  readonly #url: string;
  readonly #key: string;

  constructor(url: string, key: string) {
    this.#url = url;
    this.#key = key;
  }

  async call<T>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const response = await fetch(`${this.#url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#key}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(15_000),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: (text === "" ? undefined : JSON.parse(text)) as T, // 204 has none
      headers: response.headers,
    };
  }

  async register(recipientId: string, homeRegion: string, attributes = {}): Promise<void> {
    const path = `/v1/recipients/${encodeURIComponent(recipientId)}`;
    const answer = await this.call("PUT", path, { homeRegion, locale: "en", attributes });
    if (answer.status >= 300) throw new Error(`register: ${JSON.stringify(answer.body)}`);
  }

  /** NDJSON; anything that is rejected throws. */
  async importLines(lines: string): Promise<void> {
    const response = await fetch(`${this.#url}/v1/recipients/import`, {
      method: "POST",
      headers: { authorization: `Bearer ${this.#key}`, "content-type": "application/x-ndjson" },
      body: lines,
      signal: AbortSignal.timeout(120_000),
    });
    const report = (await response.json()) as { rejected?: number };
    if (report.rejected !== 0) throw new Error(`import: ${JSON.stringify(report).slice(0, 300)}`);
  }

  /** Returns the id; anything but 202 throws. */
  async post(audience: object, title: string, more: object = {}): Promise<string> {
    const request = { audience, content: { en: { title } }, ...more };
    const answer = await this.call<{ id: string }>("POST", "/v1/notifications", request);
    if (answer.status !== 202) throw new Error(`post: ${JSON.stringify(answer.body)}`);
    return answer.body.id;
  }

  async status(id: string): Promise<NotificationStatus> {
    const answer = await this.call<NotificationStatus>("GET", `/v1/notifications/${id}`);
    if (answer.status !== 200) throw new Error(`status: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async token(recipientId: string): Promise<string> {
    const asked = { recipientIds: [recipientId] };
    const answer = await this.call<TokensAnswer>("POST", "/v1/tokens", asked);
    const token = answer.body.tokens?.[0]?.token;
    if (token === undefined) throw new Error(`token: ${JSON.stringify(answer.body)}`);
    return token;
  }

  /** Until every target region has finished. */
  async finished(id: string, limitMs = 60_000): Promise<NotificationStatus> {
    return until(`${id} finished`, limitMs, async () => {
      const status = await this.status(id);
      return status.state === "finished" ? status : undefined;
    });
  }
}

/** Asks again every 50 ms; a thrown error counts as "not yet", and is told at the end. */
export async function until<T>(
  what: string,
  limitMs: number,
  ask: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const endsAtMs = performance.now() + limitMs;
  let last: unknown;
  while (performance.now() < endsAtMs) {
    try {
      const found = await ask();
      if (found !== undefined) return found;
    } catch (cause) {
      last = cause;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not within ${limitMs} ms: ${what}`, { cause: last });
}
