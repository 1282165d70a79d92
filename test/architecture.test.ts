// test/architecture.test.ts
// Goal: the arrows of DESIGN §3 and the file rules of STYLE hold, and the checkers see what breaks
// them. Method: package.json files and import lines; each rule also runs on samples that break it.
import { describe, expect, test } from "vitest";
import {
  arrowProblem,
  cycles,
  dependencyEdges,
  dependencyProblems,
  fileEdges,
  importProblems,
  versionProblems,
} from "./rules/arrows.ts";
import { ambientProblems, nameProblems, shapeProblems } from "./rules/files.ts";
import {
  importsOf,
  readPackageJson,
  readSources,
  readWorkspaces,
  type Source,
  sourceOf,
  type Workspace,
} from "./rules/workspaces.ts";

const workspaces = readWorkspaces();
const sources = readSources(workspaces);
const rootDev = readPackageJson(".").devDependencies ?? {};

function workspaceOf(source: Source): Workspace {
  return workspaces.find(({ name }) => name === source.workspace)!;
}

describe("the repository", () => {
  test("is seen by the rules", () => {
    expect(workspaces.length).toBeGreaterThanOrEqual(17);
    expect(sources.length).toBeGreaterThan(60);
  });
  test("has only declared arrows that point down", () => {
    expect(workspaces.flatMap(dependencyProblems)).toEqual([]);
  });
  test("has no cycle among packages or files", () => {
    expect(cycles(dependencyEdges(workspaces))).toEqual([]);
    expect(cycles(fileEdges(sources))).toEqual([]);
  });
  test("imports declared packages, by their doors, each vendor in its owner", () => {
    const others = sources.filter(({ path }) => path !== "test/architecture.test.ts"); // samples
    const problems = others.flatMap((source) =>
      importProblems(source, workspaceOf(source), rootDev),
    );
    expect(problems).toEqual([]);
  });
  test("names exact versions", () => {
    const problems = [...workspaces, { folder: ".", ...readPackageJson(".") }].flatMap((one) =>
      versionProblems(one.folder, { ...one.dependencies, ...one.devDependencies }),
    );
    expect(problems).toEqual([]);
  });
  test("has files that are named, headed and not too long", () => {
    expect(sources.flatMap(({ path }) => nameProblems(path))).toEqual([]);
    expect(sources.flatMap(shapeProblems)).toEqual([]);
  });
  test("takes time, chance and the environment as arguments", () => {
    expect(sources.flatMap(ambientProblems)).toEqual([]);
  });
});

