// apps/cli/src/agent/agent-tree.ts
// `carillon process tree --agent <url>`: the agent is no member of a region, so that it is asked itself,
// where its metrics are. Exit codes are those of `carillon process` (PC1, PC2); no key is needed.
import { supervisorNodeSchema } from "@carillon/contracts";
import { z } from "zod";
import { exitCodeOf, UsageError } from "../admin-api.ts";
import { supervisorLines } from "../process-view.ts";
import type { Terminal } from "../terminal.ts";

const REQUEST_MAX_MS = 15_000;
const answerSchema = z.object({ node: z.string(), tree: supervisorNodeSchema });

type Asked =
  | { readonly kind: "tree"; readonly answer: z.infer<typeof answerSchema> }
  | { readonly kind: "failed"; readonly reason: string; readonly status: number | undefined };

/** Resolves with the exit code. Throws UsageError. */
export async function showAgentTree(
  url: string,
  { terminal, isJson }: { readonly terminal: Terminal; readonly isJson: boolean },
): Promise<number> {
  if (!/^https?:\/\//u.test(url) || !URL.canParse(url))
    throw new UsageError(`--agent must be an address such as http://host:8082, not ${url}`);
  const asked = await ask(url);
  if (asked.kind === "failed") {
    const { reason } = asked;
    terminal.line(isJson ? JSON.stringify({ error: reason }) : `carillon process: ${reason}`);
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
    return {
      kind: "failed",
      reason: `${url}: answered ${status}, and not as an agent does`,
      status,
    };
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause;
    const { code = cause.name } = (cause.cause ?? {}) as { code?: string };
    return { kind: "failed", reason: `${url}: ${code}`, status: undefined };
  }
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
