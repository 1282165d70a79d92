// packages/delivery/src/envelope.ts
// A notification ready to be sent: encoded once per locale, shared by all partitions.
//   EN1  The same bytes go to every socket of one locale but for offset and epoch (W7).
//   EN2  A recipient gets the content of its locale; else of what the sender declared for that; else of the
//        nearest of its language, its script before another; else of what is declared for the language;
//        else the first. Never that of a locale that has none.
import type {
  Content,
  InboxEvent,
  LocaleFallbacks,
  Notification,
  RegionAudience,
} from "@carillon/contracts";
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

  get event(): InboxEvent {
    return this.notification.withdraws === undefined ? "ntf" : "withdraw";
  }

  /** JSON object of its event without offset and epoch, in the recipient's language. */
  payloadFor(recipientLocale: string | null): string {
    const locale = localeFor(recipientLocale, this.#locales, this.notification.fallbacks);
    let payload = this.#payloads.get(locale);
    if (payload === undefined) {
      payload = encodePayload(this.notification, this.notification.content[locale]);
      this.#payloads.set(locale, payload);
    }
    return payload;
  }
}

/**
 * Whose content a recipient of locale `wanted` gets (EN2). The first of `available` is the default.
 * `fallbacks`: what the sender wants taken for a locale, the best first. Called for every recipient.
 */
export function localeFor(
  wanted: string | null,
  available: readonly string[],
  fallbacks: LocaleFallbacks = {},
): string {
  const first = available[0] ?? "";
  if (wanted === null || available.length === 1) return first;
  if (available.includes(wanted)) return wanted;
  return (
    declaredFor(wanted, available, fallbacks) ??
    relatedTo(wanted, available) ??
    declaredForParents(wanted, available, fallbacks) ??
    first
  );
}

function declaredFor(
  locale: string,
  available: readonly string[],
  fallbacks: LocaleFallbacks,
): string | undefined {
  if (!Object.hasOwn(fallbacks, locale)) return undefined;
  return fallbacks[locale]?.find((other) => available.includes(other));
}

/** zh-Hant-HK: zh-Hant, then zh-Hant of another region, then zh, then any zh. */
function relatedTo(wanted: string, available: readonly string[]): string | undefined {
  for (let range = wanted; range !== ""; range = parentOf(range)) {
    if (available.includes(range)) return range;
    const prefix = `${range}-`;
    const other = available.find((locale) => locale.startsWith(prefix));
    if (other !== undefined) return other;
  }
  return undefined;
}

/** What is declared for pt serves pt-BR as well, when there is nothing in Portuguese. */
function declaredForParents(
  wanted: string,
  available: readonly string[],
  fallbacks: LocaleFallbacks,
): string | undefined {
  for (let range = parentOf(wanted); range !== ""; range = parentOf(range)) {
    const declared = declaredFor(range, available, fallbacks);
    if (declared !== undefined) return declared;
  }
  return undefined;
}

function parentOf(locale: string): string {
  return locale.slice(0, Math.max(0, locale.lastIndexOf("-")));
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
  const { id, priority, acceptedAtMs, requireAck, escalation, withdraws } = notification;
  if (withdraws !== undefined) return JSON.stringify({ id: withdraws });
  const ack = requireAck && { deadlineSeconds: requireAck.deadlineSeconds }; // steps are its sender's
  return JSON.stringify({ id, priority, acceptedAtMs, ...content, requireAck: ack, escalation });
}

/** Envelopes by notification id, oldest dropped first; entries keep theirs alive. */
export class EnvelopeCache {
  readonly #byId = new Map<string, Envelope>();
  readonly #countMax: number;

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  get count(): number {
    return this.#byId.size;
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
