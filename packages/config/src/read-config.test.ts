// packages/config/src/read-config.test.ts
// Goal: CF1–CF4. Method: one table, environments given by hand.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, expect, test } from "vitest";
import {
  ConfigError,
  describeTable,
  flag,
  int,
  list,
  oneOf,
  printConfig,
  readConfig,
} from "./index.ts";
import { Secret, secret, text } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "carillon-config-"));
afterAll(() => rmSync(folder, { recursive: true }));

const TABLE = {
  CARILLON_TEST_DRAIN_MS: int("how long", { min: 1, max: 60_000, fallback: 500 }),
  CARILLON_TEST_MODE: oneOf("which way", ["fast", "safe"]),
  CARILLON_TEST_URLS: list("where", { pattern: /^nats:\/\//, expected: "nats:// URLs" }),
  CARILLON_TEST_NAME: text("who", {
    pattern: /^[a-z]+$/,
    expected: "lower-case letters",
    fallback: "x",
  }),
  CARILLON_TEST_QUIET: flag("less", false),
  CARILLON_TEST_KEY: secret("the key", { pattern: /^\S+$/, expected: "text without spaces" }),
};
const VALID = {
  CARILLON_TEST_MODE: "safe",
  CARILLON_TEST_URLS: "nats://a, nats://b",
  CARILLON_TEST_KEY: "canary",
};
const problemsOf = (env: Record<string, string>): readonly string[] => {
  try {
    readConfig(TABLE, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
};

test("CF1 — every problem at once, with its name and what would be valid, never the value", () => {
  const problems = problemsOf({
    CARILLON_TEST_DRAIN_MS: "canary",
    CARILLON_TEST_MODE: "canary",
    CARILLON_TEST_URLS: "http://canary",
    CARILLON_TEST_NAME: "CANARY",
    CARILLON_TEST_QUIET: "canary",
  });
  expect(problems).toEqual([
    "CARILLON_TEST_DRAIN_MS must be a whole number from 1 to 60000",
    "CARILLON_TEST_MODE must be one of fast, safe",
    "CARILLON_TEST_URLS must be nats:// URLs, separated by commas",
    "CARILLON_TEST_NAME must be lower-case letters",
    "CARILLON_TEST_QUIET must be on or off",
    "CARILLON_TEST_KEY is required: the key",
  ]);
});

test("CF1, CF3 — a secret that does not fit is named, and not shown, from a file as well", () => {
  const expected = ["CARILLON_TEST_KEY must be text without spaces"];
  const { CARILLON_TEST_KEY: _, ...rest } = VALID;
  const path = join(folder, "key");
  writeFileSync(path, "can ary\n");
  expect(problemsOf({ ...rest, CARILLON_TEST_KEY: "can ary" })).toEqual(expected);
  expect(problemsOf({ ...rest, CARILLON_TEST_KEY_FILE: path })).toEqual(expected);
});

test("CF2 — a misspelt setting is an error; what is not ours is left alone", () => {
  expect(problemsOf({ ...VALID, CARILLON_TEST_DRAIN: "1", PATH: "/bin" })).toEqual([
    "CARILLON_TEST_DRAIN is not a known setting",
  ]);
});

test("CF3 — a secret does not print, and comes from a file as well", () => {
  const path = join(folder, "key");
  writeFileSync(path, "from-the-file\n");
  const { CARILLON_TEST_KEY: _, ...rest } = VALID;
  const config = readConfig(TABLE, { ...rest, CARILLON_TEST_KEY_FILE: path });
  expect(config.CARILLON_TEST_KEY.reveal()).toBe("from-the-file");
  const prints = [
    printConfig(config),
    JSON.stringify(config),
    inspect(config),
    String(config.CARILLON_TEST_KEY),
  ];
  for (const print of prints) expect(print).toContain("[secret]");
  for (const print of prints) expect(print).not.toContain("from-the-file");
  expect(problemsOf({ ...VALID, CARILLON_TEST_KEY_FILE: path })).toEqual([
    "CARILLON_TEST_KEY and CARILLON_TEST_KEY_FILE must not both be set",
  ]);
  expect(problemsOf({ ...rest, CARILLON_TEST_KEY_FILE: "/nowhere" })).toEqual([
    "CARILLON_TEST_KEY_FILE must name a file that can be read",
  ]);
});

test("CF3 — a login inside a URL does not print", () => {
  const urls = "nats://user:canary@a:4222, nats://b:4222";
  const printed = printConfig(readConfig(TABLE, { ...VALID, CARILLON_TEST_URLS: urls }));
  expect(printed).toContain("CARILLON_TEST_URLS=nats://[secret]@a:4222,nats://b:4222");
});

test("CF4 — a valid environment becomes a frozen, typed config with its defaults", () => {
  const config = readConfig(TABLE, VALID);
  expect(config).toEqual({
    CARILLON_TEST_DRAIN_MS: 500,
    CARILLON_TEST_MODE: "safe",
    CARILLON_TEST_URLS: ["nats://a", "nats://b"],
    CARILLON_TEST_NAME: "x",
    CARILLON_TEST_QUIET: false,
    CARILLON_TEST_KEY: new Secret("canary"),
  });
  expect(Object.isFrozen(config)).toBe(true);
  expect(describeTable(TABLE).at(-1)).toEqual({
    name: "CARILLON_TEST_KEY, CARILLON_TEST_KEY_FILE",
    doc: "the key",
    fallback: "required",
  });
});

test("CF2 — settings of other commands are passed over, and no others", () => {
  const env = { ...VALID, CARILLON_OTHER_KEY: "canary", CARILLON_TEST_KEYS: "canary" };
  const isOthers = (name: string): boolean => name === "CARILLON_OTHER_KEY";
  let problems: readonly string[] = [];
  try {
    readConfig(TABLE, env, isOthers);
  } catch (error) {
    if (error instanceof ConfigError) problems = error.problems;
  }
  expect(problems).toEqual(["CARILLON_TEST_KEYS is not a known setting"]);
});
