// apps/cli/src/admin-api.ts
// The HTTP API as commands use it, with an operator's or a tenant's key: where it is, the key, and answers as values.
import { resolve } from "node:path";
import { type Clock, systemClock } from "@carillon/kernel";
import type { Command } from "commander";
import { httpUrl } from "./arguments.ts";
import { ApiClient, type ApiRequest } from "./clients/api-client.ts";
import { dataFolderAt } from "./dev/data-folder.ts";
import { type DevState, readDevState } from "./dev/dev-state.ts";
import { type Refusal, USAGE_EXIT_CODE, UsageError } from "./refusal.ts";
import type { Terminal } from "./terminal.ts";

export interface OperatorContext {
  readonly terminal: Terminal;
  readonly defaultDataFolder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends the process. */
  readonly exit: (exitCode: number) => void;
}

export interface OperatorOptions {
  readonly url?: string;
  readonly data: string;
  readonly json: boolean;
}

export interface AskFailed {
  readonly kind: "failed";
  readonly refusal: Refusal;
  readonly status: number | undefined;
}

export type Asked = { readonly kind: "body"; readonly body: unknown } | AskFailed;

export const UNREACHABLE_EXIT_CODE = 2;
const NOT_FOUND_EXIT_CODE = 1;

/** PC1: by the status of a refusal; undefined, or a status of success: not Carillon, or nobody. */
export function exitCodeOf({ status = 503 }: { readonly status: number | undefined }): number {
  if (status >= 500 || status < 300) return UNREACHABLE_EXIT_CODE;
  return status === 400 || status === 422 ? USAGE_EXIT_CODE : NOT_FOUND_EXIT_CODE;
}

export interface AdminApi {
  readonly clock: Clock;
  ask(request: ApiRequest): Promise<Asked>;
  close(): void;
}

/** Whose key opens what is asked for. */
interface KeyHolder {
  readonly variable: string;
  readonly what: string;
  readonly valid: string;
  keyOf(state: DevState): string;
}
const OPERATOR: KeyHolder = {
  variable: "CARILLON_OPERATOR_KEY",
  what: "the operator key",
  valid: "the operator key that the nodes have",
  keyOf: ({ operatorKey }) => operatorKey,
};
const TENANT: KeyHolder = {
  variable: "CARILLON_API_KEY",
  what: "an API key of the tenant",
  valid: "an API key of the tenant whose notification it is",
  keyOf: ({ apiKey }) => apiKey,
};
const REQUEST_MAX_MS = 15_000;

/** What every command for operators takes. */
export function addOperatorOptions(
  command: Command,
  context: Pick<OperatorContext, "defaultDataFolder">,
): Command {
  return addApiOptions(command, context, OPERATOR);
}

/** What every command with a tenant's key takes. */
export function addTenantOptions(
  command: Command,
  context: Pick<OperatorContext, "defaultDataFolder">,
): Command {
  return addApiOptions(command, context, TENANT);
}

function addApiOptions(
  command: Command,
  { defaultDataFolder }: Pick<OperatorContext, "defaultDataFolder">,
  { what, variable }: KeyHolder,
): Command {
  const about = `HTTP API of any region, with ${what} in ${variable}`;
  return command
    .option("--url <url>", about, httpUrl("http://host:8080"))
    .option("--data <folder>", "without --url: of carillon dev", defaultDataFolder)
    .option("--json", "print JSON", false);
}

/** Throws UsageError. Without `url`: the `carillon dev` that runs in the folder. */
export function adminApiOf(
  options: Pick<OperatorOptions, "url" | "data">,
  context: Pick<OperatorContext, "env">,
): AdminApi {
  return apiOf(options, context, OPERATOR);
}

/** As `adminApiOf`, with a tenant's key: that of the demonstration, of a `carillon dev`. */
export function tenantApiOf(
  options: Pick<OperatorOptions, "url" | "data">,
  context: Pick<OperatorContext, "env">,
): AdminApi {
  return apiOf(options, context, TENANT);
}

function apiOf(
  { url, data }: Pick<OperatorOptions, "url" | "data">,
  { env }: Pick<OperatorContext, "env">,
  holder: KeyHolder,
): AdminApi {
  const state = url === undefined ? readDevState(dataFolderAt(resolve(data))) : undefined;
  const baseUrl = url ?? state?.regions[0]?.ingestUrl;
  if (baseUrl === undefined)
    throw new UsageError("--url", `is missing, and no carillon dev is up in ${resolve(data)}`, [
      "the HTTP API of any region",
      "instead --data, the folder of a carillon dev that is up",
    ]);
  const { variable, valid } = holder;
  const apiKey = state === undefined ? env[variable] : holder.keyOf(state);
  if (apiKey === undefined || apiKey === "") throw new UsageError(variable, "is missing", [valid]);
  if (!/^[\x21-\x7e]+$/u.test(apiKey))
    throw new UsageError(variable, "holds characters that no key has", [
      "visible ASCII characters, no spaces",
    ]);
  const client = new ApiClient({ baseUrl, apiKey, connectionsMax: 4 }, systemClock);
  return {
    clock: systemClock,
    close: () => client.close(),
    async ask(request) {
      const outcome = await client.send({ timeoutMs: REQUEST_MAX_MS, ...request });
      if (outcome.kind === "failed")
        return failed("unreachable", `${baseUrl}: ${outcome.reason}`, undefined);
      const { status } = outcome;
      const body = parsedJson(outcome.text);
      if (body === undefined)
        return failed(
          "not_carillon",
          `${baseUrl}: answered ${status}, and not as Carillon does`,
          status,
        );
      if (status < 300) return { kind: "body", body };
      return { kind: "failed", refusal: refusalOf(status, body), status };
    },
  };
}

function failed(code: string, message: string, status: number | undefined): AskFailed {
  return { kind: "failed", refusal: { code, message }, status };
}

function parsedJson(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function refusalOf(status: number, body: object): Refusal {
  const { code, title, detail, errors } = body as {
    code?: string;
    title?: string;
    detail?: string;
    errors?: { field: string; message: string }[];
  };
  const fields = errors?.map(({ field, message }) => `${field} ${message}`).join("; ");
  const first = errors?.[0];
  const rule = /^must be (.+)$/u.exec(first?.message ?? "")?.[1];
  return {
    code: code ?? `http_${status}`,
    message: [`${status} ${title ?? ""}`, detail, fields].filter(Boolean).join(". "),
    ...(first && { field: first.field }),
    ...(rule !== undefined && { valid: [rule] }),
  };
}
