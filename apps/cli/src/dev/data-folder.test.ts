// Goal: DV13. Method: the real command, since what it must not do is to go on for ever; real folders.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createDataFolder, dataFolderAt } from "./data-folder.ts";

const MAIN = join(import.meta.dirname, "..", "main.ts");
const SPIN_MAX_MS = 45_000; // 0.5 s as a rule; the command once ran on for ever here
const root = mkdtempSync(join(tmpdir(), "carillon-cli-"));
afterAll(() => rmSync(root, { recursive: true }));
const file = join(root, "file");
writeFileSync(file, "");

// Linux: mkdir below /proc answers ENOENT although /proc is there. Elsewhere there is no /proc.
test.each(["/proc/nope", "/proc/nope/deeper", join(file, "below"), file])(
  "DV13 — carillon dev --data %s is refused at once, and says what would be valid",
  (path) => {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, "dev", "--data", path], {
      encoding: "utf8",
      timeout: SPIN_MAX_MS,
      killSignal: "SIGKILL",
    });
    expect({ status, lastLine: stderr.trim().split("\n").at(-1) }).toEqual({
      status: 1,
      lastLine: expect.stringMatching(
        new RegExp(
          `^carillon dev: --data ${path} cannot be used: \\w+: .+\\. Name a folder on a disk that you ` +
            "may write to; it is made when it does not exist\\.$",
        ),
      ) as string,
    });
  },
);

test("DV13 — a folder is made with its parents, and again", () => {
  const folder = dataFolderAt(join(root, "a", "b", "c"));
  mkdirSync(join(root, "a"));
  createDataFolder(folder);
  createDataFolder(folder);
  expect([folder.postgres, folder.nats, folder.nodes].map(existsSync)).toEqual([true, true, true]);
});
