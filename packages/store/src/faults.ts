// packages/store/src/faults.ts
// Every error of the driver as a Fault (STYLE §4), at this edge and nowhere else.
//   ST1  `store_unavailable` is retryable: nothing is known to be wrong with the request itself.
//        `home_fenced` is retryable too, but elsewhere: another region serves the home (ADR 0015).
//   ST2  A Fault carries no data of tenants: Postgres' message and detail quote values, so only the
//        SQLSTATE and the names of the constraint and table travel on. Class 42 is about our own
//        statement, and is told whole.
import { BugError, Fault } from "@carillon/kernel";
import { postgres } from "./driver.ts";

export type StoreFaultCode = "store_unavailable" | "store_rejected" | "home_fenced";

/** Raised by the triggers of migration 0006. */
const FENCED = "CRF01";
/**
 * SQLSTATE classes (and single codes) that another attempt may survive: connection, resources,
 * operator intervention (shutdown, time-out), system error, deadlock, lock time-out, read-only.
 */
const RETRYABLE = ["08", "53", "57", "58", "40", "55P03", "25006", "25P03"];

/** A bug stays a bug; whatever else broke becomes a Fault. `operation` is `table.verb`. */
export function faultOf(operation: string, error: unknown): Fault | BugError {
  if (error instanceof Fault || error instanceof BugError) return error;
  if (error instanceof postgres.PostgresError) {
    if (error.code === FENCED) return fenced(operation);
    const about = error.code.startsWith("42") ? error.message : error.routine;
    const names = [error.code, error.table_name, error.constraint_name, about];
    const summary = names.filter((name) => name !== undefined).join(" ");
    const isRetryable = RETRYABLE.some((prefix) => error.code.startsWith(prefix));
    return isRetryable ? unavailable(operation, summary) : rejected(operation, summary);
  }
  return unavailable(operation, codeOf(error));
}

export function unavailable(operation: string, reason: string): Fault {
  return new Fault(`${operation}: the store is not available (${reason})`, {
    code: "store_unavailable" satisfies StoreFaultCode,
    isRetryable: true,
  });
}

function fenced(operation: string): Fault {
  return new Fault(`${operation}: this home is served by another region`, {
    code: "home_fenced" satisfies StoreFaultCode,
    isRetryable: true,
  });
}

export function rejected(operation: string, reason: string): Fault {
  return new Fault(`${operation}: the store refused it (${reason})`, {
    code: "store_rejected" satisfies StoreFaultCode,
    isRetryable: false,
  });
}

/** The driver's and Node's codes: CONNECT_TIMEOUT, CONNECTION_CLOSED, ECONNREFUSED, …. */
function codeOf(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string")
    return error.code;
  return error instanceof Error ? error.name : "unknown";
}
