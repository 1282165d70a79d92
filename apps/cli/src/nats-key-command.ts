// apps/cli/src/nats-key-command.ts
// `carillon nats-key`: a NATS user's key for an operator: the seed into a file, the public half on stdout.
//   KC1  A file that is there is never written; its public key is shown again. The seed is shown
//        nowhere, and its file is for its owner only (0600): one that others may read is refused.
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { createNatsKey, natsPublicKeyOf } from "@carillon/bus";
import { Command } from "commander";

export interface NatsKeyTerminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

const FAILED_EXIT_CODE = 1;

export function natsKeyCommand(terminal: NatsKeyTerminal, exit: (code: number) => void): Command {
  return new Command("nats-key")
    .description("make a NATS user's key: the seed into a file, the public key for nats.conf shown")
    .requiredOption("--seed-file <path>", "where the seed is, or will be (mode 0600)")
    .action(({ seedFile }: { seedFile: string }) => exit(runNatsKeyCommand(seedFile, terminal)));
}

/** Returns the exit code: 0, or 1 when the file cannot be written or holds something else or is open to others. */
export function runNatsKeyCommand(seedFile: string, { out, err }: NatsKeyTerminal): number {
  try {
    writeFileSync(seedFile, `${createNatsKey().seed}\n`, { mode: 0o600, flag: "wx" });
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    if (code !== "EEXIST") {
      err(
        `carillon nats-key: --seed-file ${seedFile} cannot be written (${code}); valid: a new file in ` +
          "a folder that is there and that you may write to\n",
      );
      return FAILED_EXIT_CODE;
    }
  }
  const publicKey = publicKeyIn(seedFile);
  if (publicKey === undefined) {
    err(
      `carillon nats-key: ${seedFile} holds no seed of a NATS user (SU…); it was left as it is\n`,
    );
    return FAILED_EXIT_CODE;
  }
  if ((statSync(seedFile).mode & 0o077) !== 0) {
    err(
      `carillon nats-key: ${seedFile} is open to others than its owner; if nobody has read it: ` +
        `chmod 600 ${seedFile}; else remove it and make a new key\n`,
    );
    return FAILED_EXIT_CODE;
  }
  out(`${publicKey}\n`);
  return 0;
}

function publicKeyIn(seedFile: string): string | undefined {
  try {
    return natsPublicKeyOf(readFileSync(seedFile, "utf8").trim());
  } catch {
    return undefined; // not ours to read
  }
}
