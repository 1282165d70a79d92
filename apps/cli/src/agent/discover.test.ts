// Goal: DI1–DI4. Method: the command in this process with a file as source; what it prints and exits
// with. The agent's file is written by an agent's own parts.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CandidatesBook, recordAfter } from "@carillon/cluster";
import { systemClock } from "@carillon/kernel";
import { expect, onTestFinished, test } from "vitest";
import { secondsText } from "./discover-view.ts";
import { UsageError } from "../refusal.ts";
import { createTerminal } from "../terminal.ts";
import { runDiscover } from "./discover-command.ts";

function setUp() {
  const folder = mkdtempSync(join(tmpdir(), "carillon-discover-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const statePath = join(folder, "candidates.json");
  const sourcePath = join(folder, "peers.json");
  const env = {
    CARILLON_AGENT_CLUSTER: "acme",
    CARILLON_AGENT_REGION: "fra",
    CARILLON_AGENT_REGIONS: "fra,lon",
    CARILLON_AGENT_SOURCE: "file",
    CARILLON_AGENT_FILE: sourcePath,
    CARILLON_AGENT_STATE_FILE: statePath,
  };
  const peersOf = (ids: string) => ids.split("").map((id) => ({ id, address: `10.0.0.${id}` }));
  /** What the source has now; a region that is not named does not answer. */
  const answer = (regions: Record<string, string>): void => {
    const entries = Object.entries(regions).map(([name, ids]) => [name, { peers: peersOf(ids) }]);
    writeFileSync(sourcePath, JSON.stringify({ regions: Object.fromEntries(entries) }));
  };
  /** What the agent has on disk after such answers; "!" is a poll that failed. */
  const agentSaw = async (seen: Record<string, readonly string[]>): Promise<void> => {
    const book = new CandidatesBook({
      path: statePath,
      cluster: "acme",
      regions: ["fra", "lon"],
      clock: systemClock,
      onFault: (_what, detail) => {
        throw new Error(detail);
      },
    });
    const polls = Object.entries(seen).flatMap(([region, all]) =>
      all.map((ids) => ({ region, ids })),
    );
    for (const { region, ids } of polls) {
      const outcome =
        ids === "!"
          ? ({ kind: "failed", reason: "throttled", detail: "RequestLimitExceeded" } as const)
          : ({ kind: "found", candidates: peersOf(ids), skipped: [], pagesCount: 1 } as const);
      const atMs = systemClock.wallClockMs() - 240_000;
      book.put(region, recordAfter(book.get(region), outcome, { nowMs: atMs }).record);
    }
    await book.flushed();
  };
  const run = async (options: Partial<Parameters<typeof runDiscover>[0]> = {}, own = env) => {
    let [out, err] = ["", ""];
    const terminal = createTerminal(
      { write: (text) => (out += text) },
      { write: (text) => (err += text) },
    );
    const code = await runDiscover({ json: false, poll: true, ...options }, { env: own, terminal });
    const lines = out
      .replaceAll(/answered in \d+\.\d s/g, "answered in ? s")
      .trimEnd()
      .split("\n");
    return { code, out, err, lines };
  };
  return { folder, env, statePath, answer, agentSaw, run };
}

test("DI1, DI3 — each peer with its decision and reason, from the counts on disk; nothing is written", async () => {
  const { answer, agentSaw, run, statePath } = setUp();
  await agentSaw({ fra: ["1234", "123", "123"], lon: ["12345"] });
  const before = readFileSync(statePath);
  answer({ fra: "125", lon: "12" });
  const { code, lines, err } = await run();
  expect([code, err]).toEqual([0, ""]);
  expect(lines).toEqual([
    "fra: 4 candidates; answered in ? s, 1 page; last complete answer on disk is 4 min old",
    "  1  10.0.0.1  kept     answered",
    "  2  10.0.0.2  kept     answered",
    "  3  10.0.0.3  held     not in 1 of 3 complete answers in a row",
    "  4  10.0.0.4  dropped  not in the last 3 complete answers",
    "  5  10.0.0.5  added    answered, and new",
    "",
    "lon: 5 candidates; answered in ? s, 1 page; last complete answer on disk is 4 min old",
    "  1  10.0.0.1  kept  answered",
    "  2  10.0.0.2  kept  answered",
    ...["3", "4", "5"].map(
      (id) =>
        `  ${id}  10.0.0.${id}  held  the answer lacks 3 of 5 peers; believed when it came 3 times in a row, now 1`,
    ),
  ]);
  expect(readFileSync(statePath)).toEqual(before);
});

test("DI2, DI3 — no answer: the last good one, its age, the error, the agent's errors; exit 1", async () => {
  const { answer, agentSaw, run } = setUp();
  await agentSaw({ fra: ["12", "!", "!", "!"], lon: ["1"] });
  answer({ lon: "1" });
  const { code, lines } = await run();
  expect(code).toBe(1);
  expect(lines[0]).toMatch(
    /^fra: 2 candidates; NO ANSWER: malformed \(.*regions\.fra\.peers is not a list\); last complete answer on disk is 4 min old; the agent's last 3 polls failed: throttled \(RequestLimitExceeded\)$/,
  );
  expect(lines.slice(1, 3)).toEqual([
    "  1  10.0.0.1  kept  of the last complete answer",
    "  2  10.0.0.2  kept  of the last complete answer",
  ]);
});

test("DI3 — a region of which nothing is known: exit 2, and it needs no agent", async () => {
  const { answer, run } = setUp();
  answer({ fra: "1" });
  const { code, lines } = await run();
  expect(code).toBe(2);
  expect(lines.slice(0, 2)).toEqual([
    "fra: 1 candidates; answered in ? s, 1 page; nothing on disk",
    "  1  10.0.0.1  added  answered, and new",
  ]);
});

test("DI3 — only what is on disk, only one region; JSON", async () => {
  const { agentSaw, run, statePath } = setUp();
  await agentSaw({ fra: ["12", "1"] });
  const { code, out } = await run({ poll: false, region: "fra", json: true });
  const body = JSON.parse(out) as { regions: { ageMs: number }[] };
  expect(code).toBe(0);
  expect(body.regions[0]?.ageMs).toBeGreaterThanOrEqual(240_000);
  expect(body).toEqual({
    cluster: "acme",
    stateProblem: null,
    regions: [
      {
        region: "fra",
        outcome: { kind: "not_asked" },
        isStateUsable: true,
        ageMs: expect.any(Number) as number,
        agentFailing: null,
        peers: [
          { id: "1", address: "10.0.0.1", decision: "kept", reason: "of the last complete answer" },
          {
            id: "2",
            address: "10.0.0.2",
            decision: "held",
            reason: "not in the last 1 complete answers",
          },
        ],
      },
    ],
  });
  writeFileSync(statePath, "half");
  const broken = await run({ poll: false });
  expect([broken.code, broken.err]).toEqual([3, `carillon discover: ${statePath} is not JSON\n`]);
});

test.each([
  ["is cut off", (text: string) => text.slice(0, -9), "is not JSON"],
  ["cannot be read", () => undefined, "cannot be read: EISDIR"],
])(
  "DI4, DI3 — a file of the agent that %s is not an empty one: no verdicts, exit 3",
  async (_, damage, problem) => {
    const { agentSaw, answer, run, statePath } = setUp();
    await agentSaw({ fra: ["12"], lon: ["1"] });
    const damaged = damage(readFileSync(statePath, "utf8"));
    rmSync(statePath);
    if (damaged === undefined) mkdirSync(statePath);
    else writeFileSync(statePath, damaged);
    answer({ fra: "3", lon: "1" });
    const { code, err, lines } = await run();
    expect([code, err]).toEqual([3, `carillon discover: ${statePath} ${problem}\n`]);
    expect(lines.slice(0, 2)).toEqual([
      "fra: 1 candidates; answered in ? s, 1 page; what is on disk cannot be used: what the agent would do is unknown",
      "  3  10.0.0.3  answered  what the agent would do is unknown",
    ]);
  },
);

test("DI4 — C5 a record of one region that is of no use leaves the other's verdicts", async () => {
  const { agentSaw, answer, run, statePath } = setUp();
  await agentSaw({ fra: ["12"], lon: ["1"] });
  writeFileSync(statePath, readFileSync(statePath, "utf8").replace("equalCount", "e"));
  answer({ fra: "3", lon: "1" });
  const { code, lines } = await run();
  expect([code, lines.at(1), lines.at(-1)]).toEqual([
    3,
    "  3  10.0.0.3  answered  what the agent would do is unknown",
    "  1  10.0.0.1  kept  answered",
  ]);
  expect((await run({ region: "lon" })).code).toBe(0);
});

test("DI3 — the NATS options are not read, and settings of other commands are theirs", async () => {
  const { env, answer, run } = setUp();
  answer({ fra: "1", lon: "1" });
  const { code, err } = await run({}, {
    ...env,
    CARILLON_AGENT_NATS_CONF: "/x",
    CARILLON_AGENT_NATS_OPTIONS_FILE: "/nowhere",
    CARILLON_OPERATOR_KEY: "canary",
    CARILLON_NODE_REGION: "fra",
  } as typeof env);
  expect([code, err]).toEqual([0, ""]);
});

test("DI3 — --settings reaches the command through the real program", async () => {
  const { folder, env, answer } = setUp();
  const path = join(folder, "agent.env");
  const text = Object.entries(env).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(path, text.join(""));
  answer({ fra: "1", lon: "" });
  const main = join(import.meta.dirname, "../main.ts");
  const { PATH = "" } = process.env;
  const ran = await new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
    const args = [main, "discover", "--json", "--region", "fra", "--settings", path];
    execFile(process.execPath, args, { env: { PATH } }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : error.code, stdout, stderr }),
    );
  });
  expect([ran.code, ran.stderr]).toEqual([0, ""]);
  expect(JSON.parse(ran.stdout)).toMatchObject({ cluster: "acme", regions: [{ region: "fra" }] });
}, 60_000);

