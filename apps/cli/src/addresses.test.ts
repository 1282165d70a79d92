// Goal: RN1, what addresses of a node's settings may be. Method: examples, good and bad.
import { expect, test } from "vitest";
import { NATS_ADDRESS, POSTGRES_ADDRESS } from "./addresses.ts";

test.each([
  "postgres://h/db",
  "postgresql://u:p@h:5432/db?sslmode=verify-full",
  "postgres://u@[::1]:5432/db",
  "postgres://u:a%40b%2Fc@h:65535",
  "postgres://u:p@h1:5432,h2:5433/db",
  "postgres://u:a:b@%2Fvar%2Frun%2Fpostgresql/db",
])("RN1 — %s is an address of a database", (given) => {
  expect(POSTGRES_ADDRESS.pattern.test(given)).toBe(true);
});

test.each([
  "",
  "postgres://",
  "postgres:///db",
  "mysql://u:p@h/db",
  "http://u:p@h:5432/db",
  "host=h dbname=db",
  "postgres://u:p@h:0/db",
  "postgres://u:p@h:65536/db",
  "postgres://u:p@h:99999/db",
  "postgres://u:p@h:x/db",
  "postgres://u:p#q@h:5432/db", // a # begins a fragment: the host that was meant would be dropped
  "postgres://u:p/q@h:5432/db",
  "postgres://u:p q@h:5432/db",
])("RN1 — %s is none", (given) => {
  expect(POSTGRES_ADDRESS.pattern.test(given)).toBe(false);
});

test.each(["nats://h", "nats://127.0.0.1:4222", "tls://u:p@h:4222/", "nats://[fd00::1]:4222"])(
  "RN1 — %s is an address of a nats-server",
  (given) => {
    expect(NATS_ADDRESS.pattern.test(given)).toBe(true);
  },
);

test.each(["h:4222", "http://h:4222", "ws://h", "nats://", "nats://h:70000", "nats://h:4222/x"])(
  "RN1 — %s is none of a nats-server",
  (given) => {
    expect(NATS_ADDRESS.pattern.test(given)).toBe(false);
  },
);
