// test/docs.test.ts
// Goal: what the documents say of decisions, commands, links and invariants is so (STYLE §9).
// Method: read the Markdown and the test titles; each rule also runs on samples that break it.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  adrProblems,
  anchorsOf,
  declaredIdsOf,
  invariantIdsOf,
  linksOf,
  npmScriptsOf,
  titleIdsOf,
} from "./rules/documents.ts";
import { filesUnder, readSources, readWorkspaces, ROOT } from "./rules/workspaces.ts";

const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const documents = filesUnder(".", (name) => name.endsWith(".md"));
const workspaces = readWorkspaces();
const sources = readSources(workspaces);
const systemTests = sources.filter(({ workspace }) => workspace === "test");

describe("the documents", () => {
  test("hold numbered, dated, indexed decisions", () => {
    const names = readdirSync(join(ROOT, "docs/adr")).filter((name) => /^\d{4}-/.test(name));
    const adrs = names
      .toSorted()
      .map((fileName) => ({ fileName, text: read(`docs/adr/${fileName}`) }));
    expect(adrs.length).toBeGreaterThanOrEqual(6);
    expect(adrProblems(adrs, read("docs/adr/README.md"))).toEqual([]);
  });

  test("name npm scripts that exist", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const wrong = documents.flatMap((path) =>
      npmScriptsOf(read(path))
        .filter((name) => !(name in scripts))
        .map((name) => `${path}: npm run ${name}`),
    );
    expect(wrong).toEqual([]);
    expect(npmScriptsOf(read("README.md"))).toEqual(expect.arrayContaining(["start", "test"]));
  });

  test("link to files and headings that exist", () => {
    const broken = documents.flatMap((path) =>
      linksOf(read(path))
        .filter((target) => !isResolved(path, target))
        .map((target) => `${path} → ${target}`),
    );
    expect(broken).toEqual([]);
  });

  function isResolved(path: string, target: string): boolean {
    const [file = "", anchor] = target.split("#");
    const to = file === "" ? path : join(dirname(path), decodeURIComponent(file));
    if (!existsSync(join(ROOT, to))) return false;
    return anchor === undefined || !to.endsWith(".md") || anchorsOf(read(to)).includes(anchor);
  }

  const withReadme = workspaces.filter(({ folder }) => existsSync(join(ROOT, folder, "README.md")));
  test.each(withReadme)("keep the invariants of $folder in test titles", ({ name, folder }) => {
    const inTable = invariantIdsOf(read(`${folder}/README.md`));
    const own = sources.filter((source) => source.workspace === name);
    const tests = own.filter(({ path }) => /\.test\.ts$|\/conformance\.ts$/.test(path));
    const inTitles = new Set([...tests, ...systemTests].flatMap(({ text }) => titleIdsOf(text)));
    const declared = own.flatMap(({ text }) => declaredIdsOf(text));
    expect(inTable.filter((id) => !inTitles.has(id))).toEqual([]); // no test keeps it
    expect(declared.filter((id) => !inTitles.has(id))).toEqual([]); // a header's, and no test's
    const known = new Set([...inTable, ...declared]);
    const prefixes = new Set([...known].map((id) => id.replace(/\d+$/, "")));
    const unknown = tests
      .flatMap(({ text }) => titleIdsOf(text))
      .filter((id) => prefixes.has(id.replace(/\d+$/, "")) && !known.has(id));
    expect(unknown).toEqual([]); // a title names what no table and no header has
  });
});

describe("the rules", () => {
  const good = [
    "# 0001 — Title",
    "",
    "| | |",
    "|---|---|",
    "| Status | Accepted |",
    "| Date | 2026-11-22 |",
    "",
    "## The question",
    "## Decision",
    "## Consequences",
    "## How it is kept",
    "## Look at this again when",
    "",
  ].join("\n");
  const index = "| [0001](0001-title.md) | Title | Accepted |";
  const check = (text: string, fileName = "0001-title.md", list = index): string[] =>
    adrProblems([{ fileName, text }], list);

  test("take a decision as it should be", () => {
    expect(check(good)).toEqual([]);
  });
  test.each([
    ["number", good, "0002-title.md", "is not number 0001"],
    ["title", good.replace("# 0001", "# 0003"), undefined, 'its title begins not with "# 0001 — "'],
    ["date", good.replace("2026-11-22", "soon"), undefined, "has no date"],
    ["section", good.replace("## Decision", ""), undefined, 'has no section "Decision"'],
    [
      "successor",
      good.replace("Accepted", "Superseded by 0009"),
      undefined,
      "is superseded by 0009, which does not exist",
    ],
    ["index", good.replace("— Title", "— Other"), undefined, "is not in docs/adr/README.md"],
  ])("refuse a decision with a wrong %s", (_, text, fileName, problem) => {
    expect(check(text, fileName).join("\n")).toContain(problem);
  });

  test("find commands and links, but no links in code", () => {
    const text = "`npm run verify`, npm test\n[a](b.md#c) [web](https://x.y) `[no](z.md)`\n";
    expect(npmScriptsOf(text)).toEqual(["verify", "test"]);
    expect(linksOf(text)).toEqual(["b.md#c"]);
    expect(anchorsOf("# 1. Why this shape\n## `npm start`, twice\n")).toEqual([
      "1-why-this-shape",
      "npm-start-twice",
    ]);
  });

  test("find invariants in tables, headers and titles", () => {
    const table =
      "| Id | Always true | Kept by |\n|---|---|---|\n| BS1 | x | `y` |\n| BS2 | x | `y` |\n";
    expect(invariantIdsOf(`text\n\n${table}\nmore`)).toEqual(["BS1", "BS2"]);
    const grouped = table.replace("BS1", "BS1, RG4").replace("BS2", "PR2–PR4");
    expect(invariantIdsOf(grouped)).toEqual(["BS1", "RG4", "PR2", "PR3", "PR4"]);
    expect(invariantIdsOf("| Limit | Default |\n|---|---|\n| BS3 | 1 |\n")).toEqual([]);
    expect(
      declaredIdsOf("// a.ts\n//   BS1  text\n//   BS2  text\nimport x;\n//   BS3  no\n"),
    ).toEqual(["BS1", "BS2"]);
    const tests = 'test("BS1 holds", f); test.each(t)(`BS2, BS3: $name`, f); test("plain", f)';
    expect(titleIdsOf(tests)).toEqual(["BS1", "BS2", "BS3"]);
  });
});
