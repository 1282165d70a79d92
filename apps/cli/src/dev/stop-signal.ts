// apps/cli/src/dev/stop-signal.ts
// When a person wants `carillon dev` to stop.
//   DV14 The first SIGINT, SIGTERM or SIGHUP asks; a second one ends the process at once with 130 (its
//        parts end by themselves, DV8). What comes within 500 ms of the first is its echo.
import type { Clock } from "@carillon/kernel";

const STOPPED_BY_FORCE = 130;
/** A signal to the group comes twice: to us, and passed on by `npm start`. A person is slower. */
const ECHO_MS = 500;

/** Ignores a closed terminal's output: the end matters more than its telling. */
export function onStopSignal(stop: (signal: string) => void, clock: Clock): void {
  let askedAtMs: number | undefined;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => {
      const nowMs = clock.monotonicMs();
      if (askedAtMs !== undefined && nowMs - askedAtMs < ECHO_MS) return;
      if (askedAtMs !== undefined) process.exit(STOPPED_BY_FORCE);
      askedAtMs = nowMs;
      stop(signal === "SIGINT" ? "Ctrl-C" : signal);
    });
  process.stdout.on("error", () => undefined);
  process.stderr.on("error", () => undefined);
}
