// Goal: DF1, DF2. Method: real files; readers and writers that run meanwhile, in this process and in
// others.
import { fork, spawnSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { restore, writeDurably } from "./durable-file.ts";
import { newFolder } from "./test-folder.ts";

const TEST_MAX_MS = 120_000;
const textOf = (n: number): string => `${n}`.padEnd(65_536, "x");

test("DF1 — the old file is never written into: another inode each time, mode 0600", async () => {
  const folder = newFolder();
  const path = join(folder, "nats.conf");
  writeFileSync(path, "old", { mode: 0o644 });
  linkSync(path, join(folder, "same-inode"));
  const before = statSync(path).ino;
  await writeDurably(path, "new");
  expect([readFileSync(path, "utf8"), statSync(path).mode & 0o777]).toEqual(["new", 0o600]);
  expect(statSync(path).ino === before).toBe(false);
  expect(readFileSync(join(folder, "same-inode"), "utf8")).toBe("old");
});

test("DF1 — whoever reads meanwhile sees a whole text, always", async () => {
  const path = join(newFolder(), "nats.conf");
  await writeDurably(path, textOf(0));
  const ended = new AbortController();
  const seen = new Set<string>();
  const reading = (async () => {
    while (!ended.signal.aborted) seen.add(await readFile(path, "utf8"));
  })();
  for (let n = 1; n <= 100; n++) await writeDurably(path, textOf(n));
  ended.abort();
  await reading;
  const whole = new Set(Array.from({ length: 101 }, (_, n) => textOf(n)));
  expect([...seen].filter((text) => !whole.has(text))).toEqual([]);
  expect(seen.size).toBeGreaterThan(1);
});

test(
  "DF2 — two processes and ten writers in one: nobody fails, nothing is left, the file is whole",
  async () => {
    const folder = newFolder();
    const path = join(folder, "nats.conf");
    const module = join(import.meta.dirname, "durable-file.ts");
    const writer = join(folder, "writer.mjs");
    writeFileSync(
      writer,
      `import { writeDurably } from ${JSON.stringify(module)};
       const path = process.argv[2];
       for (let n = 0; n < 150; n++) await writeDurably(path, String(n % 10).padEnd(65536, "x"));`,
    );
    const children = [1, 2].map(
      () => new Promise((resolve) => fork(writer, [path]).once("exit", (code) => resolve(code))),
    );
    const own = Array.from({ length: 10 }, (_, n) => writeDurably(path, textOf(n)));
    expect([...(await Promise.all(children)), ...(await Promise.all(own))]).toEqual([
      0,
      0,
      ...own.map(() => undefined),
    ]);
    const text = readFileSync(path, "utf8");
    expect(text).toBe(textOf(Number(text[0])));
    expect(readdirSync(folder).toSorted()).toEqual(["nats.conf", "writer.mjs"]);
  },
  TEST_MAX_MS,
);

test("DF2 — what dead writers left goes, what a living one writes stays", async () => {
  const folder = newFolder();
  const path = join(folder, "nats.conf");
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  const [left, own, other] = [`${dead}-0`, `${process.pid}-0`, `${process.ppid}-0`].map(
    (word) => `${path}.${word}.new`,
  ) as [string, string, string];
  for (const file of [left, own, other]) writeFileSync(file, "half");
  utimesSync(own, 0, 0); // of a writer before this one that had the same pid
  await writeDurably(path, "whole");
  expect([left, own, other].map((file) => existsSync(file))).toEqual([false, false, true]);
  expect(readFileSync(path, "utf8")).toBe("whole");
});

test("DF2 — a write that fails leaves nothing beside, and the old file", async () => {
  const folder = newFolder();
  const path = join(folder, "nats.conf");
  spawnSync("mkdir", [path]);
  await expect(writeDurably(path, "logins")).rejects.toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
  expect(readdirSync(folder)).toEqual(["nats.conf"]);
});

test("DF1 — the file before is kept as it was, as a copy with its time, and put back", async () => {
  const path = join(newFolder(), "nats.conf");
  const previousPath = `${path}.previous`;
  await writeDurably(path, "first", { previousPath });
  expect(existsSync(previousPath)).toBe(false);
  utimesSync(path, 7, 7);
  const { ino } = statSync(path);
  await writeDurably(path, "second", { previousPath });
  const kept = statSync(previousPath);
  // A link to another user's file is forbidden (fs.protected_hardlinks): never the same inode.
  expect([kept.ino === ino, kept.mtimeMs, kept.mode & 0o777]).toEqual([false, 7_000, 0o600]);
  expect([readFileSync(previousPath, "utf8"), readFileSync(path, "utf8")]).toEqual([
    "first",
    "second",
  ]);
  expect(await restore(path, previousPath)).toBe(true);
  expect([readFileSync(path, "utf8"), statSync(path).mtimeMs]).toEqual(["first", 7_000]);
  expect(await restore(path, previousPath)).toBe(false);
});
