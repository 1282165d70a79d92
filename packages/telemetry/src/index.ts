export { CATALOGUE, catalogueTable, type MetricName, type MetricSpec } from "./catalogue.ts";
export {
  createLogger,
  type LogFields,
  type Logger,
  type LoggerOptions,
  REDACTED_KEYS,
} from "./logger.ts";
export { createMetrics, type Metrics } from "./metrics.ts";
