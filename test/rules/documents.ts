// test/rules/documents.ts
// Rules of STYLE §9 for documents, as pure functions over text.

export interface Adr {
  readonly fileName: string;
  readonly text: string;
}

const ADR_SECTIONS = [
  "The question",
  "Decision",
  "Consequences",
  "How it is kept",
  "Look at this again when",
];

export function adrProblems(adrs: readonly Adr[], index: string): string[] {
  return adrs.flatMap(({ fileName, text }, position) => {
    const say = (problem: string): string => `docs/adr/${fileName}: ${problem}`;
    const number = String(position + 1).padStart(4, "0");
    const title = /^# (\d{4}) — (.+)$/m.exec(text);
    const problems: string[] = [];
    if (!fileName.startsWith(`${number}-`)) problems.push(say(`is not number ${number}`));
    if (title?.[1] !== number) problems.push(say(`its title begins not with "# ${number} — "`));
    const status = /^\| Status \| (.+?) \|$/m.exec(text)?.[1] ?? "";
    const superseding = /^Superseded by (\d{4})$/.exec(status)?.[1];
    if (superseding === undefined && !["Proposed", "Accepted"].includes(status))
      problems.push(say(`status "${status}" is not Proposed, Accepted or Superseded by NNNN`));
    if (superseding !== undefined && !adrs.some((adr) => adr.fileName.startsWith(superseding)))
      problems.push(say(`is superseded by ${superseding}, which does not exist`));
    if (!/^\| Date \| \d{4}-\d{2}-\d{2} \|$/m.test(text)) problems.push(say("has no date"));
    for (const section of ADR_SECTIONS)
      if (!text.includes(`\n## ${section}\n`)) problems.push(say(`has no section "${section}"`));
    if (!index.includes(`| [${number}](${fileName}) | ${title?.[2] ?? ""} | ${status} |`))
      problems.push(say("is not in docs/adr/README.md with its title and status"));
    return problems;
  });
}

/** npm scripts that a document tells to run. */
export function npmScriptsOf(text: string): string[] {
  const runs = Array.from(text.matchAll(/\bnpm run ([a-z][\w:-]*)/g), (match) => match[1] ?? "");
  const short = Array.from(text.matchAll(/\bnpm (start|test)\b/g), (match) => match[1] ?? "");
  return [...new Set([...runs, ...short])];
}

/** Targets of links that are not web addresses. */
export function linksOf(text: string): string[] {
  const prose = text.replaceAll(/```[\s\S]*?```/g, "").replaceAll(/`[^`\n]*`/g, "");
  return Array.from(prose.matchAll(/\]\(([^)\s]+)\)/g), (match) => match[1] ?? "").filter(
    (target) => !/^[a-z]+:/.test(target),
  );
}

/** Anchors of a document's headings, as GitHub makes them. */
export function anchorsOf(text: string): string[] {
  return Array.from(text.matchAll(/^#{1,6} (.+)$/gm), (match) =>
    (match[1] ?? "")
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/** Ids in the first column (`BS1`, `BS1, BS2`, `BS1–BS3`) of the table that ends in "Kept by". */
export function invariantIdsOf(readme: string): string[] {
  const table = /^\| Id \|.*\| Kept by \|\n\|[-| ]+\|\n((?:\|.*\|\n?)*)/m.exec(readme)?.[1] ?? "";
  const cells = Array.from(table.matchAll(/^\| ([A-Z][\w, –-]*) \|/gm), (match) => match[1] ?? "");
  return cells.flatMap((cell) => cell.split(/, ?/).flatMap(idsOfRange));
}

/** `BS1` is itself; `BS1–BS3` is three. */
function idsOfRange(cell: string): string[] {
  const range = /^([A-Z]+)(\d+)[–-][A-Z]*(\d+)$/.exec(cell.trim());
  if (range === null) return [cell.trim()];
  const [, prefix = "", first, last] = range;
  const count = Number(last) - Number(first) + 1;
  return Array.from({ length: count }, (_, index) => `${prefix}${Number(first) + index}`);
}

/** Ids that file headers declare: `//   BS1  text`. */
export function declaredIdsOf(source: string): string[] {
  const header = /^(?:\/\/.*\n)+/.exec(source)?.[0] ?? "";
  return Array.from(header.matchAll(/^\/\/ {2,}([A-Z]{2,}\d+) {2}/gm), (match) => match[1] ?? "");
}

/** Ids at the start of test titles: `test("BS1 …")`, `test.each(…)("BS1 BS2: …")`. */
export function titleIdsOf(testSource: string): string[] {
  const title = /["'`]((?:[A-Z]+\d+[a-z]?(?:, |[ ,:–-])+)+)/g;
  const ids = Array.from(testSource.matchAll(title), (match) => match[1] ?? "");
  return [...new Set(ids.flatMap((text) => text.match(/[A-Z]+\d+/g) ?? []))];
}