test("DI3 — wrong settings 78, a region that is none 64; settings from the agent's file", async () => {
  const { folder, env, answer, run } = setUp();
  const wrong = await run({ json: true }, { ...env, CARILLON_AGENT_FILE: "" });
  expect([wrong.code, JSON.parse(wrong.out)]).toEqual([
    78,
    { error: { code: "settings", message: "CARILLON_AGENT_FILE is required by the source file" } },
  ]);
  await expect(run({ region: "rom" })).rejects.toThrow(
    new UsageError("--region", "names no region of CARILLON_AGENT_REGIONS", ["fra", "lon"]),
  );
  const path = join(folder, "agent.env");
  const none = await run({ settings: path });
  expect([none.code, none.err]).toEqual([
    78,
    `carillon discover: --settings must name a file that can be read, not ${path}\n`,
  ]);
  writeFileSync(path, "# settings\nCARILLON_AGENT_REGIONS=fra\n");
  answer({ fra: "1" });
  const { code, lines } = await run({ settings: path });
  expect([code, lines.length]).toEqual([0, 2]);
});

test("ages for people", () => {
  const texts = [200, 42_000, 240_000, 3 * 3_600_000, 50 * 3_600_000].map(secondsText);
  expect(texts).toEqual(["0.2 s", "42 s", "4 min", "3 h", "2 d"]);
});
