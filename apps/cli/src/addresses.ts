// apps/cli/src/addresses.ts
// Addresses among the settings of `carillon node`: scheme, login, host and port are looked at before
// anything is dialled. What is refused is never shown: it may hold a login (CF1).

const PORT = String.raw`:(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])`;
const LOGIN = String.raw`(?:[^\s/?#@]+@)?`;
const HOST = String.raw`(?:\[[\da-fA-F:.]+\]|[^\s/?#@:,[\]]+)(?:${PORT})?`;

export const NATS_ADDRESS = {
  pattern: new RegExp(`^(?:nats|tls)://${LOGIN}${HOST}/?$`, "u"),
  expected: "addresses such as nats://127.0.0.1:4222, a port from 1 to 65535",
};

/** Several hosts, as libpq has them, too. A / ? # or @ in a password is written as %2F %3F %23 %40. */
export const POSTGRES_ADDRESS = {
  pattern: new RegExp(
    String.raw`^postgres(?:ql)?://${LOGIN}${HOST}(?:,${HOST})*(?:/[^\s/?#]*)?(?:\?[^\s#]*)?$`,
    "u",
  ),
  expected:
    "an address such as postgres://user:password@host:port/name, a port from 1 to 65535, " +
    "and / ? # @ in the password as %2F %3F %23 %40",
};