describe("the rules", () => {
  test.each([
    ["kernel", "contracts", "kernel → contracts: not downward"],
    ["bus", "store", "bus → store: not downward"],
    ["store", "delivery", "store → delivery: not downward"],
    ["ingest", "worker", "ingest → worker: not downward"],
    ["worker", "cli", "worker → cli: not downward"],
    ["delivery", "store", "delivery → store: sees ports only"],
    ["client", "kernel", "client → kernel: sees ports only"],
    ["worker", "local", "worker → local: not its user"],
    ["worker", "testkit", "worker → testkit: for tests only"],
    ["worker", "novelty", "novelty has no layer"],
  ])("refuse %s → %s", (from, to, problem) => {
    expect(arrowProblem(from, to)).toBe(problem);
  });
  test.each([
    ["bus", "kernel"],
    ["cluster", "bus"],
    ["delivery", "process"],
    ["worker", "delivery"],
    ["cli", "worker"],
    ["cli", "local"],
    ["testkit", "local"],
    ["client", "contracts"],
  ])("allow %s → %s", (from, to) => {
    expect(arrowProblem(from, to)).toBeNull();
  });

  const worker: Workspace = {
    name: "worker",
    folder: "apps/worker",
    dependencies: { "@carillon/bus": "0.1.0", "@carillon/ingest": "0.1.0", nats: "2.29.3" },
    devDependencies: { "@carillon/testkit": "0.1.0" },
  };
  const inWorker = (text: string, name = "x.ts"): string[] =>
    importProblems(sourceOf(`apps/worker/src/${name}`, "worker", text), worker, {
      vitest: "5.1.1",
    });

  test.each([
    ['import { a } from "nats";', "nats belongs to bus"],
    ['import a from "left-pad";', "left-pad is not declared in apps/worker"],
    ['import "vitest";', "vitest is not declared in apps/worker"],
    ['import { a } from "@carillon/testkit";', "@carillon/testkit is not declared in apps/worker"],
    ['export * from "@carillon/ingest";', "worker → ingest: not downward"],
    [
      'import {\n  a,\n} from "@carillon/bus/src/bus.ts";',
      "deep import of @carillon/bus/src/bus.ts; use the package's door",
    ],
    [
      'import type { A } from "../../../packages/bus/src/bus.ts";',
      "deep import of packages/bus/src/bus.ts; use the package's door",
    ],
    ['const a = await import("left-pad");', "left-pad is not declared in apps/worker"],
  ])("refuse the line %j", (text, problem) => {
    expect(inWorker(text)).toEqual([`apps/worker/src/x.ts: ${problem}`]);
  });

  test("allow tests what production may not import", () => {
    const text = 'import { test } from "vitest";\nimport { a } from "@carillon/testkit";\n';
    expect(inWorker(text, "x.test.ts")).toEqual([]);
    expect(inWorker('import { a } from "./y.ts";\nimport fs from "node:fs";')).toEqual([]);
  });

  test("read import lines of every form, and not those in comments", () => {
    const text = [
      'import a, { type B } from "a";',
      'import type { C } from "b";',
      'export {\n  d,\n  e,\n} from "./c.ts";',
      'import "d";',
      '// import("e")',
      'const f = import("f");',
    ].join("\n");
    expect(importsOf(text)).toEqual([
      { specifier: "a", isTypeOnly: false },
      { specifier: "b", isTypeOnly: true },
      { specifier: "./c.ts", isTypeOnly: false },
      { specifier: "d", isTypeOnly: false },
      { specifier: "f", isTypeOnly: false },
    ]);
  });

  test("find cycles, and none where two ways meet", () => {
    const knot = new Map([
      ["a", ["b"]],
      ["b", ["c"]],
      ["c", ["a"]],
    ]);
    expect(cycles(knot)).toEqual(["a → b → c → a"]);
    const diamond = new Map([
      ["a", ["b", "c"]],
      ["b", ["d"]],
      ["c", ["d"]],
    ]);
    expect(cycles(diamond)).toEqual([]);
  });

  test("refuse versions that are not exact", () => {
    const versions = { a: "^1.0.0", b: "latest", c: "1.2.3", d: "18.4.0-beta.17" };
    expect(versionProblems("x", versions)).toEqual([
      "x/package.json: a ^1.0.0 is not an exact version",
      "x/package.json: b latest is not an exact version",
    ]);
  });

  test("refuse empty names, foreign headers and long files", () => {
    const bad = ["a/utils.ts", "a/helpers.test.ts", "a/types.ts", "a/Upper.ts", "a/snake_case.ts"];
    expect(bad.map((path) => nameProblems(path).length)).toEqual([1, 1, 1, 1, 1]);
    expect(["a/typed-array.ts", "a/x.prop.test.ts"].flatMap(nameProblems)).toEqual([]);
    const shape = (text: string): string[] => shapeProblems(sourceOf("a/b.ts", "worker", text));
    expect(shape("// a/c.ts\n")).toEqual(["a/b.ts: begins not with its path"]);
    expect(shape(`// a/b.ts\n${"x;\n".repeat(500)}`)).toEqual(["a/b.ts: 501 lines, more than 500"]);
    expect(shape("// a/b.ts\nx;\n")).toEqual([]);
  });

  test.each([
    "const a = Date.now();",
    "const a = new Date();",
    "setTimeout(f, 1);",
    "globalThis.setInterval(f, 1);",
    "const a = Math.random();",
    'import { randomUUID } from "node:crypto";',
    'import { setTimeout } from "node:timers/promises";',
    'const a = process.env["A"];',
    "const { env } = process;",
  ])("refuse %j outside system.ts, main.ts and tests", (text) => {
    const at = (path: string): string[] => ambientProblems(sourceOf(path, "worker", text));
    expect(at("apps/worker/src/x.ts")).toHaveLength(1);
    expect(at("apps/worker/src/x.test.ts")).toEqual([]);
  });

  test("allow them where they belong, and in comments", () => {
    const at = (path: string, text: string): string[] =>
      ambientProblems(sourceOf(path, "any", text));
    expect(at("packages/kernel/src/system.ts", "Date.now();")).toEqual([]);
    expect(at("apps/worker/src/main.ts", "process.env;")).toEqual([]);
    expect(
      at("apps/worker/src/x.ts", "// Date.now() and process.env\n/* setTimeout(f) */"),
    ).toEqual([]);
  });
});
