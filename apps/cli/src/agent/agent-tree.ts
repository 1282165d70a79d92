// apps/cli/src/agent/agent-tree.ts
// `carillon process tree --agent <url>`: the agent is no member of a region, so that it is asked itself,
// where its metrics are. Exit codes are those of `carillon process` (PC1, PC2); no key is needed.
import { supervisorNodeSchema } from "@carillon/contracts";
import { z } from "zod";
import { type AskFailed, exitCodeOf } from "../admin-api.ts";
import { supervisorLines } from "../process-view.ts";
import { refuse } from "../refusal.ts";
import type { Terminal } from "../terminal.ts";

const REQUEST_MAX_MS = 15_000;
const answerSchema = z.object({ node: z.string(), tree: supervisorNodeSchema });

type Asked = { readonly kind: "tree"; readonly answer: z.infer<typeof answerSchema> } | AskFailed;

/** Resolves with the exit code. */
export async function showAgentTree(
  url: string,
  { terminal, isJson }: { readonly terminal: Terminal; readonly isJson: boolean },
): Promise<number> {
  const asked = await ask(url);
  if (asked.kind === "failed") {
    refuse({ terminal, isJson, command: "process" }, asked.refusal);
    return exitCodeOf(asked);
  }
  const { node, tree } = asked.answer;
  if (isJson) terminal.line(JSON.stringify([{ node, tree }], null, 2));
  else for (const line of [node, ...supervisorLines(tree, "  ")]) terminal.line(line);
  return 0;
}

async function ask(url: string): Promise<Asked> {
  try {
    const signal = AbortSignal.timeout(REQUEST_MAX_MS);
    const response = await fetch(new URL("/tree", url), { signal });
    const { status } = response;
    const text = await response.text();
    const parsed = answerSchema.safeParse(parsedJson(text));
    if (parsed.success) return { kind: "tree", answer: parsed.data };
    const message = `${url}: answered ${status}, and not as an agent does`;
    return { kind: "failed", refusal: { code: "not_carillon", message }, status };
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause;
    const inner = (cause.cause ?? {}) as { code?: string; message?: string };
    const message = `${url}: ${inner.code ?? inner.message ?? cause.name}`;
    return { kind: "failed", refusal: { code: "unreachable", message }, status: undefined };
  }
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
