// Goal: RG1 and RG2. Method: the command as a process of its own, against an API that is the test's;
// what it does to real regions is in test/e2e/failover.test.ts.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { HomeLook, HomeRequest } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";

const TEST_MAX_MS = 120_000;
const run = promisify(execFile);
const main = new URL("main.ts", import.meta.url).pathname;

const LOOK: HomeLook = {
  kind: "look",
  home: "fra",
  place: "fra",
  memberId: "fra-1",
  standing: "serving",
  isInRecovery: false,
  claim: { epoch: 1, host: "fra" },
  state: "serving",
  movingTo: null,
  fenceLsn: null,
  supersededBy: null,
  replica: null,
  since: null,
  leasedCount: 256,
  withheldTenants: ["strict"],
};
const COPY: HomeLook = {
  ...LOOK,
  place: "par",
  standing: "standby",
  isInRecovery: true,
  replica: {
    isStreaming: true,
    receivedLsn: "0/1",
    replayedLsn: "0/1",
    replayedAt: null,
    lagMs: 11.3, // of a node of an older build
  },
};

/** Its disk was lost, and another region hosts it. */
const EMPTY: HomeLook = {
  ...LOOK,
  home: "par",
  place: "par",
  standing: "undeclared",
  claim: null,
  state: null,
  leasedCount: 0,
  withheldTenants: [],
};
const BARRED: HomeLook = {
  ...COPY,
  home: "dub",
  place: "lon",
  replica: {
    isStreaming: false,
    receivedLsn: null,
    replayedLsn: null,
    replayedAt: null,
    lagMs: null,
    rights: { user: "carillon", mayPromote: false, maySeeStreaming: false },
  },
};

