// packages/delivery/src/session-table.test.ts
// Goal: SE1, SE2 as far as the table keeps them. Method: examples.
import { expect, test } from "vitest";
import { type Session, SessionTable } from "./session-table.ts";

const session = (sid: number, gatewayId = "gw", sentOffset = 0): Session => ({
  gatewayId,
  sid,
  sentOffset,
  ackedOffset: 0,
  lateOffsets: [],
});

test("SE1 — opening a session again replaces it, whatever it had been sent", () => {
  const table = new SessionTable();
  table.open(0, session(1, "gw", 9));
  table.open(0, session(2));
  table.open(0, session(1, "gw", 4)); // SE2: only an open sets it back
  expect(table.count).toBe(2);
  expect(table.find(0, "gw", 1)?.sentOffset).toBe(4);
  expect(table.find(0, "other", 1)).toBeUndefined();
});

test("SE1 — the last close tells when, a lost gateway closes its own only", () => {
  const table = new SessionTable();
  table.open(0, session(1));
  table.open(0, session(1, "other"));
  table.open(1, session(2));
  expect(table.close(0, "gw", 99, 50)).toBe(false);
  expect(table.closeGateway("gw", 60)).toEqual([1]);
  expect([table.closedAtMs(0), table.closedAtMs(1)]).toEqual([undefined, 60]);
  expect(table.close(0, "other", 1, 70)).toBe(true);
  table.forgetClosed(65);
  expect([table.closedAtMs(0), table.closedAtMs(1), table.count]).toEqual([70, undefined, 0]);
});
