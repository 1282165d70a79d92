// apps/cli/src/test-drawn-tree.ts
// The supervision trees that docs/architecture.md draws, and those that `carillon process tree` prints,
// in one form: a tree is its children by their ids, in the order of their start.
import { readFileSync } from "node:fs";

export interface Branch {
  readonly id: string;
  readonly children: readonly Branch[];
}

interface Line {
  readonly depth: number;
  readonly ids: readonly string[];
}

const DOCUMENT = new URL("../../../docs/architecture.md", import.meta.url);

/** Of the code block that begins with this id. */
export function drawnTree(rootId: string): Branch {
  const blocks = readFileSync(DOCUMENT, "utf8").matchAll(/^```\n([\s\S]*?)^```$/gm);
  const text = Array.from(blocks, ([, block = ""]) => block).find((block) =>
    block.startsWith(`${rootId} `),
  );
  if (text === undefined) throw new Error(`docs/architecture.md draws no tree of ${rootId}`);
  const lines = text.trimEnd().split("\n");
  return branchOf(
    lines.map((line) => {
      const [, stem = "", names = ""] =
        /^((?:│ {2}| {3}|[├└]─ )*)(.+?)(?: {2,}.*)?$/.exec(line) ?? [];
      return { depth: stem.length / 3, ids: names.replace(/ …$/, "").split(", ") };
    }),
  );
}

/** The root's line first. */
export function printedTree(lines: readonly string[]): Branch {
  const rootIndent = indentOf(lines[0] ?? "");
  return branchOf(
    lines.map((line) => ({
      depth: (indentOf(line) - rootIndent) / 2,
      ids: [line.trim().split("  ", 1)[0] ?? ""],
    })),
  );
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

function branchOf(lines: readonly Line[]): Branch {
  const [root] = branchesAt(lines, 0);
  if (root === undefined || lines[0]?.depth !== 0) throw new Error("a tree begins with its root");
  return root;
}

function branchesAt(lines: readonly Line[], depth: number): Branch[] {
  return lines.flatMap((line, at) => {
    if (line.depth !== depth) return [];
    const after = lines.slice(at + 1);
    const endAt = after.findIndex((one) => one.depth <= depth);
    const below = branchesAt(after.slice(0, endAt === -1 ? after.length : endAt), depth + 1);
    return line.ids.map((id) => ({ id, children: below }));
  });
}
