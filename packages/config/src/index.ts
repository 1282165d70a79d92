export { type Field, flag, int, list, oneOf, type Parsed, secret, text } from "./fields.ts";
export {
  CONFIG_EXIT_CODE,
  ConfigError,
  type ConfigOf,
  describeTable,
  type Environment,
  printConfig,
  readConfig,
  type Table,
} from "./read-config.ts";
export { Secret } from "./secret.ts";
