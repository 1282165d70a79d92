// test/rules/files.ts
// Rules of STYLE §1, §2, §5 and §7 that a single file can break, as pure functions.
import type { Source } from "./workspaces.ts";
import { codeOf } from "./workspaces.ts";

const LINES_MAX = 500;
const NAMELESS = /^(utils?|helpers?|common|misc|managers?|types)\b/;

export function nameProblems(path: string): string[] {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const problems: string[] = [];
  if (!/^[a-z0-9]+([-.][a-z0-9]+)*\.ts$/.test(name)) problems.push(`${path}: not kebab-case`);
  if (NAMELESS.test(name)) problems.push(`${path}: the name says nothing; put it with its owner`);
  return problems;
}

/** Doors (index.ts) need no header; tests need one, with their path in it or not. */
export function shapeProblems({ path, text, isTest }: Source): string[] {
  const problems: string[] = [];
  const lineCount = text.trimEnd().split("\n").length;
  if (lineCount > LINES_MAX) problems.push(`${path}: ${lineCount} lines, more than ${LINES_MAX}`);
  const isDoor = path.endsWith("/index.ts");
  const header = isTest ? "// " : `// ${path}\n`;
  if (!isDoor && !text.startsWith(header)) problems.push(`${path}: begins not with its path`);
  return problems;
}

/** Time, chance and the environment are passed in. Lint says so too, but not for every form. */
const PASSED_IN: readonly [RegExp, string][] = [
  [/\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b/, "takes a Clock"],
  [
    /(?<![.\w]|function )(setTimeout|setInterval)\s*\(|globalThis\.set\w+|node:timers/,
    "takes a Clock",
  ],
  [/\bMath\.random\b|\brandomUUID\b/, "takes a Random"],
];

export function ambientProblems({ path, text, isTest }: Source): string[] {
  if (isTest) return [];
  const code = codeOf(text);
  const problems: string[] = [];
  const isSource = /^packages\/([\w-]+\/src\/system|client\/src\/timers)\.ts$/.test(path);
  if (!isSource) {
    for (const [pattern, rule] of PASSED_IN) {
      const found = pattern.exec(code);
      if (found !== null) problems.push(`${path}: ${found[0]}: ${rule}`);
    }
  }
  const isMain = /^apps\/[\w-]+\/src\/main\.ts$/.test(path);
  if (!isMain && /\bprocess\.env\b|\benv\b[^=;]*=\s*process\b/.test(code))
    problems.push(`${path}: process.env: only an app's main.ts reads it`);
  return problems;
}
