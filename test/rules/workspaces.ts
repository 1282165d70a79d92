// test/rules/workspaces.ts
// Reads the repository as the rules see it: workspaces, their declared packages, sources, imports.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface Workspace {
  readonly name: string; // without @carillon/
  readonly folder: string; // from the root, with "/"
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

export interface Import {
  readonly specifier: string;
  readonly isTypeOnly: boolean;
}

export interface Source {
  readonly path: string; // from the root, with "/"
  readonly workspace: string;
  readonly text: string;
  readonly imports: readonly Import[];
  /** Tests, what they share (`test-….ts`, `fake-….ts`, `harness.ts`), benchmarks, conformance suites: they may use what production may not. */
  readonly isTest: boolean;
}

interface PackageJson {
  readonly name: string;
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
}

export function readPackageJson(folder: string): PackageJson {
  return JSON.parse(readFileSync(join(ROOT, folder, "package.json"), "utf8")) as PackageJson;
}

export function readWorkspaces(): Workspace[] {
  const folders = ["packages", "apps"].flatMap((parent) =>
    readdirSync(join(ROOT, parent)).map((child) => `${parent}/${child}`),
  );
  return [...folders, "test"]
    .filter((folder) => existsSync(join(ROOT, folder, "package.json")))
    .map((folder) => {
      const { name, dependencies = {}, devDependencies = {} } = readPackageJson(folder);
      return { name: name.replace("@carillon/", ""), folder, dependencies, devDependencies };
    });
}

export function readSources(workspaces: readonly Workspace[]): Source[] {
  return workspaces.flatMap((workspace) =>
    filesUnder(workspace.folder, (name) => name.endsWith(".ts") && !name.endsWith(".d.ts")).map(
      (path) => sourceOf(path, workspace.name, readFileSync(join(ROOT, path), "utf8")),
    ),
  );
}

export function sourceOf(path: string, workspace: string, text: string): Source {
  const isTest =
    workspace === "test" ||
    workspace === "testkit" ||
    /\.test\.ts$|\/((test|fake)-[\w-]+|harness)\.ts$|\/bench\/|\/conformance\.ts$|\/fixtures?\//.test(
      path,
    );
  return { path, workspace, text, imports: importsOf(text), isTest };
}

const STATEMENT = /^(import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm;
const CALL = /\b(?:import|require)\(\s*"([^"]+)"\s*\)/g;

export function importsOf(text: string): Import[] {
  const statements = Array.from(text.matchAll(STATEMENT), (match) => ({
    specifier: match[3] ?? "",
    isTypeOnly: match[2] !== undefined,
  }));
  const code = codeOf(text);
  const calls = Array.from(code.matchAll(CALL), (match) => ({
    specifier: match[1] ?? "",
    isTypeOnly: false,
  }));
  return [...statements, ...calls];
}

/** The text without comments; strings stay. */
export function codeOf(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|[^:"'`\w])\/\/.*$/gm, "$1");
}

/** Where a relative import leads, from the root. */
export function resolveRelative(from: string, specifier: string): string {
  return posix.normalize(posix.join(posix.dirname(from), specifier));
}

const SKIPPED = new Set(["node_modules", "dist", ".turbo", ".git", ".carillon", "coverage"]);

/** Paths from the root, with "/", sorted. */
export function filesUnder(folder: string, isWanted: (name: string) => boolean): string[] {
  const absolute = join(ROOT, folder);
  return readdirSync(absolute, { withFileTypes: true })
    .flatMap((entry) => {
      if (SKIPPED.has(entry.name)) return [];
      const path = relative(ROOT, join(absolute, entry.name)).split(sep).join("/");
      if (entry.isDirectory()) return filesUnder(path, isWanted);
      return isWanted(entry.name) ? [path] : [];
    })
    .toSorted();
}
