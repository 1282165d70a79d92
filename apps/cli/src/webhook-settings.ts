// apps/cli/src/webhook-settings.ts
// Settings of webhooks (ADR 0031). The same in all regions: a post comes from any of them.
import { allowEntryProblem } from "@carillon/channels";
import { type Field, type Parsed, type Secret, secret } from "@carillon/config";
import { certificates } from "./node-nats.ts";

const KEYS_MAX = 3; // a post bears a signature of each

export const WEBHOOK_FIELDS = {
  CARILLON_NODE_WEBHOOK_KEYS: {
    ...secret(
      "of which tenants' webhook secrets are made, the present one first; the same in all regions; none: no webhooks (ingest, worker)",
      {
        pattern: new RegExp(`^[^\\s,]{32,512}(,[^\\s,]{32,512}){0,${KEYS_MAX - 1}}$`),
        expected: `1 to ${KEYS_MAX} keys of at least 32 characters, separated by commas`,
      },
    ),
    fallback: undefined,
  } as Field<Secret | undefined>,
  CARILLON_NODE_WEBHOOK_ALLOW: allowList(
    "CIDRs and hosts of private networks that webhooks may go to, besides public ones (ingest, worker)",
  ),
  CARILLON_NODE_WEBHOOK_PORTS: ports("ports that webhooks may go to, or `any` (ingest, worker)"),
  CARILLON_NODE_WEBHOOK_CA_PATH: certificates(
    "who signs receivers of private networks, besides the usual authorities (worker)",
  ),
} as const;

export interface WebhookSettings {
  readonly CARILLON_NODE_WEBHOOK_KEYS: Secret | undefined;
  readonly CARILLON_NODE_WEBHOOK_ALLOW: readonly string[];
  readonly CARILLON_NODE_WEBHOOK_PORTS: readonly number[] | "any";
  readonly CARILLON_NODE_WEBHOOK_CA_PATH: string;
}

function allowList(doc: string): Field<readonly string[]> {
  const expected =
    "CIDRs such as 10.20.0.0/16 and hosts such as hooks.corp or *.corp, separated by commas";
  const parse = (text: string): Parsed<readonly string[]> => {
    const entries = entriesOf(text);
    const isGood = entries.every((entry) => allowEntryProblem(entry) === undefined);
    return isGood ? { ok: true, value: entries } : { ok: false, expected };
  };
  return { doc, parse, fallback: [] };
}

function ports(doc: string): Field<readonly number[] | "any"> {
  const expected = "ports from 1 to 65535, separated by commas, or any";
  const parse = (text: string): Parsed<readonly number[] | "any"> => {
    if (text === "any") return { ok: true, value: text };
    const given = entriesOf(text).map((entry) => (/^\d{1,5}$/.test(entry) ? Number(entry) : 0));
    const isGood = given.length > 0 && given.every((port) => port >= 1 && port <= 65_535);
    return isGood ? { ok: true, value: given } : { ok: false, expected };
  };
  return { doc, parse, fallback: [443] };
}

function entriesOf(text: string): string[] {
  return text
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}
