// apps/cli/src/usage.ts
// What the command line refuses before a command runs, and how it says so: commander's errors as ours.
//   UE1  A usage error is exit 64; it names the option or argument and what would be valid, and comes
//        before anything was done. An option that takes a value is given once, with a value.
import { type Argument, type Command, CommanderError, type Option } from "commander";
import { InvalidValue } from "./arguments.ts";
import { refuse, USAGE_EXIT_CODE, UsageError } from "./refusal.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Resolves with the exit code of what was refused, or of --help; undefined: a command ran, and has told
 * its own. A program runs once. What no person can mend is thrown.
 */
export async function runProgram(
  program: Command,
  words: readonly string[],
  terminal: Terminal,
): Promise<number | undefined> {
  for (const command of commandsOf(program)) refuseAsUsage(command);
  try {
    await program.parseAsync(words, { from: "user" });
    return undefined;
  } catch (cause) {
    if (cause instanceof CommanderError && cause.exitCode === 0) return 0; // --help, --version
    if (!(cause instanceof UsageError)) throw cause;
    const isJson = words.includes("--json");
    const command = program.commands.find((one) => one.name() === words[0])?.name();
    refuse({ terminal, isJson, ...(command !== undefined && { command }) }, cause);
    return USAGE_EXIT_CODE;
  }
}

/** With those below it. */
export function commandsOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(commandsOf)];
}

function refuseAsUsage(command: Command): void {
  command.exitOverride((error) => {
    throw error.exitCode === 0 ? error : usageErrorOf(command, error);
  });
  command.configureOutput({ writeErr: () => undefined, outputError: () => undefined });
  for (const option of command.options)
    if (option.required || option.optional) checkOption(command, option);
  for (const argument of command.registeredArguments)
    checked(argument, nameOf(argument), () => undefined);
}

function checkOption(command: Command, option: Option): void {
  let isGiven = false;
  checked(option, fieldOf(option), (value) => {
    if (isGiven) throw new UsageError(fieldOf(option), "is given twice", ["it once"]);
    isGiven = true;
    // commander takes the next word whatever it is: --node --json would look for a node "--json".
    if (flagsOf(command).includes(value)) throw missing(fieldOf(option), option.description);
  });
}

/** What is blank, or what its parser refuses, is refused in the name of the option or argument. */
function checked(taker: Option | Argument, field: string, check: (value: string) => void): void {
  const parse = taker.parseArg;
  taker.argParser((value: string, previous: unknown) => {
    check(value);
    if (value.trim() === "") throw new UsageError(field, "is empty", [taker.description]);
    if (taker.argChoices !== undefined && !taker.argChoices.includes(value))
      throw new UsageError(field, "is none of the choices", taker.argChoices);
    try {
      return parse === undefined ? value : parse(value, previous);
    } catch (cause) {
      if (cause instanceof InvalidValue) throw new UsageError(field, cause.problem, cause.valid);
      throw cause;
    }
  });
}

/** Of commander's texts only the name in quotes is used. */
function usageErrorOf(command: Command, { code, message }: CommanderError): UsageError {
  const quoted = /'([^']*)'/u.exec(message)?.[1] ?? "";
  const flag = quoted.split(/[ ,]/u).find((word) => word.startsWith("--")) ?? quoted;
  const subcommands = command.commands.map((one) => one.name());
  switch (code) {
    case "commander.unknownCommand":
      return new UsageError(command.args[0] ?? "", "is no command", subcommands);
    case "commander.help": // a command was expected
      return new UsageError("<command>", "is missing or unknown", subcommands);
    case "commander.unknownOption":
      return new UsageError(quoted, "is no option of this command", flagsOf(command));
    case "commander.missingArgument": {
      const argument = command.registeredArguments.find((one) => one.name() === quoted);
      return missing(`<${quoted}>`, argument?.description ?? "");
    }
    case "commander.optionMissingArgument":
    case "commander.missingMandatoryOptionValue": {
      const option = command.options.find(({ long }) => long === flag);
      return missing(flag, option?.description ?? "");
    }
    case "commander.excessArguments": {
      const taken = command.registeredArguments;
      const field = command.args[taken.length] ?? "";
      return new UsageError(field, "is one argument too many", [usageOf(command)]);
    }
    case "commander.conflictingOption":
      return new UsageError(flag, "contradicts another option", modesOf(command));
    default:
      return new UsageError("the command line", message, [usageOf(command)]);
  }
}

function missing(field: string, description: string): UsageError {
  return new UsageError(field, "is missing", [description]);
}

/** Options that exclude each other take no value. */
function modesOf(command: Command): string[] {
  const modes = command.options.filter((option) => option.isBoolean());
  return modes.map((option) => `${fieldOf(option)} alone`);
}

function usageOf(command: Command): string {
  const names = [command.name()];
  for (let above = command.parent; above !== null; above = above.parent)
    names.unshift(above.name());
  return `${names.join(" ")} ${command.usage()}`;
}

function nameOf(argument: Argument): string {
  return argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
}

function fieldOf({ long, flags }: Option): string {
  return long ?? flags;
}

function flagsOf(command: Command): string[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .map((option) => fieldOf(option));
}
