// scripts/report.mjs
// Prints `N passed, N failed` from what `npm run verify` left in a folder: every test, and one for
// each static check. Usage: node scripts/report.mjs <folder> <exit code of verify>
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [folder = "", exitCode = "1"] = process.argv.slice(2);
const root = dirname(dirname(fileURLToPath(import.meta.url)));

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return null;
  }
}

/** turbo's summary of this run: the newest file, its name begins with the time. */
function countChecks() {
  const runs = join(root, ".turbo", "runs");
  let names = [];
  try {
    names = readdirSync(runs).toSorted();
  } catch {
    // No run, no summary: every check counts as failed below.
  }
  const summary = names.length > 0 ? readJson(join(runs, names.at(-1))) : null;
  const scripts = Object.keys(readJson(join(root, "package.json"))?.scripts ?? {});
  const checks = scripts.filter((name) => name.startsWith("check:"));
  const isPassed = (name) =>
    summary?.tasks?.some(({ task, execution }) => task === name && execution?.exitCode === 0);
  const failed = checks.filter((name) => !isPassed(name));
  for (const name of failed) console.log(`failed: npm run ${name}`);
  return { passed: checks.length - failed.length, failed: failed.length };
}

/** A file that could not be loaded has no test in it and counts as one failed. */
function countTests() {
  const report = readJson(join(folder, "tests.json"));
  if (report === null) {
    console.log("failed: npm test ended without a report");
    return { passed: 0, failed: 1 };
  }
  const broken = report.testResults.filter(
    ({ status, assertionResults }) =>
      status === "failed" && !assertionResults.some((test) => test.status === "failed"),
  );
  for (const { name } of broken) console.log(`failed: ${name}`);
  return { passed: report.numPassedTests, failed: report.numFailedTests + broken.length };
}

const checks = countChecks();
const tests = countTests();
const passed = checks.passed + tests.passed;
let failed = checks.failed + tests.failed;
// A failure that no report tells of, such as an error after the last test.
if (failed === 0 && exitCode !== "0") failed = 1;
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
