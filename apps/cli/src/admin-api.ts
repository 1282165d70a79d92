// apps/cli/src/admin-api.ts
// The admin API as commands for operators use it: where it is, its key, and answers as values.
import { resolve } from "node:path";
import { type Clock, systemClock } from "@carillon/kernel";
import { ApiClient, type ApiRequest } from "./clients/api-client.ts";
import { dataFolderAt } from "./dev/data-folder.ts";
import { readDevState } from "./dev/dev-state.ts";
import type { Terminal } from "./terminal.ts";

export interface OperatorContext {
  readonly terminal: Terminal;
  readonly defaultDataFolder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export type Asked =
  | { readonly kind: "body"; readonly body: unknown }
  | { readonly kind: "failed"; readonly reason: string; readonly status: number | undefined };

/** The command is not to be run so: exit code 64. */
export class UsageError extends Error {}
export const USAGE_EXIT_CODE = 64;
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

export const KEY_VARIABLE = "CARILLON_OPERATOR_KEY";
const REQUEST_MAX_MS = 15_000;

/** Throws UsageError. Without `url`: the `carillon dev` that runs in the folder. */
export function adminApiOf(
  { url, data }: { readonly url?: string; readonly data: string },
  { env }: Pick<OperatorContext, "env">,
): AdminApi {
  const state = url === undefined ? readDevState(dataFolderAt(resolve(data))) : undefined;
  const baseUrl = url ?? state?.regions[0]?.ingestUrl;
  if (baseUrl === undefined)
    throw new UsageError(`no carillon dev is up in ${resolve(data)}; name a node with --url`);
  if (!/^https?:\/\//u.test(baseUrl) || !URL.canParse(baseUrl))
    throw new UsageError(`--url must be an address such as http://host:8080, not ${baseUrl}`);
  const operatorKey = state?.operatorKey ?? env[KEY_VARIABLE];
  if (operatorKey === undefined || operatorKey === "")
    throw new UsageError(`the operator key is expected in ${KEY_VARIABLE}`);
  if (!/^[\x21-\x7e]+$/u.test(operatorKey))
    throw new UsageError(`${KEY_VARIABLE} holds characters that no key has`);
  const client = new ApiClient({ baseUrl, apiKey: operatorKey, connectionsMax: 4 }, systemClock);
  return {
    clock: systemClock,
    close: () => client.close(),
    async ask(request) {
      const outcome = await client.send({ timeoutMs: REQUEST_MAX_MS, ...request });
      if (outcome.kind === "failed")
        return { kind: "failed", reason: `${baseUrl}: ${outcome.reason}`, status: undefined };
      const { status } = outcome;
      const body = parsedJson(outcome.text);
      if (body === undefined)
        return {
          kind: "failed",
          reason: `${baseUrl}: answered ${status}, and not as Carillon does`,
          status,
        };
      if (status < 300) return { kind: "body", body };
      return { kind: "failed", reason: reasonOf(status, body), status };
    },
  };
}

function parsedJson(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function reasonOf(status: number, body: unknown): string {
  const { title, detail, errors } = body as {
    title?: string;
    detail?: string;
    errors?: { field: string; message: string }[];
  };
  const fields = errors?.map(({ field, message }) => `${field} ${message}`).join("; ");
  return [`${status} ${title ?? ""}`, detail, fields].filter(Boolean).join(". ");
}
