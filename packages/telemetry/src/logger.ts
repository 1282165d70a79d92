// packages/telemetry/src/logger.ts
// A log line is an event's name and flat fields (STYLE §6).
//   TE1  Keys that may hold a secret, an address or content are never printed, whatever is passed.
//   TE2  Every line carries region, node and component.
import { type DestinationStream, type Level, type Logger as Pino, pino } from "pino";

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  /** Per notification; off unless asked for. */
  debug(event: string, fields?: LogFields): void;
  /** Lifecycle. */
  info(event: string, fields?: LogFields): void;
  /** Degraded; heals by itself. */
  warn(event: string, fields?: LogFields): void;
  /** A person must act. */
  error(event: string, fields?: LogFields): void;
  child(component: string): Logger;
}

export interface LoggerOptions {
  readonly region: string;
  readonly node: string;
  readonly component: string;
  readonly level: Level;
  /** Default: standard output, one JSON object a line. */
  readonly stream?: DestinationStream;
}

/** Never printed, at any of the first three depths of a field; fields are flat, so one is usual. */
export const REDACTED_KEYS = [
  "authorization",
  "Authorization",
  "key",
  "token",
  "tokens",
  "secret",
  "pepper",
  "password",
  "apiKey",
  "privateKey",
  "endpoint",
  "p256dh",
  "auth",
  "content",
  "title",
  "body",
  "attributes",
  "payload",
] as const;

export function createLogger(options: LoggerOptions): Logger {
  const { region, node, component, level, stream } = options;
  const settings = {
    level,
    base: { region, node },
    timestamp: pino.stdTimeFunctions.isoTime,
    messageKey: "event",
    formatters: { level: (label: string) => ({ level: label }) },
    redact: {
      paths: REDACTED_KEYS.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
      censor: "[redacted]",
    },
  };
  const root = stream === undefined ? pino(settings) : pino(settings, stream);
  return wrap(root, component);
}

function wrap(root: Pino, component: string): Logger {
  const own = root.child({ component });
  const write =
    (level: "debug" | "info" | "warn" | "error") =>
    (event: string, fields: LogFields = {}): void =>
      own[level](printable(fields), event);
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: (name) => wrap(root, name),
  };
}

/** Errors as their text; fields that would stand twice in the line get another name. */
function printable(fields: LogFields): LogFields {
  const entries = Object.entries(fields).map(([name, value]) => [
    name === "event" || name === "level" ? `${name}_` : name,
    value instanceof Error ? String(value) : value,
  ]);
  return Object.fromEntries(entries) as LogFields;
}
