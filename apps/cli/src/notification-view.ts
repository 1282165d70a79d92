// apps/cli/src/notification-view.ts
// A notification's status, and the story of one recipient, as lines for people.
import {
  COUNT_NAMES,
  type DeliveryEvent,
  type NotificationStatus,
  type RecipientExplanation,
} from "@carillon/contracts";
import { countText, textTable } from "./clients/text-table.ts";

/** Counts that are nowhere other than 0 have no column; a newer region's are left out. */
export function statusLines(status: NotificationStatus): string[] {
  const { id, acceptedAt, acceptedRegion, priority, sendAt, state, control, counts } = status;
  const names = COUNT_NAMES.filter((name) => name === "targeted" || counts[name] > 0);
  const row = (name: string, of: string, told: NotificationStatus["regions"][number]["counts"]) => [
    ...[name, of],
    ...names.map((one) => countText(told[one])),
  ];
  const due = sendAt === undefined ? "" : `, to be sent at ${sendAt}`;
  const { ratePerMinute: perMinute } = status;
  const rate = typeof perMinute === "number" ? `, ${countText(perMinute)} people a minute` : "";
  return [
    `${id}: ${state}${control === undefined ? "" : `, ${control} by its sender`}`,
    `accepted in ${acceptedRegion} at ${acceptedAt}, priority ${priority}${due}${rate}`,
    textTable(
      ["REGION", "STATE", ...names.map((name) => name.toUpperCase())],
      [
        ...status.regions.map((one) => row(one.region, one.state, one.counts)),
        row("all", state, counts),
      ],
    ),
    `${countText(counts.pending)} pending, ${countText(counts.unknown)} recipients unknown`,
  ];
}

export function explanationLines(story: RecipientExplanation): string[] {
  const { notificationId, recipientId, homeRegion, state, dueAt, reason, rows, timeline } = story;
  const receipts = [story.read ? "read" : "", story.acknowledged ? "acknowledged" : ""];
  const states = [state, ...receipts.filter(Boolean)].join(", ");
  return [
    `${recipientId} (home ${homeRegion}), notification ${notificationId}: ${states}`,
    ...(dueAt === undefined ? [] : [`  waits until ${dueAt}`]),
    ...(reason === null ? [] : [`  ${reason.text}`]),
    ...rows.map(({ offset, sets }) => `  row at offset ${offset}: ${sets.join(", ")}`),
    ...(timeline.length === 0 ? [] : [textTable(HEAD, timeline.map(eventRow))]),
    ...(story.journal === "sampled_out"
      ? ["  its story was not kept: of a large audience only failures and a share of all are"]
      : []),
    ...(story.isCut ? ["  … there are more events than are shown"] : []),
  ];
}

const HEAD = ["AT", "NODE", "EPOCH", "ATTEMPT", "EVENT", "CODE", "WHAT"];

function eventRow({ at, node, epoch, attempt, kind, code, text }: DeliveryEvent): string[] {
  return [at, node, String(epoch), attempt === 0 ? "–" : String(attempt), kind, code ?? "–", text];
}
