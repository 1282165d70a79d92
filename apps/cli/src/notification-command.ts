// apps/cli/src/notification-command.ts
// `carillon notification` and `carillon explain`: how far a notification is, what its sender does with it, and what
// became of it for one recipient (A4, A5), with an API key of its tenant. Exit codes and JSON as in
// process-command.ts (PC1, PC2).
import type {
  ControlAnswer,
  NotificationAccepted,
  NotificationStatus,
  RateAnswer,
  RecipientExplanation,
} from "@carillon/contracts";
import { Command } from "commander";
import {
  addTenantOptions,
  exitCodeOf,
  type OperatorContext,
  type OperatorOptions,
  tenantApiOf,
} from "./admin-api.ts";
import { notificationId, ratePerMinute, recipientId } from "./arguments.ts";
import type { ApiRequest } from "./clients/api-client.ts";
import { explanationLines, statusLines } from "./notification-view.ts";
import { refuse } from "./refusal.ts";

/** One word after `carillon notification`, and one request. */
interface Verb {
  readonly what: string;
  /** What follows the id; it is read by `parse`, and handed to `request`. */
  readonly operand?: { readonly name: string; readonly what: string; parse(text: string): unknown };
  request(id: string, operand?: unknown): ApiRequest;
  /** For people. */
  lines(body: unknown): string[];
}

/** Whatever there is to do with a notification, by its name. */
const VERBS: Readonly<Record<string, Verb>> = {
  status: {
    what: "how far it is, by region",
    request: (id) => ({ method: "GET", path: `/v1/notifications/${id}` }),
    lines: (body) => statusLines(body as NotificationStatus),
  },
  pause: control("pause", "hand it to nobody else until it is resumed or has expired"),
  resume: control("resume", "go on with one that was paused"),
  cancel: control("cancel", "hand it to nobody else, for ever"),
  recall: control(
    "recall",
    "hand it to nobody else, and take it away from whoever has it, for ever",
  ),
  remind: {
    what: "tell those who have not read it once more, with what it says",
    request: (id) => posted(id, "remind", {}),
    lines: (body) => [`${(body as NotificationAccepted).id} reminds of it`],
  },
  rate: {
    what: "hand it to so many people a minute, in all regions together",
    operand: {
      name: "per-minute",
      what: "a number, or none: as fast as it goes",
      parse: ratePerMinute,
    },
    request: (id, operand) => posted(id, "rate", { ratePerMinute: operand }),
    lines: (body) => {
      const { id, ratePerMinute: rate, changedAt } = body as RateAnswer;
      const now = rate === null ? "as fast as it goes" : `${rate} people a minute at most`;
      return [`${id}: ${now} since ${changedAt}, in every region within 2 s`];
    },
  },
};

function posted(id: string, verb: string, body: object): ApiRequest {
  return { method: "POST", path: `/v1/notifications/${id}/${verb}`, body: JSON.stringify(body) };
}

/** POST /v1/notifications/:id/<verb>, without a body, answered with what is in force now. */
function control(verb: string, what: string): Verb {
  return {
    what,
    request: (id) => ({ method: "POST", path: `/v1/notifications/${id}/${verb}` }),
    lines: (body) => {
      const { id, control: state, changedAt } = body as ControlAnswer;
      return [`${id} is ${state} since ${changedAt}, in every region within 2 s`];
    },
  };
}

const ID = "its id, as POST /v1/notifications answered it";

export function notificationCommand(context: OperatorContext): Command {
  const command = new Command("notification").description(
    "look at a notification, and pause, resume, cancel, recall, remind of or rate it",
  );
  for (const [name, verb] of Object.entries(VERBS)) {
    const one = command.command(name).description(verb.what);
    one.argument("<notification>", ID, notificationId);
    const { operand } = verb;
    if (operand !== undefined)
      one.argument(`<${operand.name}>`, operand.what, operand.parse.bind(operand));
    addTenantOptions(one, context).action(async (id: string, ...rest: unknown[]) => {
      const request = verb.request(id, operand && rest[0]);
      const asked = { request, lines: verb.lines.bind(verb) };
      const options = rest[operand === undefined ? 0 : 1] as OperatorOptions; // by commander, after all operands
      context.exit(await run(asked, { command: "notification", options, context }));
    });
  }
  return command;
}

export function explainCommand(context: OperatorContext): Command {
  const command = new Command("explain")
    .description("tell what became of a notification for one recipient, decision by decision")
    .argument("<notification>", ID, notificationId)
    .argument("<recipient>", "the recipient's id", recipientId);
  return addTenantOptions(command, context).action(
    async (id: string, recipient: string, options: OperatorOptions) => {
      const path = `/v1/notifications/${id}/recipients/${encodeURIComponent(recipient)}`;
      const asked = {
        request: { method: "GET", path } as const,
        lines: (body: unknown) => explanationLines(body as RecipientExplanation),
      };
      context.exit(await run(asked, { command: "explain", options, context }));
    },
  );
}

/** Throws UsageError. */
async function run(
  { request, lines }: { readonly request: ApiRequest; lines(this: void, body: unknown): string[] },
  call: { command: string; options: OperatorOptions; context: OperatorContext },
): Promise<number> {
  const { command, options, context } = call;
  const { terminal } = context;
  const api = tenantApiOf(options, context);
  const answer = await api.ask(request);
  api.close();
  if (answer.kind === "failed") {
    refuse({ terminal, isJson: options.json, command }, answer.refusal);
    return exitCodeOf(answer);
  }
  if (options.json) terminal.line(JSON.stringify(answer.body, null, 2));
  else for (const line of lines(answer.body)) terminal.line(line);
  return 0;
}
