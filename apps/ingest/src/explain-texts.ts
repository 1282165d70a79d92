// apps/ingest/src/explain-texts.ts
// What a story says to people: one sentence per event, and which attempt it was. Pure. The journal's words
// are open: what a newer build tells, an older one shows as it is.
import type { DeliveryEvent, ExplainReply, NotTargetedReason } from "@carillon/contracts";

type Told = Extract<ExplainReply, { kind: "explained" }>["events"][number];

const ATTEMPTS: ReadonlySet<string> = new Set(["sent", "resent", "attempt"]);

/** By outcome and receipt. */
const ENDS: ReadonlyMap<string, string> = new Map([
  ["deliveredSocket", "The recipient's device acknowledged it."],
  ["noDevice", "The recipient had no open session, and no other device to send it to."],
  ["unacked", "It was sent, and no device acknowledged it in time."],
  ["expired", "Its time to live ended before it was delivered."],
  ["failed", "It was given up: handling it failed too often."],
  ["cancelled", "It was cancelled before it was delivered."],
  ["optedOut", "The recipient does not want notifications of this kind."],
  ["capped", "The recipient had as many notifications as are allowed for the time."],
  ["collapsed", "A newer notification with the same collapse key took its place."],
  ["receivedLate", "A device received it after another outcome had been recorded."],
  ["read", "The recipient read it."],
  ["acknowledged", "The recipient confirmed it."],
]);

const REASONS: Readonly<Record<NotTargetedReason, string>> = {
  region_not_targeted: "The notification was not sent to the recipient's home region.",
  excluded: "The notification names the recipient among those who are excluded.",
  not_named: "The notification names its recipients, and this is none of them.",
  does_not_match: "The audience does not come to the recipient, as far as is known of it now.",
  did_not_match:
    "The audience would come to the recipient now, and did not when it was worked out.",
};

export function reasonOf(code: string): { code: NotTargetedReason; text: string } {
  const known = Object.entries(REASONS).find(([name]) => name === code);
  return known === undefined
    ? { code: "does_not_match", text: REASONS.does_not_match }
    : { code: known[0] as NotTargetedReason, text: known[1] };
}

/** In the order given, which is the order in which it happened. */
export function timelineOf(events: readonly Told[]): DeliveryEvent[] {
  let attempt = 0;
  let resend = 0;
  let before: Told | undefined;
  return events.map((event) => {
    if (ATTEMPTS.has(event.kind)) attempt++;
    if (event.kind === "resent") resend++;
    const isResumed = event.kind === "handed" && before !== undefined && before.epoch < event.epoch;
    before = event;
    const kind = isResumed ? "resumed" : event.kind;
    const { atMs, node, epoch, code, detail } = event;
    const text = textOf({ ...event, kind }, resend);
    return { at: new Date(atMs).toISOString(), node, epoch, attempt, kind, code, detail, text };
  });
}

function textOf(event: Told, resend: number): string {
  const { kind, code, detail } = event;
  const value = (name: string): string => {
    const found = detail?.[name];
    return typeof found === "string" || typeof found === "number" ? String(found) : "?";
  };
  switch (kind) {
    case "handed":
      return "The recipient's process got it.";
    case "resumed":
      return `Another node, ${event.node}, took the recipient's partition over, and went on with it.`;
    case "sent":
      return `It was sent to session ${value("session")} on gateway ${code ?? "?"}.`;
    case "resent":
      return `No acknowledgement came in time: it was sent again (${resend}.) to session ${value("session")} on gateway ${code ?? "?"}.`;
    case "attempt":
      return `It was sent over ${value("channel")}, which answered ${code ?? "nothing"}.`;
    case "deferred":
      return `It was put off until ${value("until")}: ${code ?? "no reason was kept"}.`;
    case "suppressed":
      return `It was held back: ${code ?? "no reason was kept"}.`;
    case "escalated":
    case "notEscalated":
    case "escalationEnded":
    case "unheard":
      return stepTextOf({ kind, code, detail, step: value("step") });
    case "deadLettered":
      return "The recipient's process crashed on it too often.";
    case "outcome":
    case "receipt":
      return ENDS.get(code ?? "") ?? `${kind === "outcome" ? "It ended" : "It was told"}: ${code}.`;
    default:
      return code === null ? `${kind}.` : `${kind}: ${code}.`;
  }
}

const STEP_TARGETS: ReadonlyMap<string, string> = new Map([
  ["recipient", "the recipient was told once more"],
  ["attribute", "the next person was told"],
  ["webhook", "the webhook was told"],
]);

const NOT_STEPPED: ReadonlyMap<string, string> = new Map([
  ["no_attribute", "the recipient has no such attribute"],
  ["unknown_recipient", "the home region knows nobody of the id that it names"],
  ["no_webhooks", "webhooks cannot be called here"],
]);

/** Of a chain (ADR 0030). */
function stepTextOf({
  kind,
  code,
  detail,
  step,
}: Pick<Told, "kind" | "code" | "detail"> & { readonly step: string }): string {
  const why = code ?? "?";
  switch (kind) {
    case "escalated": {
      const again = detail?.["isRepeat"] === true ? ", and had been before an interruption" : "";
      return `It was not acknowledged in time. Step ${step}: ${STEP_TARGETS.get(why) ?? why}${again}.`;
    }
    case "notEscalated":
      return `Step ${step} could not be taken: ${NOT_STEPPED.get(why) ?? why}.`;
    case "unheard":
      return `Region ${why} did not say whether step ${step} was acknowledged there.`;
    default:
      return `Step ${step} was acknowledged: the chain ends.`;
  }
}
