// packages/delivery/src/envelope.ts
// A notification ready to be sent: encoded once per locale, shared by all partitions.
//   EN1  The same bytes go to every socket of one locale but for offset and epoch (W7).
import type { Content, Notification, RegionAudience } from "@carillon/contracts";
import type { StoredNotification } from "./ports.ts";

export class Envelope {
  readonly notification: Notification;
  /** Null where every ledger row of this node carries its members. */
  readonly audience: RegionAudience | null;
  readonly #payloads = new Map<string, string>();
  readonly #locales: readonly string[];
  #contentSize: number | undefined;

  constructor(notification: Notification, audience: RegionAudience | null) {
    this.notification = notification;
    this.audience = audience;
    this.#locales = Object.keys(notification.content);
  }

  /** Characters of its content: about what it takes in memory. */
  get contentSize(): number {
    this.#contentSize ??= sizeOf(this.notification.content);
    return this.#contentSize;
  }

  /** JSON object of event `ntf` without offset and epoch, in the recipient's language. */
  payloadFor(recipientLocale: string | null): string {
    const locale = localeFor(recipientLocale, this.#locales);
    let payload = this.#payloads.get(locale);
    if (payload === undefined) {
      payload = encodePayload(this.notification, this.notification.content[locale]);
      this.#payloads.set(locale, payload);
    }
    return payload;
  }
}

/** Exact locale, else its language, else another region of that language, else the first one. */
export function localeFor(wanted: string | null, available: readonly string[]): string {
  const first = available[0] ?? "";
  if (wanted === null || available.length === 1) return first;
  if (available.includes(wanted)) return wanted;
  const language = wanted.split("-", 1)[0] ?? wanted;
  if (available.includes(language)) return language;
  return available.find((locale) => locale.startsWith(`${language}-`)) ?? first;
}

function sizeOf(localized: Notification["content"]): number {
  let size = 0;
  for (const { title, body = "", link = "", data = {} } of Object.values(localized)) {
    size += title.length + body.length + link.length;
    for (const [key, value] of Object.entries(data)) size += key.length + value.length;
  }
  return size;
}

function encodePayload(notification: Notification, content: Content | undefined): string {
  const { id, priority, acceptedAtMs } = notification;
  return JSON.stringify({ id, priority, acceptedAtMs, ...content });
}

/** Envelopes by notification id, oldest dropped first; entries keep theirs alive. */
export class EnvelopeCache {
  readonly #byId = new Map<string, Envelope>();
  readonly #countMax: number;

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  get(id: string): Envelope | undefined {
    return this.#byId.get(id);
  }

  /** The one already known wins, so that a notification is encoded once. */
  put(stored: StoredNotification | { notification: Notification; audience: null }): Envelope {
    const { id } = stored.notification;
    const known = this.#byId.get(id);
    if (known !== undefined && (known.audience !== null || stored.audience === null)) return known;
    const envelope = new Envelope(stored.notification, stored.audience);
    this.#byId.delete(id);
    this.#byId.set(id, envelope);
    if (this.#byId.size > this.#countMax)
      for (const oldest of this.#byId.keys()) {
        this.#byId.delete(oldest);
        break;
      }
    return envelope;
  }
}
