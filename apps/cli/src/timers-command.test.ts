// Goal: PC1, PC2 of `carillon timers`, PA1 of what a node answers. Method: the command as a process of its
// own, against a scripted admin API; the answer of a node on a list in memory.
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { adminReplySchema, type BuriedTimer } from "@carillon/contracts";
import { expect, test } from "vitest";
import { answerOfTimers } from "./timer-admin.ts";

const main = new URL("main.ts", import.meta.url).pathname;
const env = {
  PATH: process.env["PATH"] ?? "",
  CARILLON_OPERATOR_KEY: "operator-key-of-the-tests-1",
};

const buried = (id: number): BuriedTimer => ({
  ...{ id, partition: 7, kind: "reminder", key: "ann", tenantId: "acme" },
  ...{ attemptCount: 10, failureCount: 9, lostCount: 0 },
  buriedAt: "2026-12-01T00:00:00.000Z",
  reason: "Error: no",
});

async function carillon(words: readonly string[]) {
  try {
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [main, "timers", ...words],
      { env, timeout: 30_000 },
    );
    return { code: 0, stdout, stderr };
  } catch (cause) {
    const { code, stdout, stderr } = cause as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

test("PC1, PC2 — buried timers are shown, revived and deleted; what is not buried is 1", async () => {
  const asked: string[] = [];
  const server = createServer((request, answer) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      asked.push(`${request.method} ${request.url} ${body}`.trim());
      const list = { node: "fra-1", timers: [buried(12)], isCut: true };
      const done = { node: "fra-1", isChanged: body.includes("12") };
      answer
        .writeHead(200, { "content-type": "application/json" })
        .end(JSON.stringify(request.method === "GET" ? list : done));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const shown = await carillon(["fra", "--url", url, "--limit", "1"]);
  const words = shown.stdout.trim().split("\n");
  expect(words.map((line) => line.split(/\s{2,}/)).filter((_, at) => at !== 1)).toEqual([
    ["ID", "BURIED", "TENANT", "KIND", "KEY", "PARTITION", "CLAIMS", "FAILED", "LOST", "WHY"],
    [
      ...["12", "2026-12-01T00:00:00.000Z", "acme", "reminder", "ann"],
      ...["7", "10", "9", "0", "Error: no"],
    ],
    ["… there are more: --limit"],
  ]);
  expect(await carillon(["fra", "--revive", "12", "--url", url])).toEqual({
    code: 0,
    stdout: "timer 12 is due\n",
    stderr: "",
  });
  expect(await carillon(["fra", "--delete", "12", "--json", "--url", url])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('"isChanged": true') as string,
  });
  expect(await carillon(["fra", "--delete", "13", "--url", url])).toMatchObject({
    code: 1,
    stdout: "no timer 13 is buried in fra\n",
  });
  expect(asked).toEqual([
    "GET /v1/admin/timers?region=fra&limit=1",
    'POST /v1/admin/timers/revive {"region":"fra","id":12}',
    'POST /v1/admin/timers/delete {"region":"fra","id":12}',
    'POST /v1/admin/timers/delete {"region":"fra","id":13}',
  ]);
  for (const wrong of [[], ["fra", "--revive", "x"], ["fra", "--revive", "1", "--delete", "2"]])
    expect((await carillon([...wrong, "--url", url])).code).toBe(64);
  expect(asked).toHaveLength(4);
  server.close();
});

test("PA1 — a node tells of its own home's buried timers only, and nothing of what they hold", async () => {
  const done: string[] = [];
  const timers = {
    home: "fra",
    list: async (_home: string, limitCount: number) =>
      [3, 2, 1].slice(0, limitCount).map((id) => ({ ...buried(id), payload: "salary-of-ann" })),
    revive: async (home: string, id: number) => done.push(`revive ${home} ${id}`) > 0,
    remove: async (home: string, id: number) => done.push(`remove ${home} ${id}`) < 0,
  };
  const listed = await answerOfTimers({ kind: "buried_timers", home: "fra", limit: 2 }, timers);
  expect(adminReplySchema.parse(listed)).toEqual({
    kind: "buried_timers",
    timers: [buried(3), buried(2)],
    isCut: true,
  });
  const home = "fra";
  expect(await answerOfTimers({ kind: "revive_timer", home, id: 3 }, timers)).toEqual({
    kind: "done",
    isChanged: true,
  });
  expect(await answerOfTimers({ kind: "delete_timer", home, id: 3 }, timers)).toEqual({
    kind: "done",
    isChanged: false,
  });
  const other = { kind: "buried_timers", home: "lon", limit: 2 } as const;
  expect(await answerOfTimers(other, timers)).toEqual({ kind: "not_found" });
  expect(done).toEqual(["revive fra 3", "remove fra 3"]);
});