const asked: { home: string; place: string; request: HomeRequest }[] = [];
const api = createServer((request, answer) => {
  let text = "";
  request.on("data", (chunk: Buffer) => void (text += chunk.toString()));
  request.on("end", () => {
    const reply = (status: number, body: unknown): void => {
      answer.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    };
    if (request.url === "/v1/admin/homes") {
      const places = [LOOK, COPY];
      const homes = [
        { home: "fra", claim: LOOK.claim, places },
        { home: "par", claim: { epoch: 2, host: "dub" }, places: [EMPTY] },
        { home: "dub", claim: LOOK.claim, places: [BARRED] },
      ];
      return reply(200, { homes });
    }
    const home = request.url?.split("/")[4] ?? "";
    const step = JSON.parse(text) as { place: string; request: HomeRequest };
    asked.push({ home, ...step });
    if (step.request.kind === "residency") return reply(200, { kind: "done", isChanged: true });
    return reply(409, { title: "The step cannot be done as things are", detail: "busy: no" });
  });
});
let url = "";
beforeAll(async () => {
  await new Promise<void>((resolve) => api.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
});
afterAll(() => void api.close());

async function carillon(words: readonly string[], key = "operator-key-of-the-tests-1") {
  const env = { PATH: process.env["PATH"] ?? "", CARILLON_OPERATOR_KEY: key };
  const options = { env, timeout: 60_000 };
  try {
    const done = await run(process.execPath, [main, "region", ...words], options);
    return { code: 0, stdout: done.stdout, stderr: done.stderr };
  } catch (cause) {
    const { code, stdout, stderr } = cause as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

test(
  "RG1 — what is not to be run so is 64, a refusal 1, what is so already 0",
  async () => {
    for (const words of [
      ["failover", "fra", "--url", url], // where to?
      ["failover", "fra", "--to", "F R A", "--url", url],
      ["failover", "fra", "--to", "par", "--wait", "0", "--url", url],
      ["residency", "acme", "--url", url],
      ["residency", "acme", "--strict", "--failover-to", "par", "--url", url],
      ["residency", "acme", "--failover-to", "par,nyc", "--url", url], // no region of theirs
      ["residency", "acme", "--strict", "--home", "nyc", "--url", url],
      ["bogus"],
    ])
      expect([words, (await carillon(words)).code]).toEqual([words, 64]);
    expect((await carillon(["status", "--url", url], "")).code).toBe(64);
    expect(await carillon(["failover", "fra", "--to", "fra", "--url", url])).toEqual({
      code: 0,
      stdout: "home fra is hosted by fra, epoch 1; it was already\n",
      stderr: "",
    });
    const refused = await carillon(["failover", "fra", "--to", "par", "--url", url]);
    expect(refused).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "fra: draining\n" +
        "carillon region: fra: 409 The step cannot be done as things are. busy: no\n",
    });
  },
  TEST_MAX_MS,
);

test(
  "RG2 — with --json one document, refusals and silence too; progress elsewhere",
  async () => {
    const refused = await carillon(["failover", "fra", "--to", "par", "--json", "--url", url]);
    expect([refused.code, JSON.parse(refused.stdout)]).toMatchObject([
      1,
      { error: { code: "step_refused" } },
    ]);
    const report = await carillon(["report", "fra", "--json", "--url", url]);
    expect([report.code, JSON.parse(report.stdout)]).toMatchObject([
      1,
      { error: { code: "nothing_fenced" } },
    ]);
    const silent = await carillon(["status", "--json", "--url", "http://127.0.0.1:1"]);
    expect([silent.code, JSON.parse(silent.stdout)]).toMatchObject([
      1,
      { error: { code: "unreachable" } },
    ]);
    const usage = await carillon(["residency", "acme", "--json", "--url", url]);
    expect([usage.code, JSON.parse(usage.stdout)]).toMatchObject([
      64,
      { error: { code: "usage", field: "--failover-to" } },
    ]);
  },
  TEST_MAX_MS,
);

test(
  "RG1 — status for people: who hosts, which copy follows, who is withheld, what is missing",
  async () => {
    const { stdout } = await carillon(["status", "--url", url]);
    const words = stdout.split("\n").map((line) => line.trim().split(/ {2,}/));
    expect(words[2]).toEqual(["fra", "1", "fra", "serving", "256", "withheld: strict"]);
    expect(words[3]).toEqual(["fra", "1", "par", "standby", "256", "follows, 12 ms behind"]);
    expect(words[4]?.at(-1)).toBe("EMPTY DATABASE: make it a copy of the one in dub");
    expect(words[5]?.at(-1)).toBe(
      "MAY NOT SEE WHETHER IT FOLLOWS: grant pg_monitor to carillon; " +
        "MAY NOT BE PROMOTED: grant execute on function pg_promote to carillon",
    );
  },
  TEST_MAX_MS,
);

test(
  "RG1 — residency goes to where each home is served",
  async () => {
    asked.length = 0;
    const set = await carillon([
      "residency",
      "acme",
      "--failover-to",
      "par,dub",
      "--json",
      "--url",
      url,
    ]);
    expect([set.code, JSON.parse(set.stdout)]).toEqual([
      0,
      {
        tenantId: "acme",
        failoverTo: ["par", "dub"],
        homes: ["fra", "par", "dub"].map((home) => ({ home, isChanged: true, error: null })),
      },
    ]);
    const request = { kind: "residency", tenantId: "acme", failoverTo: ["par", "dub"] };
    expect(asked).toEqual(
      ["fra", "par", "dub"].map((home) => ({ home, place: home, request })), // nobody answers: at home
    );
    const folder = mkdtempSync(join(tmpdir(), "carillon-region-"));
    const out = join(folder, "report.json");
    expect((await carillon(["report", "fra", "--out", out, "--url", url])).code).toBe(1);
    expect(() => readFileSync(out)).toThrow("ENOENT"); // nothing is written without a report
    asked.length = 0;
    const nowhere = join(folder, "none", "report.json");
    for (const [path, why] of [
      [nowhere, `${nowhere} cannot be written (ENOENT)`],
      [folder, `${folder} is a folder`],
    ] as const)
      expect(await carillon(["report", "fra", "--out", path, "--url", url])).toEqual({
        code: 64,
        stdout: "",
        stderr:
          `carillon region: --out ${why}; valid: the path of a file that you may write, in a folder ` +
          "that is there\n",
      });
    expect(asked).toEqual([]); // before anything is compared
    rmSync(folder, { recursive: true });
  },
  TEST_MAX_MS,
);
