// packages/store/src/pool.ts
// Connections to one database, with a limit on everything that waits.
//   ST3  At most `poolMax` operations run and `WAITING_PER_CONNECTION_MAX × poolMax` wait; one more
//        is refused. So no statement queues behind another one on the same connection.
//   ST4  An operation ends within connectTimeoutMs + 2 × statementTimeoutMs after its start, and
//        one that waits for a connection that long is refused. Postgres ends a statement itself
//        after statementTimeoutMs; when even that does not come back the host is gone, and every
//        connection is replaced, so that a database that moved is found at once and not when TCP
//        gives up (15 minutes).
//   ST24 An operation with a limit of its own waits for a connection and runs within twice that limit;
//        Postgres ends each of its statements after it.
import { type Clock, type Fault, type Random, systemClock } from "@carillon/kernel";
import type { ISql, Sql as DriverSql } from "postgres";
import { postgres } from "./driver.ts";
import { faultOf, unavailable } from "./faults.ts";

export interface StoreOptions {
  readonly url: string; // postgres://user:password@host:port/database
  readonly poolMax: number;
  /** Shown in pg_stat_activity. */
  readonly applicationName: string;
  readonly connectTimeoutMs: number;
  readonly statementTimeoutMs: number;
  readonly clock?: Clock; // default: the system's
  readonly random?: Random; // for API keys; default: the system's
}

const WAITING_PER_CONNECTION_MAX = 256;
const KEEP_ALIVE_SECONDS = 10;

// int8 as number: offsets, epochs and versions stay far below 2^53.
export const int8 = { to: 20, from: [20], serialize: String, parse: Number };
export type Sql = DriverSql<{ int8: number }>;
/** Where statements run: the pool, or one transaction. */
export type Statements = ISql<{ int8: number }>;

export function connect(options: StoreOptions): Sql {
  return postgres(options.url, {
    max: options.poolMax,
    connect_timeout: options.connectTimeoutMs / 1_000,
    keep_alive: KEEP_ALIVE_SECONDS,
    backoff: false, // the caller decides when to try again
    onnotice: () => undefined,
    types: { int8 },
    connection: {
      application_name: options.applicationName,
      statement_timeout: options.statementTimeoutMs,
      idle_in_transaction_session_timeout: 2 * options.statementTimeoutMs,
      // A partition row must not stay locked for a client whose machine lost power.
      tcp_user_timeout: 2 * options.statementTimeoutMs,
      plan_cache_mode: "force_generic_plan", // planning the group commit takes longer than running it
      jit: "off", // short statements: compiling costs more than it saves
      TimeZone: "UTC",
    },
  });
}

export class Pool {
  readonly #options: StoreOptions;
  readonly #clock: Clock;
  readonly #waiting: { start: () => void }[] = [];
  readonly #onIdle: (() => void)[] = [];
  #sql: Sql;
  #runningCount = 0;
  #isClosed = false;

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#sql = connect(options);
  }

  get runningCount(): number {
    return this.#runningCount;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Runs statements; `operation` names them in the Fault that is thrown when they fail. */
  async run<T>(
    operation: string,
    work: (sql: Sql) => Promise<T>,
    operationMaxMs = this.#operationMaxMs,
  ): Promise<T> {
    const askedAtMs = this.#clock.monotonicMs();
    await this.#enter(operation, operationMaxMs);
    const leftMs = operationMaxMs - (this.#clock.monotonicMs() - askedAtMs);
    const isLimited = operationMaxMs < this.#operationMaxMs;
    try {
      return await this.#withDeadline(operation, work, isLimited ? leftMs : operationMaxMs);
    } finally {
      this.#leave();
    }
  }

  /**
   * The same in one transaction; statements that are not awaited one by one are pipelined.
   * `limitMs`: of each statement, below the pool's own (ST24).
   */
  transaction<T>(
    operation: string,
    work: (sql: Statements) => Promise<T>,
    limitMs = this.#options.statementTimeoutMs,
  ): Promise<T> {
    const isLimited = limitMs < this.#options.statementTimeoutMs;
    const limited = async (sql: Statements): Promise<T> => {
      const set = sql`select set_config('statement_timeout', ${String(limitMs)}, true)`.execute();
      const [result] = await Promise.all([work(sql), set]); // one round trip, in order
      return result;
    };
    // The driver's type would unwrap an array of promises; `work` never returns one.
    return this.run(
      operation,
      (sql) => sql.begin(isLimited ? limited : work) as Promise<unknown> as Promise<T>,
      isLimited ? 2 * limitMs : undefined,
    );
  }

  /** Lets what runs end within `timeoutMs`, then cuts it off. Safe to call twice. */
  async close(timeoutMs: number): Promise<void> {
    this.#isClosed = true;
    for (const waiter of this.#waiting.splice(0)) waiter.start();
    if (this.#runningCount > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = this.#clock.setTimer(timeoutMs, resolve);
      this.#onIdle.push(resolve);
      await promise;
      timer.cancel();
    }
    // Not the driver's own wait: it never ends for a connection that broke under a statement.
    await this.#sql.end({ timeout: 0 });
  }

  async #enter(operation: string, waitMaxMs: number): Promise<void> {
    if (this.#isClosed) throw unavailable(operation, "closed");
    if (this.#runningCount < this.#options.poolMax) {
      this.#runningCount++;
      return;
    }
    if (this.#waiting.length >= WAITING_PER_CONNECTION_MAX * this.#options.poolMax)
      throw unavailable(operation, "too many operations wait");
    const fault = await new Promise<Fault | undefined>((resolve) => {
      const waiter = {
        start: () => {
          timer.cancel();
          resolve(this.#isClosed ? unavailable(operation, "closed") : undefined);
        },
      };
      const timer = this.#clock.setTimer(waitMaxMs, () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        resolve(unavailable(operation, "no connection came free in time"));
      });
      this.#waiting.push(waiter);
    });
    if (fault !== undefined) throw fault;
  }

  /** Hands the place to the longest waiting one, or frees it. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next !== undefined) return next.start();
    this.#runningCount--;
    if (this.#runningCount === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  async #withDeadline<T>(
    operation: string,
    work: (sql: Sql) => Promise<T>,
    limitMs: number,
  ): Promise<T> {
    const sql = this.#sql;
    const { promise: deadline, reject } = Promise.withResolvers<never>();
    const timer = this.#clock.setTimer(limitMs, () => {
      this.#replace(sql);
      reject(unavailable(operation, "no answer in time"));
    });
    try {
      return await Promise.race([work(sql), deadline]);
    } catch (error) {
      throw faultOf(operation, error);
    } finally {
      timer.cancel();
    }
  }

  #replace(broken: Sql): void {
    if (this.#sql !== broken || this.#isClosed) return;
    this.#sql = connect(this.#options);
    broken.end({ timeout: 0 }).catch(() => undefined); // its operations end with their own Fault
  }

  get #operationMaxMs(): number {
    return this.#options.connectTimeoutMs + 2 * this.#options.statementTimeoutMs;
  }
}
