// apps/gateway/src/log.ts
// What this app needs of a log: an event's name and flat fields, never payloads or tokens (STYLE §6).

type Fields = Readonly<Record<string, string | number | boolean | null>>;

export interface GatewayLog {
  info(event: string, fields?: Fields): void;
  warn(event: string, fields?: Fields): void;
  error(event: string, fields?: Fields): void;
}
